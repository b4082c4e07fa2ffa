"""Many connections at once: none sees another's answers, none suffers from another's fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed
from framelet_conformance.wire.frames import ERROR, frame, header, text_of

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_MANY = 64


@case(
    "parallel.no-mixing",
    f"{_MANY} connections, each with its own texts in turns: each gets its own answers",
    "REQ-ORDER-1",
    "REQ-ORDER-2",
    "REQ-REV-1",
    alone=True,
)
def case_no_mixing(play: Play) -> None:
    """All send before anyone reads, in pieces that take turns."""
    conversations = [play.dial(f"connection {number}") for number in range(_MANY)]
    texts = [[text_of(200, 1_000 * number + turn) for turn in range(8)] for number in range(_MANY)]
    streams = [b"".join(frame(1, text) for text in mine) + frame(6, f"c{n}") for n, mine in enumerate(texts)]
    step = 97
    for place in range(0, max(map(len, streams)), step):
        for conversation, stream in zip(conversations, streams, strict=True):
            conversation.send(stream[place : place + step])
    for number, (conversation, mine) in enumerate(zip(conversations, texts, strict=True)):
        expect = [*map(reply, mine), pong(f"c{number}")]
        judge(conversation, expect, "open", play=play)
        conversation.close()


@case(
    "parallel.faults-stay-apart",
    "a fault on one connection changes nothing on the others",
    "REQ-ERROR-2",
    "REQ-STATE-1",
    alone=True,
)
def case_faults_apart(play: Play) -> None:
    """Good connections, opened before and inside a frame while the bad ones fail."""
    good = [play.dial(f"good {number}") for number in range(8)]
    for conversation in good:
        conversation.send(frame(1, "first") + frame(1, "second")[:7])
    for number, octet in enumerate((0x00, 0x16, 0x47, 0x02, 0x07, 0x09, 0x7F, 0x05)):
        with play.dial(f"bad {number}") as bad:
            bad.send(header(octet, 0))
            code = 502 if octet in {0x02, 0x07} else 501
            judge(bad, [] if octet == ERROR else [error(code)], "closed")
    for conversation in good:
        conversation.send(frame(1, "second")[7:])
        judge(conversation, [reply("first"), reply("second")], "open", play=play)
        conversation.close()


@case(
    "parallel.idle-neighbours",
    "connections that say nothing do not hold up one that does",
    "REQ-FLOW-5",
    alone=True,
)
def case_idle_neighbours(play: Play) -> None:
    """Idle ones at a boundary, inside a header and inside a body."""
    idle = [play.dial(f"idle {number}") for number in range(_MANY)]
    for number, conversation in enumerate(idle):
        conversation.send([b"", b"\x01\0", header(1, 100) + b"part"][number % 3])
    with play.dial("busy") as busy:
        for number in range(50):
            busy.send(frame(1, f"n{number}"))
            judge(busy, [reply(f"n{number}")], "open", play=play)
    for conversation in idle:
        if conversation.waiting:
            message = f"an idle connection was sent {conversation.waiting[:32].hex(' ')}"
            raise Failed(message)
        conversation.close()


@case(
    "parallel.come-and-go",
    "clients that leave at once, or by a reset, do not harm the server",
    "REQ-CLOSE-1",
    "REQ-CLOSE-2",
    alone=True,
)
def case_come_and_go(play: Play) -> None:
    """A hundred of them, then an ordinary conversation."""
    for number in range(100):
        with play.dial(f"guest {number}") as guest:
            guest.send([b"", b"\x01", frame(1, "x" * 1_000), frame(1, "ab") + b"\x01\0"][number % 4])
            if number % 2:
                guest.reset()
    with play.dial("last") as conversation:
        conversation.send(frame(1, "ab"))
        judge(conversation, [reply("ab")], "open", play=play)
