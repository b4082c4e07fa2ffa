"""The four laws of reversal (section 14), over all of Unicode."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framelet import IllFormedTextError, reverse

SURROGATES = range(0xD800, 0xE000)
SCALARS = [*range(0xD800), *range(0xE000, 0x110000)]

# What a reversal by anything but the scalar value stumbles on, and what some text functions drop or change.
hard = st.sampled_from(
    [
        *"\0\ufeff\r\n\u2028\u0085\ufdd0\ufffe\uffff\U0001fffe\U0010ffff",
        *"\u0300\u0301\u0323\u20dd\U0001d165",  # combining marks
        *"\u200d\u200c\ufe0f\U000e0001\U0001f3fd",  # joiners, selectors, tags, skin tone
        *"\U0001f1e6\U0001f1ff\U0001f469\U0001f4bb\u1100\u1161\u11a8",  # parts of flags, emoji and syllables
        *"\u202a\u202e\u2067\u05d0\u0628",  # directions
        *"\x7f\x80\u07ff\u0800\ud7ff\ue000\U00010000",  # where the number of octets changes
    ]
)
scalars = st.one_of(hard, st.characters(exclude_categories=["Cs"]), st.integers(0, 0x7F).map(chr))
texts = st.text(scalars, max_size=40)


def reversed_utf32(text: str) -> str:
    """An independent reversal: by groups of four octets, where each group is one scalar value."""
    octets = text.encode("utf-32-be")
    return b"".join(octets[start : start + 4] for start in range(len(octets) - 4, -1, -4)).decode("utf-32-be")


@pytest.mark.req("REQ-REV-1")
@given(texts)
def test_law_1_the_reverse_of_the_reverse_is_the_text(text: str) -> None:
    assert reverse(reverse(text)) == text


@pytest.mark.req("REQ-REV-1")
@given(texts, texts)
def test_law_2_the_reverse_of_a_sum_is_the_sum_of_the_reverses_swapped(first: str, second: str) -> None:
    assert reverse(first + second) == reverse(second) + reverse(first)


@pytest.mark.req("REQ-REV-1")
@given(texts)
def test_law_3_the_number_of_scalar_values_stays(text: str) -> None:
    assert len(reverse(text).encode("utf-32-be")) == len(text.encode("utf-32-be"))


@pytest.mark.req("REQ-REV-1")
@given(texts)
def test_law_4_the_number_of_octets_stays(text: str) -> None:
    assert len(reverse(text).encode()) == len(text.encode())


@pytest.mark.req("REQ-REV-1")
@given(texts)
def test_the_scalar_values_stand_in_opposite_order(text: str) -> None:
    """The laws alone would also hold for other mappings; this is the definition."""
    assert reverse(text) == reversed_utf32(text)


@pytest.mark.req("REQ-REV-1", "REQ-TEXT-4", "REQ-TEXT-5")
def test_every_scalar_value_keeps_itself_and_its_place() -> None:
    for start in range(0, len(SCALARS), 4_096):
        # A mark at either end is what a careless program takes off.
        values = [0xFEFF, *SCALARS[start : start + 4_096], 0xFEFF, 0]
        text = "".join(map(chr, values))
        assert [ord(character) for character in reverse(text)] == values[::-1]
        assert reverse(text) == reversed_utf32(text)


@pytest.mark.req("REQ-REV-1")
def test_every_surrogate_is_refused() -> None:
    for surrogate in SURROGATES:
        with pytest.raises(IllFormedTextError):
            reverse(chr(surrogate))


@pytest.mark.req("REQ-REV-1")
@given(texts, st.sampled_from(SURROGATES).map(chr), texts)
def test_a_text_with_a_surrogate_anywhere_is_refused(before: str, surrogate: str, behind: str) -> None:
    with pytest.raises(IllFormedTextError, match=f"at index {len(before)}"):
        reverse(before + surrogate + behind)
