"""The batch call of a server's end by examples; tests/property holds it to the events."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from tests.each import each

from framelet import (
    ConfigurationError,
    ConnectionLimits,
    ConnectionStateError,
    ErrorAnswer,
    ErrorCode,
    FrameDecoder,
    FrameType,
    IllFormedTextError,
    RequestReceived,
    ServerConnection,
    State,
    StopReceived,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType as StackFrame

    from tests.unit.conftest import Server

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = (int(kind) for kind in FrameType)
MEBI = 1_048_576
THREE = encode(REQUEST, b"1") + encode(REQUEST, b"2") + encode(REQUEST, "drei €".encode())


def test_the_requests_of_a_read_come_and_are_answered_at_once(server: Server) -> None:
    assert server.batch_ready
    assert server.receive_requests(THREE, 1.0) == ["1", "2", "drei €"]
    assert (server.owes, server.frames_received, server.needs_events) == (3, 3, False)
    assert (server.batch_ready, server.at_rest, server.next_deadline()) == (False, False, None)
    octets = encode(REPLY, b"a") + encode(REPLY, "€".encode()) + encode(REPLY)
    assert server.replies_to_send(["a", "€", ""], 2.0) == [octets]
    assert (server.owes, server.frames_sent, server.idle_deadline) == (0, 3, 2.0 + 300.0)
    assert server.batch_ready
    assert server.at_rest


def test_some_may_be_answered_before_the_others(server: Server) -> None:
    server.receive_requests(THREE, 0.0)
    assert server.replies_to_send([], 0.0) == []
    assert server.replies_to_send(["a"], 0.0) == [encode(REPLY, b"a")]
    server.queue_replies([ErrorAnswer(ErrorCode.HANDLER_FAILED, "no")])
    assert server.replies_to_send(["c"], 0.0) == [encode(ERROR, b"450 no") + encode(REPLY, b"c")]
    assert (server.owes, server.frames_sent) == (0, 3)
    for sent in (4, 5):
        server.receive(encode(PING))
        server.data_to_send(0.0)
        assert server.frames_sent == sent


ONE, LARGEST = encode(REQUEST, b"one"), encode(REQUEST, b"a" * 65_535)


@each(
    "reads",
    [
        [(ONE, ["one"], True), (encode(REQUEST), [""], True), (LARGEST, ["a" * 65_535], True)],
        [(encode(REQUEST, b"a" * 65_536), [], False)],
        [(encode(PING), [], False), (ONE, [], False)],
        [(encode(REQUEST, b"\xff"), [], False)],
        [(ONE + LARGEST + ONE, ["one", "a" * 65_535, "one"], True)],
        [(ONE[:3], [], False), (ONE[3:6], [], False), (ONE[6:] + encode(REQUEST), ["one", ""], True)],
        [(ONE[:3], [], False), (ONE[3:5], [], False), (ONE[5:], ["one"], True)],
        [(ONE + ONE[:6], ["one"], False), (ONE[6:], ["one"], True), (ONE, ["one"], True)],
        [(ONE + ONE[:3], ["one"], False), (ONE[3:] + ONE + ONE[:7], ["one", "one"], False)],
        [(ONE, ["one"], True), (encode(PING)[:3], [], False), (encode(PING)[3:], [], False)],
        [(ONE, ["one"], True), (encode(PING)[:3], [], False), (encode(PING)[3:] + ONE, [], False)],
    ],
)
def test_each_read_is_counted_and_tells_whether_it_was_all(
    make_server: Callable[..., Server], reads: list[tuple[bytes, list[str], bool]]
) -> None:
    server, sent = make_server(), b""
    assert not server.clean
    for now, (octets, texts, clean) in enumerate(reads, start=1):
        assert server.receive_requests(octets, now) == texts
        sent += octets
        frames = FrameDecoder()
        assert server.frames_received == frames.receive_data(sent)
        assert (server.clean, server.owes, server.idle_deadline) == (clean, len(texts), now + 300.0)
        server.replies_to_send(texts, now)


@pytest.mark.parametrize("before", [encode(REQUEST), encode(PING)[:3]], ids=["owed", "begun"])
def test_a_read_is_not_all_where_events_tell_of_it(server: Server, before: bytes) -> None:
    server.receive_requests(ONE, 0.0)
    server.replies_to_send([""], 0.0)
    assert server.clean
    server.receive_data(before, 0.0)
    server.receive_requests(encode(PING)[len(before) % 5 :], 0.0)
    assert not server.clean


def test_events_may_be_asked_for_a_few_frames_at_a_time(server: Server) -> None:
    server.receive_data(encode(PING, b"x") * 5 + encode(REQUEST, b"1"), 0.0)
    seen = []
    while server.needs_events:
        seen.append((server.next_event(2), len(server.data_to_send(0.0))))
    pong = len(encode(PONG, b"x"))
    assert seen == [(None, 2 * pong), (None, 2 * pong), (RequestReceived("1"), pong)]


@pytest.mark.req("REQ-ORDER-2")
def test_what_comes_after_a_batch_waits_for_its_answers(server: Server) -> None:
    wire = THREE + encode(PING, b"x") + encode(STOP) + encode(REQUEST, b"4")
    assert server.receive_requests(wire, 0.0) == ["1", "2", "drei €"]
    assert server.needs_events
    assert server.next_event() == StopReceived("")
    assert (server.owes, server.data_to_send(0.0)) == (5, b"")
    assert server.receive_requests(encode(REQUEST, b"5"), 0.0) == []
    assert server.events() == [RequestReceived("4"), RequestReceived("5")]
    replies = b"".join(encode(REPLY, text) for text in (b"a", b"b", b"c"))
    assert server.replies_to_send(["a", "b", "c"], 0.0) == [replies + encode(PONG, b"x")]
    server.refuse(ErrorCode.STOP_REFUSED)
    server.reply("d")
    server.reply("e")
    assert [kind for kind, _ in server.answers()] == [ERROR, REPLY, REPLY]


def owe_by_event(server: Server) -> None:
    server.receive(encode(REQUEST))


def have_output(server: Server) -> None:
    server.receive(encode(PING))


def have_a_frame(server: Server) -> None:
    server.receive_data(encode(PING), 0.0)


def have_a_refused_frame(server: Server) -> None:
    server.receive_data(b"\x01\xff\xff\xff\xff", 0.0)


def have_a_batch(server: Server) -> None:
    server.receive_requests(THREE, 0.0)


def drain(server: Server) -> None:
    server.drain()


@pytest.mark.req("REQ-ORDER-2")
@pytest.mark.parametrize(
    "prepare", [owe_by_event, have_output, have_a_frame, have_a_refused_frame, have_a_batch, drain]
)
def test_requests_come_as_events_where_something_is_before_them(
    make_server: Callable[..., Server], prepare: Callable[[Server], None]
) -> None:
    server, plain = make_server(), make_server()
    for end in (server, plain):
        prepare(end)
    assert not server.batch_ready
    owed = server.owes
    assert server.receive_requests(THREE + encode(REQUEST)[:3], 0.0) == []
    plain.receive_data(THREE + encode(REQUEST)[:3], 0.0)
    assert server.owes == owed
    assert repr(server.events()) == repr(plain.events())
    assert server.data_to_send(0.0) == plain.data_to_send(0.0)


@pytest.mark.req("REQ-CLOSE-1")
def test_there_is_no_batch_after_the_end_of_the_input(server: Server) -> None:
    server.receive_eof()
    assert not server.batch_ready
    with pytest.raises(ConnectionStateError, match="after the end of the stream"):
        server.receive_requests(THREE, 0.0)


@pytest.mark.parametrize("cut", [1, 4, 5, 6, 65_541, MEBI + 4])
def test_a_frame_that_had_begun_comes_whatever_its_size(make_server: Callable[..., Server], cut: int) -> None:
    server = make_server(ConnectionLimits())
    wire = encode(REQUEST, b"a" * MEBI) + THREE + encode(REQUEST)[:2]
    assert server.receive_requests(wire[:cut], 0.0) == []
    assert server.receive_requests(wire[cut:], 0.0) == ["a" * MEBI, "1", "2", "drei €"]
    assert (server.needs_events, server.input_size) == (False, 2)


def test_a_large_frame_that_is_whole_comes_as_an_event(server: Server) -> None:
    wire = encode(REQUEST, b"1") + encode(REQUEST, b"a" * 65_536) + encode(REQUEST, b"3")
    assert server.receive_requests(wire, 0.0) == ["1"]
    assert server.needs_events
    assert server.events() == [RequestReceived("a" * 65_536), RequestReceived("3")]


@pytest.mark.parametrize("text", ["a" * MEBI, "a" * 65_536, "é" * 32_768])
def test_a_large_reply_is_a_piece_of_its_own(make_server: Callable[..., Server], text: str) -> None:
    server = make_server(ConnectionLimits())
    server.receive_requests(THREE + encode(REQUEST), 0.0)
    header = encode(REPLY, text.encode())[:5]
    assert server.replies_to_send(["x", text, "y"], 0.0) == [
        encode(REPLY, b"x") + header,
        text.encode(),
        encode(REPLY, b"y"),
    ]
    assert server.replies_to_send([text], 0.0) == [header, text.encode()]


@pytest.mark.req("REQ-TEXT-1", "REQ-HELLO-5")
@each(
    "text error words",
    [
        ("a" + chr(0xD800), IllFormedTextError, "lone surrogate at index 1"),
        (ErrorAnswer(ErrorCode.OVERLOADED), ConfigurationError, "not a recoverable error"),
        (b"a", ConfigurationError, "a text must be a str, not bytes"),
        (None, ConfigurationError, "a text must be a str, not NoneType"),
    ],
)
@each("others", [([], []), (["a"], ["b"]), (["€"], []), ([], ["€"])])
def test_nothing_happens_where_one_reply_cannot_be_sent(
    make_server: Callable[..., Server],
    text: Any,
    error: type[Exception],
    words: str,
    others: tuple[list[str], list[str]],
) -> None:
    server = make_server()
    server.receive_requests(THREE, 0.0)
    with pytest.raises(error, match=words):
        server.replies_to_send([*others[0], text, *others[1]], 1.0)
    assert (server.owes, server.output_size, server.frames_sent) == (3, 0, 0)
    with pytest.raises(error, match=words):
        server.queue_replies([*others[0], text, *others[1]])
    assert server.owes == 3


@pytest.mark.req("REQ-HELLO-5")
@pytest.mark.parametrize("text", ["a" * 65_537, "€" * 21_846])
@pytest.mark.parametrize("others", [0, 1])
def test_a_reply_in_a_batch_that_is_too_large_fails_alone(server: Server, text: str, others: int) -> None:
    server.receive_requests(THREE, 0.0)
    (octets,) = server.replies_to_send([*"ab"[:others], text, *"cd"[:others]], 0.0)
    decoder = FrameDecoder()
    decoder.receive_data(octets)
    kinds = [frame[0] for frame in decoder.take_frames()]
    assert kinds == [REPLY] * others + [ERROR] + [REPLY] * others
    assert server.errors == {ErrorCode.ANSWER_TOO_LARGE: 1}


class Odd(str):
    """A str with an idea of its own of what it is."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002
        return b"x"


@pytest.mark.parametrize("texts", [["ab"], ["ab", "cd"], ["ab", "é"], ["a" * 65_536]])
def test_a_subclass_of_str_is_sent_as_a_str(server: Server, texts: list[str]) -> None:
    server.receive_requests(THREE, 0.0)
    expected = b"".join(encode(REPLY, text.encode()) for text in texts)
    assert b"".join(server.replies_to_send([Odd(text) for text in texts], 0.0)) == expected


def test_more_replies_than_requests_are_refused(server: Server) -> None:
    server.receive_requests(THREE, 0.0)
    with pytest.raises(ConnectionStateError, match="4 replies for a batch of 3 requests"):
        server.replies_to_send(["a"] * 4, 0.0)
    with pytest.raises(ConnectionStateError, match="4 replies for a batch of 3 requests"):
        server.queue_replies(["a"] * 4)
    assert server.owes == 3
    server.receive(encode(REQUEST))
    with pytest.raises(ConnectionStateError):  # that one is not of the batch
        server.replies_to_send(["a"] * 4, 0.0)


def test_requests_that_are_returned_come_again_before_all_others(server: Server) -> None:
    server.receive_requests(THREE + encode(REQUEST, b"\xff") + encode(PING), 0.0)
    before = server.input_size
    server.return_requests(["2", "drei €"])
    assert (server.owes, server.needs_events) == (1, True)
    assert server.input_size == before + len(THREE) - 6
    assert server.next_event() == RequestReceived("2")
    assert server.next_event() == RequestReceived("drei €")
    assert len(server.events()) == 1
    server.replies_to_send(["a"], 0.0)
    server.reply("b")
    server.reply("c")
    assert [kind for kind, _ in server.answers()] == [REPLY, REPLY, ERROR, PONG]


def test_all_requests_may_be_returned(server: Server) -> None:
    texts = server.receive_requests(THREE, 0.0)
    server.return_requests(texts)
    assert (server.owes, server.events()) == (0, [RequestReceived(text) for text in texts])


@pytest.mark.parametrize("behind", [encode(PING), encode(REQUEST, b"\xff"), encode(STOP), encode(0x00)])
def test_nothing_is_returned_once_a_later_frame_was_taken(server: Server, behind: bytes) -> None:
    server.receive_requests(THREE + behind, 0.0)
    server.events()
    with pytest.raises(ConnectionStateError, match="before the next event"):
        server.return_requests(["drei €"])


def test_a_failure_drops_what_a_batch_is_owed(server: Server) -> None:
    server.receive_requests(THREE, 0.0)
    server.fail(ErrorCode.OVERLOADED)
    assert (server.owes, server.state) == (0, State.CLOSING)
    assert server.answers() == [(ERROR, 509)]
    with pytest.raises(ConnectionStateError):
        server.replies_to_send(["a"], 0.0)
    with pytest.raises(ConnectionStateError):
        server.return_requests(["1"])


@pytest.mark.req("REQ-CLOSE-1")
def test_a_batch_is_answered_after_the_end_of_the_input(server: Server) -> None:
    server.receive_requests(THREE, 0.0)
    assert len(server.end()) == 1
    assert (server.state, server.finished) == (State.DRAINING, False)
    server.replies_to_send(["a", "b", "c"], 0.0)
    assert (server.state, server.finished) == (State.CLOSED, True)


# What it costs.


def test_what_waits_for_its_turn_is_counted_until_it_is_sent(server: Server) -> None:
    first, second = server.receive(encode(REQUEST, b"a" * 1_000) * 2)
    assert isinstance(first, RequestReceived)
    assert isinstance(second, RequestReceived)
    before = server.held
    assert 2_000 < before < 3_000
    server.send_reply(second, "b" * 5_000)
    assert before + 5_000 < server.held < before + 6_000
    server.send_reply(first, "")
    assert server.held == server.output_size
    server.data_to_send(0.0)
    assert server.held == 0


def python_calls(action: Callable[[], object]) -> int:
    """How many Python functions an action calls, itself included."""
    calls = 0

    def count(_frame: StackFrame, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    previous = sys.getprofile()
    gc.disable()  # what others have called at a collection is not the action's
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(previous)
        gc.enable()
    return calls


@pytest.mark.parametrize(
    "body",
    [b"abc", "€".encode(), b"a" * 1_024, "€".encode() * 1_024],
    ids=["ASCII", "mixed", "long", "long and mixed"],
)
@pytest.mark.parametrize("count", [1, 2, 500])
def test_a_batch_takes_one_call_in_and_one_out(server: Server, count: int, body: bytes) -> None:
    wire, texts = encode(REQUEST, body) * count, [body.decode()] * count
    assert python_calls(lambda: server.receive_requests(wire, 0.0)) == 2  # with the lambda
    assert python_calls(lambda: server.replies_to_send(texts, 0.0)) == 2


def test_an_idle_connection_is_small_also_after_use() -> None:
    limits, count = ConnectionLimits(), 100
    connections: list[Any] = [None] * count
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(count):
            connection = ServerConnection(limits, now=0.0)
            hello = encode(HELLO, b"framelet/1")
            for wire in (THREE + encode(PING), encode(REQUEST)[:3], encode(REQUEST)[3:] + hello):
                texts = connection.receive_requests(wire, 0.0)
                while connection.next_event() is not None:
                    pass
                connection.replies_to_send(texts, 0.0)
                connection.data_to_send(0.0)
            connections[number] = connection
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()
    assert used < 520  # Python 3.15 takes 506


def test_the_size_of_what_waits_is_counted_and_not_summed_up(server: Server) -> None:
    server.receive_data(encode(REQUEST, b"abc") * 1_000 + encode(REQUEST)[:3], 0.0)
    for left in range(1_000, 0, -1):
        assert server.input_size == 8 * left + 3
        assert python_calls(lambda: server.input_size) < 5
        server.next_event()
    assert server.input_size == 3
