"""The frame timeout: kept, not early, not late, and not extended by octets that trickle in.

The server's own timeouts are used where its HELLO states them and they are short; otherwise the suite
launches a server with short ones, or skips.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from framelet import ErrorCode
from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed
from framelet_conformance.wire.conversation import Silence
from framelet_conformance.wire.frames import IGNORABLE, REQUEST, frame, header
from framelet_conformance.wire.log import Ending

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest
    from framelet_conformance.wire.conversation import Conversation

_LONGEST = 3.0  # a stated timeout above this is waited for only with --slow
_EARLY = 0.05  # clocks differ by so much
SHORT = {"frame_timeout": 1.0, "idle_timeout": 1.0}


def timed(play: Play, name: str) -> tuple[ServerUnderTest, float]:
    """A server whose timeout of this name is known and short enough, and the timeout in seconds."""
    main = play.target.main
    stated = main.seconds(name.replace("_", "-"))
    if stated is not None and 0 < stated <= (_LONGEST if not play.options.slow else 3_600.0):
        return main, stated
    seconds = SHORT[name] * play.times.scale
    return play.target.server(**{name: seconds}), seconds


def await_fatal(play: Play, conversation: Conversation, code: int, began: float, timeout: float) -> None:
    """See that the fatal ERROR comes when the timeout is over: no sooner, and hardly later."""
    conversation.allow(timeout + play.times.whole)
    latest = timeout + play.times.grace
    try:
        conversation.read_more(max(0.0, began + latest - time.monotonic()))
    except Silence:
        message = f"no ERROR {code} came within {latest:.3g} s; the timeout is {timeout:.3g} s"
        raise Failed(message) from None
    elapsed = time.monotonic() - began
    # On an idle connection nothing is on its way that could make the end overtake the ERROR.
    judge(conversation, [error(code)], "closed", play=None if code == ErrorCode.IDLE_TIMEOUT else play)
    if elapsed < timeout - _EARLY:
        message = f"the ERROR {code} came after {elapsed:.3f} s, before the timeout of {timeout:.3g} s"
        raise Failed(message)


_PARTS = {
    "type": b"\x01",
    "length": b"\x01\0\0",
    "header": header(1, 10),
    "body": header(1, 10) + b"abc",
    "ping": header(6, 2) + b"p",
    "ignorable": header(0x80, 10) + b"abc",
    "application": header(0xC0, 10) + b"abc",
}


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(
            part,
            marks=case(
                f"deadlines.frame-timeout.{name}",
                f"a frame of which only part comes ({part.hex(' ')}) is refused at the frame timeout",
                "REQ-TIME-1",
                "REQ-ERROR-2",
                *(["REQ-TYPE-4"] if name == "ignorable" else []),
                slow=True,
            ),
        )
        for name, part in _PARTS.items()
    ],
)
def case_frame_timeout(play: Play, part: bytes) -> None:
    """Nothing more comes from here."""
    server, timeout = timed(play, "frame_timeout")
    with play.open(server) as conversation:
        began = time.monotonic()
        conversation.send(part)
        await_fatal(play, conversation, 504, began, timeout)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(octets, marks=case(f"deadlines.{name}", title, "REQ-TIME-2", requirement, slow=True))
        for name, title, requirement, octets in (
            (
                "trickle-does-not-extend",
                "octets that trickle in do not extend the frame timeout",
                "REQ-TIME-1",
                frame(REQUEST, "x" * 200),
            ),
            (
                "trickle-discarded",
                "octets of an ignorable frame that trickle in do not extend the frame timeout",
                "REQ-TYPE-4",
                frame(IGNORABLE, "x" * 200),
            ),
        )
    ],
)
def case_trickle(play: Play, octets: bytes) -> None:
    """An octet every eighth of the timeout, from the type on, until the server has had enough."""
    server, timeout = timed(play, "frame_timeout")
    with play.open(server) as conversation:
        conversation.allow(timeout + play.times.whole)
        began = time.monotonic()
        latest = timeout + play.times.grace
        for octet in octets:
            if conversation.waiting or conversation.ending is not Ending.OPEN:
                break
            if time.monotonic() - began > latest:
                break
            conversation.send(bytes([octet]))
            conversation.pause(timeout / 8)
        await_fatal(play, conversation, 504, began, timeout)


@case(
    "deadlines.each-frame-has-its-own",
    "the frame timeout counts from the first octet of each frame, not of the connection or an earlier frame",
    "REQ-TIME-1",
    slow=True,
)
def case_each_frame(play: Play) -> None:
    """Three frames that take three fifths of the timeout each."""
    server, timeout = timed(play, "frame_timeout")
    with play.open(server) as conversation:
        conversation.allow(4 * timeout + play.times.whole)
        for number in range(3):
            octets = frame(1, f"text {number}")
            conversation.send(octets[:3])
            conversation.pause(timeout * 0.3)
            conversation.send(octets[3:8])
            conversation.pause(timeout * 0.3)
            conversation.send(octets[8:])
            judge(conversation, [reply(f"text {number}")], "open", play=play)


@case(
    "deadlines.overlapping-frames",
    "a frame whose first octets came with the end of another has the whole timeout",
    "REQ-TIME-1",
    slow=True,
)
def case_overlapping(play: Play) -> None:
    """Each segment ends one frame and begins the next."""
    server, timeout = timed(play, "frame_timeout")
    stream = b"".join(frame(1, f"text {number}") for number in range(5))
    size = len(stream) // 5
    with play.open(server) as conversation:
        conversation.allow(5 * timeout + play.times.whole)
        conversation.send(stream[: size - 2])
        for number in range(4):
            conversation.pause(timeout * 0.6)
            place = (number + 1) * size
            conversation.send(stream[place - 2 : place + size - 2])
        conversation.pause(timeout * 0.3)
        conversation.send(stream[-2:])
        judge(conversation, [reply(f"text {number}") for number in range(5)], "open", play=play)


@case(
    "deadlines.answers-before-timeout",
    "frames in front of an incomplete one are answered at once, and the ERROR 504 follows",
    "REQ-TIME-1",
    "REQ-ERROR-5",
    slow=True,
)
def case_answers_before(play: Play) -> None:
    """The answers do not wait for the fault."""
    server, timeout = timed(play, "frame_timeout")
    with play.open(server) as conversation:
        began = time.monotonic()
        conversation.send(frame(1, "ab") + frame(6, "p") + b"\x01\0")
        for item in (reply("ab"), pong("p")):
            found = conversation.read_frame()
            if found is None or found.body.hex() != item["body"]:
                message = f"expected {item}, received {found}"
                raise Failed(message, "REQ-ERROR-5")
        await_fatal(play, conversation, 504, began, timeout)
