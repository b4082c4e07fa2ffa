"""Deep pipelines: a client must read while it writes, and must give up on a deaf server in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from framelet_conformance.expectations import error
from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, FIN, Scenario, Step, asked, read, send
from framelet_conformance.wire.frames import ERROR, REPLY, frame

from .shapes import REQUEST, body, perform, taken

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


@pytest.mark.parametrize(
    ("steps", "fatal"),
    [
        pytest.param(
            steps,
            fatal,
            marks=case(
                f"client.flow.{name}-while-writing",
                f"it heeds {title} that comes while it has frames to write",
                "REQ-FLOW-4",
                *requirements,
                slow=True,
            ),
        )
        for name, title, steps, fatal, requirements in (
            ("fatal", "a fatal ERROR", (frame(ERROR, "500 over"), FIN), 500, ("REQ-ERROR-12",)),
            ("ill-formed", "an answer that is not text", (frame(REPLY, b"\xff"),), None, ("REQ-TEXT-6",)),
            ("unknown", "a frame of an unknown type", (frame(0x09),), None, ("REQ-TYPE-7",)),
            ("end", "the end of the stream", (b"", FIN), None, ("REQ-CLOSE-3",)),
        )
    ],
)
def case_fault_while_writing(play: Play, steps: tuple[Any, ...], fatal: int | None) -> None:
    """The server reads one frame, says what it has to say, and then reads nothing for a while."""
    octets, *end = steps
    perform(
        play,
        Scenario(
            ask=tuple(asked("REQUEST", _BODY) for _ in range(_COUNT)),
            steps=(read(), Step("write", octets), *end, Step("deaf", 0.5)),
            expect=(FAILED,) * _COUNT,
            then="closed",
            fatal=fatal,
            allowed=_COUNT - 20,
        ),
    )


@pytest.mark.parametrize(
    "reads",
    [
        pytest.param(
            reads,
            marks=case(
                f"client.flow.{name}",
                f"it gives up on a server that reads {title}, when its time is over",
                "REQ-TIME-6",
                slow=True,
            ),
        )
        for reads, name, title in (
            ("deaf", "deaf-server", "nothing"),
            ("sip", "slow-silent-server", "little by little, and answers nothing"),
        )
    ],
)
def case_deaf_server(play: Play, reads: str) -> None:
    """The client's frames fill all buffers, and no answer comes.

    One that has given up cannot send the last of them, when the server reads them all at last.
    """
    timeout = 1.0
    patience = timeout + play.times.grace / play.times.scale
    perform(
        play,
        Scenario(
            ask=tuple(asked("REQUEST", _BODY) for _ in range(_COUNT)),
            steps=(Step(reads, patience),),
            expect=(FAILED,) * _COUNT,
            then="closed",
            allowed=_COUNT - 20,
            answer_timeout=timeout * play.times.scale,
        ),
    )


@case(
    "client.flow.more-than-65536",
    "of 65,600 frames in a pipeline each gets its own answer",
    "REQ-ORDER-6",
    slow=True,
)
def case_more_than_65536(play: Play) -> None:
    """Answered as they come, each with its own body."""
    numbers = [f"{number}" for number in range(65_600)]
    perform(
        play,
        Scenario(
            ask=tuple(asked("REQUEST", number) for number in numbers),
            steps=(Step("echo"),),
            expect=tuple(body(REPLY, number) for number in numbers),
        ),
    )


@case(
    "client.flow.ignorable-more-than-65536",
    "65,600 ignorable frames before and after an answer are not taken for answers",
    "REQ-TYPE-3",
    "REQ-ORDER-6",
)
def case_many_ignorable(play: Play) -> None:
    """They come at once."""
    noise = frame(0x80, "i") * 65_600
    perform(play, taken(REQUEST, noise + frame(REPLY, "ba") + noise, body(REPLY, "ba")))


@case(
    "client.flow.errors-more-than-65536",
    "of 65,600 frames in a pipeline each is answered by a recoverable ERROR",
    "REQ-ERROR-12",
    "REQ-ORDER-6",
    slow=True,
)
def case_many_errors(play: Play) -> None:
    """The connection goes on."""
    count = 65_600
    perform(
        play,
        Scenario(
            ask=(REQUEST,) * count,
            steps=(Step("echo", frame(ERROR, "450 no")),),
            expect=(error(450),) * count,
        ),
    )


@case(
    "client.flow.many-answers",
    "a thousand answers in segments that end inside frames",
    "REQ-FRAME-4",
    "REQ-ORDER-6",
    "REQ-ORDER-4",
)
def case_long_pipeline(play: Play) -> None:
    """A thousand answers at once, cut at places that are not boundaries."""
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
