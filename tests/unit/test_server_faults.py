"""Fatal errors at the server's end: when they come, what goes before them, and that nothing follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.each import each

from framelet import (
    ConfigurationError,
    ConnectionStateError,
    ErrorCode,
    ErrorReceivedError,
    FrameRefused,
    FrameType,
    RequestReceived,
    State,
    TypeRange,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Server

    from framelet import ServerEvent

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = (int(kind) for kind in FrameType)
APPLICATION, IGNORABLE = 0xC0, 0x80
MAX_BODY = 65_536


def header(frame_type: int, length: int) -> bytes:
    return bytes([frame_type]) + length.to_bytes(4, "big")


def refusal(events: list[ServerEvent]) -> int:
    """The code of the one refusal that there is."""
    (event,) = events
    assert isinstance(event, FrameRefused)
    return event.error.code


# By type.

UNKNOWN = sorted(TypeRange.NEVER.types | TypeRange.CRITICAL.types)
BAD_TYPES = [(octet, 501) for octet in UNKNOWN] + [(REPLY, 502), (STOPPED, 502), (PONG, 502)]


@pytest.mark.req("REQ-TYPE-1", "REQ-TYPE-2", "REQ-ERROR-2", "REQ-ERROR-8")
@each("frame_type code", BAD_TYPES)
def test_a_bad_type_is_refused_with_the_header_and_not_before(
    make_server: Callable[..., Server], frame_type: int, code: int
) -> None:
    server = make_server()
    octets = header(frame_type, 10)
    assert server.receive(octets[:4]) == []
    assert server.state is State.OPEN
    assert refusal(server.receive(octets[4:])) == code
    assert server.answers() == [(ERROR, code)]
    assert server.finished


@pytest.mark.req("REQ-TYPE-1", "REQ-TYPE-2")
@each("body", [b"", b"x", b"\xff", b"framelet/1"])
@each("frame_type code", [(0x00, 501), (0x09, 501), (0x47, 501), (PONG, 502)])
def test_a_bad_type_is_refused_with_its_whole_frame_too(
    make_server: Callable[..., Server], frame_type: int, code: int, body: bytes
) -> None:
    server = make_server()
    assert refusal(server.receive(encode(frame_type, body))) == code
    assert server.answers() == [(ERROR, code)]


@pytest.mark.req("REQ-ERROR-3")
@each("frame_type code", [(0x00, 501), (0x53, 501), (0x7F, 501), (REPLY, 502)])
@each("length", [MAX_BODY + 1, 2**31, 2**32 - 1])
def test_a_bad_type_goes_before_a_bad_length(
    make_server: Callable[..., Server], frame_type: int, code: int, length: int
) -> None:
    server = make_server()
    assert refusal(server.receive(header(frame_type, length))) == code
    assert server.answers() == [(ERROR, code)]


@pytest.mark.parametrize(
    ("octets", "word"),
    [
        (b"GET / HTTP/1.1\r\n", b"HTTP"),
        (b"POST /", b"HTTP"),
        (b"SSH-2.0-x", b"SSH"),
        (b"\x16\3\1\0\1", b"TLS"),
    ],
)
@pytest.mark.req("REQ-TYPE-1")
def test_the_text_of_the_error_names_the_other_protocol(server: Server, octets: bytes, word: bytes) -> None:
    server.receive(octets)
    output = server.data_to_send(0.0)
    assert output[5:9] == b"501 "
    assert word in output


# By length.


@pytest.mark.req("REQ-SIZE-2", "REQ-SIZE-4", "REQ-TYPE-4")
@each("length", [MAX_BODY + 1, 2**31 - 1, 2**31, 2**32 - 1])
@each("frame_type", [REQUEST, STOP, PING, HELLO, IGNORABLE, APPLICATION])
def test_a_frame_too_large_is_refused_on_the_fifth_octet(
    make_server: Callable[..., Server], frame_type: int, length: int
) -> None:
    server = make_server()
    octets = header(frame_type, length)
    assert server.receive(*(octets[i : i + 1] for i in range(4))) == []
    assert refusal(server.receive(octets[4:])) == 503
    assert server.answers() == [(ERROR, 503)]
    assert server.finished


@pytest.mark.req("REQ-SIZE-1", "REQ-SIZE-2")
@pytest.mark.parametrize("length", [MAX_BODY - 1, MAX_BODY])
def test_a_frame_of_up_to_the_maximum_is_taken(server: Server, length: int) -> None:
    assert server.receive(encode(REQUEST, b"x" * length)) == [RequestReceived("x" * length)]


# An ERROR from the client.


@pytest.mark.req("REQ-ERROR-9")
@pytest.mark.parametrize(
    "octets",
    [
        encode(ERROR, b"400 no"),
        encode(ERROR, b"500 no"),
        encode(ERROR, b"\xff"),
        encode(ERROR),
        header(ERROR, 10),
        header(ERROR, MAX_BODY + 1),
        header(ERROR, 2**32 - 1),
    ],
)
def test_an_error_is_never_answered_by_an_error(server: Server, octets: bytes) -> None:
    (event,) = server.receive(octets)
    assert isinstance(event, FrameRefused)
    assert isinstance(event.error, ErrorReceivedError)
    assert (server.answers(), server.state, server.finished) == ([], State.CLOSING, True)
    assert server.receive(header(0x00, 0), encode(PING)) == []
    assert server.answers() == []


@pytest.mark.req("REQ-ERROR-9", "REQ-ERROR-5")
def test_frames_before_an_error_are_answered_and_the_error_still_is_not(server: Server) -> None:
    server.receive(encode(REQUEST) + encode(PING, b"x") + encode(ERROR, b"400 no") + encode(PING))
    assert not server.finished
    server.refuse(ErrorCode.HANDLER_FAILED)
    assert server.answers() == [(ERROR, 450), (PONG, "x")]
    assert server.finished


@pytest.mark.req("REQ-ERROR-9")
def test_a_server_that_received_an_error_and_then_fails_sends_none(server: Server) -> None:
    server.receive(encode(REQUEST) + encode(ERROR, b"400 no"))
    server.fail(ErrorCode.INTERNAL_ERROR)
    assert (server.answers(), server.finished) == ([], True)


@pytest.mark.req("REQ-ERROR-9")
def test_a_server_that_received_an_error_answers_fails_and_sends_none(server: Server) -> None:
    server.receive(encode(REQUEST) + encode(PING) + encode(REQUEST) + encode(ERROR, b"400 no"))
    server.reply("x")
    server.fail(ErrorCode.INTERNAL_ERROR)
    assert server.answers() == [(REPLY, "x"), (PONG, "")]


# What is around the fault.

FAULTS = {
    "unknown type": (header(0x00, 0), 501),
    "unknown type, header only": (header(0x47, 9), 501),
    "unexpected type": (header(REPLY, 0), 502),
    "too large": (header(REQUEST, 2**32 - 1), 503),
}
each_fault = pytest.mark.parametrize(("fault", "code"), FAULTS.values(), ids=FAULTS)


@each_fault
@pytest.mark.req("REQ-ERROR-5", "REQ-ORDER-2")
def test_what_was_received_before_a_fault_is_answered_before_it(
    server: Server, fault: bytes, code: int
) -> None:
    before = encode(PING, b"1") + encode(REQUEST, b"2") + encode(PING, b"3") + encode(REQUEST, b"4")
    assert refusal(server.receive(before + fault)[2:]) == code
    assert (server.answers(), server.owes, server.state) == ([(PONG, "1")], 4, State.DRAINING)
    server.reply("two")
    assert (server.answers(), server.finished) == ([(REPLY, "two"), (PONG, "3")], False)
    server.reply("four")
    assert (server.answers(), server.finished) == ([(REPLY, "four"), (ERROR, code)], True)


@each_fault
@pytest.mark.req("REQ-ERROR-5", "REQ-ERROR-4")
def test_a_recoverable_error_stands_before_a_fatal_one(server: Server, fault: bytes, code: int) -> None:
    server.receive(encode(REQUEST, b"\xff") + encode(PING, bytes(65)) + fault)
    assert server.answers() == [(ERROR, 400), (ERROR, 413), (ERROR, code)]
    assert server.errors == {ErrorCode(400): 1, ErrorCode(413): 1, ErrorCode(code): 1}


@each("fault code", FAULTS.values())
@pytest.mark.req("REQ-ERROR-7", "REQ-ERROR-6")
@each("owed", [True, False])
@each("one_piece", [True, False])
def test_nothing_behind_a_fault_is_acted_on(
    make_server: Callable[..., Server], fault: bytes, code: int, *, owed: bool, one_piece: bool
) -> None:
    server = make_server()
    behind = encode(REQUEST, b"x") + encode(PING, b"x") + encode(STOP) + header(0x00, 0) + encode(ERROR)
    first = (encode(REQUEST, b"first") if owed else b"") + fault
    events = server.receive(first + behind) if one_piece else server.receive(first, behind, behind)
    assert refusal(events[owed:]) == code
    if owed:
        server.reply("one")
    assert server.answers() == [(REPLY, "one")] * owed + [(ERROR, code)]
    assert server.receive(behind) == []
    assert (server.answers(), server.owes, server.finished) == ([], 0, True)


def test_what_is_discarded_is_octets_too(server: Server) -> None:
    server.receive(header(0x00, 0))
    with pytest.raises(TypeError, match="not 'int'"):
        server.receive_data(12, 0.0)  # type: ignore[arg-type]


@each_fault
@pytest.mark.req("REQ-ERROR-6")
@pytest.mark.parametrize("owed", [True, False], ids=["owing", "owing nothing"])
def test_there_is_at_most_one_fatal_error(server: Server, fault: bytes, code: int, *, owed: bool) -> None:
    server.receive((encode(REQUEST) if owed else b"") + fault)
    server.receive(fault, fault)
    assert server.pass_time(1e9) == []
    if owed:
        server.reply("")
    server.fail(ErrorCode.INTERNAL_ERROR)
    server.receive(fault)
    assert server.answers(1e9) == [(REPLY, "")] * owed + [(ERROR, code)]
    server.pass_time(2e9)
    assert server.end() == []
    assert server.answers(2e9) == []


@pytest.mark.req("REQ-ERROR-6", "REQ-SIZE-4")
def test_octets_may_be_handed_in_before_the_refusal_was_asked_for(server: Server) -> None:
    server.receive_data(header(REQUEST, 2**32 - 1), 0.0)
    server.receive_data(b"more", 0.0)
    assert refusal(server.events()) == 503


# Faults of the server's own.

FATAL = [code for code in ErrorCode if code.fatal and not code.local]


@pytest.mark.req("REQ-ERROR-5", "REQ-ERROR-6", "REQ-FLOW-6")
@pytest.mark.parametrize("code", FATAL)
def test_fail_ends_an_idle_connection_with_one_error(server: Server, code: ErrorCode) -> None:
    server.fail(int(code))
    server.fail(code)
    assert server.answers() == [(ERROR, code)]
    assert server.errors == {code: 1}
    assert (server.state, server.finished) == (State.CLOSING, True)
    assert server.receive(encode(REQUEST)) == []
    server.fail(code)
    assert server.answers() == []


@pytest.mark.req("REQ-ERROR-5")
def test_fail_drops_what_is_owed_and_keeps_what_was_answered(server: Server) -> None:
    server.receive(encode(REQUEST) + encode(REQUEST) + encode(PING))
    server.reply("one")
    server.fail(ErrorCode.INTERNAL_ERROR, "words")
    assert server.owes == 0
    assert server.data_to_send(0.0) == encode(REPLY, b"one") + encode(ERROR, b"500 words")
    assert server.held == 0
    with pytest.raises(ConnectionStateError):
        server.reply("two")
    assert server.answers() == []


@pytest.mark.req("REQ-ERROR-6")
def test_fail_while_draining_sends_its_error(server: Server) -> None:
    server.receive(encode(REQUEST))
    server.drain()
    assert server.events() == []
    assert server.state is State.DRAINING
    server.fail(ErrorCode.INTERNAL_ERROR)
    assert (server.answers(), server.state) == ([(ERROR, 500)], State.CLOSING)


@pytest.mark.req("REQ-ERROR-6")
def test_fail_behind_a_fault_that_still_waits_leaves_one_error(server: Server) -> None:
    server.receive(encode(REQUEST) + header(0x00, 0))
    server.fail(ErrorCode.INTERNAL_ERROR)
    server.fail(ErrorCode.INTERNAL_ERROR)
    assert server.answers() == [(ERROR, 500)]


@pytest.mark.parametrize("code", [code for code in ErrorCode if not code.fatal or code.local])
def test_fail_takes_fatal_codes_only(server: Server, code: ErrorCode) -> None:
    server.receive(encode(REQUEST))
    with pytest.raises(ConfigurationError, match="not a fatal error"):
        server.fail(code)
    assert (server.output_size, server.owes, server.state) == (0, 1, State.OPEN)


def test_fail_after_the_end_is_harmless(server: Server) -> None:
    server.end()
    assert server.state is State.CLOSED
    server.fail(ErrorCode.INTERNAL_ERROR)
    assert (server.state, server.answers()) == (State.CLOSED, [])
