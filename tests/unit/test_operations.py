"""docs/operations.md and SECURITY.md name tests that there are, for all that they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["docs/operations.md", "SECURITY.md"])
def test_every_test_that_the_page_names_is_one(name: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / name).read_text(encoding="utf-8")))
    assert len(named) >= 30
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name in sorted(named) if f"def {name}(" not in tests]


def test_every_fault_and_every_bug_has_its_test() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "| test |" not in line]
    assert len(rows) > 30
    assert not [row for row in rows if not re.search(r"\| `test_\w+` \|$", row)]


def test_every_promise_has_its_tests() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promised = page.partition("## Promised")[2].partition("## Not promised")[0]
    points = re.findall(r"^- (.*(?:\n  .*)*)", promised, re.MULTILINE)
    sentences = [
        sentence
        for point in points
        for sentence in re.split(r"(?<=\.)\s+", re.sub(r"^\*\*[^*]*\*\*\s*", "", point))
    ]
    marks = [re.search(r"\(P(\d+)\)\.$", sentence) for sentence in sentences]
    assert not [sentence for sentence, mark in zip(sentences, marks, strict=True) if mark is None]
    numbers = [int(mark[1]) for mark in marks if mark]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 20
    assert [int(row) for row in re.findall(r"^\| P(\d+) \| `test_", promised, re.MULTILINE)] == numbers
