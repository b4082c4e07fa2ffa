"""How a client takes the end of the stream: FIN and RST, at and inside frames, and what it makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, FIN, RESET, Scenario, Step, asked, pause, read, send
from framelet_conformance.wire.frames import ERROR, PONG, REPLY, STOPPED, frame

from .shapes import ANSWERS, NEXT_PING, NEXT_PONG, REQUEST, answer, body, ended, perform

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_UNANSWERED = ("REQ-CLOSE-3", "REQ-CLOSE-4", "REQ-FRAME-6")
_PARTIAL = {
    **ANSWERS,
    "fatal-error": (REQUEST, ERROR, "500 no"),
    "ignorable": (REQUEST, 0x80, "what"),
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=case(
                f"client.fin.inside-{kind}", f"FIN after each octet of one frame: {kind}", *_UNANSWERED
            ),
        )
        for kind in _PARTIAL
    ],
)
def case_fin_inside(play: Play, kind: str) -> None:
    """From none of its octets to all but the last."""
    ask, octet, text = _PARTIAL[kind]
    whole = frame(octet, text)
    perform(play, *(ended(ask, whole[:cut]) for cut in range(len(whole))))


@case("client.fin.inside-long", "FIN inside a body that had come almost whole", *_UNANSWERED)
def case_fin_inside_long(play: Play) -> None:
    """65,535 octets of 65,536."""
    whole = frame(REPLY, "a" * 65_536)
    perform(play, *(ended(REQUEST, whole[:cut]) for cut in (6, 40_000, len(whole) - 1)))


@case("client.fin.behind-ignorable", "FIN after an ignorable frame, where an answer is due", *_UNANSWERED)
def case_fin_behind_ignorable(play: Play) -> None:
    """The frame answers nothing."""
    perform(play, ended(REQUEST, frame(0x80, "ab")))


@case(
    "client.fin.pipeline",
    "FIN after each number of answers: the others are reported unanswered",
    "REQ-CLOSE-3",
)
def case_fin_in_pipeline(play: Play) -> None:
    """Eight asked; none to eight answered, alone or with part of the next."""
    perform(
        play,
        *(
            Scenario(
                ask=tuple(asked("REQUEST", f"{number}") for number in range(8)),
                steps=(
                    read(8),
                    send(b"".join(frame(REPLY, f"{number}") for number in range(count)) + more),
                    FIN,
                ),
                expect=tuple(body(REPLY, f"{number}") if number < count else FAILED for number in range(8)),
                then="closed",
            )
            for count in range(9)
            for more in ((b"", frame(REPLY, "x")[:-1]) if count < 8 else (b"",))  # noqa: PLR2004 - of the eight
        ),
    )


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=case(
                f"client.fin.same-segment-{kind}",
                f"FIN in the segment of a whole frame: the frame counts, and the end is seen: {kind}",
                "REQ-CLOSE-3",
                "REQ-ORDER-6",
                "REQ-ERROR-12",
            ),
        )
        for kind in _PARTIAL
    ],
)
def case_fin_same_segment(play: Play, kind: str) -> None:
    """It comes first, behind an ignorable frame, and behind an answer."""
    ask, octet, text = _PARTIAL[kind]
    end = answer(octet, text) if kind in ANSWERS else FAILED
    first = frame(PONG, NEXT_PING.body)
    for asks, before, expect in (
        ((ask, NEXT_PING), b"", (end, FAILED)),
        ((ask, NEXT_PING), frame(0x80, "ab"), (end, FAILED)),
        ((NEXT_PING, ask, REQUEST), first, (NEXT_PONG, end, FAILED)),
    ):
        scenario = Scenario(
            ask=asks,
            steps=(read(len(asks)), Step("last", before + frame(octet, text))),
            expect=expect,
            then="closed",
            fatal=500 if kind == "fatal-error" else None,
        )
        perform(play, scenario, scenario)


@case("client.fin.early", "FIN before anything was asked", "REQ-CLOSE-3")
def case_fin_early(play: Play) -> None:
    """A server that closes at once."""
    perform(play, Scenario(ask=(REQUEST,), steps=(FIN,), expect=(FAILED,), then="closed"))


@case("client.rst.at-once", "a reset before any answer", "REQ-CLOSE-3")
def case_rst_at_once(play: Play) -> None:
    """Before the frame, and after it."""
    perform(
        play,
        Scenario(ask=(REQUEST,), steps=(read(), RESET), expect=(FAILED,), then="closed"),
        Scenario(ask=(REQUEST,), steps=(RESET,), expect=(FAILED,), then="closed"),
    )
    stop = asked("STOP")
    perform(play, Scenario(ask=(stop,), steps=(read(), RESET), expect=(FAILED,), then="closed"))


@case("client.rst.inside", "a reset after each octet of a REPLY", *_UNANSWERED)
def case_rst_inside(play: Play) -> None:
    """The octets may or may not reach the client; no answer is made of them either way."""
    whole = frame(REPLY, "b\u20aca")
    perform(play, *(ended(REQUEST, whole[:cut], RESET) for cut in range(1, len(whole))))


@case(
    "client.rst.behind-answer",
    "a reset after an answer: it may be lost, and is never another's",
    "REQ-CLOSE-3",
)
def case_rst_behind(play: Play) -> None:
    """A reset can overtake what was sent before it."""
    perform(
        play,
        Scenario(
            ask=(asked("REQUEST", "ab"), asked("REQUEST", "cd")),
            steps=(read(2), send(frame(REPLY, "ba")), pause(0.05), RESET),
            expect=([body(REPLY, "ba"), FAILED], FAILED),
            then="closed",
        ),
    )


@case(
    "client.stop.then-fin",
    "STOPPED is the last frame: what was asked after STOP has no answer",
    "REQ-STOP-13",
    "REQ-CLOSE-3",
)
def case_stop_then_fin(play: Play) -> None:
    """Asked one by one: the next frame finds the connection closed."""
    perform(
        play,
        Scenario(
            ask=(asked("STOP"), asked("REQUEST", "ab")),
            steps=(read(), send(frame(STOPPED, "closed=0 cut=0")), FIN),
            expect=({"type": "STOPPED", "parameters": {"closed": "0", "cut": "0"}}, FAILED),
            then="closed",
            pipeline=False,
        ),
    )
