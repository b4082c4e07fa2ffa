"""Reversal on fixed texts: what it gives, and that the reversals which do not conform give something else."""

from __future__ import annotations

import unicodedata

import pytest

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
@pytest.mark.parametrize(("text", "expected"), FIXED.values(), ids=FIXED)
def test_reverse(text: str, expected: str) -> None:
    assert list(reverse(text)) == list(expected)
    assert reverse(expected) == text


@pytest.mark.req("REQ-REV-1")
@pytest.mark.parametrize("surrogate", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
@pytest.mark.parametrize("form", ["{}", "ab{}", "{}ab", "a{}b", "\U0001f600{}", "\u00e9" * 100_000 + "{}a"])
def test_a_lone_surrogate_is_no_scalar_value_and_refused(form: str, surrogate: int) -> None:
    with pytest.raises(IllFormedTextError, match=f"lone surrogate at index {form.index('{')}"):
        reverse(form.format(chr(surrogate)))


@pytest.mark.req("REQ-REV-1")
def test_surrogates_in_a_pair_are_refused_too() -> None:
    with pytest.raises(IllFormedTextError):
        reverse(chr(0xD83D) + chr(0xDE00))


# The reversals that section 14 calls non-conforming.


def by_octet(text: str) -> bytes:
    return text.encode()[::-1]


def by_utf16_unit(text: str) -> bytes:
    units = text.encode("utf-16-be")
    return b"".join(units[start : start + 2] for start in range(len(units) - 2, -1, -2))


def by_cluster(text: str) -> str:
    """Marks, joiners and selectors stay behind their base: enough of UAX 29 for the texts above."""
    clusters: list[str] = []
    for character in text:
        joins = character in "\u200d\ufe0f" or unicodedata.combining(character) > 0
        if clusters and (joins or clusters[-1].endswith("\u200d")):
            clusters[-1] += character
        else:
            clusters.append(character)
    return "".join(reversed(clusters))


@pytest.mark.req("REQ-REV-1")
@pytest.mark.parametrize("text", ["é", "€", "😀", "aé"])
def test_reversal_by_octet_breaks_the_text(text: str) -> None:
    assert by_octet(text) != reverse(text).encode()
    with pytest.raises(UnicodeDecodeError):
        by_octet(text).decode()


@pytest.mark.req("REQ-REV-1")
@pytest.mark.parametrize("text", ["😀", "a😀", "\U00010000\uffff"])
def test_reversal_by_utf_16_unit_puts_surrogates_out_of_order(text: str) -> None:
    assert by_utf16_unit(text) != reverse(text).encode("utf-16-be")
    with pytest.raises(UnicodeDecodeError):
        by_utf16_unit(text).decode("utf-16-be")


@pytest.mark.req("REQ-REV-1")
@pytest.mark.parametrize("name", ["combining mark", "two marks on one base", "emoji of several"])
def test_reversal_by_cluster_is_another(name: str) -> None:
    text, expected = FIXED[name]
    assert by_cluster(text) != expected == reverse(text)


@pytest.mark.req("REQ-REV-1")
def test_reversal_by_cluster_breaks_the_second_law() -> None:
    base, mark = "e", "\u0301"
    assert reverse(base + mark) == reverse(mark) + reverse(base)
    assert by_cluster(base + mark) != by_cluster(mark) + by_cluster(base)


@pytest.mark.req("REQ-TEXT-5")
@pytest.mark.parametrize("text", ["\u00e9", "\u0301e", "\u212b", "\ufb01", "\u1e9b\u0323", "\uac00"])
def test_nothing_is_normalised(text: str) -> None:
    result = reverse(text)
    assert list(result) == list(reversed(text))
    # The text is one that a normalising implementation would have changed.
    assert any(unicodedata.normalize(form, result) != result for form in ("NFC", "NFD", "NFKC", "NFKD"))
