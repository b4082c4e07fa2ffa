"""The client's end: what is sent, which answer belongs to which frame, and when the client gives up."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.each import each

from framelet import (
    AnswerMalformedError,
    ApplicationReceived,
    ClientConnectionLimits,
    ConnectionFailed,
    ConnectionLimits,
    ConnectionStateError,
    ErrorCode,
    ErrorReceived,
    FrameletError,
    FrameTooLargeError,
    FrameType,
    HelloReceived,
    IllFormedTextError,
    PingTooLargeError,
    PongReceived,
    ReplyReceived,
    State,
    StoppedReceived,
    TypeRange,
    UnexpectedTypeError,
    UnknownTypeError,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Client

    from framelet import ClientEvent

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = (int(kind) for kind in FrameType)
BAD_UTF_8 = b"ok\xed\xa0\x80"
MAX_BODY = 65_536

# Each way to ask: how it is called, the frame it sends, an answer, and the event of that answer.
ASKING: dict[str, tuple[Callable[[Client], None], bytes, bytes, ClientEvent]] = {
    "request": (
        lambda client: client.send_request("ab"),
        encode(REQUEST, b"ab"),
        encode(REPLY, b"ba"),
        ReplyReceived("ba"),
    ),
    "application": (
        lambda client: client.send_application(0xC1, "ab"),
        encode(0xC1, b"ab"),
        encode(0xC1, b"x"),
        ApplicationReceived(0xC1, "x"),
    ),
    "ping": (
        lambda client: client.send_ping("ab"),
        encode(PING, b"ab"),
        encode(PONG, b"ab"),
        PongReceived("ab"),
    ),
    "hello": (
        lambda client: client.send_hello(),
        encode(HELLO, b"framelet/1 max-body=65536"),
        encode(HELLO, b"framelet/1 max-body=70000 x=y"),
        HelloReceived(1, {"max-body": "70000", "x": "y"}),
    ),
    "stop": (
        lambda client: client.send_stop("token"),
        encode(STOP, b"token"),
        encode(STOPPED, b"x=y closed=2 cut=1"),
        StoppedReceived(2, 1),
    ),
}
each_way = pytest.mark.parametrize("way", ASKING)


def failure(events: list[ClientEvent], unanswered: int) -> FrameletError:
    """The error of the one event, a failure."""
    (event,) = events
    assert isinstance(event, ConnectionFailed)
    assert event.unanswered == unanswered
    return event.error


def test_the_limits_of_a_server_are_not_for_a_client(make_client: Callable[..., Client]) -> None:
    with pytest.raises(TypeError, match="must be ClientConnectionLimits, not ConnectionLimits"):
        make_client(ConnectionLimits())


def test_a_client_is_at_rest_where_all_was_taken_and_more_may_come(client: Client) -> None:
    assert client.at_rest
    client.receive_data(encode(0x80), 0.0)
    assert not client.at_rest
    assert (client.events(), client.at_rest) == ([], True)
    client.receive_eof()
    assert not client.at_rest


# Asking.


def test_requests_at_once_are_joined_but_for_large_ones(client: Client) -> None:
    large = "a" * MAX_BODY
    client.send_requests(["b", large, "c" * (MAX_BODY - 1)], 1 << 20)
    assert client.pieces_to_send(0.0) == [
        encode(REQUEST, b"b") + encode(REQUEST, large.encode())[:5],
        large.encode(),
        encode(REQUEST, b"c" * (MAX_BODY - 1)),
    ]
    client.send_requests(["d", "e"], len(encode(REQUEST, b"d")))  # no more than so many octets
    assert client.sent() == [(REQUEST, "d")]


@pytest.mark.req("REQ-ORDER-5")
def test_nothing_is_sent_without_being_asked_for(client: Client) -> None:
    assert (client.sent(), client.next_event()) == ([], None)
    assert (client.state, client.unanswered, client.finished) == (State.OPEN, 0, False)


@each_way
@pytest.mark.req("REQ-FRAME-1", "REQ-TEXT-1")
def test_each_way_to_ask_sends_one_frame_and_awaits_one_answer(client: Client, way: str) -> None:
    ask, octets, _, _ = ASKING[way]
    ask(client)
    assert (client.unanswered, client.output_size) == (1, len(octets))
    assert client.data_to_send(0.0) == octets
    assert (client.data_to_send(0.0), client.output_size, client.unanswered) == (b"", 0, 1)


@pytest.mark.req("REQ-ORDER-7")
@pytest.mark.parametrize("octets", [b"\x02\0\0\0\2", b"\x02\0\0\0\2b"])
def test_an_answer_that_has_begun_before_anything_is_asked_is_no_answer(
    client: Client, octets: bytes
) -> None:
    client.receive_data(octets, 0.0)
    error = failure([event for event in [client.next_event()] if event is not None], 0)
    assert str(error) == "REPLY came where nothing is awaited"


@pytest.mark.parametrize("octets", [b"\x80", b"\x80\0\0\0\2b", b"\x05\0\0\0\4"])
def test_what_may_come_at_any_time_may_begin_at_any_time(client: Client, octets: bytes) -> None:
    client.receive_data(octets, 0.0)
    assert (client.next_event(), client.state) == (None, State.OPEN)


def test_the_empty_text_is_the_default_of_ping_and_stop(client: Client) -> None:
    client.send_ping()
    client.send_stop()
    assert client.data_to_send(0.0) == encode(PING) + encode(STOP)


@pytest.mark.req("REQ-TYPE-8")
@each("octet", [*range(-1, 0x101), 2**32])
def test_only_application_types_can_be_chosen(make_client: Callable[..., Client], octet: int) -> None:
    client = make_client()
    if octet in TypeRange.APPLICATION.types:
        client.send_application(octet, "x")
        assert client.sent() == [(octet, "x")]
    else:
        with pytest.raises(ConnectionStateError, match="not an application type"):
            client.send_application(octet, "x")
        assert (client.output_size, client.unanswered) == (0, 0)


SURROGATE = chr(0xDC00)
TOO_LARGE = "x" * (MAX_BODY + 1)
UNSENDABLE: list[tuple[Callable[[Client], None], type[FrameletError]]] = [
    (lambda client: client.send_request(SURROGATE), IllFormedTextError),
    (lambda client: client.send_application(0xC0, SURROGATE), IllFormedTextError),
    (lambda client: client.send_ping(SURROGATE), IllFormedTextError),
    (lambda client: client.send_stop(SURROGATE), IllFormedTextError),
    (lambda client: client.send_request(TOO_LARGE), FrameTooLargeError),
    (lambda client: client.send_request("é" * (MAX_BODY // 2) + "x"), FrameTooLargeError),
    (lambda client: client.send_application(0xC0, TOO_LARGE), FrameTooLargeError),
    (lambda client: client.send_stop(TOO_LARGE), FrameTooLargeError),
    (lambda client: client.send_ping("x" * 65), PingTooLargeError),
    (lambda client: client.send_ping("é" * 33), PingTooLargeError),
]


@pytest.mark.req("REQ-TEXT-1", "REQ-SIZE-6", "REQ-PING-1")
@pytest.mark.parametrize(("ask", "error"), UNSENDABLE)
def test_what_would_break_the_protocol_is_not_sent_and_not_awaited(
    client: Client, ask: Callable[[Client], None], error: type[FrameletError]
) -> None:
    with pytest.raises(error):
        ask(client)
    assert (client.output_size, client.unanswered) == (0, 0)
    client.send_ping("x" * 64)
    assert client.receive(encode(PONG, b"x" * 64)) == [PongReceived("x" * 64)]


@pytest.mark.req("REQ-SIZE-6")
@pytest.mark.parametrize(
    ("hello", "allowed"),
    [(None, 100_000), (b"", 100_000), (b" max-body=65536", 65_536), (b" max-body=4294967295", 100_000)],
)
def test_the_servers_hello_and_the_clients_own_limit_bound_a_request(
    make_client: Callable[..., Client], hello: bytes | None, allowed: int
) -> None:
    client = make_client(ClientConnectionLimits(max_body=100_000))
    if hello is not None:
        client.send_hello()
        client.receive(encode(HELLO, b"framelet/1" + hello))
    with pytest.raises(FrameTooLargeError, match=f"{allowed + 1} octets exceeds the maximum of {allowed}"):
        client.send_request("x" * (allowed + 1))
    client.send_request("x" * allowed)
    assert client.unanswered == 1


# Answers.


@each_way
@pytest.mark.req("REQ-ORDER-6", "REQ-FRAME-4")
def test_each_answer_is_matched_whole_and_octet_by_octet(
    make_client: Callable[..., Client], way: str
) -> None:
    ask, _, answer, event = ASKING[way]
    for pieces in ([answer], [answer[i : i + 1] for i in range(len(answer))]):
        client = make_client()
        ask(client)
        assert client.receive(*pieces) == [event]
        assert (client.unanswered, client.state) == (0, State.OPEN)


@pytest.mark.req("REQ-ORDER-4", "REQ-ORDER-6")
def test_answers_belong_to_the_oldest_unanswered_frames(client: Client) -> None:
    answers, events = b"", []
    for ask, _, answer, event in [*ASKING.values(), *reversed(ASKING.values())]:
        ask(client)
        answers += answer
        events.append(event)
    assert client.unanswered == len(events)
    assert client.receive(answers[:20], answers[20:]) == events
    assert client.unanswered == 0


@pytest.mark.req("REQ-ORDER-7", "REQ-ORDER-6")
@each("asked", ASKING)
@each("answered", [REPLY, STOPPED, PONG, HELLO, 0xC0, 0xC1, 0xFF])
def test_an_answer_of_another_type_fails_the_connection(
    make_client: Callable[..., Client], asked: str, answered: int
) -> None:
    client = make_client()
    ask, _, answer, event = ASKING[asked]
    ask(client)
    client.send_request("behind")
    octets = answer if answer[0] == answered else encode(answered, b"closed=0 cut=0")
    events = client.receive(octets)
    if octets is answer:
        assert events == [event]
    else:
        assert isinstance(failure(events, 2), UnexpectedTypeError)
        assert (client.state, client.finished) == (State.CLOSING, True)


@pytest.mark.req("REQ-ORDER-7")
@each("octets", [*(answer for _, _, answer, _ in ASKING.values()), encode(ERROR, b"400 no")])
@each("answered", [0, 1])
def test_an_answer_where_none_is_awaited_fails_the_connection(
    make_client: Callable[..., Client], octets: bytes, answered: int
) -> None:
    client = make_client()
    if answered:
        client.send_request("x")
        client.receive(encode(REPLY))
    assert isinstance(failure(client.receive(octets), 0), UnexpectedTypeError)


@pytest.mark.req("REQ-TYPE-7")
@each(
    "octet error",
    [(octet, UnknownTypeError) for octet in sorted(TypeRange.NEVER.types | TypeRange.CRITICAL.types)]
    + [(octet, UnexpectedTypeError) for octet in (REQUEST, STOP, PING)],
)
def test_a_type_that_no_server_sends_fails_the_connection_with_its_header(
    make_client: Callable[..., Client], octet: int, error: type[FrameletError]
) -> None:
    client = make_client()
    client.send_request("x")
    header = encode(octet, b"x" * 10)[:5]
    assert client.receive(header[:4]) == []
    assert isinstance(failure(client.receive(header[4:]), 1), error)
    assert client.state is State.CLOSING


@pytest.mark.req("REQ-TYPE-3")
def test_an_ignorable_frame_is_discarded_whatever_it_holds(client: Client) -> None:
    client.send_request("x")
    for octet in sorted(TypeRange.IGNORABLE.types):
        assert client.receive(encode(octet, BAD_UTF_8)) == []
    assert client.unanswered == 1
    assert client.receive(encode(0x80) + encode(REPLY, b"x") + encode(0xBF)) == [ReplyReceived("x")]


@pytest.mark.req("REQ-SIZE-2", "REQ-SIZE-4", "REQ-TYPE-4")
@pytest.mark.parametrize("octet", [REPLY, 0x80, ERROR])
@pytest.mark.parametrize("length", [MAX_BODY + 1, 2**31, 2**32 - 1])
def test_an_answer_too_large_fails_the_connection_on_the_fifth_octet(
    client: Client, octet: int, length: int
) -> None:
    client.send_request("x")
    header = bytes([octet]) + length.to_bytes(4, "big")
    assert client.receive(header[:4]) == []
    assert isinstance(failure(client.receive(header[4:]), 1), FrameTooLargeError)


@pytest.mark.req("REQ-TEXT-4", "REQ-TEXT-5")
@pytest.mark.parametrize("text", ["", "\0", "\ufeffx", "\r\n", "e\u0301", "x" * MAX_BODY])
def test_a_reply_is_delivered_as_it_came(client: Client, text: str) -> None:
    client.send_request("x")
    assert client.receive(encode(REPLY, text.encode())) == [ReplyReceived(text)]


@each_way
@pytest.mark.req("REQ-TEXT-6", "REQ-TEXT-3")
def test_an_ill_formed_answer_is_never_delivered(client: Client, way: str) -> None:
    ask, _, answer, _ = ASKING[way]
    ask(client)
    error = failure(client.receive(encode(answer[0], answer[5:] + BAD_UTF_8)), 1)
    assert isinstance(error, IllFormedTextError)


MALFORMED = [
    ("ping", encode(PONG, b"")),
    ("ping", encode(PONG, b"ab ")),
    ("ping", encode(PONG, b"AB")),
    ("ping", encode(PONG, b"x" * 65)),
    ("hello", encode(HELLO, b"")),
    ("hello", encode(HELLO, b"framelet/2 max-body=65536")),
    ("hello", encode(HELLO, b"framelet/1 max-body=65535")),
    ("hello", encode(HELLO, b"framelet/1 a=b a=b")),
    ("hello", encode(HELLO, b"framelet/1 a=" + b"b" * 1_012)),
    ("stop", encode(STOPPED, b"")),
    ("stop", encode(STOPPED, b"closed=0")),
    ("stop", encode(STOPPED, b"closed=0 cut=many")),
    ("stop", encode(STOPPED, b"closed=0 cut=0 closed=0")),
]


@pytest.mark.req("REQ-HELLO-7", "REQ-STOP-9", "REQ-STOP-14", "REQ-PING-3")
@each("way octets", MALFORMED)
def test_a_malformed_answer_fails_the_connection(
    make_client: Callable[..., Client], way: str, octets: bytes
) -> None:
    client = make_client()
    ASKING[way][0](client)
    assert isinstance(failure(client.receive(octets), 1), AnswerMalformedError)


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (encode(PONG, b"x" * 65), "PONG body is 65 octets long, more than 64"),
        (encode(ERROR, b"400 " + b"x" * 1_021), "ERROR body is 1025 octets long, more than 1024"),
    ],
)
def test_an_answer_longer_than_its_type_allows_is_not_parsed(
    client: Client, octets: bytes, words: str
) -> None:
    client.send_ping("x")
    assert str(failure(client.receive(octets), 1)) == words


# Errors from the server.


@each("way", ASKING)
@pytest.mark.req("REQ-ERROR-12", "REQ-ERROR-10", "REQ-ERROR-13")
@each("code", [400, 404, 450, 499])
def test_a_recoverable_error_answers_the_oldest_frame(
    make_client: Callable[..., Client], way: str, code: int
) -> None:
    client = make_client()
    ask, octets, answer, event = ASKING[way]
    ask(client)
    ask(client)
    error = encode(ERROR, f"{code} 500 words".encode())
    assert client.receive(error + answer) == [
        ErrorReceived(ErrorCode(code), "500 words", octets[0], 0),
        event,
    ]
    assert (client.unanswered, client.state) == (0, State.OPEN)


@pytest.mark.req("REQ-ERROR-12", "REQ-PING-1")
def test_a_ping_that_failed_leaves_the_next_one_its_own_pong(client: Client) -> None:
    client.send_ping("1")
    client.send_ping("2")
    (failed, pong) = client.receive(encode(ERROR, b"413 x") + encode(PONG, b"2"))
    assert (failed, pong) == (ErrorReceived(ErrorCode(413), "x", PING, 0), PongReceived("2"))


@pytest.mark.req("REQ-ERROR-12", "REQ-ERROR-10")
@each("code", [500, 501, 507, 599])
@each("asked", [0, 1, 3])
def test_a_fatal_error_ends_the_connection_with_nothing_answered(
    make_client: Callable[..., Client], code: int, asked: int
) -> None:
    client = make_client()
    for _ in range(asked):
        client.send_request("x")
    events = client.receive(encode(ERROR, f"{code} words".encode()) + encode(REPLY) * asked)
    assert events == [ErrorReceived(ErrorCode(code), "words", None, asked)]
    assert (client.state, client.finished, client.unanswered) == (State.CLOSING, True, asked)


@pytest.mark.req("REQ-ERROR-11", "REQ-TEXT-6")
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", AnswerMalformedError),
        (b"400", AnswerMalformedError),
        (b"600 x", AnswerMalformedError),
        (b"400\nx", AnswerMalformedError),
        (b"400 " + b"x" * 1_021, AnswerMalformedError),
        (b"400 " + BAD_UTF_8, IllFormedTextError),
    ],
)
def test_an_error_of_another_form_fails_the_connection(
    client: Client, body: bytes, error: type[FrameletError]
) -> None:
    client.send_request("x")
    assert isinstance(failure(client.receive(encode(ERROR, body)), 1), error)


TWO_THREADS = """
import threading
from framelet import ClientConnection, ConnectionStateError

class Mine(ClientConnection):
    def resume(self, now, after=0.0):
        super().resume(now, after)

for kind in (ClientConnection, Mine):
    connection, inside, done = kind(now=0.0), threading.Event(), threading.Event()

    def texts():
        connection.resume(0.0)  # by the same thread
        yield "a"
        inside.set()
        done.wait(60)

    thread = threading.Thread(target=connection.send_requests, args=(texts(), 1_000))
    thread.start()
    inside.wait(60)
    try:
        for call in ("send_ping", "resume", "data_to_send"):
            try:
                getattr(connection, call)(*() if call == "send_ping" else (0.0,))
            except ConnectionStateError as error:
                print(error)
    finally:
        done.set()
        thread.join()
"""


@pytest.mark.parametrize("options", [["-X", "dev"], []], ids=["development mode", "usual mode"])
def test_two_threads_in_one_connection_are_told_so_in_development_mode(options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *options, "-c", TWO_THREADS], check=False, capture_output=True, text=True, timeout=60
    )
    told = "two threads use this connection at once: use it in one, or hold a lock\n" * 6 if options else ""
    assert (done.stdout, done.stderr) == (told, "")
