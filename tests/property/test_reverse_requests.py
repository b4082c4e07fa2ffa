"""The shortcut of the reversal gives what the events give: same octets, same state, whatever comes."""

from __future__ import annotations

import re
from collections import deque

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framelet import (
    AnswerTooLargeError,
    ApplicationReceived,
    FrameType,
    IllFormedTextError,
    RequestReceived,
    ServerConnection,
    ServerEvent,
    ServerLimits,
    State,
    StopReceived,
    decode_text,
    encode,
    encode_text,
    reverse,
)
from framelet.registry import ErrorCode
from framelet.reversal import reverse_octets

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

    def __init__(self, *, shortcut: bool) -> None:
        self.connection = ServerConnection(LIMITS, now=0.0)
        self.shortcut = shortcut
        self.later: deque[ServerEvent] = deque()

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


def seen(connection: ServerConnection, now: float) -> tuple[object, ...]:
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
def test_the_shortcut_is_what_the_events_are(
    wire: bytes, sizes: list[int], bound: int, drain_at: int
) -> None:
    both = by_events, by_shortcut = Program(shortcut=False), Program(shortcut=True)
    start = 0
    for step, size in enumerate([*sizes, len(wire), 0]):
        now = float(step)
        for program in both:
            if step == drain_at:
                program.connection.drain()
            program.connection.receive_data(wire[start : start + size], now)
            program.serve(bound)
        assert seen(by_shortcut.connection, now) == seen(by_events.connection, now)
        for program in both:
            program.answer()
        start += size
    for program in both:
        program.connection.receive_eof()
    for _ in range(len(wire) + 1):  # each round sends what is within the bound
        for program in both:
            program.serve(bound)
            program.answer()
        outcome = seen(by_shortcut.connection, 99.0)
        assert outcome == seen(by_events.connection, 99.0)
        if not outcome[7]:
            return
    pytest.fail("there was no end to the answers")


@pytest.mark.req("REQ-REV-1", "REQ-TEXT-6")
@given(OCTETS, st.integers(4, 9))
def test_octets_are_reversed_as_their_text_is(body: bytes, block: int) -> None:
    try:
        expected = encode_text(reverse(decode_text(body)))
    except IllFormedTextError as error:
        with pytest.raises(IllFormedTextError, match=re.escape(str(error))):
            reverse_octets(body, block)
    else:
        pieces = reverse_octets(body, block)
        assert b"".join(pieces) == expected
        assert all(len(piece) <= block + 3 for piece in pieces)
