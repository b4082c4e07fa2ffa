"""Deep pipelines: a client must read while it writes, and must give up on a deaf server in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, Scenario, Step, asked, read, send
from framelet_conformance.wire.frames import REPLY, frame

from .shapes import body, perform

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_BODY = b"a" * 65_536
_COUNT = 160  # times _BODY: more than the buffers of both ends hold
_FLOOD = 192  # times _BODY, of ignorable frames: more than a client's receive buffer holds


@case(
    "client.flow.deadlock",
    "it takes answers while it has frames to write",
    "REQ-FLOW-4",
    slow=True,
)
def case_deadlock(play: Play) -> None:
    """The server answers the first frame at length before it reads the second, as it may."""
    answers = [body(REPLY, f"{number}") for number in range(_COUNT)]
    steps = [read(), Step("write", frame(0x80, _BODY) * _FLOOD + frame(REPLY, "0"))]
    steps += [step for number in range(1, _COUNT) for step in (read(), send(frame(REPLY, f"{number}")))]
    perform(
        play,
        Scenario(
            ask=tuple(asked("REQUEST", _BODY) for _ in range(_COUNT)),
            steps=tuple(steps),
            expect=tuple(answers),
        ),
    )


@case(
    "client.flow.slow-server",
    "a server that reads nothing for a while is not given up before its time",
    "REQ-FLOW-4",
    slow=True,
)
def case_slow_server(play: Play) -> None:
    """One second of silence, then all is read and answered."""
    perform(
        play,
        Scenario(
            ask=tuple(asked("REQUEST", _BODY) for _ in range(_COUNT)),
            steps=(Step("deaf", 1.0), Step("serve", frame(REPLY, "x"))),
            expect=tuple(body(REPLY, "x") for _ in range(_COUNT)),
        ),
    )


@case(
    "client.flow.deaf-server",
    "it gives up on a server that reads nothing, when its time is over",
    "REQ-TIME-6",
    slow=True,
)
def case_deaf_server(play: Play) -> None:
    """The client's frames fill all buffers, and no answer comes."""
    timeout = 1.0
    patience = timeout + play.times.grace / play.times.scale
    perform(
        play,
        Scenario(
            ask=tuple(asked("REQUEST", _BODY) for _ in range(_COUNT)),
            steps=(Step("deaf", patience),),
            expect=(FAILED,) * _COUNT,
            then="closed",
            answer_timeout=timeout * play.times.scale,
        ),
    )


@case(
    "client.flow.many-answers",
    "a thousand answers in segments that end inside frames",
    "REQ-FRAME-4",
    "REQ-ORDER-6",
)
def case_long_pipeline(play: Play) -> None:
    """A thousand answers at once, cut at places that are no boundaries."""
    count = 1_000
    answers = b"".join(frame(REPLY, f"{number}") for number in range(count))
    pieces = [answers[place : place + 997] for place in range(0, len(answers), 997)]
    perform(
        play,
        Scenario(
            ask=tuple(asked("REQUEST", f"{number}") for number in range(count)),
            steps=(read(count), *(send(piece) for piece in pieces)),
            expect=tuple(body(REPLY, f"{number}") for number in range(count)),
        ),
    )
