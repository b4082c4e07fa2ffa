"""What may reach a terminal, and what the exit codes say."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

import framelet_client
from framelet_client.escaping import escape
from framelet_client.exit_codes import ExitCode, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
ALL = [chr(value) for value in range(0x11_0000) if not 0xD800 <= value < 0xE000]
REORDERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.req("REQ-SEC-1")
def test_every_control_character_is_escaped_and_nothing_else() -> None:
    # Told apart by Unicode's own data: controls, separators of lines, and what reorders text.
    unsafe = {
        character
        for character in ALL
        if unicodedata.category(character) in {"Cc", "Zl", "Zp"}
        or unicodedata.bidirectional(character) in REORDERING
    } | {"\u061c", "\u200e", "\u200f"}  # the marks, whose class is that of a letter
    assert {character for character in ALL if escape(character) != character} == unsafe
    assert len(unsafe) == 65 + 2 + 9 + 3


@pytest.mark.req("REQ-SEC-1")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a\\b", "a\\b"),
        ("\0\t\n\x1b[31m\x7f", "\\x00\\x09\\x0a\\x1b[31m\\x7f"),
        ("\x85\x9f", "\\x85\\x9f"),
        ("\u2028\u202e", "\\u2028\\u202e"),
        ("é€😀\u200d", "é€😀\u200d"),
    ],
)
def test_escapes_look_as_in_source(text: str, shown: str) -> None:
    assert escape(text) == shown


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
