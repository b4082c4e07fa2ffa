"""Frames of any format, cut anywhere, are those that Construct finds; a refused header is where it is."""

# Construct's singletons are made by a decorator that pyright takes for classes.
# pyright: reportOperatorIssue=false

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import construct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framelet import (
    ConfigurationError,
    FormatFrame,
    FrameDecoder,
    FrameFormat,
    HeaderRefusedError,
    TruncatedFrameError,
    codec,
    encode,
)
from framelet.limits import MAX_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable

Int = construct.BytesInteger
LENGTHS = {
    **{name: getattr(construct, name) for name in ("Int8ub", "Int16ub", "Int16ul", "Int24ub", "Int24ul")},
    **{name: getattr(construct, name) for name in ("Int32ub", "Int32ul", "Int64ub", "Int64ul")},
}
MAX_BODY = 40


@st.composite
def formats(draw: st.DrawFn) -> tuple[FrameFormat, dict[str, st.SearchStrategy[Any]]]:
    """A format, and what its named fields may hold."""
    kinds = itertools.product((8, 16, 32, 64), "us", "bl")
    numbers = [getattr(construct, "Int{}{}{}".format(*kind)) for kind in kinds]
    fields: list[Any] = []
    values: dict[str, st.SearchStrategy[Any]] = {}
    for index in range(draw(st.integers(0, 4))):
        name, kind = f"f{index}", draw(st.sampled_from(["number", "octets", "magic", "version", "wide"]))
        if kind == "magic":
            fields.append(construct.Const(draw(st.binary(min_size=1, max_size=4))))
        elif kind == "version":
            fields.append(name / construct.Const(draw(st.integers(0, 255)), construct.Int8ub))
        elif kind == "octets":
            size = draw(st.integers(1, 5))
            fields.append(name / construct.Bytes(size))
            values[name] = st.binary(min_size=size, max_size=size)
        elif kind == "wide":
            fields.append(name / construct.Int24ub)
            values[name] = st.integers(0, 2**24 - 1)
        else:
            fields.append(name / draw(st.sampled_from(numbers)))
            values[name] = st.integers(0, 127)
    place = draw(st.integers(0, len(fields)))
    fields.insert(place, "size" / LENGTHS[draw(st.sampled_from(sorted(LENGTHS)))])
    counts: Any = draw(st.sampled_from(["body", "frame"]))
    made = FrameFormat(construct.Struct(*fields), max_body=MAX_BODY, length="size", counts=counts)
    return made, values


def judged(frame_format: FrameFormat, stream: bytes) -> tuple[list[FormatFrame], bytes, bool]:
    """The frames that Construct finds in a stream, what is left, and whether a bad header is next."""
    extra = frame_format.header_size * frame_format._counts_header
    frames: list[FormatFrame] = []
    while len(stream) >= frame_format.header_size:
        try:
            found: Any = frame_format.header.parse(stream)
        except construct.ConstructError:
            return frames, stream, True
        size = found.size - extra
        if not 0 <= size <= MAX_BODY:
            return frames, stream, True
        whole = frame_format.header_size + size
        if len(stream) < whole:
            break
        names = [
            name for name, constant in frame_format._names if name and constant is None and name != "size"
        ]
        frames.append(FormatFrame({name: found[name] for name in names}, stream[whole - size : whole]))
        stream = stream[whole:]
    return frames, stream, False


def decoded(frame_format: FrameFormat, pieces: Iterable[bytes]) -> tuple[list[FormatFrame], bytes, bool]:
    """The same by a decoder, fed until it raises."""
    decoder = frame_format.decoder()
    frames: list[FormatFrame] = []
    rest = b""
    for piece in pieces:
        if decoder.fault is not None:
            with pytest.raises(HeaderRefusedError):
                decoder.receive_data(piece)
            rest += piece  # it was not taken
            continue
        try:
            frames += decoder.receive_data(piece)
        except HeaderRefusedError:
            assert decoder.fault
    fault = decoder.fault is not None
    rest = decoder.rest + rest
    if fault or rest:
        with pytest.raises(HeaderRefusedError if fault else TruncatedFrameError):
            decoder.receive_eof()
    else:
        decoder.receive_eof()
        with pytest.raises(TruncatedFrameError):
            decoder.receive_data(b"x")
    return frames, rest, fault


@given(formats(), st.data())
def test_a_decoder_finds_what_construct_finds(
    made: tuple[FrameFormat, dict[str, st.SearchStrategy[Any]]], data: st.DataObject
) -> None:
    frame_format, values = made
    sent = data.draw(
        st.lists(
            st.builds(FormatFrame, st.fixed_dictionaries(values), st.binary(max_size=MAX_BODY)), max_size=4
        )
    )
    stream = b"".join(frame_format.encode(frame.body, **frame.header) for frame in sent)
    assert judged(frame_format, stream) == (sent, b"", False)
    trailing = data.draw(st.one_of(st.just(b""), st.binary(max_size=30)))
    if data.draw(st.booleans()) and stream:  # one octet of it is another: a fault, or another stream
        place = data.draw(st.integers(0, len(stream) - 1))
        stream = stream[:place] + data.draw(st.binary(min_size=1, max_size=1)) + stream[place + 1 :]
    stream += trailing
    expected = judged(frame_format, stream)
    assert decoded(frame_format, [stream]) == expected
    assert decoded(frame_format, [bytes([octet]) for octet in stream]) == expected
    for cut in range(len(stream) + 1):
        assert decoded(frame_format, [stream[:cut], stream[cut:]]) == expected


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=30)), max_size=5), st.binary(max_size=10))
def test_framelets_own_format_is_one_of_them(sent: list[tuple[int, bytes]], rest: bytes) -> None:
    stream = b"".join(encode(*frame) for frame in sent) + rest
    own, general = FrameDecoder(MAX_LENGTH), codec.FORMAT.decoder()
    own.receive_data(stream)
    assert [(frame.header["type"], frame.body) for frame in general.receive_data(stream)] == own.take_frames()
    assert len(general.rest) == own.size
    assert codec.FORMAT.layout is not None
    assert codec.FORMAT.layout.format == codec.HEADER.format


def test_a_length_is_refused_at_the_header_and_reserves_nothing() -> None:
    frame_format = FrameFormat(construct.Struct("length" / construct.Int64ub), max_body=2**63)
    decoder = frame_format.decoder()
    assert decoder.receive_data((2**62).to_bytes(8, "big")) == []
    for length in (2**63 + 1, 2**64 - 1):
        decoder = frame_format.decoder()
        header = length.to_bytes(8, "big")
        assert decoder.receive_data(header[:7]) == []
        with pytest.raises(HeaderRefusedError, match=f"a body of {length} octets exceeds the maximum"):
            decoder.receive_data(header[7:])
        assert decoder.rest == header


C = construct
WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no struct": (C.Int8ub, {}, "a header is a construct.Struct"),
    "signed": (C.Struct("length" / C.Int32sb), {}, "no field 'length' that is an unsigned integer"),
    "signed of three octets": (C.Struct("length" / C.BytesInteger(3, signed=True)), {}, "unsigned integer"),
    "nine octets": (C.Struct("length" / C.BytesInteger(9)), {}, "1 to 8 octets"),
    "a float": (C.Struct("length" / C.Float32b), {}, "unsigned integer"),
    "a constant": (C.Struct("length" / C.Const(5, C.Int8ub)), {}, "unsigned integer"),
    "another name": (C.Struct("size" / C.Int32ub), {}, "no field 'length'"),
    "of no fixed size": (C.Struct("length" / C.VarInt), {}, "no fixed size"),
    "a text that ends": (C.Struct("a" / C.CString("ascii"), "length" / C.Int8ub), {}, "no fixed size"),
    "counts": (C.Struct("length" / C.Int8ub), {"counts": "header"}, "counts the 'body' or the 'frame'"),
    "maximum": (C.Struct("length" / C.Int8ub), {"max_body": -1}, "max_body is -1"),
    "no number as maximum": (C.Struct("length" / C.Int8ub), {"max_body": True}, "max_body is True"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_header_of_another_kind_is_refused_at_the_start(case: str) -> None:
    header, settings, words = WRONG[case]
    with pytest.raises(ConfigurationError, match=words):
        FrameFormat(header, **{"max_body": 10, **settings})


@pytest.mark.parametrize("most", [0, 2])
def test_bodies_may_have_up_to_the_maximum_which_may_be_none(most: int) -> None:
    frame_format = FrameFormat(C.Struct("length" / C.BytesInteger(1)), max_body=most, counts="frame")
    octets = frame_format.encode(b"") + frame_format.encode(b"ab"[:most])
    assert octets == b"\1" + bytes([1 + most]) + b"ab"[:most]
    assert [frame.body for frame in frame_format.decoder().receive_data(octets)] == [b"", b"ab"[:most]]
    exceeds = f"a body of {most + 1} octets exceeds the maximum of {most}"
    with pytest.raises(ConfigurationError, match=exceeds):
        frame_format.encode(bytes(most + 1))
    for octet, words in ((0, "the length is less than the header"), (most + 2, exceeds)):
        with pytest.raises(HeaderRefusedError, match=words):
            frame_format.decoder().receive_data(bytes([octet]))


@pytest.mark.parametrize(
    ("first", "length", "layout"),
    [
        (C.Int8ub, C.Int32ub, ">BL"),
        (C.Int8ub, C.Int16ul, "<BH"),
        (C.Bytes(3), C.Int8ub, ">3sB"),
        (C.Int16ub, C.Int16ul, None),
        (C.Int8ub, C.Int24ub, None),
    ],
)
def test_a_header_is_read_by_struct_where_that_has_its_fields(
    first: Any, length: Any, layout: str | None
) -> None:
    frame_format = FrameFormat(C.Struct("first" / first, "length" / length), max_body=9)
    assert (frame_format.layout and frame_format.layout.format) == layout


@pytest.mark.parametrize(
    ("length", "words"), [(C.Int8ub, "^expected b'ab'"), (C.Int24ub, "^parsing expected b'ab'")]
)
def test_a_constant_that_differs_is_named(length: Any, words: str) -> None:
    frame_format = FrameFormat(C.Struct(C.Const(b"ab"), "length" / length), max_body=9)
    with pytest.raises(HeaderRefusedError, match=words):
        frame_format.decoder().receive_data(b"xx" + bytes(3))


def test_what_does_not_fit_is_not_sent() -> None:
    frame_format = FrameFormat(C.Struct("kind" / C.Int8ub, "length" / C.Int8ub), max_body=300)
    assert frame_format.encode(b"ab", kind=7) == b"\7\2ab"
    for body, fields in itertools.product((b"", b"x" * 256, b"x" * 301), ({}, {"kind": 256}, {"kind": 1})):
        if body or fields.get("kind") != 1:
            with pytest.raises(ConfigurationError):
                frame_format.encode(body, **fields)
    with pytest.raises(ConfigurationError, match="no field 'king'"):
        frame_format.encode(b"", kind=1, king=2)
    with pytest.raises(TypeError, match="not 'str'"):
        frame_format.encode("text", kind=1)  # type: ignore[arg-type]
