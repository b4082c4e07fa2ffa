"""Codec and grammar find the same frames in every stream, however it is cut.

The reference below decodes with the Construct grammar alone, and the reference for text is table 3-7 of the
Unicode Standard written as a pattern, so the codec is never compared with itself.
"""

from __future__ import annotations

import io
import itertools
import re
from typing import Any, NamedTuple

import pytest
from construct import ConstructError, StreamError
from hypothesis import event, example, given
from hypothesis import strategies as st

from framelet import (
    HEADER_SIZE,
    Frame,
    FrameDecoder,
    FrameTooLargeError,
    IllFormedTextError,
    decode_text,
    encode,
    encode_text,
    grammar,
)
from framelet.limits import MAX_LENGTH

# The reference.


class Reading(NamedTuple):
    """What is in a stream: whole frames, then a refused header or the octets of a part."""

    frames: list[Frame]
    refused: tuple[int, int] | None
    part: bytes


def reference(stream: bytes, max_body: int) -> Reading:
    """Read a stream with the grammar, one frame after another."""
    source = io.BytesIO(stream)
    found: list[Frame] = []
    while True:
        rest = stream[source.tell() :]
        try:
            header: Any = grammar.FrameHeader.parse(rest)
        except StreamError:
            return Reading(found, None, rest)
        if header.length > max_body:
            return Reading(found, (header.type, header.length), b"")
        try:
            frame: Any = grammar.RawFrame.parse_stream(source)
        except StreamError:
            return Reading(found, None, rest)
        found.append(Frame(frame.type, frame.body))


def take_all(decoder: FrameDecoder, *, one_by_one: bool) -> tuple[list[Frame], tuple[int, int] | None]:
    """All frames that a decoder gives, and what it refuses; no error but the one documented."""
    frames: list[Frame] = []
    try:
        if one_by_one:
            while (frame := decoder.next_frame()) is not None:
                frames.append(frame)
        else:
            frames.extend(decoder.take_frames())
            frames.extend(decoder.take_frames())
    except FrameTooLargeError as error:
        return frames, (error.type, error.length)
    return frames, None


def check(decoder: FrameDecoder, reading: Reading, *, one_by_one: bool) -> None:
    """The decoder stands where the reference says."""
    assert take_all(decoder, one_by_one=one_by_one) == (reading.frames, reading.refused)
    check_part(decoder, reading)


def check_part(decoder: FrameDecoder, reading: Reading) -> None:
    """The decoder knows as much as the reference about the frame under way."""
    assert decoder.inside_frame == bool(reading.part)
    header: Any = grammar.FrameHeader.parse(reading.part) if len(reading.part) >= HEADER_SIZE else None
    assert decoder.pending_header == (header and (header.type, header.length))
    whole = HEADER_SIZE + header.length if header else HEADER_SIZE if reading.part else 0
    assert decoder.lacking == whole - len(reading.part)


# The streams.  Short lengths are usual in them and the other ones too, so that frames are found in most.

MAX_BODY = 40
octet = st.integers(0, 255)
frames = st.builds(Frame, octet, st.binary(max_size=MAX_BODY))
lengths = st.one_of(
    st.sampled_from([0, 1, MAX_BODY - 1, MAX_BODY, MAX_BODY + 1, 2**31 - 1, 2**31, MAX_LENGTH]),
    st.integers(0, MAX_LENGTH),
)
headers = st.builds(lambda kind, length: bytes([kind]) + length.to_bytes(4, "big"), octet, lengths)
noise = st.lists(st.sampled_from([0, 0, 0, 1, 2, 5, 8, 255]), max_size=30).map(bytes)
streams = st.lists(
    st.one_of(frames.map(lambda frame: encode(*frame)), headers, noise, st.binary(max_size=12)), max_size=8
).map(b"".join)


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream, and the same in pieces, some of them empty."""
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    bounds = [0, *cuts, len(stream)]
    return stream, [stream[start:end] for start, end in itertools.pairwise(bounds)]


# Frames.


@pytest.mark.req("REQ-FRAME-1", "REQ-FRAME-2", "REQ-FRAME-3")
@given(frames)
def test_encode_builds_what_the_grammar_builds_and_parses(frame: Frame) -> None:
    octets = encode(frame.type, frame.body)
    parsed: Any = grammar.RawFrame.parse(octets)
    assert (parsed.type, parsed.length, parsed.body) == (frame.type, len(frame.body), frame.body)
    assert octets == grammar.RawFrame.build({**frame._asdict(), "length": len(frame.body)})


@pytest.mark.req("REQ-FRAME-4")
@given(st.lists(frames, max_size=8), st.binary(max_size=4))
def test_frames_come_out_as_they_went_in_with_any_trailing_octets(sent: list[Frame], rest: bytes) -> None:
    decoder = FrameDecoder(MAX_BODY)
    assert decoder.receive_data(b"".join(encode(*frame) for frame in sent) + rest) == len(sent)
    assert decoder.take_frames() == sent
    assert decoder.inside_frame == bool(rest)


@pytest.mark.req("REQ-FRAME-4", "REQ-SIZE-2", "REQ-SIZE-4")
@given(stream=streams, one_by_one=st.booleans())
@example(stream=bytes.fromhex("01 00000028"), one_by_one=True)
@example(stream=bytes.fromhex("01 00000029"), one_by_one=True)
def test_whole_streams_read_as_the_grammar_reads_them(stream: bytes, *, one_by_one: bool) -> None:
    reading = reference(stream, MAX_BODY)
    event(f"frames: {min(len(reading.frames), 3)}, refused: {reading.refused is not None}")
    decoder = FrameDecoder(MAX_BODY)
    assert decoder.receive_data(stream) == len(reading.frames)
    check(decoder, reading, one_by_one=one_by_one)


@pytest.mark.req("REQ-FRAME-4")
@given(cut=cut_streams(), one_by_one=st.booleans())
def test_pieces_read_as_the_whole(cut: tuple[bytes, list[bytes]], *, one_by_one: bool) -> None:
    stream, pieces = cut
    reading = reference(stream, MAX_BODY)
    decoder = FrameDecoder(MAX_BODY)
    try:
        completed = sum(decoder.receive_data(piece) for piece in pieces)
    except FrameTooLargeError:
        # Poisoned, with pieces still to come: only where no frame waits to be taken.
        assert reading.frames == []
        completed = 0
    assert completed == len(reading.frames)
    check(decoder, reading, one_by_one=one_by_one)


@pytest.mark.req("REQ-FRAME-4")
@given(streams)
def test_split_at_each_octet_reads_as_the_whole(stream: bytes) -> None:
    reading = reference(stream, MAX_BODY)
    for cut in range(len(stream) + 1):
        decoder = FrameDecoder(MAX_BODY)
        decoder.receive_data(stream[:cut])
        # Taking between the pieces must not change what is found.
        first, refused = take_all(decoder, one_by_one=bool(cut % 2))
        if refused is None:
            decoder.receive_data(stream[cut:])
            second, refused = take_all(decoder, one_by_one=not cut % 2)
            first += second
        assert (first, refused) == (reading.frames, reading.refused)


@pytest.mark.req("REQ-FRAME-4", "REQ-FRAME-6", "REQ-SIZE-4")
@given(streams)
def test_octet_by_octet_each_prefix_reads_as_the_grammar_reads_it(stream: bytes) -> None:
    """Frames come on their last octet, and a refusal on the fifth of its header: never sooner or later."""
    decoder = FrameDecoder(MAX_BODY)
    taken: list[Frame] = []
    for size in range(1, len(stream) + 1):
        reading = reference(stream[:size], MAX_BODY)
        decoder.receive_data(stream[size - 1 : size])
        new, refused = take_all(decoder, one_by_one=bool(size % 2))
        taken += new
        assert (taken, refused) == (reading.frames, reading.refused)
        check_part(decoder, reading)
        if refused is not None:
            break


@pytest.mark.req("REQ-ERROR-7")
@given(streams, headers, st.lists(st.tuples(st.integers(0, 2), streams), max_size=10))
def test_a_refusal_poisons_for_good(stream: bytes, header: bytes, calls: list[tuple[int, bytes]]) -> None:
    decoder = FrameDecoder(0)
    decoder.receive_data(bytes([header[0]]) + b"\x01" + header[2:] + stream)
    with pytest.raises(FrameTooLargeError) as caught:
        decoder.next_frame()
    for call, data in calls:
        with pytest.raises(FrameTooLargeError) as again:
            (decoder.next_frame, decoder.take_frames, lambda data=data: decoder.receive_data(data))[call]()
        assert again.value is caught.value
    assert not decoder.inside_frame


# Text.

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
