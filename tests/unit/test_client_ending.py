"""How a connection ends at the client: end of stream, failure, fatal ERROR, and what can be asked then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.each import each

from framelet import (
    ConnectionStateError,
    FrameType,
    InputEnded,
    PongReceived,
    ReplyReceived,
    State,
    TruncatedFrameError,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Client

    from framelet import ClientEvent

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = (int(kind) for kind in FrameType)


def asked_and_failed(client: Client) -> None:
    client.send_request("x")
    client.receive(encode(REPLY, b"\xff"))


@pytest.mark.req("REQ-ORDER-7", "REQ-TIME-6")
def test_nothing_is_taken_behind_a_failure(client: Client) -> None:
    asked_and_failed(client)
    assert client.receive(encode(REPLY, b"x"), encode(ERROR, b"500 x"), b"\0\0\0\0\0") == []
    assert (client.state, client.unanswered) == (State.CLOSING, 1)
    assert client.end() == [InputEnded(None, 1)]
    assert client.state is State.CLOSED


@pytest.mark.req("REQ-CLOSE-3")
@pytest.mark.parametrize("answered", [0, 1, 2])
@pytest.mark.parametrize("half_closed", [True, False])
def test_the_end_reports_every_unanswered_frame(client: Client, answered: int, *, half_closed: bool) -> None:
    client.send_request("1")
    client.send_ping("2")
    if half_closed:
        client.send_eof()
    for octets in [encode(REPLY, b"1"), encode(PONG, b"2")][:answered]:
        client.receive_data(octets, 0.0)
    answers: list[ClientEvent] = [ReplyReceived("1"), PongReceived("2")]
    assert client.end() == [*answers[:answered], InputEnded(None, 2 - answered)]
    assert (client.state, client.finished) == (State.CLOSED, True)
    assert client.end() == []


@pytest.mark.req("REQ-CLOSE-4", "REQ-CLOSE-3")
@each("size", range(1, 9))
@each("octet", [REPLY, 0x80])
def test_part_of_a_frame_before_the_end_is_no_answer(
    make_client: Callable[..., Client], octet: int, size: int
) -> None:
    client = make_client()
    client.send_request("x")
    client.receive(encode(octet, b"part")[:size])
    (event,) = client.end()
    assert isinstance(event, InputEnded)
    assert isinstance(event.error, TruncatedFrameError)
    assert event.unanswered == client.unanswered == 1


@pytest.mark.req("REQ-CLOSE-3", "REQ-ERROR-12")
def test_the_end_behind_a_fatal_error_is_in_order_even_inside_a_frame(client: Client) -> None:
    client.send_request("x")
    client.receive(encode(ERROR, b"503 x") + b"\2\0")
    assert client.end() == [InputEnded(None, 1)]


def test_no_data_comes_behind_the_end(client: Client) -> None:
    client.end()
    with pytest.raises(ConnectionStateError, match="data after the end of the stream"):
        client.receive(b"x")
    with pytest.raises(ConnectionStateError, match="data after the end of the stream"):
        client.receive_replies(b"x", 0.0)


def test_after_send_eof_answers_still_come(client: Client) -> None:
    client.send_request("x")
    client.send_eof()
    client.send_eof()  # a second time is the same
    assert (client.state, client.finished, client.sent()) == (State.DRAINING, True, [(REQUEST, "x")])
    assert client.receive(encode(REPLY, b"x")) == [ReplyReceived("x")]
    assert client.end() == [InputEnded(None, 0)]


ENDED: dict[str, Callable[[Client], Any]] = {
    "draining": lambda client: client.send_eof(),
    "failed": asked_and_failed,
    "fatal error": lambda client: client.receive(encode(ERROR, b"500 x")),
    "closed": lambda client: client.end(),
}


ASKING: dict[str, Callable[[Client], None]] = {
    "request": lambda client: client.send_request("x"),
    "requests": lambda client: client.send_requests(["x"], 1),
    "application": lambda client: client.send_application(0xC0, "x"),
    "ping": lambda client: client.send_ping("x"),
    "hello": lambda client: client.send_hello(),
    "stop": lambda client: client.send_stop("x"),
}


@each("ask", ASKING.values())
@each("end", ENDED.values())
def test_nothing_can_be_asked_once_the_end_has_begun(
    make_client: Callable[..., Client], ask: Callable[[Client], None], end: Callable[[Client], Any]
) -> None:
    client = make_client()
    end(client)
    client.data_to_send(0.0)
    state, unanswered = client.state, client.unanswered
    with pytest.raises(ConnectionStateError, match=f"a connection that is {state.value}"):
        ask(client)
    assert (client.state, client.unanswered, client.output_size) == (state, unanswered, 0)
    client.send_eof()
    assert (client.state, client.finished) == (state, True)
