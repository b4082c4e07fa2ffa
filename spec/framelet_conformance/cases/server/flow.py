"""Deep pipelines whose answers are not read, and neighbours that must not suffer from them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, NonStrict
from framelet_conformance.wire.conversation import Silence
from framelet_conformance.wire.frames import PONG, frame, text_of

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest
    from framelet_conformance.wire.conversation import Conversation

_MEBI = 1 << 20
_SMALL = 65_536
"""Octets that this end takes in unread: where the system may choose, it can be more than all the answers."""


@case(
    "flow.deep-pings",
    "60,000 PINGs are sent before an answer is read: all are answered, in order",
    "REQ-FLOW-3",
    "REQ-ORDER-1",
    "REQ-ORDER-2",
    "REQ-ORDER-4",
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
                message = f"in place of PONG {number} came {found}"
                raise Failed(message)
        judge(conversation, [], "open", play=play)


@case(
    "flow.deep-requests",
    "32 MiB of REQUESTs are sent before an answer is read: all are answered, in order",
    "REQ-FLOW-3",
    "REQ-ORDER-1",
    "REQ-ORDER-2",
    "REQ-ORDER-4",
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
    "answers that nobody reads take bounded memory",
    "REQ-FLOW-1",
    alone=True,
)
def case_memory(play: Play) -> None:
    """Up to 256 MiB of answers; the address space of a launched server may grow by a quarter of that."""
    server = play.target.server()
    before = server.memory()
    conversation = play.open(server, receive_buffer=8_192)
    piece = frame(1, text_of(65_536)) * 16
    sent = 0
    while sent < 256 * _MEBI:
        count = conversation.send(piece, reading=False, within=play.times.quiet)
        sent += count
        if count < len(piece):
            break
    taken = server.memory() - before
    conversation.log.trim(0)
    conversation.reset()
    if taken > 64 * _MEBI and taken > sent // 4:
        message = f"{sent:,} octets of REQUESTs, whose answers were not read, took {taken:,} octets of memory"
        raise Failed(message)


@case(
    "flow.too-many-connections",
    "a connection above the limit is refused, and there is room again when another has ended",
    "REQ-FLOW-6",
    "REQ-ERROR-8",
    alone=True,
)
def case_too_many(play: Play) -> None:
    """Three are allowed."""
    server = play.target.server(max_connections=3, fresh=True)
    kept = [_admitted(play, server) for _ in range(3)]
    with play.open(server, "one too many") as refused:
        judge(refused, [error(507)], "closed")
    for conversation in kept:
        conversation.send(frame(1, "ab"))
        judge(conversation, [reply("ab")], "open")
    kept[0].send_fin()
    kept[0].read_end()
    kept[0].close()
    _admitted(play, server)


def _admitted(play: Play, server: ServerUnderTest) -> Conversation:
    """A connection that is served; connections that have just ended may count for a moment longer."""
    end = time.monotonic() + play.times.answer
    while time.monotonic() < end:
        conversation = play.open(server, "admitted")
        conversation.send(frame(6, "p"))
        try:
            found = conversation.read_frame()
        except Silence:
            found = None
        if found is not None and found.type == PONG:
            return conversation
        conversation.close()
    raise Failed("a connection is refused although fewer than three are open")
