"""The maximum body size: one octet below, at it, one above, and the ends of the length's range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from framelet.limits import MAX_HELLO_BODY, MAX_LENGTH
from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, Skipped
from framelet_conformance.wire import frames
from framelet_conformance.wire.frames import frame, header, text_of

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest
    from framelet_conformance.wire.conversation import Conversation

_TYPES = {
    "request": frames.REQUEST,
    "ping": frames.PING,
    "hello": frames.HELLO,
    "stop": frames.STOP,
    "application": frames.APPLICATION,
    "ignorable": frames.IGNORABLE,
}
_LENGTHS = {
    "plus-one": None,
    "2-31-less-one": 2**31 - 1,
    "2-31": 2**31,
    "2-31-plus-one": 2**31 + 1,
    "2-32-less-one": 2**32 - 1,
}
_LARGEST = 1 << 26  # no body above this is sent
_SMALL = 65_536
_CONNECTIONS = 32


def limited(play: Play, *, most: int | None = None, **setup: Any) -> tuple[ServerUnderTest, int]:  # noqa: ANN401 - see Setup
    """A server and its maximum body size; raises Skipped where that is unknown or above ``most``."""
    server = play.target.server(**setup)
    if server.max_body is None:
        raise Skipped("needs to know the maximum body size, and no HELLO stated it")
    if most is not None and server.max_body > most:
        message = f"needs a maximum of at most {most:,} octets, and the server states {server.max_body:,}"
        raise Skipped(message)
    return server, server.max_body


def above(maximum: int) -> int:
    """A length above the maximum body size; raises Skipped where there is none."""
    if maximum >= MAX_LENGTH:
        raise Skipped("needs a maximum below 4,294,967,295 octets, which every length states")
    return maximum + 1


@pytest.mark.parametrize(
    ("octet", "length"),
    [
        pytest.param(
            octet,
            length,
            marks=case(
                f"limits.header-{label}.{name}",
                f"a header of type {octet:02X} is refused at once when it announces "
                f"{'one octet above the maximum' if length is None else f'{length:,} octets'}",
                "REQ-SIZE-2",
                "REQ-SIZE-4",
                "REQ-FRAME-2",
                *(["REQ-TYPE-4"] if octet == frames.IGNORABLE else []),
            ),
        )
        for name, octet in _TYPES.items()
        for label, length in _LENGTHS.items()
    ],
)
def case_header(play: Play, octet: int, length: int | None) -> None:
    """The header alone; the connection stays open from here."""
    server, maximum = limited(play, stop="off" if octet == frames.STOP else None)
    length = above(maximum) if length is None else length
    if length <= maximum:
        message = f"needs a maximum below {length:,} octets, and the server states {maximum:,}"
        raise Skipped(message)
    with play.open(server) as conversation:
        conversation.send(header(octet, length))
        judge(conversation, [error(503)], "closed", play=play)


@pytest.mark.parametrize(
    "small",
    [
        pytest.param(
            small,
            id=name,
            marks=case(
                f"limits.below-and-at.{name}",
                f"REQUEST bodies of the maximum - 1 and of the maximum are served, every octet ({title})",
                "REQ-SIZE-1",
                "REQ-SIZE-2",
                "REQ-REV-1",
                "REQ-TEXT-4",
            ),
        )
        for small, name, title in ((False, "stated", "as the server states it"), (True, "65536", "65,536"))
    ],
)
def case_at_maximum(play: Play, small: bool) -> None:  # noqa: FBT001 - a parameter of the case
    """Whole bodies, compared octet for octet."""
    server, maximum = limited(play, most=_LARGEST, max_body=_SMALL if small else None)
    with play.open(server) as conversation:
        for size in (maximum - 1, maximum):
            text = text_of(size)
            conversation.send(frame(frames.REQUEST, text))
            judge(conversation, [reply(text)], "open", play=play)


@pytest.mark.parametrize(
    "maximum",
    [
        pytest.param(
            maximum,
            marks=case(
                f"limits.maximum-of-{name}",
                f"a maximum of {maximum:,} octets is stated, and a header that announces it is not refused",
                "REQ-HELLO-1",
                "REQ-SIZE-2",
                "REQ-FRAME-2",
            ),
        )
        for name, maximum in (
            ("2-16-plus-one", 2**16 + 1),
            ("2-31-less-one", 2**31 - 1),
            ("2-31", 2**31),
            ("2-32-less-one", 2**32 - 1),
        )
    ],
)
def case_maximum(play: Play, maximum: int) -> None:
    """One octet above it is."""
    server = play.target.server(max_body=maximum)
    with play.open(server) as conversation:
        conversation.send(frame(frames.HELLO, "framelet/1"))
        hello = {"type": "HELLO", "parameters": {"max-body": str(maximum)}}
        judge(conversation, [hello], "open", play=play)
        conversation.send(header(frames.REQUEST, maximum) + b"x")
        conversation.pause(play.times.quiet)
        conversation.send_fin()
        judge(conversation, [], "closed", play=play)
    if maximum < MAX_LENGTH:
        with play.open(server) as conversation:
            conversation.send(header(frames.REQUEST, maximum + 1))
            judge(conversation, [error(503)], "closed", play=play)


@case(
    "limits.lengths",
    "bodies of lengths around the powers of two are taken whole, served, refused and discarded alike",
    "REQ-FRAME-2",
    "REQ-SIZE-1",
    "REQ-TYPE-3",
)
def case_lengths(play: Play) -> None:
    """One octet to each side of 2^7, 2^8, 2^15 and 2^16, in each type that a client sends."""
    server = play.target.server(application="none", stop="off")
    sizes = [size + more for size in (1 << 7, 1 << 8, 1 << 15) for more in (-1, 0, 1)] + [65_535, 65_536]
    if (server.max_body or 0) > _SMALL:
        sizes.append(_SMALL + 1)
    with play.open(server) as conversation:
        for size in sizes:
            text = text_of(size)
            hello = "framelet/1 v=".ljust(size, "x")
            bodies = {octet: hello if octet == frames.HELLO else text for octet in _TYPES.values()}
            octets = b"".join(frame(octet, body) for octet, body in bodies.items())
            conversation.send(octets + frame(frames.PING, f"{size}"))
            greeted = {"type": "HELLO", "parameters": {}} if size <= MAX_HELLO_BODY else error(422)
            answers = [reply(text), error(413), greeted, error(403), error(404), pong(f"{size}")]
            judge(conversation, answers, "open", play=play)


@case(
    "limits.discarded-at-maximum",
    "an ignorable frame of the maximum size is read and discarded",
    "REQ-TYPE-3",
    "REQ-TYPE-4",
    "REQ-SIZE-2",
)
def case_discarded_at_maximum(play: Play) -> None:
    """The frame after it is answered."""
    server, maximum = limited(play, most=_LARGEST)
    with play.open(server) as conversation:
        conversation.send(frame(frames.IGNORABLE, b"\xff" * maximum) + frame(frames.PING, "behind"))
        judge(conversation, [pong("behind")], "open", play=play)


@case(
    "limits.answered-before-refusal",
    "the frames before one that is too large are answered first",
    "REQ-ERROR-5",
    "REQ-SIZE-4",
)
def case_answered_before(play: Play) -> None:
    """Two good frames and a header, in one segment."""
    server, maximum = limited(play)
    with play.open(server) as conversation:
        conversation.send(frame(1, "ab") + frame(6, "x") + header(1, above(maximum)))
        judge(conversation, [reply("ab"), pong("x"), error(503)], "closed", play=play)


@case(
    "limits.nothing-set-aside",
    f"{_CONNECTIONS} headers that announce the maximum take no memory before their bodies come",
    "REQ-SIZE-5",
    alone=True,
)
def case_nothing_set_aside(play: Play) -> None:
    """Watches the data segment of a launched server.

    The stacks of threads that it may start for connections are in it before the first look.
    """
    _, maximum = limited(play)
    if play.options.launch is None:
        raise Skipped("needs a server that the suite launched (--launch), to see its memory")
    server = play.target.server(fresh=True)  # one that has not taken memory before, and kept it
    conversations = [play.open(server, f"connection {number}") for number in range(_CONNECTIONS)]
    exchange(conversations, b"")
    before = server.memory()
    exchange(conversations, header(frames.REQUEST, maximum) + b"x")
    conversations[-1].pause(play.times.quiet)  # the PONG may have come before the header was looked at
    taken = server.memory() - before
    for conversation in conversations:
        conversation.close()
    if taken > _CONNECTIONS * maximum // 4:
        message = f"{_CONNECTIONS} headers of {maximum:,} octets made the server take {taken:,} octets more"
        raise Failed(message)


def exchange(conversations: list[Conversation], more: bytes) -> None:
    """Send a PING and some octets after it on each connection, and see it answered."""
    for conversation in conversations:
        conversation.send(frame(frames.PING, "in") + more)
        judge(conversation, [pong("in")], "silent")


@case(
    "limits.of-the-client",
    "the max-body of the client's HELLO holds after every kind of frame, refused or not",
    "REQ-HELLO-5",
    "REQ-HELLO-4",
    "REQ-HELLO-6",
)
def case_of_client(play: Play) -> None:
    """An answer of one octet more is refused each time, and one of its size is given."""
    server, maximum = limited(play, application="none", stop="off")
    if maximum <= _SMALL:
        message = f"needs a maximum above {_SMALL:,} octets, and the server states {maximum:,}"
        raise Skipped(message)
    above_it = text_of(_SMALL + 1)
    kinds: list[tuple[bytes, list[Any]]] = [
        (frame(frames.REQUEST, above_it), [error(451)]),
        (frame(frames.REQUEST, "ab"), [reply("ab")]),
        (frame(frames.REQUEST, text_of(_SMALL)), [reply(text_of(_SMALL))]),
        (frame(frames.REQUEST, b"\xff"), [error(400)]),
        (frame(frames.PING, "p"), [pong("p")]),
        (frame(frames.PING, "p" * 65), [error(413)]),
        (frame(frames.HELLO, "framelet/1 max-body=1"), [error(422)]),
        (frame(frames.HELLO, "framelet/1 max-body=100000 max-body=100000"), [error(422)]),
        (frame(frames.HELLO, "framelet/2 max-body=100000"), [error(426)]),
        (frame(frames.STOP, "please"), [error(403)]),
        (frame(frames.APPLICATION, "ab"), [error(404)]),
        (frame(frames.IGNORABLE, above_it), []),
    ]
    with play.open(server) as conversation:
        conversation.send(frame(frames.HELLO, f"framelet/1 max-body={_SMALL}"))
        judge(conversation, [{"type": "HELLO", "parameters": {}}], "silent", play=play)
        for octets, answers in kinds:
            conversation.send(octets + frame(frames.REQUEST, above_it))
            judge(conversation, [*answers, error(451)], "open", play=play)
