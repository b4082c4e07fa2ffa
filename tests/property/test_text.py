"""Text is well-formed exactly where the grammar and table 3-7 of the Unicode Standard say so."""

from __future__ import annotations

import re

import pytest
from construct import ConstructError
from hypothesis import given
from hypothesis import strategies as st

from framelet import IllFormedTextError, decode_text, encode_text, grammar

WELL_FORMED = re.compile(
    rb"(?:[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec][\x80-\xbf]{2}"
    rb"|\xed[\x80-\x9f][\x80-\xbf]|[\xee-\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}"
    rb"|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})*"
)

edges = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC]
edges += [0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFE, 0xFF]
bodies = st.one_of(
    st.binary(max_size=20),
    st.lists(st.sampled_from(edges), max_size=6).map(bytes),
    st.text(max_size=10).map(lambda text: text.encode()),
    st.text(max_size=4).map(lambda text: b"\xef\xbb\xbf" + text.encode()),
    st.builds(lambda text, cut: text.encode()[:cut], st.text(max_size=6), st.integers(0, 12)),
)


def check_body(body: bytes) -> None:
    try:
        text = decode_text(body)
    except IllFormedTextError:
        assert not WELL_FORMED.fullmatch(body)
        with pytest.raises(ConstructError):
            grammar.Text.parse(body)
    else:
        assert WELL_FORMED.fullmatch(body)
        assert text == grammar.Text.parse(body)
        assert encode_text(text) == body == grammar.Text.build(text)


@pytest.mark.req("REQ-TEXT-2", "REQ-TEXT-3", "REQ-TEXT-4")
@given(bodies)
def test_text_is_well_formed_where_table_3_7_says_so(body: bytes) -> None:
    check_body(body)


@pytest.mark.req("REQ-TEXT-2")
def test_all_bodies_of_up_to_two_octets_and_all_edges_of_three() -> None:
    for first in range(256):
        check_body(bytes([first]))
        for second in range(256):
            check_body(bytes([first, second]))
    for first in edges:
        for second in edges:
            for third in edges:
                check_body(bytes([first, second, third]))


@pytest.mark.req("REQ-TEXT-1")
@given(st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])), max_size=10))
def test_a_text_is_encoded_where_it_holds_no_surrogate(text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        with pytest.raises(IllFormedTextError):
            encode_text(text)
    else:
        assert decode_text(encode_text(text)) == text
