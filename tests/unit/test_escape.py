"""What of a text may be shown, on a terminal or in a log."""

from __future__ import annotations

import unicodedata

import pytest

from framelet import escape

CONTROLS = {"Cc", "Zl", "Zp", "Cs"}
VISIBLE_FORMATS = ("ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN")
"""Signs that enclose numbers or arrange hieroglyphs."""


@pytest.mark.req("REQ-SEC-1")
def test_everything_that_is_invisible_or_moves_is_escaped() -> None:
    shown = [chr(value) for value in range(0x11_0000)]
    # Told apart by Unicode's own data: controls, separators of lines, and formats.
    unsafe = {
        character
        for character in shown
        if unicodedata.category(character) in CONTROLS
        or (
            unicodedata.category(character) == "Cf"
            and not unicodedata.name(character).startswith(VISIBLE_FORMATS)
        )
    }
    escaped = {character for character in shown if escape(character) != character}
    assert unsafe <= escaped
    # Beside those: fillers, variation selectors, and what Unicode sets aside for more of the kind.
    others = {character for character in escaped - unsafe if unicodedata.name(character, "")}
    words = ("FILLER", "VARIATION SELECTOR", "JOINER", "VOWEL INHERENT", "VOWEL SEPARATOR", "LETTER MARK")
    assert all(any(word in unicodedata.name(one) for word in words) for one in others), others


@pytest.mark.req("REQ-SEC-1")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a\\b", "a\\b"),
        ("Grüße, 世界 😀\u00a0", "Grüße, 世界 😀\u00a0"),
        ("\0\t\n\x1b[31m\x7f", "\\x00\\x09\\x0a\\x1b[31m\\x7f"),
        ("\x85\x9f\ud800", "\\x85\\x9f\\ud800"),
        ("\u2028\u202e", "\\u2028\\u202e"),
        ("a\u200bb\u00ad\ufeff\u2060", "a\\u200bb\\xad\\ufeff\\u2060"),
        ("\U000e0041\U000e007f\U000e0100", "\\U000e0041\\U000e007f\\U000e0100"),
        (
            "👩\u200d💻 ❤\ufe0f\u200d🔥 \u0645\u06cc\u200c\u062e",
            "👩\u200d💻 ❤\ufe0f\u200d🔥 \u0645\u06cc\u200c\u062e",
        ),
        ("\u200da \u200db\n\u200c", "\\u200da \\u200db\\x0a\\u200c"),
        ("a\u200d\u200db", "a\u200d\\u200db"),
        ("a\ufe0f\ufe00\ufe01b", "a\ufe0f\\ufe00\\ufe01b"),
    ],
)
def test_escapes_look_as_in_source(text: str, shown: str) -> None:
    assert escape(text) == shown
    assert escape(shown) == shown


def test_a_long_text_is_escaped_as_its_pieces_are() -> None:
    assert escape("ab\x1b" * 100_000) == "ab\\x1b" * 100_000
