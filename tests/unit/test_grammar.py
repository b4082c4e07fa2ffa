"""The grammar: what each body may be, at its edges, and the codec's derivation from the header."""

# Construct's singletons (Int8ub) are made by a decorator that pyright takes for classes.
# pyright: reportOperatorIssue=false

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest
from construct import (
    Bytes,
    ConstructError,
    Int8ub,
    Int16ub,
    Int16ul,
    Int24ub,
    Int32ub,
    Int32ul,
    Int64ub,
    StreamError,
    Struct,
)
from tests.each import each

from framelet import HEADER_SIZE, ConnectionStateError, FrameType, TypeRange, codec, encode, grammar
from framelet.grammar import ErrorBody, Hello, HelloBody, PingBody, StoppedBody, parse_body
from framelet.registry import type_kinds

if TYPE_CHECKING:
    from types import ModuleType

BAD_UTF_8 = b"\xed\xa0\x80"

# Whole frames.

EXAMPLES: dict[FrameType | TypeRange, bytes] = {
    FrameType.REQUEST: b"a",
    FrameType.REPLY: b"a",
    FrameType.STOP: b"token",
    FrameType.STOPPED: b"closed=1 cut=0",
    FrameType.ERROR: b"400 no",
    FrameType.PING: b"ping",
    FrameType.PONG: b"ping",
    FrameType.HELLO: b"framelet/1",
    TypeRange.IGNORABLE: b"\xff\x00",
    TypeRange.APPLICATION: b"a",
}


@pytest.mark.req("REQ-FRAME-1", "REQ-TYPE-8")
@each("octet", range(256))
def test_a_frame_may_be_of_every_type_that_may_be_sent_and_of_no_other(octet: int) -> None:
    kind = type_kinds[octet]
    if kind in EXAMPLES:
        octets = encode(octet, EXAMPLES[kind])
        frame: Any = grammar.Frame.parse(octets)
        assert (frame.type, frame.length) == (octet, len(EXAMPLES[kind]))
        assert grammar.Frame.build({"type": octet, "length": frame.length, "body": frame.body}) == octets
    else:
        assert kind in (TypeRange.NEVER, TypeRange.CRITICAL)
        with pytest.raises(ConstructError):
            grammar.Frame.parse(encode(octet, b"a"))


@pytest.mark.req("REQ-TEXT-1")
@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_body_is_text_but_that_of_an_ignorable_frame(kind: FrameType | TypeRange) -> None:
    octet = min(kind.types) if isinstance(kind, TypeRange) else kind
    octets = encode(octet, EXAMPLES[kind] + BAD_UTF_8)
    if kind is TypeRange.IGNORABLE:
        frame: Any = grammar.Frame.parse(octets)
        assert frame.body == EXAMPLES[kind] + BAD_UTF_8
    else:
        with pytest.raises(ConstructError):
            grammar.Frame.parse(octets)


@pytest.mark.req("REQ-FRAME-3", "REQ-FRAME-6")
def test_a_frame_ends_where_its_length_says() -> None:
    octets = encode(0x01, b"hello")
    for size in range(len(octets)):
        with pytest.raises(StreamError):
            grammar.RawFrame.parse(octets[:size])
    frame: Any = grammar.RawFrame.parse(octets + b"more")
    assert frame.body == b"hello"


# HELLO.

HELLOS: dict[bytes, Hello] = {
    b"framelet/1": Hello(1, {}),
    b"framelet/99999": Hello(99999, {}),
    b"framelet/1 max-body=65536": Hello(1, {"max-body": "65536"}),
    b"framelet/1 max-body=4294967295": Hello(1, {"max-body": "4294967295"}),
    b"framelet/1 a=b c=d": Hello(1, {"a": "b", "c": "d"}),
    b"framelet/1 a==b=": Hello(1, {"a": "=b="}),
    b"framelet/1 x-9-z=!~": Hello(1, {"x-9-z": "!~"}),
    b"framelet/1 frame-timeout-ms=0": Hello(1, {"frame-timeout-ms": "0"}),
    b"framelet/1 idle-timeout-ms=9999999999": Hello(1, {"idle-timeout-ms": "9999999999"}),
    b"framelet/1 " + b"k" * 32 + b"=v": Hello(1, {"k" * 32: "v"}),
    b"framelet/1 a=" + b"b" * 1011: Hello(1, {"a": "b" * 1011}),  # 1,024 octets in all
}

BAD_HELLOS = [
    b"",
    b"framelet",
    b"framelet/",
    b"framelet/0",
    b"framelet/01",
    b"framelet/-1",
    b"framelet/1.0",
    b"framelet/100000",
    b"Framelet/1",
    b" framelet/1",
    b"framelet/1 ",
    b"framelet/1\n",
    b"framelet/1\0",
    b"\xef\xbb\xbfframelet/1",
    b"framelet/\xd9\xa1",  # a digit, but not an ASCII one
    b"framelet/1  a=b",
    b"framelet/1\ta=b",
    b"framelet/1 a",
    b"framelet/1 a=",
    b"framelet/1 =b",
    b"framelet/1 A=b",
    b"framelet/1 9a=b",
    b"framelet/1 -a=b",
    b"framelet/1 a_b=c",
    b"framelet/1 a=\x7f",
    b"framelet/1 a=\xc3\xa9",
    b"framelet/1 " + b"k" * 33 + b"=v",
    b"framelet/1 a=b a=b",
    b"framelet/1 max-body=65536 max-body=65536",
    b"framelet/1 max-body=65535",
    b"framelet/1 max-body=0",
    b"framelet/1 max-body=4294967296",
    b"framelet/1 max-body=99999999999",
    b"framelet/1 max-body=065536",
    b"framelet/1 max-body=+65536",
    b"framelet/1 max-body=0x10000",
    b"framelet/1 max-body=65536.0",
    b"framelet/1 max-body=many",
    b"framelet/1 frame-timeout-ms=-1",
    b"framelet/1 idle-timeout-ms=10000000000",
    b"framelet/1 a=" + b"b" * 1012,  # 1,025 octets
    BAD_UTF_8,
]


@pytest.mark.req("REQ-HELLO-1", "REQ-HELLO-2")
@pytest.mark.parametrize(("body", "hello"), HELLOS.items())
def test_a_hello_is_parsed_and_built(body: bytes, hello: Hello) -> None:
    assert parse_body(HelloBody, body) == hello
    assert HelloBody.build(hello) == body


@pytest.mark.req("REQ-HELLO-3")
@each("body", BAD_HELLOS)
def test_a_malformed_hello_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
        parse_body(HelloBody, body)


def test_a_number_out_of_its_range_is_told_the_range() -> None:
    with pytest.raises(ValueError, match=r"max-body=0 is not a number from 65536 to 4294967295$"):
        parse_body(HelloBody, b"framelet/1 max-body=0")


@pytest.mark.req("REQ-HELLO-3")
@pytest.mark.parametrize(
    "hello",
    [
        Hello(0, {}),
        Hello(100_000, {}),
        Hello(1, {"A": "b"}),
        Hello(1, {"a": ""}),
        Hello(1, {"a": "b c"}),
        Hello(1, {"max-body": "1"}),
        Hello(1, {"a": "b" * 1012}),
    ],
)
def test_a_malformed_hello_is_not_built_either(hello: Hello) -> None:
    with pytest.raises(ConstructError):
        HelloBody.build(hello)


@pytest.mark.req("REQ-HELLO-2")
@pytest.mark.parametrize("key", ["closed", "cut"])
def test_a_key_of_stopped_is_unknown_to_a_hello(key: str) -> None:
    assert parse_body(HelloBody, f"framelet/1 {key}=any".encode()) == Hello(1, {key: "any"})


# STOPPED.


@pytest.mark.req("REQ-STOP-9")
@pytest.mark.parametrize(
    ("body", "parameters"),
    [
        (b"closed=0 cut=0", {"closed": "0", "cut": "0"}),
        (b"cut=2 closed=9999999999", {"cut": "2", "closed": "9999999999"}),
        (b"a=b closed=1 c=d cut=1 e=f", {"a": "b", "closed": "1", "c": "d", "cut": "1", "e": "f"}),
    ],
)
def test_a_stopped_is_parsed_and_built(body: bytes, parameters: dict[str, str]) -> None:
    assert parse_body(StoppedBody, body) == parameters
    assert StoppedBody.build(parameters) == body


@pytest.mark.req("REQ-STOP-9")
@each(
    "body",
    [
        b"",
        b"closed=0",
        b"cut=0",
        b"closed=0 cut",
        b"closed=0 cut=",
        b"closed=x cut=0",
        b"closed=-1 cut=0",
        b"closed=00 cut=0",
        b"closed=0 cut=10000000000",
        b"closed=0 cut=0 ",
        b" closed=0 cut=0",
        b"closed=0  cut=0",
        b"closed=0 cut=0\n",
        b"closed=0 cut=0 cut=0",
        b"framelet/1 closed=0 cut=0",
        BAD_UTF_8,
    ],
)
def test_a_malformed_stopped_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
        parse_body(StoppedBody, body)


@pytest.mark.req("REQ-STOP-9")
def test_a_key_of_hello_is_unknown_to_a_stopped() -> None:
    assert parse_body(StoppedBody, b"closed=0 cut=0 max-body=any")["max-body"] == "any"


# ERROR and PING.


@pytest.mark.req("REQ-ERROR-1", "REQ-ERROR-10", "REQ-ERROR-14")
@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"400 ", 400, ""),
        (b"499 a", 499, "a"),
        (b"500  two", 500, " two"),
        ("599 é\n\0".encode(), 599, "é\n\0"),
        (b"450 " + b"x" * 1020, 450, "x" * 1020),
    ],
)
def test_an_error_is_parsed_and_built(body: bytes, code: int, text: str) -> None:
    error = parse_body(ErrorBody, body)
    assert (error.code, error.text) == (code, text)
    assert ErrorBody.build({"code": code, "text": text}) == body


@pytest.mark.req("REQ-ERROR-1", "REQ-ERROR-11", "REQ-ERROR-14")
@each(
    "body",
    [
        b"",
        b"4",
        b"400",
        b"40 x",
        b"4000 x",
        b" 400 x",
        b"400\tx",
        b"400\nx",
        b"399 x",
        b"600 x",
        b"000 x",
        b"4x0 x",
        b"4 0 x",
        b"+40 x",
        "\u0664\u0660\u0660 x".encode(),  # digits, but not ASCII ones
        b"400 " + BAD_UTF_8,
        b"450 " + b"x" * 1021,  # 1,025 octets
    ],
)
def test_a_malformed_error_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
        parse_body(ErrorBody, body)


@pytest.mark.req("REQ-PING-1", "REQ-PING-2")
def test_a_ping_holds_64_octets_of_text() -> None:
    assert parse_body(PingBody, b"") == ""
    assert parse_body(PingBody, "é".encode() * 32) == "é" * 32
    for body in (b"x" * 65, "é".encode() * 32 + b"x", BAD_UTF_8):
        with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
            parse_body(PingBody, body)


# The codec is derived from the header.


def test_the_codec_has_the_header_of_the_grammar() -> None:
    assert codec.FORMAT.layout is not None
    assert codec.HEADER.format == codec.FORMAT.layout.format
    assert grammar.FrameHeader.sizeof() == HEADER_SIZE == 5


def test_another_layout_gives_another_header() -> None:
    wide = codec._header_of(Struct("type" / Int16ub, "length" / Int64ub))
    assert wide.pack(1, 2) == bytes.fromhex("0001 0000000000000002")


@pytest.fixture
def wide_codec(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The codec's own source, imported afresh over a grammar whose header has ten octets."""
    monkeypatch.setattr(grammar, "FrameHeader", Struct("type" / Int16ub, "length" / Int64ub))
    spec = importlib.util.spec_from_file_location("framelet._wide_codec", codec.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_whole_codec_follows_a_change_of_the_grammar(wide_codec: ModuleType) -> None:
    octets = wide_codec.encode(0x0102, b"ab")
    assert wide_codec.HEADER_SIZE == 10
    assert octets == bytes.fromhex("0102 0000000000000002 6162")
    for cut in range(len(octets) + 1):
        decoder = wide_codec.FrameDecoder()
        decoder.receive_data(octets[:cut])
        decoder.receive_data(octets[cut:] + octets)
        assert decoder.take_frames() == [(0x0102, b"ab")] * 2


@pytest.mark.parametrize(
    "definition",
    [
        Struct("type" / Int8ub, "length" / Int32ul),
        Struct("type" / Int16ul, "length" / Int32ub),
        Struct("length" / Int32ub, "type" / Int8ub),
        Struct("type" / Int8ub, "size" / Int32ub),
        Struct("type" / Int8ub, "flags" / Int8ub, "length" / Int32ub),
        Struct("type" / Int8ub),
    ],
)
def test_a_header_that_the_codec_cannot_be_derived_from_is_refused(definition: Struct) -> None:
    with pytest.raises(ConnectionStateError, match="cannot be derived"):
        codec._header_of(definition)


@pytest.mark.parametrize(
    "definition",
    [Struct("type" / Bytes(1), "length" / Int32ub), Struct("type" / Int8ub, "length" / Int24ub)],
)
def test_a_header_of_fields_without_a_struct_format_is_refused(definition: Struct) -> None:
    with pytest.raises(ConnectionStateError, match="cannot be derived"):
        codec._header_of(definition)
