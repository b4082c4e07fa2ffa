"""The client's calls for many frames at a time do what events do: same octets, same state, whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framelet import (
    ClientConnection,
    ClientConnectionLimits,
    ClientEvent,
    FrameletError,
    FrameType,
    ReplyReceived,
    encode,
)

BODIES = st.one_of(
    st.text(max_size=40).map(str.encode), st.text("abc", max_size=200).map(str.encode), st.binary(max_size=6)
)
APPLICATION = 0xC0
SIZES = st.lists(st.one_of(st.integers(1, 12), st.integers(1, 100_000)), max_size=8)

ASKED = st.lists(
    st.sampled_from(["request", "request", "request", "ping", "application", "hello"]), max_size=12
)
IGNORABLE = encode(0x83)[:4]
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


def taken(
    connection: ClientConnection, data: bytes, now: float, shortcut: str, *, ignorable: bool
) -> list[str | ClientEvent]:
    """What came, a reply as its text; a shortcut takes all replies that come next."""
    found: list[str | ClientEvent] = []
    cut_short = bool(data) and shortcut == "octets"
    if cut_short:
        found += connection.receive_replies(data, now)
    elif data:
        connection.receive_data(data, now)
    while True:
        if shortcut == "frames":
            found += connection.take_replies()
        event = connection.next_event()
        if event is None:
            return found
        if isinstance(event, ReplyReceived) and (cut_short or shortcut == "frames"):
            assert ignorable  # one before the reply is dropped in search of the event
        cut_short = False
        found.append(event.text if isinstance(event, ReplyReceived) else event)


@pytest.mark.req("REQ-ORDER-6", "REQ-ORDER-7", "REQ-TIME-6")
@given(ASKED, st.lists(ANSWERS, max_size=12).map(b"".join), SIZES)
@example(["ping", "request"], encode(FrameType.REPLY, b"x"), [])
@example(["request"], encode(FrameType.ERROR, b"500 no") + encode(FrameType.REPLY, b"x"), [])
@example(["request"] * 3, encode(FrameType.REPLY, b"x") * 2, [6, 6])
@example(["request"], encode(FrameType.REPLY, b"x") * 2, [6, 6])
@example(["request"], encode(FrameType.REPLY, b"\xff"), [])
@example(["request"], encode(FrameType.REPLY, b"x" * 65_537), [])
@example(["request"], encode(FrameType.REPLY, b"") + encode(FrameType.REPLY, b""), [2, 3])
@example(["request"], encode(0x83) * 2 + encode(FrameType.REPLY, b""), [4, 6])
@example(["request"] * 3, encode(FrameType.REPLY, b"x") * 3, [3, 15])
@example(["request"], encode(FrameType.ERROR, b"500 no") + encode(FrameType.REPLY, b"x"), [11])
@example(["request"], encode(FrameType.REPLY, encode(FrameType.REPLY, b"x")), [5])
@example(["ping"], encode(FrameType.REPLY, b""), [])
@example(["request"], encode(FrameType.ERROR, b"430 no"), [])
def test_replies_are_taken_as_by_their_events(asked: list[str], wire: bytes, sizes: list[int]) -> None:
    by = {shortcut: ClientConnection(now=0.0) for shortcut in ("", "frames", "octets")}
    for connection in by.values():
        ask(connection, asked)
    start = 0
    for step, size in enumerate([*sizes, len(wire)]):
        outcomes = []
        for shortcut, connection in by.items():
            found = taken(
                connection, wire[start : start + size], float(step), shortcut, ignorable=IGNORABLE in wire
            )
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


@pytest.mark.req("REQ-TEXT-1", "REQ-HELLO-5", "REQ-TIME-6")
@given(
    st.lists(
        st.one_of(
            st.text(max_size=9),
            st.text("ab\ud800", max_size=3),
            st.sampled_from(["ab" * 32_767, "ab" * 32_768, "ab" * 40_000]),
        ),
        max_size=4,
    ),
    st.sampled_from([65_536, 1 << 20]),
    st.sampled_from(["nothing", "a frame", "the end"]),
)
@example(["a"], 65_536, "the end")
@example(["a", "\ud800", "b"], 65_536, "a frame")
@example(["ab" * 32_768, "ab" * 40_000], 65_536, "nothing")
def test_a_request_that_is_sent_at_once_is_sent_as_in_two_steps(
    texts: list[str], max_body: int, before: str
) -> None:
    outcomes = []
    for at_once in (False, True):
        connection = ClientConnection(ClientConnectionLimits(max_body=max_body), now=0.0)
        found: list[object] = []
        if before == "a frame":
            connection.send_ping()
        elif before == "the end":
            connection.send_eof()
        for now, text in enumerate(texts, 1):
            try:
                if at_once:
                    found.append(connection.request_to_send(text, now))
                else:
                    connection.send_request(text)
                    found.append(connection.data_to_send(now))
            except FrameletError as raised:
                found.append(str(raised))
            found += connection.unanswered, connection.frames_sent, connection.next_deadline()
        outcomes.append(found)
    assert outcomes[0] == outcomes[1]
