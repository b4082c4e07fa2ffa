"""What holds for all documents."""

from __future__ import annotations

from pathlib import Path

from tests.each import each

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("spec/**/*.md")])


@each("document", DOCUMENTS)
def test_nothing_is_left_of_a_merge(document: Path) -> None:
    lines = document.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(("<<<<<<<", ">>>>>>>", "======="))] == []


def test_each_example_is_described() -> None:
    described = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    missing = [path.name for path in ROOT.glob("examples/*.py") if f"| [{path.name}](" not in described]
    assert missing == []
