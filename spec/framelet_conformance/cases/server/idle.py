"""Connections on which nothing moves: the idle timeout, and the write timeout."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from framelet_conformance.expectations import reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, Verdict
from framelet_conformance.wire.conversation import Silence
from framelet_conformance.wire.frames import frame, text_of
from framelet_conformance.wire.log import Ending

from .deadlines import SHORT, await_fatal, timed

if TYPE_CHECKING:
    from framelet_conformance.play import Play


@case(
    "deadlines.idle-timeout",
    "a connection that stays idle is ended",
    "REQ-TIME-3",
    "REQ-ERROR-2",
    slow=True,
)
def case_idle(play: Play) -> None:
    """Nothing at all is sent."""
    server, timeout = timed(play, "idle_timeout")
    began = time.monotonic()
    with play.open(server) as conversation:
        await_fatal(play, conversation, 505, began, timeout)


@case(
    "deadlines.idle-after-an-answer",
    "the idle timeout begins anew behind each frame",
    "REQ-TIME-3",
    slow=True,
)
def case_idle_after(play: Play) -> None:
    """Frames every three fifths of the timeout keep the connection; then it is left idle."""
    server, timeout = timed(play, "idle_timeout")
    with play.open(server) as conversation:
        conversation.allow(6 * timeout + play.times.whole)
        for _ in range(4):
            conversation.pause(timeout * 0.6)
            conversation.send(frame(1, "ab"))
            judge(conversation, [reply("ab")], "open", play=play)
        began = time.monotonic()
        await_fatal(play, conversation, 505, began, timeout)


@case(
    "deadlines.no-idle-inside-a-frame",
    "the idle timeout does not run inside a frame",
    "REQ-TIME-4",
    slow=True,
)
def case_not_inside(play: Play) -> None:
    """A frame that takes longer than the idle timeout, on a server whose frame timeout is longer still."""
    idle = SHORT["idle_timeout"] * play.times.scale
    server = play.target.server(idle_timeout=idle, frame_timeout=idle * 10)
    with play.open(server) as conversation:
        conversation.allow(10 * idle + play.times.whole)
        conversation.send(frame(1, "text")[:6])
        conversation.pause(idle * 2.5)
        if conversation.ending is not Ending.OPEN or conversation.waiting:
            raise Failed("the server ended the connection inside a frame when the idle timeout was over")
        conversation.send(frame(1, "text")[6:])
        judge(conversation, [reply("text")], "open", play=play)


@case(
    "deadlines.no-idle-while-owing",
    "the idle timeout does not run while answers wait to be taken",
    "REQ-TIME-4",
    slow=True,
)
def case_not_while_owing(play: Play) -> None:
    """Nothing is read for longer than the idle timeout, on a server with a long write timeout."""
    idle = SHORT["idle_timeout"] * play.times.scale
    server = play.target.server(idle_timeout=idle, frame_timeout=idle * 10, write_timeout=idle * 10)
    text, count = text_of(60_000), 300
    stream = frame(1, text) * count
    with play.open(server, receive_buffer=8_192) as conversation:
        conversation.allow(10 * idle + play.times.whole)
        sent = conversation.send(stream, reading=False, within=idle / 4)
        time.sleep(2.5 * idle)
        conversation.send(stream[sent:])
        judge(conversation, [reply(text)] * count, "open", play=play)


@case(
    "deadlines.write-timeout",
    "a client that takes none of its answers is cut off",
    "REQ-TIME-5",
    "REQ-FLOW-1",
    slow=True,
)
def case_write_timeout(play: Play) -> None:
    """More answers than all buffers hold; nothing is read until the timeout is over."""
    timeout = 0.8 * play.times.scale
    server = play.target.server(write_timeout=timeout)
    text = text_of(60_000)
    with play.open(server, receive_buffer=8_192) as conversation:
        conversation.allow(timeout + play.times.whole)
        wanted = frame(1, text) * 500
        conversation.send(wanted, reading=False, within=timeout + play.times.grace)
        try:
            while conversation.ending is Ending.OPEN:
                if conversation.read_frame() is None:
                    break
        except Silence:
            message = (
                f"the server held on to a client that read nothing for {timeout + play.times.grace:.3g} s"
            )
            raise Failed(message) from None
        play.ended(conversation.ending, Verdict.PASS)


@case(
    "deadlines.slow-reader-is-kept",
    "a client that takes its answers slowly is not cut off by the write timeout",
    "REQ-TIME-5",
    "REQ-ORDER-1",
    slow=True,
)
def case_slow_reader(play: Play) -> None:
    """It reads half a mebibyte now and then, for twice the timeout, and then all the rest.

    Much less at a time would not do: a server learns that its octets are taken when the system has room for
    more, and the system tells so only when a good part of its buffer is free.
    """
    timeout = 1.0 * play.times.scale
    server = play.target.server(write_timeout=timeout)
    text = text_of(60_000)
    expected = text[::-1].encode()
    count = 400
    stream = frame(1, text) * count
    with play.open(server) as conversation:
        conversation.allow(4 * timeout + play.times.whole)
        sent = conversation.send(stream, reading=False, within=timeout / 8)
        end = time.monotonic() + 2 * timeout
        answers = 0
        while time.monotonic() < end and answers + 8 <= sent * count // len(stream):
            for _ in range(8):
                found = conversation.read_frame()
                if found is None or found.body != expected:
                    message = (
                        f"a slow reader lost its connection ({conversation.ending}) at answer {answers + 1}"
                    )
                    raise Failed(message)
                answers += 1
            time.sleep(timeout / 8)
            sent += conversation.send(stream[sent:], reading=False, within=0.0)
        conversation.send(stream[sent:])
        judge(conversation, [reply(text)] * (count - answers), "open", play=play)
