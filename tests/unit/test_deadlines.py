"""Every deadline of both ends, in virtual time: when it begins, what moves it, and what it does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.each import each

from framelet import (
    AnswerTimeoutError,
    ClientConnectionLimits,
    ConfigurationError,
    ConnectionFailed,
    ConnectionLimits,
    ErrorCode,
    ErrorReceived,
    FrameRefused,
    FrameTimeoutError,
    FrameType,
    IdleTimeoutError,
    ReplyReceived,
    State,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Client, Server

    from framelet import ServerEvent

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = (int(kind) for kind in FrameType)

FRAME, IDLE, LINGER, ANSWER = 30.0, 300.0, 2.0, 60.0
JUST_BEFORE = 0.001


def test_the_defaults_are_those_of_the_specification() -> None:
    server, client = ConnectionLimits(), ClientConnectionLimits()
    assert (server.frame_timeout, server.idle_timeout, server.linger_timeout) == (FRAME, IDLE, LINGER)
    assert client.answer_timeout == ANSWER


def refusal(events: list[ServerEvent]) -> type[Exception]:
    (event,) = events
    assert isinstance(event, FrameRefused)
    return type(event.error)


def assert_due(server: Server, when: float, error: type[Exception], code: int) -> None:
    """Nothing happens just before the deadline, and at it the fatal ERROR, once."""
    assert server.next_deadline() == when
    state = server.state
    assert (server.pass_time(when - JUST_BEFORE), server.state) == ([], state)
    assert server.next_deadline() == when
    assert refusal(server.pass_time(when)) is error
    assert server.pass_time(when + 1e6) == []
    assert server.answers(when)[-1:] == [(ERROR, code)]
    assert server.finished


# The idle timeout.


@pytest.mark.req("REQ-TIME-3", "REQ-ERROR-6")
def test_idle_from_the_beginning(server: Server) -> None:
    assert_due(server, IDLE, IdleTimeoutError, 505)


@pytest.mark.req("REQ-TIME-3")
@pytest.mark.parametrize("octets", [encode(PING), encode(0x80, b"x"), encode(REQUEST, b"\xff")])
def test_idle_begins_again_with_each_frame_of_any_kind(server: Server, octets: bytes) -> None:
    server.receive(octets, at=100.0)
    server.answers(at=100.0)
    assert_due(server, 100.0 + IDLE, IdleTimeoutError, 505)


@pytest.mark.req("REQ-TIME-3")
def test_idle_does_not_begin_again_where_nothing_is_sent(server: Server) -> None:
    server.answers(at=100.0)
    server.pass_time(200.0)
    assert_due(server, IDLE, IdleTimeoutError, 505)


@pytest.mark.req("REQ-TIME-4", "REQ-TIME-3")
def test_idle_does_not_apply_while_an_answer_is_owed(server: Server) -> None:
    server.receive(encode(REQUEST) + encode(REQUEST) + encode(PING))
    for answered_at in (1_000.0, 2_000.0):
        assert server.next_deadline() is None
        assert server.pass_time(answered_at) == []
        server.reply("x")
        server.answers(at=answered_at)
    assert server.owes == 0
    assert_due(server, 2_000.0 + IDLE, IdleTimeoutError, 505)


@pytest.mark.req("REQ-TIME-4")
def test_idle_does_not_apply_while_an_answer_waits_to_be_taken(server: Server) -> None:
    server.receive(encode(REQUEST))
    server.reply("made after a long time")
    assert server.pass_time(1_000.0) == []


@pytest.mark.req("REQ-TIME-4")
def test_idle_does_not_apply_inside_a_frame(make_server: Callable[..., Server]) -> None:
    server = make_server(ConnectionLimits(idle_timeout=10.0, frame_timeout=100.0))
    server.receive(encode(PING)[:1], at=5.0)
    assert_due(server, 105.0, FrameTimeoutError, 504)


# The frame timeout.


@pytest.mark.req("REQ-TIME-1", "REQ-TYPE-4")
@each("frame_type", [REQUEST, PING, HELLO, STOP, 0x80, 0xC0])
@each("size", [1, 4, 5, 6, 8])
def test_a_frame_is_timed_from_its_first_octet(
    make_server: Callable[..., Server], frame_type: int, size: int
) -> None:
    server = make_server()
    server.receive(encode(frame_type, b"body")[:size], at=50.0)
    assert_due(server, 50.0 + FRAME, FrameTimeoutError, 504)


@pytest.mark.req("REQ-TIME-2", "REQ-TIME-1", "REQ-TIME-9")
def test_progress_does_not_extend_the_frame_timeout(server: Server) -> None:
    octets = encode(REQUEST, b"x" * 100)
    for second in range(30):
        server.receive(octets[second : second + 1], at=50.0 + second)
        assert server.next_deadline() == 50.0 + FRAME
    assert_due(server, 50.0 + FRAME, FrameTimeoutError, 504)


@pytest.mark.req("REQ-TIME-2")
def test_no_octets_are_no_piece_and_extend_nothing(
    server: Server, make_client: Callable[..., Client]
) -> None:
    server.receive(b"\1", at=10.0)
    client = make_client()
    calls: list[Callable[[], object]] = [
        *(partial(server.receive_data, kind(), 20.0) for kind in (bytes, bytearray)),
        partial(server.receive_requests, b"", 20.0),
        partial(client.receive_data, b"", 20.0),
        partial(client.receive_replies, b"", 20.0),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=r"no octets.*receive_eof"):
            call()
    assert server.next_deadline() == 10.0 + FRAME


@pytest.mark.req("REQ-TIME-1")
@pytest.mark.parametrize("size", [1, 5, 7])
def test_a_frame_that_is_whole_in_time_is_served(server: Server, size: int) -> None:
    octets = encode(PING, b"body")
    server.receive(octets[:size], at=50.0)
    server.receive(octets[size:], at=50.0 + FRAME - JUST_BEFORE)
    assert server.pass_time(50.0 + FRAME) == []
    assert server.answers(at=90.0) == [(PONG, "body")]
    assert server.next_deadline() == 90.0 + IDLE


@pytest.mark.req("REQ-TIME-1")
def test_each_frame_has_a_time_of_its_own(server: Server) -> None:
    octets = encode(PING, b"body")
    server.receive(octets[:3], at=10.0)
    server.receive(octets[3:] + octets[:3], at=20.0)  # one ends, the next begins
    assert server.next_deadline() == 20.0 + FRAME
    server.receive(octets[3:] + octets + octets[:1], at=30.0)
    assert server.next_deadline() == 30.0 + FRAME
    server.receive(octets[1:], at=40.0)
    server.answers(at=40.0)
    assert server.next_deadline() == 40.0 + IDLE


@pytest.mark.req("REQ-TIME-1", "REQ-ERROR-5")
def test_a_frame_timeout_waits_behind_the_answers_owed(server: Server) -> None:
    server.receive(encode(REQUEST) + encode(PING) + encode(REQUEST)[:4], at=10.0)
    assert server.next_deadline() == 10.0 + FRAME
    assert refusal(server.pass_time(10.0 + FRAME)) is FrameTimeoutError
    assert (server.answers(), server.state, server.next_deadline()) == ([], State.DRAINING, None)
    server.receive(encode(REQUEST)[4:], at=41.0)  # too late
    server.reply("x")
    assert server.answers() == [(REPLY, "x"), (PONG, ""), (ERROR, 504)]


# Time in which the server did not read.


@pytest.mark.req("REQ-TIME-8")
def test_resume_restarts_the_idle_timeout(server: Server) -> None:
    server.resume(250.0)
    assert_due(server, 250.0 + IDLE, IdleTimeoutError, 505)


def test_resume_restarts_the_frame_timeout(server: Server) -> None:
    server.receive(b"\1", at=10.0)
    server.resume(35.0)
    server.receive(b"\0", at=36.0)
    assert_due(server, 35.0 + FRAME, FrameTimeoutError, 504)


def test_resume_restarts_the_linger_timeout(server: Server) -> None:
    server.receive(b"\0\0\0\0\0")
    server.answers(at=10.0)
    server.resume(11.0)
    assert server.next_deadline() == 11.0 + LINGER


def test_resume_begins_nothing_that_was_not_running(server: Server) -> None:
    server.receive(encode(REQUEST))
    server.resume(10.0)
    assert server.next_deadline() is None
    server.fail(ErrorCode.INTERNAL_ERROR)
    server.resume(20.0)
    assert server.next_deadline() is None


# The linger timeout.


@pytest.mark.req("REQ-ERROR-8")
@pytest.mark.parametrize("ending", ["fault", "drain", "fail"])
def test_linger_begins_when_the_last_answer_is_taken(server: Server, ending: str) -> None:
    if ending == "fault":
        server.receive(b"\0\0\0\0\0")
    elif ending == "drain":
        server.drain()
        assert server.events() == []
    else:
        server.fail(ErrorCode.INTERNAL_ERROR)
    assert (server.state, server.next_deadline()) == (State.CLOSING, None)
    server.data_to_send(10.0)
    server.data_to_send(11.0)
    server.receive(b"anything", at=11.5)  # which does not extend it
    assert server.next_deadline() == 10.0 + LINGER
    assert (server.pass_time(10.0 + LINGER - JUST_BEFORE), server.state) == ([], State.CLOSING)
    assert (server.pass_time(10.0 + LINGER), server.state) == ([], State.CLOSED)
    assert (server.next_deadline(), server.answers(at=20.0)) == (None, [])


@pytest.mark.req("REQ-ERROR-8")
def test_there_is_no_linger_where_the_client_has_closed(server: Server) -> None:
    server.receive(b"\0\0\0\0\0")
    server.end()
    server.data_to_send(10.0)
    assert (server.state, server.next_deadline()) == (State.CLOSED, None)


@pytest.mark.req("REQ-TIME-4")
def test_no_deadline_runs_while_answers_of_the_last_frames_are_owed(server: Server) -> None:
    server.receive(encode(REQUEST) + encode(STOP) + b"\1")
    server.allow()
    assert (server.next_deadline(), server.pass_time(1e9)) == (None, [])
    assert server.state is State.DRAINING


def test_the_end_inside_a_frame_ends_its_clock(server: Server) -> None:
    server.receive(encode(REQUEST) + b"\1", at=10.0)
    server.end()
    assert (server.next_deadline(), server.pass_time(1e9), server.state) == (None, [], State.DRAINING)


# The answer timeout of the client.


def overdue(client: Client, when: float, unanswered: int) -> None:
    """Nothing happens just before the deadline, and at it the failure, once."""
    assert client.next_deadline() == when
    assert client.pass_time(when - JUST_BEFORE) == []
    (event,) = client.pass_time(when)
    assert isinstance(event, ConnectionFailed)
    assert isinstance(event.error, AnswerTimeoutError)
    assert event.unanswered == unanswered
    assert (client.state, client.finished) == (State.CLOSING, True)
    assert (client.next_deadline(), client.pass_time(when + 1e6)) == (None, [])


@pytest.mark.req("REQ-TIME-6")
def test_a_client_that_awaits_nothing_has_no_deadline(client: Client) -> None:
    assert (client.next_deadline(), client.pass_time(1e9), client.state) == (None, [], State.OPEN)


@pytest.mark.req("REQ-TIME-6")
def test_the_wait_begins_when_the_frame_is_taken_to_be_sent(client: Client) -> None:
    client.send_request("x")
    assert client.next_deadline() is None
    client.sent(at=10.0)
    overdue(client, 10.0 + ANSWER, 1)


@pytest.mark.req("REQ-TIME-6")
def test_neither_further_frames_nor_parts_nor_ignorable_frames_extend_the_wait(client: Client) -> None:
    client.send_request("x")
    client.sent(at=10.0)
    client.send_request("y")
    client.sent(at=20.0)
    client.receive(encode(0x80, b"x") + encode(REPLY, b"x")[:5], at=30.0)
    client.data_to_send(40.0)
    overdue(client, 10.0 + ANSWER, 2)


@pytest.mark.req("REQ-TIME-6")
@pytest.mark.parametrize("answer", [encode(REPLY, b"x"), encode(ERROR, b"450 x")])
def test_each_answer_gives_the_next_one_the_whole_time(client: Client, answer: bytes) -> None:
    client.send_request("x")
    client.send_request("y")
    client.sent(at=10.0)
    assert len(client.receive(answer, at=50.0)) == 1
    overdue(client, 50.0 + ANSWER, 1)


@pytest.mark.req("REQ-TIME-6")
def test_the_last_answer_ends_the_wait_and_the_next_frame_begins_another(client: Client) -> None:
    client.send_request("x")
    client.sent(at=10.0)
    client.receive(encode(REPLY, b"x"), at=20.0)
    assert (client.next_deadline(), client.pass_time(1_000.0)) == (None, [])
    client.send_request("y")
    client.sent(at=2_000.0)
    overdue(client, 2_000.0 + ANSWER, 1)


@pytest.mark.req("REQ-TIME-6")
def test_an_answer_that_comes_too_late_is_no_answer(client: Client) -> None:
    client.send_request("x")
    client.sent(at=10.0)
    overdue(client, 10.0 + ANSWER, 1)
    assert client.receive(encode(REPLY, b"x"), at=71.0) == []
    assert client.unanswered == 1


@pytest.mark.req("REQ-TIME-6")
def test_the_wait_goes_on_behind_send_eof(client: Client) -> None:
    client.send_request("x")
    client.send_eof()
    client.sent(at=10.0)
    overdue(client, 10.0 + ANSWER, 1)


def test_resume_restarts_the_wait_and_begins_none(client: Client) -> None:
    client.resume(5.0)
    assert client.next_deadline() is None
    client.send_request("x")
    client.sent(at=10.0)
    client.resume(65.0)
    overdue(client, 65.0 + ANSWER, 1)


@pytest.mark.parametrize("ending", ["fatal error", "end of stream"])
def test_the_end_ends_the_wait(client: Client, ending: str) -> None:
    client.send_request("x")
    client.sent(at=10.0)
    if ending == "fatal error":
        assert client.receive(encode(ERROR, b"500 x"), at=11.0) == [
            ErrorReceived(ErrorCode(500), "x", None, 1)
        ]
    else:
        client.end()
    assert (client.next_deadline(), client.pass_time(1e9)) == (None, [])


def test_an_answer_in_time_is_taken_at_any_later_time(client: Client) -> None:
    client.send_request("x")
    client.sent(at=10.0)
    assert client.receive(encode(REPLY, b"x"), at=10.0 + ANSWER - JUST_BEFORE) == [ReplyReceived("x")]
    assert client.pass_time(1e9) == []
