"""How long a client waits for an answer, and what it does then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, Scenario, Step, asked, pause, read, send
from framelet_conformance.verdicts import Failed
from framelet_conformance.wire.frames import PONG, REPLY, frame

from .shapes import NEXT_PING, NEXT_PONG, REQUEST, body, perform

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_TIMEOUT = 1.0


@case(
    "client.deadline.within",
    "it waits for answers that come slowly, and in time",
    "REQ-TIME-6",
    "REQ-FRAME-4",
    slow=True,
)
def case_within(play: Play) -> None:
    """Each answer is late and in pieces, and together they take longer than any may take alone."""
    scale = play.times.scale
    timeout = 3 * _TIMEOUT  # with time to spare for a busy machine
    late = 0.6 * timeout
    perform(
        play,
        Scenario(
            ask=(REQUEST, NEXT_PING),
            steps=(
                *(
                    read(),
                    pause(late / 2),
                    send(frame(REPLY, "ba")[:3]),
                    pause(late / 2),
                    send(frame(REPLY, "ba")[3:]),
                ),
                *(read(), pause(late), send(frame(PONG, "end"))),
            ),
            expect=(body(REPLY, "ba"), NEXT_PONG),
            pipeline=False,
            answer_timeout=timeout * scale,
        ),
    )


def _overdue(play: Play, *steps: Step, ask_next: bool = True) -> None:
    """No whole answer comes: the client must close in time, and ask for nothing further."""
    timeout = _TIMEOUT * play.times.scale
    began = time.monotonic()
    perform(
        play,
        Scenario(
            ask=(REQUEST, asked("REQUEST", "cd")) if ask_next else (REQUEST,),
            steps=(read(), *steps),
            expect=(FAILED, FAILED) if ask_next else (FAILED,),
            then="closed",
            pipeline=False,
            allowed=1,
            answer_timeout=timeout,
        ),
    )
    took = time.monotonic() - began
    if took < timeout:
        message = f"it gave up after less than {took:.2f} s, when it was told to wait {timeout:.2f} s"
        raise Failed(message)


@case(
    "client.deadline.beyond",
    "it closes when an answer is overdue, and sends nothing further",
    "REQ-TIME-6",
    slow=True,
)
def case_beyond(play: Play) -> None:
    """Nothing comes at all."""
    _overdue(play)


@case(
    "client.deadline.late-answer", "a late answer is never taken for another frame's", "REQ-TIME-6", slow=True
)
def case_late(play: Play) -> None:
    """The answer to the first frame comes when the client has given it up."""
    _overdue(play, pause(_TIMEOUT + play.times.grace / play.times.scale), send(frame(REPLY, "ba")))


@case(
    "client.deadline.partial", "part of an answer does not keep it waiting for ever", "REQ-TIME-6", slow=True
)
def case_partial(play: Play) -> None:
    """The header and half of the body come at once."""
    _overdue(play, send(frame(REPLY, "ba")[:-1]))


@case("client.deadline.trickle", "octets of an answer do not extend the wait", "REQ-TIME-6", slow=True)
def case_trickle(play: Play) -> None:
    """An octet of a long answer now and then, until the client has to have closed."""
    pace = _TIMEOUT / 4
    count = int((_TIMEOUT + play.times.grace / play.times.scale) / pace) + 1
    octets = frame(REPLY, "a" * 1_000)
    _overdue(
        play, *(step for place in range(count) for step in (send(octets[place : place + 1]), pause(pace)))
    )


@case("client.deadline.noise", "ignorable frames do not extend the wait", "REQ-TIME-6", slow=True)
def case_noise(play: Play) -> None:
    """They answer nothing."""
    pace = _TIMEOUT / 4
    count = int((_TIMEOUT + play.times.grace / play.times.scale) / pace) + 1
    _overdue(play, *(step for _ in range(count) for step in (send(frame(0x80, "ab")), pause(pace))))
