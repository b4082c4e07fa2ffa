"""Frames to octets and back: layout, text, cuts, limits, poisoning, memory."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from tests.each import each

from framelet import (
    HEADER_SIZE,
    ConfigurationError,
    ConnectionStateError,
    Frame,
    FrameDecoder,
    FrameTooLargeError,
    IllFormedTextError,
    codec,
    decode_text,
    encode,
    encode_text,
    grammar,
)
from framelet.limits import DEFAULT_MAX_BODY, MAX_LENGTH, MIN_MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

STREAM = b"".join(
    [
        bytes.fromhex("01 00000005 68656c6c6f"),
        bytes.fromhex("06 00000000"),
        bytes.fromhex("80 00000003 ff00fe"),
        bytes.fromhex("ff 00000001 05"),
    ]
)
FRAMES = [Frame(0x01, b"hello"), Frame(0x06, b""), Frame(0x80, b"\xff\x00\xfe"), Frame(0xFF, b"\x05")]


class Announced(bytes):
    """A body that says it has ``length`` octets and holds none: the largest sizes without their memory."""

    __slots__ = ()
    length = 0

    def __len__(self) -> int:
        return self.length


def announced(length: int) -> bytes:
    body: bytes = type("Announced", (Announced,), {"length": length, "__slots__": ()})()
    return body


def fed(*pieces: bytes, max_body: int = DEFAULT_MAX_BODY) -> FrameDecoder:
    decoder = FrameDecoder(max_body)
    for piece in pieces:
        decoder.receive_data(piece)
    return decoder


# Building.


@pytest.mark.req("REQ-FRAME-1", "REQ-FRAME-2", "REQ-FRAME-3")
def test_encode_is_type_then_big_endian_length_then_body() -> None:
    assert encode(0x01, b"hello") == bytes.fromhex("0100000005") + b"hello"
    assert encode(0xFF) == bytes.fromhex("ff00000000")
    assert encode(0x02, bytes(0x010203))[:HEADER_SIZE] == bytes.fromhex("0200010203")


@pytest.mark.req("REQ-FRAME-1")
@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536])
def test_encode_is_what_the_grammar_builds_for_every_type(size: int) -> None:
    body = bytes(size)
    for frame_type in range(256):
        assert encode(frame_type, body) == grammar.RawFrame.build(
            {"type": frame_type, "length": size, "body": body}
        )


@pytest.mark.req("REQ-FRAME-2")
def test_encode_takes_every_length_that_a_header_can_state_and_no_other() -> None:
    assert encode(0x01, announced(MAX_LENGTH)) == bytes.fromhex("01ffffffff")
    with pytest.raises(FrameTooLargeError) as caught:
        encode(0x01, announced(MAX_LENGTH + 1))
    assert (caught.value.type, caught.value.length) == (0x01, 2**32)


@pytest.mark.parametrize("frame_type", [-1, 256, 2**40, "01", None])
def test_a_type_that_is_no_octet_is_an_error_of_ours_that_says_so(frame_type: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        encode(frame_type, b"ab")
    assert str(caught.value) == f"a frame type is a number from 0 to 255, not {frame_type!r}"


# Text.

ILL_FORMED = {
    "continuation alone": b"\x80",
    "overlong in two": b"\xc0\x80",
    "overlong in two, last": b"\xc1\xbf",
    "overlong in three": b"\xe0\x9f\xbf",
    "overlong in four": b"\xf0\x8f\xbf\xbf",
    "first surrogate": b"\xed\xa0\x80",
    "last surrogate": b"\xed\xbf\xbf",
    "surrogate pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "five octets": b"\xf8\x88\x80\x80\x80",
    "never in UTF-8": b"\xff",
    "cut in two": b"\xc3",
    "cut in three": b"\xe2\x82",
    "cut in four": b"\xf0\x9f\x98",
}


@pytest.mark.req("REQ-TEXT-1", "REQ-TEXT-2", "REQ-TEXT-3")
@each("octets", ILL_FORMED.values())
def test_ill_formed_text_is_refused_at_its_first_bad_octet_and_never_repaired(octets: bytes) -> None:
    for before, behind in [(b"", b""), (b"ok \xe2\x82\xac ", b" ok")]:
        with pytest.raises(IllFormedTextError, match=f"at octet {len(before)} of the body"):
            decode_text(before + octets + behind)


@pytest.mark.req("REQ-TEXT-1", "REQ-TEXT-2")
def test_the_edges_of_well_formed_text_are_accepted() -> None:
    edges = "\x00\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"
    octets = bytes.fromhex("00 7f c280 dfbf e0a080 ed9fbf ee8080 efbfbf f0908080 f48fbfbf")
    assert decode_text(octets) == edges
    assert encode_text(edges) == octets


@pytest.mark.req("REQ-TEXT-4", "REQ-TEXT-5")
@pytest.mark.parametrize(
    "text", ["\0a\0", "\ufeffa\ufeff", "a\r\nb\rc\n", "\ufdd0\ufffe\U0010ffff", "e\u0301 \u00e9", " \t "]
)
def test_text_is_kept_octet_for_octet(text: str) -> None:
    assert decode_text(encode_text(text)) == text
    assert encode_text(decode_text(text.encode())) == text.encode()


@pytest.mark.req("REQ-TEXT-1")
@pytest.mark.parametrize("surrogates", [[0xD800], [0xDBFF], [0xDC00], [0xDFFF], [0xD83D, 0xDE00]])
def test_a_text_with_surrogates_is_not_encoded(surrogates: list[int]) -> None:
    with pytest.raises(IllFormedTextError, match="at index 2"):
        encode_text("ab" + "".join(map(chr, surrogates)))


@pytest.mark.parametrize("text", [5, None, b"ab"])
def test_what_is_no_text_is_not_encoded(text: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"a text must be a str, not {type(text).__name__}"):
        encode_text(text)


# Finding the frames.


@pytest.mark.req("REQ-FRAME-4")
def test_decoder_finds_the_frames_of_a_whole_stream() -> None:
    decoder = FrameDecoder()
    assert decoder.receive_data(STREAM) == len(FRAMES)
    assert not decoder.inside_frame
    assert decoder.take_frames() == FRAMES
    assert decoder.take_frames() == []


@pytest.mark.req("REQ-FRAME-4")
@each("cut", range(len(STREAM) + 1))
def test_decoder_finds_the_same_frames_split_at_each_octet(cut: int) -> None:
    assert fed(STREAM[:cut], STREAM[cut:]).take_frames() == FRAMES


@pytest.mark.req("REQ-FRAME-4", "REQ-FRAME-6")
def test_decoder_octet_by_octet_gives_each_frame_on_its_last_octet() -> None:
    decoder, ends, end = FrameDecoder(), [], 0
    for frame in FRAMES:
        end += HEADER_SIZE + len(frame.body)
        ends.append(end)
    for position, octet in enumerate(STREAM, start=1):
        assert decoder.receive_data(bytes([octet])) == (position in ends)
        assert decoder.inside_frame == (position not in ends)
    assert decoder.take_frames() == FRAMES


def test_next_frame_gives_the_frames_that_take_frames_gives() -> None:
    decoder = fed(STREAM)
    assert [decoder.next_frame() for _ in FRAMES] == FRAMES
    assert decoder.next_frame() is None
    mixed = fed(STREAM)
    assert [mixed.next_frame(), *mixed.take_frames(), mixed.next_frame()] == [*FRAMES, None]


@pytest.mark.req("REQ-FRAME-6")
@pytest.mark.parametrize("trailing", range(1, 9))
def test_trailing_octets_are_no_frame_and_their_header_is_known_once_whole(trailing: int) -> None:
    part = bytes.fromhex("01 00000005 68656c")[:trailing]
    for decoder in (fed(STREAM + part), fed(STREAM, part)):
        assert decoder.take_frames() == FRAMES
        assert decoder.next_frame() is None
        assert decoder.inside_frame
        assert decoder.pending_header == ((0x01, 5) if trailing >= HEADER_SIZE else None)


def test_pending_header_goes_when_its_frame_is_whole() -> None:
    decoder = fed(STREAM[:7])
    assert decoder.pending_header == (0x01, 5)
    decoder.receive_data(STREAM[7:10])
    assert decoder.pending_header is None
    assert not decoder.inside_frame


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_decoder_takes_any_buffer_and_does_not_look_at_it_again(kind: Callable[[bytearray], Any]) -> None:
    for cut in range(len(STREAM)):
        decoder = FrameDecoder()
        for piece in (STREAM[:cut], STREAM[cut:]):
            buffer = bytearray(piece)
            decoder.receive_data(kind(buffer))
            buffer[:] = bytes(len(buffer))  # as a program does that receives into one buffer again and again
        frames = decoder.take_frames()
        assert frames == FRAMES
        assert all(type(frame.body) is bytes for frame in frames)


def test_decoder_takes_no_number_for_so_many_octets() -> None:
    with pytest.raises(TypeError, match="not 'int'"):
        FrameDecoder().receive_data(12)  # type: ignore[arg-type]


def test_decoder_counts_a_buffer_of_wide_items_in_octets() -> None:
    octets = encode(0x01, b"abcdefg") * 2
    decoder = fed(octets[:8])
    decoder.receive_data(memoryview(octets[8:]).cast("H"))
    assert decoder.take_frames() == [Frame(0x01, b"abcdefg")] * 2


@pytest.mark.req("REQ-FRAME-4")
def test_an_empty_piece_changes_nothing() -> None:
    decoder = FrameDecoder()
    for octet in STREAM:
        assert decoder.receive_data(b"") == 0
        decoder.receive_data(bytes([octet]))
    assert decoder.take_frames() == FRAMES


# Limits.  Lengths around each limit; what is refused never sees a body.

EDGES = [0, 1, MIN_MAX_BODY - 1, MIN_MAX_BODY, MIN_MAX_BODY + 1, DEFAULT_MAX_BODY - 1, DEFAULT_MAX_BODY]
EDGES += [DEFAULT_MAX_BODY + 1, 2**31 - 1, 2**31, MAX_LENGTH - 1, MAX_LENGTH]


@pytest.mark.req("REQ-SIZE-1", "REQ-SIZE-2", "REQ-SIZE-4")
@each("whole", [True, False])
@each("max_body", [MIN_MAX_BODY, DEFAULT_MAX_BODY, 2**31 - 1, 2**31, MAX_LENGTH])
@each("length", EDGES)
def test_a_length_is_refused_on_the_fifth_octet_exactly_when_above_the_maximum(
    length: int, max_body: int, *, whole: bool
) -> None:
    header = b"\x01" + length.to_bytes(4, "big")
    decoder = fed(*([header[:4]] if whole else [header[i : i + 1] for i in range(4)]), max_body=max_body)
    assert decoder.next_frame() is None
    assert decoder.inside_frame
    decoder.receive_data(header[4:])
    if length <= max_body:
        assert decoder.next_frame() == (Frame(0x01, b"") if length == 0 else None)
        return
    with pytest.raises(FrameTooLargeError) as caught:
        decoder.next_frame()
    assert (caught.value.type, caught.value.length) == (0x01, length)
    assert not decoder.inside_frame


@pytest.mark.req("REQ-SIZE-2")
@pytest.mark.parametrize("length", [MIN_MAX_BODY - 1, MIN_MAX_BODY])
def test_bodies_up_to_the_maximum_arrive(length: int) -> None:
    body = bytes(range(256)) * 257
    octets = encode(0x01, body[:length])
    assert fed(octets, max_body=MIN_MAX_BODY).take_frames() == [Frame(0x01, body[:length])]
    assert fed(octets[:-1], octets[-1:], max_body=MIN_MAX_BODY).next_frame() == Frame(0x01, body[:length])


@pytest.mark.req("REQ-SIZE-3")
def test_the_default_maximum_is_16_mebibyte() -> None:
    assert FrameDecoder().receive_data(b"\x01" + (16_777_216).to_bytes(4, "big")) == 0
    with pytest.raises(FrameTooLargeError, match="16777217 octets exceeds the maximum of 16777216"):
        fed(b"\x01" + (16_777_217).to_bytes(4, "big")).take_frames()


# Poisoning.

TOO_LARGE = bytes.fromhex("c0 ffffffff")


@pytest.mark.req("REQ-SIZE-4", "REQ-ERROR-7")
@pytest.mark.parametrize("pieces", [[STREAM + TOO_LARGE + STREAM], [STREAM + TOO_LARGE[:2], TOO_LARGE[2:]]])
def test_frames_before_a_refused_header_can_be_taken_and_then_every_call_raises_it(
    pieces: list[bytes],
) -> None:
    decoder = fed(*pieces)
    assert decoder.next_frame() == FRAMES[0]
    assert decoder.receive_data(STREAM) == 0  # dropped: what follows the header has no meaning
    assert decoder.take_frames() == FRAMES[1:]
    errors: list[FrameTooLargeError] = []
    calls: list[Callable[[], object]] = [
        decoder.take_frames,
        decoder.next_frame,
        lambda: decoder.receive_data(STREAM),
        lambda: decoder.receive_data(b""),
        decoder.next_frame,
        decoder.take_frames,
    ]
    for call in calls:
        with pytest.raises(FrameTooLargeError) as caught:
            call()
        errors.append(caught.value)
    assert all(error is errors[0] for error in errors)
    assert (errors[0].type, errors[0].length) == (0xC0, MAX_LENGTH)


class OneByOne(codec.PatientDecoder):
    """Makes no frame before the one that it has made is taken."""

    __slots__ = ()
    _at_once = 0


@pytest.mark.req("REQ-FRAME-4", "REQ-SIZE-4")
@each("rest", [b"", STREAM[:3], STREAM[:7], TOO_LARGE])
@each("cut", range(len(STREAM) + 1))
def test_frames_that_have_to_wait_are_the_same(cut: int, rest: bytes) -> None:
    decoder = OneByOne(len(b"hello"))
    assert decoder.receive_data(encode(0x01) * 2) == 2  # all others then wait as octets
    count = decoder.receive_data(STREAM[:cut]) + decoder.receive_data(STREAM[cut:] + rest)
    assert [decoder.next_frame(), decoder.next_frame()] == [(0x01, b"")] * 2
    assert (count, [decoder.next_frame() for _ in FRAMES]) == (len(FRAMES), FRAMES)
    assert (decoder.inside_frame, decoder.size) == (
        (True, len(rest)) if rest in STREAM and rest else (False, 0)
    )
    if rest == TOO_LARGE:
        with pytest.raises(FrameTooLargeError):
            decoder.next_frame()


# Memory and work.


def test_frames_that_wait_keep_half_as_much_again_in_memory_and_are_seldom_copied() -> None:
    octets, copied, last = encode(0x01, bytes(11)) * 65_536, 0, None
    decoder = codec.PatientDecoder()
    decoder.receive_data(octets)
    while decoder.pop() and decoder._rest:
        left = decoder._rest[0]
        assert isinstance(left, memoryview)
        assert isinstance(left.obj, bytes)
        assert len(left.obj) <= 1.5 * len(left)
        copied += 0 if left.obj is last else len(left.obj)
        last = left.obj
    assert copied < 4 * len(octets)


def grown_by(action: Callable[[], object]) -> int:
    """Octets that an action takes at its peak, beyond what was in use before."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    action()
    return tracemalloc.get_traced_memory()[1] - before


@pytest.fixture
def traced_memory() -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced_memory")
@pytest.mark.req("REQ-SIZE-5")
@pytest.mark.uncounted
def test_a_header_that_claims_the_maximum_reserves_nothing() -> None:
    decoder = FrameDecoder(MAX_LENGTH)
    assert grown_by(lambda: decoder.receive_data(b"\x01\xff\xff\xff\xff")) < 2_000
    assert grown_by(lambda: decoder.receive_data(bytes(1_000))) < 10_000
    assert decoder.pending_header == (0x01, MAX_LENGTH)


@pytest.mark.usefixtures("traced_memory")
@pytest.mark.parametrize("piece", [1_024, 65_536])
def test_a_large_body_in_small_pieces_allocates_in_proportion_to_its_size(piece: int) -> None:
    size = 4 * 1_048_576
    octets = memoryview(encode(0x01, bytes(size)))
    decoder = FrameDecoder()
    pieces = [octets[start : start + piece] for start in range(0, len(octets), piece)]
    before = tracemalloc.get_traced_memory()[0]
    allocated, peak = 0, 0
    for part in pieces:
        step = grown_by(lambda part=part: decoder.receive_data(part))  # type: ignore[misc] # a default binds it
        allocated += step
        peak = max(peak, tracemalloc.get_traced_memory()[1] - before)
    # Joining each piece to all before it would allocate size * pieces / 2 octets in all.
    assert allocated < 4 * size
    assert peak < 3 * size
    assert decoder.take_frames() == [Frame(0x01, bytes(size))]


@pytest.mark.usefixtures("traced_memory")
def test_many_frames_cut_inside_allocate_in_proportion_to_their_size() -> None:
    octets = encode(0x01, b"x" * 60) * 20_000
    cuts = [octets[start : start + 65_537] for start in range(0, len(octets), 65_537)]
    decoder = FrameDecoder()
    frames = 0
    for piece in cuts:
        # Each body is an object of its own, hence some 200 octets for 65.
        assert grown_by(lambda piece=piece: decoder.receive_data(piece)) < 8 * len(piece)  # type: ignore[misc] # a default binds it
        frames += len(decoder.take_frames())
    assert frames == 20_000


def test_each_piece_of_a_body_costs_the_same_few_calls_and_the_header_is_read_once() -> None:
    pieces = [bytes((octet,)) for octet in encode(0x01, bytes(10_000))]
    decoder, calls = FrameDecoder(), Counter[str]()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            calls[frame.f_code.co_name] += 1
        elif event == "c_call":
            calls[argument.__name__] += 1

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        for piece in pieces:
            decoder.receive_data(piece)
    finally:
        sys.setprofile(previous)
    assert calls["receive_data"] == len(pieces)
    assert calls["unpack_from"] == 1
    assert calls.total() < 10 * len(pieces)
    assert decoder.take_frames() == [Frame(0x01, bytes(10_000))]


def test_what_a_decoder_holds_is_counted_with_its_objects() -> None:
    decoder, frame = FrameDecoder(), encode(0x01, b"abc")
    decoder.receive_data(frame[:3])
    assert (decoder.held, decoder.size, decoder.lacking) == (3, 3, 2)
    decoder.receive_data(frame[3:7])
    assert (decoder.held, decoder.size, decoder.lacking) == (7 + codec._BODY, 7, 1)
    decoder.receive_data(frame[7:] + frame + frame[:2])
    assert (decoder.held, decoder.size, decoder.lacking) == (18 + codec._QUEUE + 2 * codec._FRAME, 18, 3)
    assert repr(decoder) == "<FrameDecoder 2 frames, 2 octets of the next>"
    decoder.pop()
    assert (decoder.held, decoder.size) == (10 + codec._QUEUE + codec._FRAME, 10)
    decoder.pop()
    assert (decoder.held, decoder.size, decoder.lacking) == (2, 2, 3)
    patient = OneByOne()
    patient.receive_data(frame * 3)
    ready = len(patient.frames or ())
    waiting = ready + len(patient._rest or ())
    assert (patient.held, waiting > ready) == (24 + codec._QUEUE + waiting * codec._FRAME, True)
    assert [(patient.pop(), patient.size) for _ in range(3)] == [
        ((0x01, b"abc"), left) for left in (16, 8, 0)
    ]


def test_a_decoder_is_at_rest_where_nothing_has_begun_waits_or_was_refused() -> None:
    frame, decoder = encode(0x01, b"ab"), FrameDecoder(MIN_MAX_BODY)
    with pytest.raises(ConnectionStateError, match="there is no complete frame"):
        decoder.pop()
    assert decoder.at_rest
    for piece, waits in ((frame, True), (frame[:3], False), (frame[3:6], False), (frame[6:], True)):
        decoder.receive_data(piece)
        assert not decoder.at_rest
        if waits:
            assert decoder.pop() == (0x01, b"ab")
            assert decoder.at_rest
    for piece in (frame, frame[:3], frame[:6], TOO_LARGE):
        decoder.receive_data(piece)
        assert not decoder.at_rest
        decoder.clear()
        assert (decoder.at_rest, decoder.size, decoder.frames) == (True, 0, None)
