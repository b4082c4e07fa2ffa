"""Deep pipelines whose answers are not read, and neighbours that must not suffer from them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.comparing import show
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, NonStrict, Skipped
from framelet_conformance.wire.conversation import Silence
from framelet_conformance.wire.frames import PONG, frame, header, text_of

from .closing import see_it_linger, strictly_closed

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest
    from framelet_conformance.wire.conversation import Conversation

_MEBI = 1 << 20
_BOUND = 160 * _MEBI  # octets: what REQ-FLOW-8 allows, and what it takes to keep that
_SMALL = 65_536
"""Octets that this end takes in unread: where the system may choose, it can be more than all the answers."""


@case(
    "flow.deep-errors",
    "60,000 faulty frames are sent before an ERROR is read: each has its own",
    "REQ-FLOW-3",
    "REQ-ERROR-4",
    "REQ-ORDER-1",
)
def case_deep_errors(play: Play) -> None:
    """Two kinds of them in turns."""
    stream = (frame(1, b"\xff") + frame(6, "x" * 65)) * 30_000
    with play.dial("deep", receive_buffer=_SMALL) as conversation:
        sent = conversation.send(stream, reading=False, within=play.times.quiet)
        conversation.send(stream[sent:])
        judge(conversation, [error(400), error(413)] * 30_000, "open", play=play)


@case(
    "flow.deep-pings",
    "60,000 PINGs are sent before an answer is read: all are answered, in order",
    "REQ-FLOW-3",
    "REQ-ORDER-1",
    "REQ-ORDER-2",
)
def case_deep_pings(play: Play) -> None:
    """Reading begins when the server takes no more, or all are sent."""
    count = 60_000
    stream = b"".join(frame(6, f"{number}") for number in range(count))
    with play.dial("deep", receive_buffer=_SMALL) as conversation:
        sent = conversation.send(stream, reading=False, within=play.times.quiet)
        conversation.log.event(f"{sent:,} octets could be sent without reading")
        conversation.send(stream[sent:])
        for number in range(count):
            found = conversation.read_frame()
            if found is None or found.type != PONG or found.body != b"%d" % number:
                message = f"{show(found)} came instead of PONG {number}"
                raise Failed(message)
        judge(conversation, [], "open", play=play)


@case(
    "flow.deep-requests",
    "32 MiB of REQUESTs are sent before an answer is read: all are answered, in order",
    "REQ-FLOW-3",
    "REQ-ORDER-1",
    "REQ-ORDER-2",
)
def case_deep_requests(play: Play) -> None:
    """The same with bodies that fill every buffer on the way."""
    texts = [text_of(65_536, number) for number in range(8)]
    stream = b"".join(frame(1, text) for text in texts) * 64
    with play.dial("deep", receive_buffer=_SMALL) as conversation:
        sent = conversation.send(stream, reading=False, within=play.times.quiet)
        conversation.log.event(f"{sent:,} octets could be sent without reading")
        conversation.send(stream[sent:])
        judge(conversation, [reply(text) for text in texts] * 64, "open", play=play)


@case(
    "flow.stalled-neighbour",
    "a client that reads nothing does not hold up the others",
    "REQ-FLOW-2",
    "REQ-FLOW-5",
    alone=True,
)
def case_stalled_neighbour(play: Play) -> None:
    """Eight stalled connections, one that works."""
    text = text_of(65_536)
    for number in range(8):
        stalled = play.dial(f"stalled {number}", receive_buffer=8_192)
        stalled.send(frame(1, text) * 100, reading=False, within=play.times.quiet / 8)
    with play.dial("working") as conversation:
        for number in range(20):
            conversation.send(frame(1, f"n{number}"))
            judge(conversation, [reply(f"n{number}")], "open", play=play)


@case(
    "flow.busy-neighbour",
    "one busy client does not hold up the others",
    "REQ-FLOW-5",
    alone=True,
)
def case_busy_neighbour(play: Play) -> None:
    """A PING beside 16 MiB of small REQUESTs; the sentence is a SHOULD, so a long wait is non-strict."""
    busy = play.dial("busy")
    stream = frame(1, text_of(64)) * (4 * _MEBI // 69)
    busy.send(stream, reading=False, within=play.times.quiet / 4)
    with play.dial("other") as other:
        began = time.monotonic()
        other.send(frame(6, "p"))
        judge(other, [pong("p")], "open", play=play, within=play.times.whole)
        waited = time.monotonic() - began
    if waited > play.times.answer / 2:
        message = f"a PING beside a busy connection waited {waited:.2f} s for its PONG"
        raise NonStrict(message)


@case(
    "flow.memory-is-bounded",
    "answers that no client reads take bounded memory",
    "REQ-FLOW-1",
    "REQ-FLOW-8",
    alone=True,
)
def case_memory(play: Play) -> None:
    """Up to 256 MiB of answers; what a server that takes them all may grow by is what the bound may be."""
    if play.options.launch is None:
        raise Skipped("needs a server that the suite launched (--launch), to see its memory")
    server = play.target.server(fresh=True)  # one that has not taken memory before, and kept it
    before = server.memory()
    conversation = play.open(server, receive_buffer=8_192)
    piece = frame(1, text_of(65_536)) * 16
    sent, whole = 0, True
    while sent < 256 * _MEBI and whole:
        count = conversation.send(piece, reading=False, within=play.times.answer / 2)
        sent, whole = sent + count, count == len(piece)
    taken = server.memory() - before
    conversation.log.trim(0)
    conversation.reset()
    if taken > _BOUND:
        message = (
            f"{sent:,} octets of REQUESTs, whose answers were not read, made the server grow by {taken:,} "
            "octets: it must stop reading before, or end the connection"
        )
        raise Failed(message)


@case(
    "flow.too-many-connections",
    "a connection above the limit is refused, and there is room again when another has ended",
    "REQ-FLOW-6",
    "REQ-ERROR-8",
    alone=True,
)
def case_too_many(play: Play) -> None:
    """Three are allowed; those refused have sent frames, and do not close.  One leaves answers unread."""
    long = 4 * play.times.answer
    server = play.target.server(max_connections=3, linger_timeout=long, fresh=True)
    kept = [admitted(play, server) for _ in range(3)]
    for number in range(4):
        refused = play.open(server, f"one too many, {number}")
        refused.send(frame(1, "never to be answered") * 500)
        refused.pause(play.times.pause)
        judge(refused, [error(507)], "closed", play=play)
        strictly_closed(play, "REQ-FLOW-6", "REQ-ERROR-8")
        see_it_linger(play, refused)
    for conversation in kept:
        conversation.send(frame(1, "ab"))
        judge(conversation, [reply("ab")], "open")
    kept[0].send_fin()
    kept[0].read_end()
    kept[0].close()
    admitted(play, server)
    kept[1].send(frame(1, text_of(_SMALL)) * 100, reading=False, within=play.times.quiet)
    kept[1].reset()
    admitted(play, server)


_LEAVES: dict[str, tuple[bytes, list[Any]]] = {
    "by a fault": (header(0, 0), [error(501)]),
    "by an ERROR": (frame(5, "400 no"), []),
    "by the frame timeout": (header(1, 9), [error(504)]),
    "by the idle timeout": (b"", [error(505)]),
    "by its end, inside a frame": (header(1, 9), []),
    "by its end, with a fault": (frame(1, "ab") + header(2, 0), [reply("ab"), error(502)]),
    "by its end, with an ERROR": (frame(1, "ab") + header(5, 6), [reply("ab")]),
}


@case(
    "flow.room-again",
    "there is room for another connection, however the one before it has ended",
    "REQ-FLOW-6",
    slow=True,
)
def case_room_again(play: Play) -> None:
    """One is allowed.  At last one that never closes, and one that takes nothing."""
    short = play.times.answer / 6
    server = play.target.server(
        max_connections=1,
        frame_timeout=short,
        idle_timeout=short,
        linger_timeout=short,
        write_timeout=short,
        fresh=True,
    )
    for name, (octets, answers) in _LEAVES.items():
        conversation = admitted(play, server)
        conversation.log.event(f"it will end {name}")
        if "its end" in name:
            conversation.send_last(octets)
        else:
            conversation.send(octets)
        judge(conversation, answers, "closed", play=play)
        conversation.close()
    admitted(play, server).reset()
    lingering = admitted(play, server)
    lingering.send(header(0, 0))
    judge(lingering, [error(501)], "closed", play=play)
    deaf = admitted(play, server, receive_buffer=8_192)
    deaf.send(frame(1, text_of(_SMALL)) * 100, reading=False, within=play.times.quiet)
    admitted(play, server)


@case(
    "flow.more-than-256-connections",
    "300 connections at once, and a thousand one after another, are served",
    "REQ-FLOW-6",
    "REQ-ORDER-1",
    alone=True,
)
def case_many_connections(play: Play) -> None:
    """Four hundred are allowed; every second one that leaves does so by a reset, with a frame half sent."""
    server = play.target.server(max_connections=400)
    kept = [play.open(server, f"connection {number}") for number in range(300)]
    for number, conversation in enumerate(kept):
        conversation.send(frame(6, f"{number}"))
    for number, conversation in enumerate(kept):
        judge(conversation, [pong(f"{number}")], "silent", play=play)
    for number in range(1_000):
        with play.open(server, f"guest {number}") as guest:
            guest.send(frame(6, f"g{number}") + b"\x01\0")
            judge(guest, [pong(f"g{number}")], "silent")
            if number % 2:
                guest.reset()
    for number, conversation in enumerate(kept):
        conversation.send(frame(6, f"again {number}"))
        judge(conversation, [pong(f"again {number}")], "silent", play=play)
        conversation.close()


@case(
    "flow.more-than-65536-connections",
    "65,600 connections, one after another, are served",
    "REQ-ORDER-1",
    "REQ-FLOW-6",
    alone=True,
    thorough=True,
)
def case_very_many_connections(play: Play) -> None:
    """One in four ends orderly; more would use up the ports of this end."""
    server = play.target.server()
    for number in range(65_600):
        with play.open(server, f"guest {number}") as guest:
            guest.send(frame(6, f"{number}"))
            judge(guest, [pong(f"{number}")], "silent")
            if number % 4:
                guest.reset()


@case(
    "flow.lingering-connections",
    "connections of which one direction has ended count: until both have, or the linger timeout is over",
    "REQ-FLOW-6",
    alone=True,
)
def case_lingering(play: Play) -> None:
    """One of two lingers, and then one has ended its stream and not taken its answer: a third is refused."""
    server = play.target.server(max_connections=2, linger_timeout=4 * play.times.answer, fresh=True)
    admitted(play, server)
    lingering = admitted(play, server)
    lingering.send(header(0, 0))
    judge(lingering, [error(501)], "closed", play=play)
    lingering.pause(play.times.quiet)
    with play.open(server, "one too many") as refused:
        judge(refused, [error(507)], "closed", play=play)
    lingering.close()
    owed = admitted(play, server, receive_buffer=8_192)
    text = text_of(min(server.max_body or _SMALL, 8 * _MEBI))
    owed.send(frame(1, text), reading=False)
    owed.send_fin()
    owed.read_more()
    with play.open(server, "one too many") as refused:
        judge(refused, [error(507)], "closed", play=play)
    judge(owed, [reply(text)], "closed", play=play)
    owed.close()
    admitted(play, server)


def admitted(play: Play, server: ServerUnderTest, *, receive_buffer: int = 0) -> Conversation:
    """A connection that is served; connections that have just ended may count for a moment longer."""
    end = time.monotonic() + 4 * play.times.answer
    while time.monotonic() < end:
        conversation = play.open(server, "admitted", receive_buffer=receive_buffer)
        conversation.send(frame(6, "p"))
        try:
            found = conversation.read_frame()
        except Silence:
            found = None
        if found is not None and found.type == PONG:
            return conversation
        conversation.close()
    raise Failed("a connection is refused although fewer are open than are allowed")
