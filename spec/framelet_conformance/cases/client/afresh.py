"""What must not survive a connection: conversations that go wrong, and others after them in the same process.

An adapter without ``repeat`` has a process for each, and passes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, FIN, RESET, Scenario, Step, asked, maybe, pause, read, send
from framelet_conformance.verdicts import Failed
from framelet_conformance.wire.frames import ERROR, HELLO, PONG, REPLY, frame, header

from .shapes import HELLO_BODY, NEXT_PONG, NEXT_PONG_OCTETS, REQUEST, body, perform

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_PING, _PONG = asked("PING", "first"), frame(PONG, "first")
_ASK = (REQUEST, _PING, asked("PING", "end"))
_GOOD = Scenario(
    ask=_ASK,
    steps=(read(3), send(frame(REPLY, "ba") + _PONG + NEXT_PONG_OCTETS)),
    expect=(body(REPLY, "ba"), body(PONG, "first"), NEXT_PONG),
)
_ENDS: dict[str, tuple[str, tuple[Step, ...], int | None]] = {
    "nothing": ("the end of the stream before any answer", (FIN,), None),
    "part": ("part of an answer and the end of the stream", (send(frame(REPLY, "other")[:7]), FIN), None),
    "header": ("a header and a reset", (send(header(REPLY, 70)), RESET), None),
    "fatal": ("a fatal ERROR", (send(frame(ERROR, "500 over")), FIN), 500),
    "unknown": ("a frame of an unknown type", (send(frame(0x09, "x")),), None),
    "large": ("a header of a frame that is too large", (send(header(REPLY, 2**32 - 1)),), None),
    "ill-formed": ("an answer that is not text", (send(frame(REPLY, b"\xff")),), None),
    "one-too-many": (
        "an answer to nothing, after all answers",
        (send(frame(REPLY, "ba") + _PONG + NEXT_PONG_OCTETS + frame(REPLY, "more")), FIN),
        None,
    ),
}


@pytest.mark.parametrize(
    ("steps", "fatal"),
    [
        pytest.param(
            steps,
            fatal,
            marks=case(
                f"client.afresh.{name}",
                f"a conversation after one that ends by {title} begins afresh",
                "REQ-ORDER-6",
                "REQ-FRAME-4",
                "REQ-ERROR-12",
            ),
        )
        for name, (title, steps, fatal) in _ENDS.items()
    ],
)
def case_afresh(play: Play, steps: tuple[Step, ...], fatal: int | None) -> None:
    """A good one, the one that ends so, and two good ones."""
    all_came = steps[0].value is not None and len(steps[0].value) > len(_PONG) * 2
    expect: tuple[Any, ...] = (FAILED,) * len(_ASK)
    if all_came:
        expect = tuple([item, FAILED] for item in _GOOD.expect)
    bad = dataclasses.replace(_GOOD, steps=(read(3), *steps), expect=expect, then="closed", fatal=fatal)
    perform(play, _GOOD, bad, _GOOD, _GOOD)


_BODY = b"a" * 65_536
_COUNT = 160  # times _BODY: more than the buffers of both ends hold
_TIMEOUT = 1.5
_UNSENT: dict[str, tuple[str, tuple[Step, ...], int | None]] = {
    "end": ("the end of the stream", (FIN, Step("deaf", 0.3)), None),
    "fatal": ("a fatal ERROR", (send(frame(ERROR, "500 over")), FIN, Step("deaf", 0.3)), 500),
    "fault": ("an answer that is not text", (send(frame(REPLY, b"\xff")), Step("deaf", 0.3)), None),
    "reset": ("a reset", (RESET,), None),
    "timeout": ("the answer timeout", (Step("deaf", 1.1 * _TIMEOUT),), None),
}


@pytest.mark.parametrize(
    ("steps", "fatal"),
    [
        pytest.param(
            steps,
            fatal,
            marks=case(
                f"client.afresh.unsent-{name}",
                f"nothing is sent of what a connection that ended by {title} left unsent",
                "REQ-FRAME-1",
                "REQ-ORDER-6",
                "REQ-TIME-9",
                slow=True,
            ),
        )
        for name, (title, steps, fatal) in _UNSENT.items()
    ],
)
def case_unsent(play: Play, steps: tuple[Step, ...], fatal: int | None) -> None:
    """The server reads one frame of many; on the next connection it reads and answers the same frames."""
    bad = Scenario(
        ask=(asked("REQUEST", _BODY),) * _COUNT,
        steps=(read(), *steps),
        expect=(FAILED,) * _COUNT,
        then="closed",
        fatal=fatal,
        answer_timeout=_TIMEOUT * play.times.scale,
    )
    good = dataclasses.replace(
        bad,
        steps=(Step("serve", frame(REPLY, "x")),),
        expect=(body(REPLY, "x"),) * _COUNT,
        then="open",
        fatal=None,
    )
    perform(play, good, bad, good)


@case(
    "client.afresh.timeout",
    "a conversation after one whose answers were overdue has the whole time, and only its own answers",
    "REQ-TIME-6",
    "REQ-TIME-9",
    "REQ-ORDER-6",
    slow=True,
)
def case_timeout(play: Play) -> None:
    """All answers overdue, then the last two; in between they come when most of the time is over."""
    good = dataclasses.replace(
        _GOOD,
        steps=(read(3), pause(0.6 * _TIMEOUT), *_GOOD.steps[1:]),
        answer_timeout=_TIMEOUT * play.times.scale,
    )
    none = dataclasses.replace(good, steps=(read(3),), expect=(FAILED,) * len(_ASK), then="closed")
    one = dataclasses.replace(
        none, steps=(read(3), send(frame(REPLY, "ba"))), expect=(_GOOD.expect[0], FAILED, FAILED)
    )
    perform(play, good, none, good, one, good)


@case(
    "client.afresh.300",
    "300 conversations, one after another in one process, are alike",
    "REQ-ORDER-6",
    "REQ-STATE-1",
)
def case_many(play: Play) -> None:
    """More than eight bits count; each of them asks for three frames."""
    perform(play, *[_GOOD] * 300)


@case(
    "client.afresh.limit",
    "the max-body of one server's HELLO is not held against the next connection",
    "REQ-SIZE-6",
)
def case_limit(play: Play) -> None:
    """A REQUEST of 65,537 octets is withheld from the first server, and sent to the second."""
    large = b"a" * 65_537
    hello = {"type": "HELLO", "parameters": {}}
    ask = (asked("HELLO"), asked("REQUEST", large), asked("PING", "end"))
    small = Scenario(
        ask=ask,
        steps=(read(), send(frame(HELLO, HELLO_BODY)), maybe(NEXT_PONG_OCTETS)),
        expect=(hello, FAILED, [NEXT_PONG, FAILED]),
        then="closed",
        pipeline=False,
        skips=frozenset({1}),
    )
    steps = (read(), send(frame(HELLO, "framelet/1")), read(), send(frame(REPLY, large)))
    wide = dataclasses.replace(
        small,
        steps=(*steps, read(), send(NEXT_PONG_OCTETS)),
        expect=(hello, body(REPLY, large), NEXT_PONG),
        then="open",
        skips=frozenset(),
    )
    try:
        perform(play, small, wide)
    except Failed as error:
        raise Failed(error.reason, "REQ-SIZE-6") from None
