"""The shortcuts for many frames at a time do what the events do: same octets, same state, whatever comes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framelet import (
    AnswerTooLargeError,
    ApplicationReceived,
    ClientConnection,
    ClientConnectionLimits,
    ClientEvent,
    FrameletError,
    FrameType,
    IllFormedTextError,
    ReplyReceived,
    RequestReceived,
    ReversingConnection,
    ServerEvent,
    State,
    StopReceived,
    decode_text,
    encode,
    encode_text,
    reverse,
)
from framelet.registry import ErrorCode
from framelet.reversal import Reversal, reversed_octets
from framelet_server import ServerLimits

if TYPE_CHECKING:
    from typing_extensions import Buffer

TEXTS = st.text(max_size=40)
ILL_FORMED = st.binary(max_size=6)
BODIES = st.one_of(TEXTS.map(str.encode), st.text("abc", max_size=200).map(str.encode), ILL_FORMED)
A_LARGE_BODY, A_LARGER_BODY = b"ab" * 40_000, "a\u00e9\u6f22\U0001f600".encode() * 9_000
LARGE = st.sampled_from([A_LARGE_BODY, A_LARGER_BODY, b"a" * 70_000 + b"\xff"])
REQUEST, APPLICATION = int(FrameType.REQUEST), 0xC0
OTHER = st.sampled_from([int(FrameType.PING), int(FrameType.STOP), 0x43, 0x83, APPLICATION, 0xFF])
HELLOS = st.sampled_from([b"framelet/1", b"framelet/1 max-body=65536", b"framelet/1 max-body=1048576"])
FRAMES = st.one_of(
    st.builds(encode, st.just(REQUEST), BODIES),
    st.builds(encode, st.just(REQUEST), BODIES),
    st.builds(encode, OTHER, BODIES),
    st.builds(encode, st.just(REQUEST), LARGE),
    st.builds(encode, st.just(int(FrameType.HELLO)), HELLOS),
    st.just(b"\x01\x7f\xff\xff\xff"),  # too large
)
SMALL_ANSWERS = encode(FrameType.HELLO, b"framelet/1 max-body=65536")
WIRES = st.lists(FRAMES, max_size=12).map(b"".join)
SIZES = st.lists(st.integers(1, 100_000), max_size=8)
OCTETS = st.one_of(
    st.text().map(str.encode), st.binary(), st.builds(bytes.__add__, st.text().map(str.encode), BODIES)
)
LIMITS = ServerLimits(max_body=1 << 20)


class Program:
    """Answers a connection's events in order; those of application frames, and what follows, later."""

    def __init__(self, shortcut: str = "") -> None:
        self.connection = ReversingConnection(LIMITS, now=0.0)
        self.shortcut = shortcut
        self.later: deque[ServerEvent] = deque()

    def receive(self, data: bytes, now: float, bound: int) -> None:
        """Take octets in."""
        if self.shortcut == "octets":
            self.connection.receive_and_reverse(data, now, bound)
        else:
            self.connection.receive_data(data, now)

    def serve(self, bound: int) -> None:
        """Take what has come, until more than so many octets are unsent."""
        while self.connection.output_size <= bound:
            if self.shortcut:
                self.connection.reverse_requests(bound)
                if self.connection.output_size > bound:
                    return
            event = self.connection.next_event()
            if event is None:
                return
            self.later.append(event)
            if not any(isinstance(waiting, ApplicationReceived) for waiting in self.later):
                self.answer()

    def answer(self) -> None:
        """Answer what was taken."""
        for event in self.later:
            if self.connection.state is State.CLOSING:
                break
            if isinstance(event, RequestReceived):
                try:
                    self.connection.send_reply(reverse(event.text))
                except AnswerTooLargeError:
                    self.connection.send_error(ErrorCode.ANSWER_TOO_LARGE)
            elif isinstance(event, (ApplicationReceived, StopReceived)):
                self.connection.send_error(ErrorCode.NO_HANDLER)
        self.later.clear()


def seen(connection: ReversingConnection, now: float) -> tuple[object, ...]:
    """All that a program can see of a connection; takes its output."""
    return (
        connection.state,
        connection.finished,
        connection.at_rest,
        connection.owes,
        connection.output_size,
        connection.input_size,
        connection.missing,
        connection.data_to_send(now),
        connection.frames_received,
        connection.frames_sent,
        connection.errors,
        connection.next_deadline(),
    )


@pytest.mark.req("REQ-ORDER-1", "REQ-ORDER-2", "REQ-REV-1")
@given(
    WIRES,
    st.lists(st.integers(1, 100_000), max_size=8),
    st.sampled_from([0, 100, 1 << 20]),
    st.integers(0, 18),
)
@example(encode(APPLICATION) + encode(REQUEST, b"ab"), [], 1 << 20, 18)
@example(encode(APPLICATION) + encode(REQUEST, b"ab"), [5], 1 << 20, 18)
@example(SMALL_ANSWERS + 2 * encode(REQUEST, A_LARGE_BODY), [], 1 << 20, 18)
@example(encode(REQUEST, A_LARGE_BODY) + encode(REQUEST, b"ab"), [], 1 << 20, 18)
def test_requests_are_reversed_as_by_their_events(
    wire: bytes, sizes: list[int], bound: int, drain_at: int
) -> None:
    by_events, *shorter = programs = Program(), Program("frames"), Program("octets")
    start = 0
    for step, size in enumerate([*sizes, len(wire), 0]):
        now = float(step)
        for program in programs:
            if step == drain_at:
                program.connection.drain()
            program.receive(wire[start : start + size], now, bound)
            program.serve(bound)
        expected = seen(by_events.connection, now)
        assert [seen(program.connection, now) for program in shorter] == [expected] * len(shorter)
        for program in programs:
            program.answer()
        start += size
    for program in programs:
        program.connection.receive_eof()
    for _ in range(len(wire) + 1):  # each round sends what is within the bound
        for program in programs:
            program.serve(bound)
            program.answer()
        expected = seen(by_events.connection, 99.0)
        assert [seen(program.connection, 99.0) for program in shorter] == [expected] * len(shorter)
        if not expected[7]:
            return
    pytest.fail("there was no end to the answers")


class Counting(ReversingConnection):
    """Counts how often octets are taken in by the long way."""

    calls = 0

    def receive_data(self, data: Buffer, now: float) -> None:
        self.calls += 1
        super().receive_data(data, now)


@pytest.mark.req("REQ-STOP-10")
@pytest.mark.parametrize("begun", [b"\x01\0\0\0", b"\x01\0\0\0\x02a", b""])
def test_what_comes_behind_an_allowed_stop_is_discarded_at_a_stroke(begun: bytes) -> None:
    connection = Counting(LIMITS, now=0.0)
    connection.receive_and_reverse(encode(FrameType.STOP) + begun, 0.0, 1 << 20)
    assert connection.next_event() == StopReceived("")
    connection.allow_stop()
    before = connection.calls
    connection.receive_and_reverse(bytes(262_144), 1.0, 1 << 20)
    assert connection.calls - before == 1
    assert (connection.next_event(), connection.state) == (None, State.DRAINING)


@pytest.mark.parametrize("cut", [3, 5, 100])
def test_a_large_body_is_reversed_as_it_comes_wherever_it_is_cut(cut: int) -> None:
    connection = ReversingConnection(LIMITS, now=0.0)
    wire = encode(REQUEST, A_LARGER_BODY)
    connection.receive_and_reverse(wire[:cut], 0.0, 1 << 20)
    connection.receive_and_reverse(wire[cut:80_000], 0.0, 1 << 20)
    assert isinstance(connection._decoder._body, Reversal)
    connection.receive_and_reverse(wire[80_000:], 0.0, 1 << 20)
    assert connection.data_to_send(0.0) == encode(FrameType.REPLY, A_LARGER_BODY.decode()[::-1].encode())


def test_small_requests_behind_another_frame_take_no_detour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reversal, "write", None)
    connection = ReversingConnection(LIMITS, now=0.0)
    connection.receive_and_reverse(encode(FrameType.PING) + 9 * encode(REQUEST, b"ab"), 0.0, 1 << 20)
    assert connection.next_event() == RequestReceived("ab")
    connection.send_reply("ba")
    connection.reverse_requests(1 << 20)
    assert connection.data_to_send(0.0) == encode(FrameType.PONG) + 9 * encode(FrameType.REPLY, b"ba")


@pytest.mark.req("REQ-REV-1", "REQ-TEXT-6")
@given(OCTETS, st.integers(4, 9), st.lists(st.integers(0, 20), max_size=8))
@example("ab\u6f22\u6f22".encode() + b"\xff", 4, [])
@example("ab\u6f22".encode()[:-1], 4, [])
def test_octets_are_reversed_as_their_text_is(body: bytes, block: int, sizes: list[int]) -> None:
    reversal, start = Reversal(block), 0
    for size in [*sizes, len(body)]:
        reversal.write(body[start : start + size])
        start += size
        assert bytes(reversal) == body[:start]
    assert len(reversal) == len(body)
    try:
        expected = encode_text(reverse(decode_text(body)))
    except IllFormedTextError:
        assert (reversal.pieces(), reversed_octets(body)) == (None, None)
        assert bytes(reversal) == body
    else:
        pieces = reversal.pieces()
        assert pieces is not None
        assert b"".join(pieces) == expected == b"".join(reversed_octets(body) or ())
        assert all(len(piece) <= block for piece in pieces)


ASKED = st.lists(
    st.sampled_from(["request", "request", "request", "ping", "application", "hello"]), max_size=12
)
ANSWERS = st.one_of(
    st.builds(encode, st.just(int(FrameType.REPLY)), BODIES),
    st.builds(encode, st.just(int(FrameType.REPLY)), BODIES),
    st.builds(
        encode, st.sampled_from([int(FrameType.PONG), 0x43, 0x83, APPLICATION]), st.sampled_from([b"", b"x"])
    ),
    st.builds(encode, st.just(int(FrameType.ERROR)), st.sampled_from([b"430 no", b"500 no", b"none"])),
)


def ask(connection: ClientConnection, asked: list[str]) -> None:
    for kind in asked:
        if kind == "request":
            connection.send_request("x")
        elif kind == "ping":
            connection.send_ping()
        elif kind == "hello":
            connection.send_hello()
        else:
            connection.send_application(APPLICATION, "x")
    connection.data_to_send(0.0)


def taken(connection: ClientConnection, data: bytes, now: float, shortcut: str) -> list[str | ClientEvent]:
    """What came, a reply as its text."""
    found: list[str | ClientEvent] = []
    if shortcut == "octets":
        found += connection.receive_replies(data, now)
    else:
        connection.receive_data(data, now)
    while True:
        if shortcut == "frames":
            found += connection.take_replies()
        event = connection.next_event()
        if event is None:
            return found
        found.append(event.text if isinstance(event, ReplyReceived) else event)


@pytest.mark.req("REQ-ORDER-6", "REQ-ORDER-7", "REQ-TIME-6")
@given(ASKED, st.lists(ANSWERS, max_size=12).map(b"".join), SIZES)
@example(["ping", "request"], encode(FrameType.REPLY, b"x"), [])
@example(["request"], encode(FrameType.ERROR, b"500 no") + encode(FrameType.REPLY, b"x"), [])
@example(["request"] * 3, encode(FrameType.REPLY, b"x") * 2, [6, 6])
def test_replies_are_taken_as_by_their_events(asked: list[str], wire: bytes, sizes: list[int]) -> None:
    by = {shortcut: ClientConnection(now=0.0) for shortcut in ("", "frames", "octets")}
    for connection in by.values():
        ask(connection, asked)
    start = 0
    for step, size in enumerate([*sizes, len(wire)]):
        outcomes = []
        for shortcut, connection in by.items():
            found = taken(connection, wire[start : start + size], float(step), shortcut)
            # Errors compare by identity; what they say is what counts.
            outcomes.append(
                (
                    repr(found),
                    connection.state,
                    connection.at_rest,
                    connection.unanswered,
                    connection.input_size,
                    connection.frames_received,
                    connection.next_deadline(),
                )
            )
        assert outcomes == outcomes[:1] * len(outcomes)
        start += size


@pytest.mark.req("REQ-TEXT-1", "REQ-HELLO-5")
@given(
    st.lists(
        st.one_of(st.text(max_size=9), st.text("ab\ud800", max_size=3), st.just("ab" * 40_000)), max_size=9
    ),
    st.sampled_from([0, 30, 100_000, 1 << 30]),
    st.sampled_from([65_536, 1 << 20]),
)
def test_requests_are_queued_as_one_by_one(texts: list[str], octets: int, max_body: int) -> None:
    outcomes = []
    for at_once in (False, True):
        connection = ClientConnection(ClientConnectionLimits(max_body=max_body), now=0.0)
        error = None
        try:
            if at_once:
                connection.send_requests(texts, octets)
            else:
                for text in texts:
                    connection.send_request(text)
                    if connection.output_size >= octets:
                        break
        except FrameletError as raised:
            error = str(raised)
        size, unanswered = connection.output_size, connection.unanswered
        outcomes.append((error, size, unanswered, connection.data_to_send(1.0), connection.frames_sent))
    assert outcomes[0] == outcomes[1]
