"""How long a client waits for an answer, and what it does then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet_conformance.expectations import error
from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, Scenario, Step, asked, pause, read, send
from framelet_conformance.verdicts import Failed
from framelet_conformance.wire.frames import ERROR, PONG, REPLY, frame

from .shapes import NEXT_PING, NEXT_PONG, REQUEST, body, perform

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_TIMEOUT = 1.0
_EARLIEST = 0.85  # of the timeout: it begins before what is sent can be seen, and the suite may see that late


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
    _check_end(play, "received", timeout)


def _check_end(play: Play, way: str, timeout: float) -> None:
    """See that the client's stream ended in time after the last octets that went this way."""
    log = play.conversations[-1].log
    last = max(entry.time for entry in log.entries if entry.way == way)
    waited = next(entry.time for entry in log.entries if entry.note.startswith("the peer")) - last
    if not _EARLIEST * timeout <= waited <= timeout + play.times.grace:
        message = f"it closed after {waited:.2f} s, when it was told to wait {timeout:.2f} s for an answer"
        raise Failed(message, "REQ-TIME-9" if waited < timeout else "REQ-TIME-6")


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


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param(
            answers,
            marks=case(
                f"client.deadline.{name}",
                f"the wait for each answer begins when {title} before has come, and ends in time",
                "REQ-TIME-6",
                "REQ-TIME-9",
                slow=True,
            ),
        )
        for name, title, answers in (
            ("earlier-answers", "the one", ((REPLY, "ba"), (REPLY, "ba"))),
            ("earlier-errors", "the ERROR", ((ERROR, "450 no"), (ERROR, "499 no"))),
        )
    ],
)
def case_earlier_answers(play: Play, answers: tuple[tuple[int, str], ...]) -> None:
    """Two answers, each after two thirds of the time, and no third one."""
    timeout = 3 * _TIMEOUT * play.times.scale
    steps = [step for answer in answers for step in (pause(2 * _TIMEOUT), send(frame(*answer)))]
    expect = (error(int(text[:3])) if octet == ERROR else body(octet, text) for octet, text in answers)
    perform(
        play,
        Scenario(
            ask=(REQUEST,) * 3,
            steps=(read(3), *steps, pause(3 * _TIMEOUT + play.times.grace / play.times.scale)),
            expect=(*expect, FAILED),
            then="closed",
            answer_timeout=timeout,
        ),
    )
    _check_end(play, "sent", timeout)


@case("client.deadline.noise", "ignorable frames do not extend the wait", "REQ-TIME-6", slow=True)
def case_noise(play: Play) -> None:
    """They answer nothing."""
    pace = _TIMEOUT / 4
    count = int((_TIMEOUT + play.times.grace / play.times.scale) / pace) + 1
    _overdue(play, *(step for _ in range(count) for step in (send(frame(0x80, "ab")), pause(pace))))
