"""Usage, selection and lists."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.commands import run_each

if TYPE_CHECKING:
    from pathlib import Path

Fixture = Any


WRONG: list[tuple[tuple[str, ...], str]] = [
    ((), "Usage"),
    (("server",), "say which server"),
    (("client",), "say which client"),
    (("server", "localhost:1", "--only", "no-such-case"), "matches no case"),
    (("server", "--list", "--only", "no-such-case"), "matches no case"),
    (("server", "--list", "--exclude", "no-such-case"), "matches no case"),
    (("server", "--list", "--expect-fail", "no-such-case"), "matches no case"),
    (("server", "--list", "--only", "order.*", "--exclude", "*"), "no case is selected"),
    (("server", "--list", "--only", "@/no/such/file"), "cannot read"),
    (("server", "local host:1"), "error"),
    (("server", "--launch", "serve"), "no {port}"),
    (("server", "--launch", "serve '{port}"), "cannot read the --launch command"),
    (("server", "localhost:1", "--replay", "/no/such/file"), "does not exist"),
    (("server", "localhost:1", "--time-scale", "nan-ish"), "time-scale"),
    (("nonsense",), "No such command"),
]


def test_wrong_usage(tmp_path: Path) -> None:
    calls = [arguments for arguments, _ in WRONG]
    found = run_each("framelet_conformance", calls, tmp_path)
    for (arguments, words), (status, output, errors) in zip(WRONG, found, strict=True):
        assert (status, words in output + errors) == (2, True), (arguments, output, errors)


@pytest.mark.slow
@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_a_standard_output_that_fails(argument: str) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, no path of ours
        done = subprocess.run(
            [sys.executable, "-m", "framelet_conformance", argument],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    words = b"framelet-conformance: error: standard output failed: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, words)


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
    of_a_client = suite("client", "--list")  # of no client
    assert (of_a_client.status, of_a_client.output.split()[-1]) == (0, "cases")


def test_a_file_that_is_no_replay(server_address: str, tmp_path: Path) -> None:
    texts = ("", "{}", "[1]", '{"format": 1}')
    for number, text in enumerate(texts):
        (tmp_path / str(number)).write_text(text, encoding="utf-8")
    calls = [("server", server_address, "--replay", str(number)) for number in range(len(texts))]
    for text, (status, _, errors) in zip(
        texts, run_each("framelet_conformance", calls, tmp_path), strict=True
    ):
        assert (status, "not a replay file" in errors) == (2, True), text


def test_reports(suite: Fixture, server_address: str, tmp_path: Path) -> None:
    page, junit = tmp_path / "report.html", tmp_path / "junit.xml"
    run = suite(
        "server", server_address, "--only", "order.*", "--report-html", str(page), "--junit", str(junit)
    )
    assert run.status == 0
    text = page.read_text(encoding="utf-8")
    assert run.report["version"] == importlib.metadata.version("framelet")
    assert run.report["started"].endswith("+00:00")
    assert run.report["failures"] == []
    for words in ("Conforms", "order.no-greeting", "REQ-ORDER-2", "in the order in which it received"):
        assert words in text
    for outside in ('src="http', 'href="http', "@import", "url("):
        assert outside not in text
    assert "<testsuite" in junit.read_text(encoding="utf-8")
    unwritable = suite("server", server_address, "--only", "order.first-ping", "--junit", "/no/such/dir/x")
    assert unwritable.status == 2
    assert "cannot write" in unwritable.errors


def test_failures_are_grouped_by_what_is_broken_most_often_and_by_reason(
    suite: Fixture, fake: Fixture, polite: Fixture, tmp_path: Path
) -> None:
    wrong = fake(lambda sock, _: polite(sock, error=b"404 no handler"))
    page, replays = tmp_path / "report.html", tmp_path / "replays.jsonl"
    options = ("--only", "utf8.never-f*.request", "--only", "order.first-ping", "--time-scale", "0.3")
    keep = ("--report-html", str(page), "--replay-file", str(replays))
    run = suite("server", wrong.address, *options, *keep)
    failed = [name for name, verdict in run.verdicts.items() if verdict == "fail"]
    assert failed == ["utf8.never-fe.request", "utf8.never-ff.request"]
    [found] = run.report["failures"]
    assert (found["cases"], len(found["reasons"])) == (len(failed), 1)
    assert sorted(found["reasons"][0]["cases"]) == sorted(failed)
    _, _, summary = run.output.rpartition(f"\n{found['requirement']} ")
    assert f"[{len(failed)} cases]" in summary
    assert f"{len(failed)} cases: " in summary
    assert f'href="#{found["requirement"]}"' in page.read_text(encoding="utf-8")
    # All replays are in one file, and can be played together or by their names.
    again = suite("server", wrong.address, "--replay", str(replays))
    assert f"{len(failed)} fail" in again.output
    again = suite("server", wrong.address, "--replay", str(replays), "--only", failed[0])
    assert (again.status, "1 fail" in again.output) == (1, True)


def test_strictly_what_was_skipped_was_not_judged(suite: Fixture, server_address: str) -> None:
    options = ("server", server_address, "--only", "order.first-ping", "--only", "stop.drains")
    run = suite(*options)
    assert run.status == 0
    assert "REQ-STOP-6" in run.report["not_judged"]
    assert "not judged" in run.output
    strict = suite(*options, "--strict")
    assert strict.status == 1
    assert "--strict requires all cases to be judged" in strict.output
