"""The server's end: which answer each frame gets, and in which order."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from tests.each import each

from framelet import (
    ApplicationReceived,
    ClientConnection,
    ClientConnectionLimits,
    ConnectionLimits,
    ConnectionStateError,
    ErrorAnswer,
    ErrorCode,
    ErrorReceived,
    FrameRefused,
    FrameType,
    IllFormedTextError,
    RequestReceived,
    ServerEvent,
    State,
    StopReceived,
    TypeRange,
    encode,
    grammar,
    reverse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Server

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = (int(kind) for kind in FrameType)
APPLICATION, IGNORABLE = 0xC0, 0x80
BAD_UTF_8 = b"ok\xed\xa0\x80"
MAX_BODY = 65_536


def refused(events: list[ServerEvent]) -> list[ErrorCode]:
    """The codes of all refusals, where there is nothing but refusals."""
    assert all(isinstance(event, FrameRefused) for event in events)
    return [event.error.code for event in events if isinstance(event, FrameRefused)]


# The beginning.


@pytest.mark.req("REQ-ORDER-3", "REQ-ORDER-5")
def test_nothing_is_sent_before_something_is_received(server: Server) -> None:
    assert (server.data_to_send(0.0), server.next_event()) == (b"", None)
    assert (server.state, server.finished, server.owes) == (State.OPEN, False, 0)


@pytest.mark.parametrize(
    "octets",
    [b"\x01", b"\x01\0\0\0\1", encode(REQUEST, b"ab"), b"\x01\x7f\xff\xff\xff", encode(PING)[:-1]],
    ids=["type", "header", "frame", "refused", "part"],
)
def test_it_is_at_rest_while_nothing_has_begun(server: Server, octets: bytes) -> None:
    assert server.at_rest
    server.receive_data(encode(REQUEST, b"ab"), 0.0)
    assert server.next_event() == RequestReceived("ab")
    server.reply("ba")
    assert not server.at_rest  # the answer waits to be sent
    server.data_to_send(0.0)
    assert server.at_rest
    server.receive_data(octets, 0.0)
    assert not server.at_rest


@pytest.mark.req("REQ-ORDER-1", "REQ-ORDER-5")
@pytest.mark.parametrize(
    ("frame_type", "event"),
    [
        (REQUEST, RequestReceived("x")),
        (STOP, StopReceived("x")),
        (0xC0, ApplicationReceived(0xC0, "x")),
        (0xFF, ApplicationReceived(0xFF, "x")),
    ],
)
def test_each_frame_for_the_program_may_come_first_and_is_owed_one_answer(
    server: Server, frame_type: int, event: ServerEvent
) -> None:
    assert server.receive(encode(frame_type, b"x")) == [event]
    assert (server.owes, server.answers()) == (1, [])
    server.refuse(ErrorCode.HANDLER_FAILED)
    assert (server.owes, server.answers()) == (0, [(ERROR, 450)])


@pytest.mark.req("REQ-ORDER-1", "REQ-ORDER-5", "REQ-PING-1", "REQ-HELLO-1")
@pytest.mark.parametrize(("frame_type", "answer"), [(PING, PONG), (HELLO, HELLO)])
def test_each_frame_for_the_connection_may_come_first_and_is_answered_at_once(
    server: Server, frame_type: int, answer: int
) -> None:
    assert server.receive(encode(frame_type, b"framelet/1")) == []
    assert [kind for kind, _ in server.answers()] == [answer]
    assert server.owes == 0


# REQUEST and application frames.


@pytest.mark.req("REQ-REV-1", "REQ-REV-2", "REQ-ORDER-1", "REQ-FRAME-5")
@pytest.mark.parametrize("text", ["hello", "", "é€😀"])
def test_a_request_is_answered_by_a_reply(server: Server, text: str) -> None:
    assert server.receive(encode(REQUEST, text.encode())) == [RequestReceived(text)]
    server.reply(reverse(text))
    assert server.data_to_send(0.0) == encode(REPLY, text[::-1].encode())
    assert server.data_to_send(0.0) == b""


@pytest.mark.req("REQ-TYPE-5")
def test_an_application_frame_of_each_type_is_answered_by_its_own(server: Server) -> None:
    for frame_type in sorted(TypeRange.APPLICATION.types):
        assert server.receive(encode(frame_type, b"x")) == [ApplicationReceived(frame_type, "x")]
        server.reply("y")
        assert server.answers() == [(frame_type, "y")]


@pytest.mark.req("REQ-TYPE-6", "REQ-ERROR-4")
def test_an_application_frame_without_handler_fails_alone(server: Server) -> None:
    server.receive(encode(APPLICATION, b"x"))
    server.refuse(ErrorCode.NO_HANDLER)
    server.receive(encode(PING))
    assert server.answers() == [(ERROR, 404), (PONG, "")]


@pytest.mark.req("REQ-TEXT-3", "REQ-TEXT-4", "REQ-TEXT-5")
@each("text", ["\0", "a\0b", "\ufeff", "a\ufeffb", "\r\n", "\ufffe\U0010ffff", " a ", "e\u0301"])
@each("frame_type", [REQUEST, STOP, APPLICATION])
def test_text_arrives_and_leaves_octet_for_octet(
    make_server: Callable[..., Server], frame_type: int, text: str
) -> None:
    server = make_server()
    (event,) = server.receive(encode(frame_type, text.encode()))
    assert text == (event.token if isinstance(event, StopReceived) else event.text)  # type: ignore[union-attr]
    if frame_type != STOP:
        server.reply(text)
        assert server.data_to_send(0.0)[5:] == text.encode()


# Order.


@pytest.mark.req("REQ-ORDER-2", "REQ-ORDER-4")
def test_pipelined_frames_are_answered_in_order(server: Server) -> None:
    asked = encode(REQUEST, b"ab") + encode(APPLICATION, b"cd") + encode(REQUEST, b"ef")
    assert len(server.receive(asked)) == server.owes == 3
    for text in ("1", "2", "3"):
        server.reply(text)
    assert server.answers() == [(REPLY, "1"), (APPLICATION, "2"), (REPLY, "3")]


READY = {
    "PING": (encode(PING, b"x"), (PONG, "x")),
    "PING too large": (encode(PING, bytes(65)), (ERROR, 413)),
    "HELLO malformed": (encode(HELLO, b"x"), (ERROR, 422)),
    "HELLO of version 2": (encode(HELLO, b"framelet/2"), (ERROR, 426)),
    "ill-formed REQUEST": (encode(REQUEST, BAD_UTF_8), (ERROR, 400)),
}


@pytest.mark.req("REQ-ORDER-1", "REQ-ORDER-2", "REQ-TEXT-2")
@pytest.mark.parametrize(("octets", "answer"), READY.values(), ids=READY)
def test_an_answer_that_is_ready_waits_for_those_before_it(
    server: Server, octets: bytes, answer: tuple[int, str | int]
) -> None:
    server.receive(encode(REQUEST, b"1") + octets + octets + encode(REQUEST, b"2") + octets)
    assert (server.answers(), server.owes) == ([], 5)
    server.reply("one")
    assert (server.answers(), server.owes) == ([(REPLY, "one"), answer, answer], 2)
    server.refuse(ErrorCode.HANDLER_FAILED)
    assert (server.answers(), server.owes) == ([(ERROR, 450), answer], 0)
    server.receive(octets)
    assert server.answers() == [answer]


# PING.


@pytest.mark.req("REQ-PING-1")
@pytest.mark.parametrize(
    "body", [b"", b"x", b"\0\r\n", "\ufeffé".encode(), b"x" * 63, b"x" * 64, "é".encode() * 32]
)
def test_a_ping_of_up_to_64_octets_is_echoed_exactly(server: Server, body: bytes) -> None:
    assert server.receive(encode(PING, body)) == []
    assert server.data_to_send(0.0) == encode(PONG, body)


@pytest.mark.req("REQ-PING-2", "REQ-ERROR-4")
@pytest.mark.parametrize("body", [b"x" * 65, "é".encode() * 33, b"x" * MAX_BODY])
def test_a_longer_ping_fails_alone(server: Server, body: bytes) -> None:
    assert refused(server.receive(encode(PING, body))) == [413]
    server.receive(encode(PING, b"x"))
    assert server.answers() == [(ERROR, 413), (PONG, "x")]


# HELLO.


@pytest.mark.req("REQ-HELLO-1", "REQ-HELLO-2")
def test_a_hello_is_answered_with_version_and_limits(make_server: Callable[..., Server]) -> None:
    server = make_server(ConnectionLimits(max_body=70_000, frame_timeout=1.5, idle_timeout=0.001))
    server.receive(encode(HELLO, b"framelet/1 x=unknown"))
    assert server.answers() == [(HELLO, "framelet/1 max-body=70000 frame-timeout-ms=1500 idle-timeout-ms=1")]


@pytest.mark.req("REQ-HELLO-1")
def test_a_hello_is_answered_under_the_longest_timeouts_that_may_be_set(
    make_server: Callable[..., Server],
) -> None:
    longest = {info.name: info.maximum for info in ConnectionLimits.describe()}
    server = make_server(ConnectionLimits().replace(**longest))
    server.receive(encode(HELLO, b"framelet/1"))
    assert grammar.parse_body(grammar.HelloBody, server.data_to_send(0.0)[5:]).version == 1


@pytest.mark.req("REQ-HELLO-3", "REQ-HELLO-4", "REQ-ERROR-3", "REQ-ERROR-4")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 422),
        (b"framelet/1 ", 422),
        (b"framelet/1 a=1 a=1", 422),
        (b"framelet/1 max-body=65535", 422),
        (b"framelet/1 max-body=4294967296", 422),
        (b"framelet/1 a=" + b"b" * 1012, 422),
        (b"framelet/2 max-body=1", 422),
        (b"framelet/2", 426),
        (b"framelet/99999 max-body=65536", 426),
    ],
)
def test_a_hello_that_is_refused_changes_no_limit(
    make_server: Callable[..., Server], body: bytes, code: int
) -> None:
    server = make_server(ConnectionLimits(max_body=100_000))
    server.receive(encode(HELLO, b"framelet/1 max-body=70000"))
    server.data_to_send(0.0)
    assert refused(server.receive(encode(HELLO, body))) == [code]
    server.receive(encode(REQUEST) * 2)
    server.reply("x" * 70_001)
    server.reply("x" * 70_000)
    assert server.answers() == [(ERROR, code), (ERROR, 451), (REPLY, "x" * 70_000)]


@pytest.mark.req("REQ-HELLO-5", "REQ-HELLO-6", "REQ-HELLO-10")
@pytest.mark.parametrize(
    ("hellos", "allowed"),
    [
        ([], 100_000),
        ([b"framelet/1 max-body=65536"], 65_536),
        ([b"framelet/1 max-body=4294967295"], 100_000),
        ([b"framelet/1 max-body=65536", b"framelet/1 max-body=70000"], 70_000),
        ([b"framelet/1 max-body=70000", b"framelet/1 max-body=65536"], 65_536),
        ([b"framelet/1 max-body=65536", b"framelet/1"], 100_000),
    ],
)
def test_the_last_hello_and_the_servers_own_limit_bound_an_answer(
    make_server: Callable[..., Server], hellos: list[bytes], allowed: int
) -> None:
    server = make_server(ConnectionLimits(max_body=100_000))
    server.receive(*(encode(HELLO, body) for body in hellos), encode(REQUEST), encode(APPLICATION))
    server.data_to_send(0.0)
    server.reply("x" * (allowed + 1))
    words = f"451 an answer of {allowed + 1} octets exceeds the maximum of {allowed}"
    assert server.data_to_send(0.0) == encode(ERROR, words.encode())
    assert server.errors == {ErrorCode.ANSWER_TOO_LARGE: 1}
    server.reply("é" * (allowed // 2))  # octets count, not scalar values
    assert server.answers() == [(APPLICATION, "é" * (allowed // 2))]


@pytest.mark.req("REQ-HELLO-5", "REQ-HELLO-6", "REQ-ORDER-2")
def test_a_hello_bounds_the_answers_behind_it_and_not_those_before_it(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(ConnectionLimits(max_body=100_000))
    hello = encode(HELLO, b"framelet/1 max-body=65536")
    server.receive(encode(REQUEST) * 2 + hello + encode(REQUEST) * 2 + encode(HELLO, b"framelet/1"))
    server.receive(encode(REQUEST) * 2)
    texts = ["x" * size for allowed in (100_000, 65_536, 100_000) for size in (allowed, allowed + 1)]
    for event, text in reversed(list(zip(server.asked, texts, strict=True))):  # whichever is made first
        server.send_reply(event, text)
    kinds = [kind for kind, _ in server.answers()]
    assert kinds == [REPLY, ERROR, HELLO, REPLY, ERROR, HELLO, REPLY, ERROR]


# Ill-formed text, and frames to be discarded.


@pytest.mark.req("REQ-TEXT-2", "REQ-TEXT-3", "REQ-ERROR-4")
@pytest.mark.parametrize("frame_type", [REQUEST, STOP, PING, HELLO, APPLICATION])
def test_an_ill_formed_body_of_each_type_is_refused_alone(server: Server, frame_type: int) -> None:
    assert refused(server.receive(encode(frame_type, BAD_UTF_8))) == [400]
    assert (server.state, server.owes) == (State.OPEN, 0)
    assert server.receive(encode(REQUEST, b"x")) == [RequestReceived("x")]
    server.reply("x")
    assert server.answers() == [(ERROR, 400), (REPLY, "x")]


@pytest.mark.req("REQ-ERROR-3")
@pytest.mark.parametrize("frame_type", [PING, HELLO])
def test_ill_formed_text_goes_before_what_else_is_wrong_with_a_body(server: Server, frame_type: int) -> None:
    server.receive(encode(frame_type, bytes(2_000) + BAD_UTF_8))
    assert server.answers() == [(ERROR, 400)]


@pytest.mark.req("REQ-TYPE-3", "REQ-ORDER-3")
def test_an_ignorable_frame_of_each_type_is_discarded_whatever_it_holds(server: Server) -> None:
    for frame_type in sorted(TypeRange.IGNORABLE.types):
        for body in (b"", BAD_UTF_8, bytes(2_000)):
            assert server.receive(encode(frame_type, body)) == []
    assert (server.answers(), server.owes, server.state) == ([], 0, State.OPEN)
    server.receive(encode(IGNORABLE, b"x") + encode(PING) + encode(IGNORABLE))
    assert server.answers() == [(PONG, "")]


# Answers of the program.


@pytest.mark.req("REQ-TEXT-1")
def test_a_reply_with_a_surrogate_is_refused_and_can_be_followed_by_another(server: Server) -> None:
    server.receive(encode(REQUEST, b"x"))
    with pytest.raises(IllFormedTextError):
        server.reply(chr(0xD800))
    assert (server.output_size, server.owes) == (0, 1)
    server.reply("y")
    assert server.answers() == [(REPLY, "y")]


@pytest.mark.req("REQ-ERROR-1", "REQ-ERROR-14")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("why", "why"),
        ("", ErrorCode.HANDLER_FAILED.condition),
        ("x" * 1_020, "x" * 1_020),
        ("x" * 1_021, "x" * 1_020),
        ("é" * 600, "é" * 510),
        ("x" + "é" * 600, "x" + "é" * 509),
        ("😀" * 300, "😀" * 255),
        ("a" + chr(0xD800), "a?"),
    ],
)
def test_the_text_of_an_error_is_cut_between_scalar_values(server: Server, text: str, expected: str) -> None:
    server.receive(encode(REQUEST))
    server.refuse(ErrorCode.HANDLER_FAILED, text)
    assert server.data_to_send(0.0) == encode(ERROR, f"450 {expected}".encode())


@pytest.mark.req("REQ-ERROR-1")
@pytest.mark.parametrize("code", [code for code in ErrorCode if not code.fatal])
def test_every_recoverable_code_can_be_sent_in_plain_words(server: Server, code: ErrorCode) -> None:
    server.receive(encode(REQUEST))
    server.refuse(code)
    words = code.condition.replace("`", "")
    assert server.data_to_send(0.0) == encode(ERROR, f"{int(code)} {words}".encode())


def test_output_taken_in_pieces_is_the_same(make_server: Callable[..., Server]) -> None:
    outputs = []
    for in_pieces in (True, False):
        server = make_server(ConnectionLimits(max_body=200_000))
        server.receive(encode(REQUEST) * 4)
        for text in ("a", "b" * 65_535, "c" * 65_536, "d" * 200_000):
            server.reply(text)
        assert server.output_size == 4 * 5 + 1 + 65_535 + 65_536 + 200_000
        outputs.append(b"".join(server.pieces_to_send(0.0)) if in_pieces else server.data_to_send(0.0))
        assert (server.output_size, server.pieces_to_send(0.0)) == (0, [])
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 4 * 5 + 1 + 65_535 + 65_536 + 200_000


def test_small_answers_leave_as_one_piece(server: Server) -> None:
    server.receive(encode(REQUEST) * 100)
    for _ in range(100):
        server.reply("x")
    assert server.pieces_to_send(0.0) == [encode(REPLY, b"x") * 100]


# Misuse.


@each("code", [*(code for code in ErrorCode if code.fatal), 399, 550, 600])
def test_a_fatal_or_local_code_is_no_answer(make_server: Callable[..., Server], code: int) -> None:
    server = make_server()
    server.receive(encode(REQUEST))
    with pytest.raises(ValueError, match="not a recoverable error"):
        server.refuse(code)
    assert (server.output_size, server.owes) == (0, 1)


@pytest.mark.req("REQ-ERROR-15", "REQ-ERROR-16")
@pytest.mark.parametrize("code", [418, 459, 460, 481, 499])
def test_a_relay_passes_on_a_code_that_it_does_not_know(server: Server, code: int) -> None:
    client = ClientConnection(now=0.0)
    client.send_request("x")
    client.receive_data(encode(ERROR, b"%d its words" % code), 0.0)
    answer = client.next_event()
    assert isinstance(answer, ErrorReceived)
    assert answer == ErrorReceived(ErrorCode(code), "its words", REQUEST, 0)
    for _ in range(2):
        server.receive(encode(REQUEST))
        server.refuse(answer.code, answer.text)
        assert server.data_to_send(0.0) == encode(ERROR, b"%d its words" % code)
    server.receive_requests(encode(REQUEST) * 2, 0.0)
    server.queue_replies([ErrorAnswer(answer.code, answer.text), ErrorAnswer(code)])
    assert server.answers() == [(ERROR, code)] * 2
    assert server.errors == {code: 4}


@pytest.mark.req("REQ-ERROR-15")
def test_an_applications_code_answers_no_stop(server: Server) -> None:
    (stop,) = server.receive(encode(STOP))
    assert isinstance(stop, StopReceived)
    with pytest.raises(ValueError, match="cannot answer a STOP"):
        server.send_error(stop, 460)
    assert server.owes == 1


@each("pending", [b"", encode(PING), encode(REQUEST, BAD_UTF_8), encode(REQUEST)[:3]])
@each(
    "answer",
    [
        lambda server: server.send_reply(RequestReceived("x"), "x"),
        lambda server: server.send_error(RequestReceived("x"), ErrorCode.NO_HANDLER),
        lambda server: server.send_stopped(StopReceived(""), 0, 0),
        lambda server: server.allow_stop(StopReceived("")),
    ],
)
def test_there_is_no_answer_without_a_frame(
    make_server: Callable[..., Server], pending: bytes, answer: Callable[[Server], None]
) -> None:
    server = make_server()
    server.receive(pending)
    server.data_to_send(0.0)
    with pytest.raises(ConnectionStateError, match="cannot be answered"):
        answer(server)
    assert (server.output_size, server.owes, server.state) == (0, 0, State.OPEN)


# Answers by their events.


@pytest.mark.req("REQ-ORDER-2")
@each("order", list(itertools.permutations(range(4))))
def test_answers_are_given_in_any_order_and_sent_in_the_order_of_the_frames(
    make_server: Callable[..., Server], order: tuple[int, ...]
) -> None:
    server = make_server()
    ping = encode(PING, b"x")
    wire = (encode(REQUEST) + ping) * 2 + encode(APPLICATION) + encode(STOP) + ping
    first, second, third, stop = server.receive(wire)
    give = [
        lambda: server.send_reply(first, "1"),  # type: ignore[arg-type]
        lambda: server.send_error(second, ErrorCode.HANDLER_FAILED),  # type: ignore[arg-type]
        lambda: server.send_reply(third, "3"),  # type: ignore[arg-type]
        lambda: server.send_error(stop, ErrorCode.STOP_REFUSED),  # type: ignore[arg-type]
    ]
    expected = [
        (REPLY, "1"),
        (PONG, "x"),
        (ERROR, 450),
        (PONG, "x"),
        (APPLICATION, "3"),
        (ERROR, 403),
        (PONG, "x"),
    ]
    sent: list[tuple[int, str | int]] = []
    for number in order:
        give[number]()
        sent += server.answers()
        assert sent == expected[: len(sent)]
        with pytest.raises(ConnectionStateError, match="cannot be answered"):
            give[number]()
    assert (sent, server.owes) == (expected, 0)


def test_an_event_is_answered_by_its_own_connection_as_what_it_is(make_server: Callable[..., Server]) -> None:
    server, other = make_server(), make_server()
    event, stop = server.receive(encode(REQUEST, b"x") + encode(STOP))
    (twin,) = other.receive(encode(REQUEST, b"x"))
    assert event == twin
    copied: Any = copy.copy(event)
    for stranger in (twin, copied):
        with pytest.raises(ConnectionStateError):
            server.send_reply(stranger, "y")  # type: ignore[arg-type]
    refused_kinds: list[tuple[Callable[..., object], tuple[Any, ...]]] = [
        (server.send_reply, (stop, "y")),
        (server.send_reply, ("x", "y")),
        (server.allow_stop, (event,)),
        (server.send_stopped, (event, 0, 0)),
        (server.send_error, (404, 404)),
        (server.send_error, (event, "404")),
        (server.send_error, (event, True)),
        (server.receive_data, (12, 0.0)),
        (server.receive_data, ([1, 0, 0], 0.0)),
        (make_server, (ClientConnectionLimits(),)),
    ]
    for method, arguments in refused_kinds:
        with pytest.raises(TypeError, match=r"\bnot "):
            method(*arguments)
    assert (server.owes, server.output_size) == (2, 0)


@pytest.mark.req("REQ-TYPE-6", "REQ-STOP-3", "REQ-ORDER-2")
def test_what_the_program_did_not_ask_for_is_refused_in_its_turn(make_server: Callable[..., Server]) -> None:
    server = make_server(application_types={0xC1}, takes_stop=False)
    wire = encode(REQUEST, b"1") + encode(0xC0) + encode(STOP, b"token") + encode(0xC1) + encode(STOP)
    request, application = server.receive(wire)
    assert isinstance(request, RequestReceived)
    assert isinstance(application, ApplicationReceived)
    assert application == ApplicationReceived(0xC1, "")
    server.send_reply(application, "b")
    assert server.answers() == []
    server.send_reply(request, "a")
    assert server.answers() == [(REPLY, "a"), (ERROR, 404), (ERROR, 403), (0xC1, "b"), (ERROR, 403)]
    assert server.errors == {ErrorCode.NO_HANDLER: 1, ErrorCode.STOP_REFUSED: 2}
