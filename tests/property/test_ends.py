"""The decoder and both ends on streams in which most frames are good, in any pieces, at any times.

The checks are those of the fuzzers: a model judges each event, octet, count, state and deadline.
"""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.fuzz import client_check, codec_check, inputs, server_check

from framelet import Frame, FrameTooLargeError, FrameType, encode, grammar
from framelet.codec import PatientDecoder

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = (int(kind) for kind in FrameType)
APPLICATION, IGNORABLE = 0xC0, 0x80
MAX_BODY = codec_check.MAX_BODY
MORE = settings(max_examples=4 * settings().max_examples)

octet = st.integers(0, 255)
scalars = st.one_of(
    st.sampled_from("ab\0\r\n\ufeffé\u0301😀\U0010ffff"), st.characters(exclude_categories=["Cs"])
)
bodies = st.one_of(st.text(scalars, max_size=9).map(str.encode), st.binary(max_size=6))
lengths = st.one_of(
    st.sampled_from([0, 1, MAX_BODY - 1, MAX_BODY, MAX_BODY + 1, 65_536, 65_537, 2**31, 2**32 - 1]),
    st.integers(0, 2**32 - 1),
)
headers = st.builds(lambda kind, length: bytes([kind]) + length.to_bytes(4, "big"), octet, lengths)
rest = st.one_of(headers, st.builds(encode, octet, bodies), st.binary(max_size=12), st.just(b"GET /"))


def streams(frames: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Good frames, and behind them as often as not what is none, or the end of all."""
    return st.builds(
        lambda good, bad: b"".join([*good, *bad]),
        st.lists(frames, max_size=16),
        st.lists(st.one_of(rest, frames), max_size=3),
    )


def steps(actions: int) -> st.SearchStrategy[bytes]:
    """What the program does (as often as it is read for it), and how many octets are read."""
    return st.lists(st.one_of(st.integers(0, actions - 1), st.integers(actions, 255)), max_size=24).map(bytes)


# The decoder.


@pytest.mark.req("REQ-FRAME-1", "REQ-FRAME-2", "REQ-FRAME-3")
@given(octet, st.binary(max_size=40))
def test_encode_builds_what_the_grammar_builds_and_parses(kind: int, body: bytes) -> None:
    octets = encode(kind, body)
    assert octets == grammar.RawFrame.build({"type": kind, "length": len(body), "body": body})
    assert list(inputs.frames_of(octets)) == [(0, kind, len(body), body)]


@pytest.mark.req("REQ-FRAME-4", "REQ-FRAME-6", "REQ-SIZE-2", "REQ-SIZE-4", "REQ-SIZE-5", "REQ-ERROR-7")
@MORE
@given(st.binary(max_size=12), streams(st.builds(encode, octet, st.binary(max_size=40))))
@example(b"", bytes.fromhex("01 000003e8"))
@example(b"", bytes.fromhex("01 000003e9"))
def test_the_decoder_finds_what_the_grammar_finds(taken: bytes, stream: bytes) -> None:
    codec_check.check(inputs.write(taken, stream))


@pytest.mark.req("REQ-FRAME-4", "REQ-FRAME-6", "REQ-SIZE-4")
@given(streams(st.builds(encode, octet, st.binary(max_size=8))))
def test_also_octet_by_octet_and_cut_in_two_anywhere(stream: bytes) -> None:
    stream = stream[:100]
    codec_check.check(inputs.write(b"\x41" * len(stream), stream))
    for cut in range(min(len(stream), 32)):
        codec_check.check(inputs.write(bytes([cut | 0x80]), stream))


@pytest.mark.req("REQ-FRAME-4", "REQ-SIZE-4")
@given(st.lists(st.binary(max_size=3), max_size=12), streams(rest), st.integers(1, 40), st.data())
def test_frames_that_wait_as_octets_are_the_same_frames(
    small: list[bytes], tail: bytes, size: int, data: st.DataObject
) -> None:
    stream = b"".join(encode(1, body) for body in small) + tail
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    takes = data.draw(st.lists(st.booleans(), max_size=len(pieces)))
    at_once, one_by_one = data.draw(st.sampled_from([0, 12, 4_096])), data.draw(st.booleans())
    reading = codec_check.Reading(stream)
    patient = type("Patient", (PatientDecoder,), {"_at_once": at_once, "__slots__": ()})
    decoder, count = patient(MAX_BODY), 0
    taken: list[Frame] = []
    for piece, take in itertools.zip_longest(pieces, takes):
        with contextlib.suppress(FrameTooLargeError):
            count += decoder.receive_data(piece)
        if take and decoder.frames:
            taken.append(Frame(*decoder.pop()))
        assert decoder.held >= decoder.size
    assert count == len(reading.frames)
    if decoder.frames:
        decoder.put_back(encode(*decoder.pop()))
    refused = reading.refused(len(stream))
    assert [*taken, *codec_check.take(decoder, refused, one_by_one=one_by_one)] == reading.frames
    codec_check.check_part(decoder, reading, len(stream))


# The server's end.

asking = st.one_of(
    st.builds(encode, st.just(REQUEST), bodies),
    st.builds(encode, st.sampled_from([REQUEST, APPLICATION, IGNORABLE, PING, STOP]), bodies),
    st.builds(encode, st.just(REQUEST), st.text("abc", max_size=200).map(str.encode)),
    st.sampled_from([encode(PING, bytes(64)), encode(PING, bytes(65)), encode(STOP, b"yes"), encode(STOP)]),
    st.sampled_from([encode(HELLO, b"framelet/1"), encode(HELLO, b"framelet/2"), encode(HELLO, b"x")]),
)
large = st.sampled_from([encode(REQUEST, b"ab" * 32_768), encode(REQUEST, "\u6f22".encode() * 9_000)])


@pytest.mark.req("REQ-ORDER-1", "REQ-ORDER-2", "REQ-ORDER-3", "REQ-FRAME-4", "REQ-STATE-1", "REQ-TEXT-2")
@pytest.mark.req("REQ-ERROR-5", "REQ-ERROR-6", "REQ-ERROR-7", "REQ-ERROR-9", "REQ-STOP-7", "REQ-STOP-10")
@pytest.mark.req("REQ-CLOSE-1", "REQ-CLOSE-2", "REQ-CLOSE-3", "REQ-CLOSE-4", "REQ-REV-1")
@pytest.mark.req("REQ-TIME-1", "REQ-TIME-2", "REQ-TIME-3", "REQ-TIME-4")
@MORE
@given(steps(13), streams(st.one_of(asking, asking, asking, large)))
@example(bytes([127, 1]), encode(REQUEST, b"ab") + encode(PING) + encode(REQUEST, b"cd"))
@example(bytes([53, 0]), encode(REQUEST, b"ab") * 9)
@example(bytes([17, 9]), encode(APPLICATION) + encode(REQUEST, b"ab") * 2)
@example(bytes([127, 6, 7, 11]), encode(REQUEST, b"ab" * 32_768))
def test_a_server_does_what_its_model_does(taken: bytes, stream: bytes) -> None:
    server_check.check(inputs.write(taken, stream))


# The client's end.

answers = {
    REQUEST: st.builds(encode, st.just(REPLY), bodies),
    STOP: st.sampled_from([encode(STOPPED, b"closed=1 cut=2"), encode(ERROR, b"403 no")]),
    HELLO: st.sampled_from([encode(HELLO, b"framelet/1 max-body=65536"), encode(HELLO, b"framelet/2")]),
    APPLICATION: st.builds(encode, st.just(APPLICATION), bodies),
    PING: st.nothing(),
}
others = st.one_of(
    st.builds(encode, st.just(IGNORABLE), bodies),
    st.sampled_from([encode(ERROR, b"430 no"), encode(ERROR, b"500 no"), encode(ERROR, b"none")]),
    rest,
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Steps that ask, and the answers in their order; now and then another frame between them."""
    asked = draw(st.lists(st.integers(0, len(client_check.ASKING) - 1), max_size=12))
    stream = b""
    for step in asked:
        kind, text = client_check.ASKING[step]
        if draw(st.integers(0, 9)) == 0:
            stream += draw(others)
        stream += encode(PONG, text.encode()) if kind == PING else draw(answers[kind])
    return bytes(asked), stream + draw(st.one_of(st.just(b""), others))


@pytest.mark.req("REQ-ORDER-6", "REQ-ORDER-7", "REQ-ERROR-12", "REQ-FRAME-4", "REQ-STATE-1", "REQ-TIME-6")
@MORE
@given(conversations(), steps(14))
def test_a_client_does_what_its_model_does(said: tuple[bytes, bytes], taken: bytes) -> None:
    asked, stream = said
    client_check.check(inputs.write(asked + taken, stream))
