"""What the exit codes say."""

from __future__ import annotations

from pathlib import Path

import framelet_client
from framelet_client.exit_codes import ExitCode, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_exit_codes_are_fixed() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "SUCCESS": 0,
        "USAGE": 2,
        "NO_CONNECTION": 3,
        "TIMED_OUT": 4,
        "PROTOCOL_ERROR": 5,
        "ERROR_ANSWERED": 6,
        "PARTIAL": 7,
        "INTERRUPTED": 130,
    }


def test_the_document_lists_the_exit_codes() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    for code in ExitCode:
        assert f"| {code:d} | {code.meaning} |" in document
    assert len(table().splitlines()) == len(ExitCode)


def test_the_public_names_are_complete() -> None:
    assert framelet_client.__all__ == sorted(framelet_client.__all__)
    for name in framelet_client.__all__:
        assert getattr(framelet_client, name).__doc__
