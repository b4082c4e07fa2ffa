"""Usage, selection and lists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Fixture = Any


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Usage"),
        (("server",), "say which server"),
        (("server", "localhost:1", "--only", "no-such-case"), "matches no case"),
        (("server", "--list", "--only", "no-such-case"), "matches no case"),
        (("server", "--list", "--exclude", "no-such-case"), "matches no case"),
        (("server", "--list", "--expect-fail", "no-such-case"), "matches no case"),
        (("server", "--list", "--only", "order.*", "--exclude", "*"), "nothing is selected"),
        (("server", "--list", "--only", "@/no/such/file"), "cannot read"),
        (("server", "local host:1"), "error"),
        (("server", "--launch", "serve"), "no {port}"),
        (("server", "--launch", "serve '{port}"), "cannot read the --launch command"),
        (("server", "localhost:1", "--replay", "/no/such/file"), "does not exist"),
        (("server", "localhost:1", "--time-scale", "nan-ish"), "time-scale"),
        (("nonsense",), "No such command"),
    ],
)
def test_wrong_usage(suite: Fixture, arguments: tuple[str, ...], words: str) -> None:
    run = suite(*arguments)
    assert words in run.output + run.errors
    assert run.status == 2


def test_the_list(suite: Fixture) -> None:
    run = suite("server", "--list", "--json")
    cases = json.loads(run.output)
    ids = [case["id"] for case in cases]
    assert run.status == 0
    assert len(set(ids)) == len(ids) > 3_000
    assert all(case["requirements"] and case["title"] for case in cases)
    shorter = suite("server", "--list", "--only", "REQ-STOP-*", "--exclude", "vector.*")
    assert "stop.drains" in shorter.output
    assert "order.no-greeting" not in shorter.output


def test_a_file_that_is_no_replay(suite: Fixture, server_address: str, tmp_path: Path) -> None:
    for text in ("", "{}", "[1]", '{"format": 1}'):
        path = tmp_path / "replay.json"
        path.write_text(text, encoding="utf-8")
        run = suite("server", server_address, "--replay", str(path))
        assert run.status == 2
        assert "no replay file" in run.errors


def test_reports(suite: Fixture, server_address: str, tmp_path: Path) -> None:
    page, junit = tmp_path / "report.html", tmp_path / "junit.xml"
    run = suite(
        "server", server_address, "--only", "order.*", "--report-html", str(page), "--junit", str(junit)
    )
    assert run.status == 0
    text = page.read_text(encoding="utf-8")
    for words in ("Conforms", "order.no-greeting", "REQ-ORDER-2", "in the order in which it received"):
        assert words in text
    for outside in ('src="http', 'href="http', "@import", "url("):
        assert outside not in text
    assert "<testsuite" in junit.read_text(encoding="utf-8")
    unwritable = suite("server", server_address, "--only", "order.first-ping", "--junit", "/no/such/dir/x")
    assert unwritable.status == 2
    assert "cannot write" in unwritable.errors
