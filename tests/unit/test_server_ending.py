"""How a connection ends at the server: end of stream, STOP, drain, and what closes behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet import (
    ConnectionStateError,
    ErrorCode,
    FrameType,
    InputEnded,
    RequestReceived,
    State,
    StopReceived,
    TruncatedFrameError,
    encode,
    grammar,
)

if TYPE_CHECKING:
    from tests.unit.conftest import Server

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = (int(kind) for kind in FrameType)

PARTS = {
    "inside the header": encode(REQUEST, b"part")[:3],
    "behind the header": encode(REQUEST, b"part")[:5],
    "inside the body": encode(REQUEST, b"part")[:8],
    "before the last octet": encode(PING, b"part")[:-1],
    "inside an ignorable frame": encode(0x80, b"part")[:6],
}
each_part = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)


# The end of the client's stream.


@pytest.mark.req("REQ-CLOSE-1")
def test_the_end_of_an_unused_connection(server: Server) -> None:
    assert server.end() == [InputEnded(None, 0)]
    assert (server.state, server.finished, server.answers()) == (State.CLOSED, True, [])


@pytest.mark.req("REQ-CLOSE-1", "REQ-CLOSE-5")
def test_the_end_at_a_boundary_leaves_every_frame_answered(server: Server) -> None:
    server.receive(encode(REQUEST, b"1") + encode(PING, b"2") + encode(0xC0, b"3"))
    assert server.end() == [InputEnded(None, 0)]
    assert (server.state, server.finished) == (State.DRAINING, False)
    server.reply("one")
    assert (server.answers(), server.finished) == ([(REPLY, "one"), (PONG, "2")], False)
    server.refuse(ErrorCode.NO_HANDLER)
    assert (server.answers(), server.finished) == ([(ERROR, 404)], True)
    assert server.state is State.CLOSED


@pytest.mark.req("REQ-CLOSE-1")
def test_frames_that_came_with_the_end_are_taken_before_it(server: Server) -> None:
    server.receive_data(encode(REQUEST, b"1") + encode(REQUEST, b"2"), 0.0)
    assert server.end() == [RequestReceived("1"), RequestReceived("2"), InputEnded(None, 0)]


@each_part
@pytest.mark.req("REQ-CLOSE-2", "REQ-CLOSE-5", "REQ-FRAME-6")
def test_the_end_inside_a_frame_leaves_the_frames_before_it_answered(server: Server, part: bytes) -> None:
    server.receive(encode(REQUEST, b"1") + encode(PING, b"2") + part)
    (event,) = server.end()
    assert isinstance(event, InputEnded)
    assert isinstance(event.error, TruncatedFrameError)
    assert server.errors == {event.error.code: 1}
    server.reply("one")
    assert server.answers() == [(REPLY, "one"), (PONG, "2")]  # and no ERROR
    assert server.state is State.CLOSED


@pytest.mark.req("REQ-CLOSE-2")
@pytest.mark.parametrize("size", range(1, 9))
def test_the_end_inside_the_only_frame_is_answered_by_nothing(server: Server, size: int) -> None:
    server.receive(encode(REQUEST, b"part")[:size])
    server.end()
    assert (server.answers(), server.state, server.finished) == ([], State.CLOSED, True)


@pytest.mark.req("REQ-ERROR-5", "REQ-TYPE-1")
def test_a_fault_before_the_end_is_still_refused(server: Server) -> None:
    server.receive_data(b"\0\0\0\0\1", 0.0)
    server.end()
    assert (server.answers(), server.state) == ([(ERROR, 501)], State.CLOSED)


def test_no_data_comes_behind_the_end(server: Server) -> None:
    server.end()
    with pytest.raises(ConnectionStateError, match="data after the end of the stream"):
        server.receive(b"x")
    assert server.end() == []  # the end may be told again
    assert server.state is State.CLOSED


@pytest.mark.req("REQ-ERROR-8")
def test_a_closing_connection_is_closed_by_the_end(server: Server) -> None:
    server.receive(b"\0\0\0\0\0")
    assert server.state == State.CLOSING
    server.receive(b"anything" * 100)
    assert (server.end(), server.state) == ([], State.CLOSING)  # its ERROR is still to be sent
    assert len(server.answers()) == 1
    assert server.state.name == "CLOSED"


@pytest.mark.req("REQ-CLOSE-1")
@pytest.mark.parametrize("end_first", [False, True])
def test_a_connection_is_not_closed_before_its_last_answer_was_taken(server: Server, end_first: bool) -> None:  # noqa: FBT001 - a parameter
    server.receive(encode(REQUEST))
    if end_first:
        server.end()
    server.reply("x" * 60_000)
    if not end_first:
        server.end()
    assert (server.state, server.finished) == (State.CLOSING, True)
    assert len(server.data_to_send(0.0)) == 60_005
    assert server.state is State.CLOSED


# STOP.


@pytest.mark.req("REQ-STOP-3", "REQ-ERROR-4")
def test_a_stop_that_is_refused_changes_nothing_else(server: Server) -> None:
    assert server.receive(encode(STOP, b"token")) == [StopReceived("token")]
    server.refuse(ErrorCode.STOP_REFUSED)
    assert (server.state, server.owes) == (State.OPEN, 0)
    assert server.receive(encode(PING, b"x") + encode(REQUEST, b"y")) == [RequestReceived("y")]
    server.reply("z")
    assert server.answers() == [(ERROR, 403), (PONG, "x"), (REPLY, "z")]


@pytest.mark.req("REQ-STOP-8", "REQ-STOP-9")
@pytest.mark.parametrize(("closed", "cut"), [(0, 0), (3, 1), (10**10 - 1, 10**10 - 1)])
def test_a_stop_that_is_allowed_is_answered_last(server: Server, closed: int, cut: int) -> None:
    server.receive(encode(STOP))
    server.allow()
    assert (server.state, server.finished, server.answers()) == (State.DRAINING, False, [])
    server.stopped(closed, cut)
    output = server.data_to_send(0.0)
    assert output[0] == STOPPED
    assert grammar.parse_body(grammar.StoppedBody, output[5:]) == {"closed": str(closed), "cut": str(cut)}
    assert (server.state, server.finished) == (State.CLOSING, True)


@pytest.mark.req("REQ-STOP-7", "REQ-STOP-8", "REQ-ORDER-2")
def test_frames_before_a_stop_are_answered_before_stopped(server: Server) -> None:
    server.receive(encode(REQUEST) + encode(PING) + encode(STOP))
    server.allow()
    server.stopped(0, 0)
    assert (server.answers(), server.finished) == ([], False)  # its turn has not come
    server.reply("x")
    assert server.answers() == [(REPLY, "x"), (PONG, ""), (STOPPED, "closed=0 cut=0")]


@pytest.mark.req("REQ-STOP-10")
@pytest.mark.parametrize("one_piece", [True, False])
def test_what_follows_an_allowed_stop_is_discarded(server: Server, *, one_piece: bool) -> None:
    behind = encode(REQUEST) + encode(PING) + b"\0\0\0\0\0" + encode(STOP)[:2]
    server.receive_data(encode(STOP) + (behind if one_piece else b""), 0.0)
    assert server.next_event() == StopReceived("")
    server.allow()
    assert server.input_size == 0
    assert server.events() == []
    assert server.receive(behind, behind) == []
    server.stopped(0, 0)
    assert server.receive(behind) == []
    assert server.answers() == [(STOPPED, "closed=0 cut=0")]


@pytest.mark.req("REQ-STOP-8", "REQ-CLOSE-1")
@pytest.mark.parametrize("before", [True, False], ids=["before STOPPED", "behind STOPPED"])
def test_a_client_may_half_close_around_stopped(server: Server, *, before: bool) -> None:
    server.receive(encode(STOP))
    server.allow()
    if before:
        server.end()
        assert server.state is State.DRAINING
    server.stopped(0, 0)
    if not before:
        assert server.state is State.CLOSING
        server.end()
    assert (server.answers(), server.state) == ([(STOPPED, "closed=0 cut=0")], State.CLOSED)


@pytest.mark.req("REQ-STOP-8")
@pytest.mark.parametrize("code", [ErrorCode.STOP_REFUSED, ErrorCode.HANDLER_FAILED])
def test_a_stop_has_no_reply_and_no_stopped_unless_it_was_allowed(server: Server, code: ErrorCode) -> None:
    server.receive(encode(STOP))
    with pytest.raises(TypeError):
        server.reply("x")
    with pytest.raises(ConnectionStateError, match="not allowed"):
        server.stopped(0, 0)
    assert (server.output_size, server.owes, server.state) == (0, 1, State.OPEN)
    server.refuse(code)
    assert server.answers() == [(ERROR, code)]


def test_only_a_stop_that_came_last_can_be_allowed_and_only_once(server: Server) -> None:
    server.receive(encode(STOP) + encode(REQUEST))
    with pytest.raises(ConnectionStateError, match="too late"):
        server.allow_stop(server.asked[0])
    assert (server.owes, server.state) == (2, State.OPEN)
    server.refuse(ErrorCode.STOP_REFUSED)
    server.reply("")
    server.receive(encode(STOP))
    server.allow()
    with pytest.raises(ConnectionStateError):
        server.allow()
    assert (server.owes, server.state) == (1, State.DRAINING)


# Drain.


@pytest.mark.req("REQ-STOP-7")
def test_drain_of_an_idle_connection_ends_it(server: Server) -> None:
    server.drain()
    assert server.events() == []
    assert (server.answers(), server.state, server.finished) == ([], State.CLOSING, True)


@each_part
@pytest.mark.req("REQ-STOP-7", "REQ-FRAME-6")
def test_drain_takes_whole_frames_already_received_and_nothing_after(server: Server, part: bytes) -> None:
    server.receive_data(encode(REQUEST, b"1") + encode(PING, b"2") + encode(REQUEST, b"3") + part, 0.0)
    server.drain()
    server.receive_data(b"t" * 10 + encode(REQUEST, b"after"), 0.0)
    assert server.events() == [RequestReceived("1"), RequestReceived("3")]
    assert server.receive(encode(PING, b"after")) == []
    assert (server.state, server.owes) == (State.DRAINING, 3)
    server.reply("one")
    server.reply("three")
    assert server.answers() == [(REPLY, "one"), (PONG, "2"), (REPLY, "three")]
    assert (server.state, server.finished) == (State.CLOSING, True)


@pytest.mark.req("REQ-STOP-7")
def test_drain_of_a_connection_that_owes_waits_for_the_answers(server: Server) -> None:
    server.receive(encode(REQUEST))
    server.drain()
    server.drain()  # a second time is the same
    assert server.events() == []
    assert (server.state, server.finished) == (State.DRAINING, False)
    server.reply("x")
    assert (server.answers(), server.state) == ([(REPLY, "x")], State.CLOSING)


@pytest.mark.req("REQ-STOP-7", "REQ-STOP-11")
def test_a_stop_received_before_a_drain_can_be_allowed_in_it(server: Server) -> None:
    server.receive_data(encode(REQUEST) + encode(STOP), 0.0)
    server.drain()
    assert server.next_event() == RequestReceived("")
    assert server.next_event() == StopReceived("")
    server.allow()
    assert server.events() == []
    server.reply("x")
    server.stopped(1, 0)
    assert server.answers() == [(REPLY, "x"), (STOPPED, "closed=1 cut=0")]


@pytest.mark.req("REQ-STOP-7", "REQ-CLOSE-1")
def test_the_end_of_the_stream_during_a_drain_closes_both_directions(server: Server) -> None:
    server.receive(encode(REQUEST))
    server.drain()
    assert server.events() == []
    assert server.end() == []
    assert server.state is State.DRAINING
    server.reply("x")
    assert (server.answers(), server.state) == ([(REPLY, "x")], State.CLOSED)


@pytest.mark.req("REQ-STOP-7", "REQ-ERROR-7")
def test_drain_changes_nothing_where_the_end_has_begun(server: Server) -> None:
    server.receive(b"\0\0\0\0\0")
    server.drain()
    assert server.events() == []
    assert (server.state, server.answers()) == (State.CLOSING, [(ERROR, 501)])
    server.end()
    server.drain()
    assert (server.events(), server.state, server.answers()) == ([], State.CLOSED, [])


@pytest.mark.req("REQ-ORDER-3")
@pytest.mark.parametrize("ending", ["end", "drain"])
def test_nothing_can_be_answered_behind_the_last_answer(server: Server, ending: str) -> None:
    (event,) = server.receive(encode(REQUEST))
    assert isinstance(event, RequestReceived)
    getattr(server, ending)()
    server.events()
    server.reply("x")
    assert server.finished
    server.data_to_send(0.0)
    with pytest.raises(ConnectionStateError):
        server.send_reply(event, "y")
    with pytest.raises(ConnectionStateError):
        server.send_error(event, ErrorCode.HANDLER_FAILED)
    assert server.data_to_send(0.0) == b""
