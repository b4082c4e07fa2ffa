"""Reversal on fixed texts."""

from __future__ import annotations

import unicodedata

import pytest
from tests.each import each

from framelet import IllFormedTextError, reverse

FIXED = {
    "empty": ("", ""),
    "one": ("a", "a"),
    "ASCII": ("hello", "olleh"),
    "two, three and four octets": ("é€😀", "😀€é"),
    "NUL": ("a\0b", "b\0a"),
    "BOM in front": ("\ufeffab", "ba\ufeff"),
    "CRLF": ("a\r\nb", "b\n\ra"),
    "noncharacters": ("\ufffea\U0010ffff", "\U0010ffffa\ufffe"),
    "combining mark": ("e\u0301x", "x\u0301e"),
    "two marks on one base": ("a\u0323\u0307", "\u0307\u0323a"),
    "emoji of several": (
        "\U0001f469\u200d\U0001f4bb",
        "\U0001f4bb\u200d\U0001f469",
    ),
    "regional indicators": ("\U0001f1e9\U0001f1ea", "\U0001f1ea\U0001f1e9"),
    "variation selector": ("\u2764\ufe0f", "\ufe0f\u2764"),
    "Hangul jamo": ("\u1112\u1161\u11ab", "\u11ab\u1161\u1112"),
    "right to left": ("\u05d0\u202eb", "b\u202e\u05d0"),
    "sharp s and dotted i": ("\u00df\u0130", "\u0130\u00df"),
}


@pytest.mark.req("REQ-REV-1", "REQ-REV-2", "REQ-TEXT-4", "REQ-TEXT-5")
@each("text expected", FIXED.values())
def test_reverse(text: str, expected: str) -> None:
    assert list(reverse(text)) == list(expected)
    assert reverse(expected) == text


@pytest.mark.req("REQ-REV-1")
@each("surrogate", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
@each("form", ["{}", "ab{}", "{}ab", "a{}b", "\U0001f600{}", "\u00e9" * 100_000 + "{}a"])
def test_a_lone_surrogate_is_no_scalar_value_and_refused(form: str, surrogate: int) -> None:
    with pytest.raises(IllFormedTextError, match=f"lone surrogate at index {form.index('{')}"):
        reverse(form.format(chr(surrogate)))


@pytest.mark.req("REQ-REV-1")
def test_surrogates_in_a_pair_are_refused_too() -> None:
    with pytest.raises(IllFormedTextError):
        reverse(chr(0xD83D) + chr(0xDE00))


@pytest.mark.req("REQ-TEXT-5")
@pytest.mark.parametrize("text", ["\u00e9", "\u0301e", "\u212b", "\ufb01", "\u1e9b\u0323", "\uac00"])
def test_nothing_is_normalised(text: str) -> None:
    result = reverse(text)
    assert list(result) == list(reversed(text))
    # The text is one that a normalising implementation would have changed.
    assert any(unicodedata.normalize(form, result) != result for form in ("NFC", "NFD", "NFKC", "NFKD"))
