"""Which types of frames a client takes as the answer, discards, or closes at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet_conformance.expectations import error
from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, Scenario, asked, maybe, read, send
from framelet_conformance.wire.frames import ERROR, PONG, REPLY, frame, header

from .shapes import (
    ANSWERS,
    NEXT_PING,
    NEXT_PONG_OCTETS,
    REQUEST,
    answer,
    body,
    exchange,
    perform,
    refused,
)

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_NEVER = (0x00, 0x16, 0x47, 0x50, 0x53)
_CRITICAL = tuple(octet for octet in range(0x09, 0x80) if octet not in _NEVER)


@pytest.mark.parametrize(
    "types",
    [
        pytest.param(types, marks=case(f"client.type.{name}", title, "REQ-TYPE-7", "REQ-STATE-1"))
        for name, title, types in (
            ("never-assigned", "it closes at each type that is never assigned", _NEVER),
            ("critical", "it closes at each unassigned critical type", _CRITICAL),
            ("client-only", "it closes at each type that only a client sends", (0x01, 0x03, 0x06)),
        )
    ],
)
def case_refused_types(play: Play, types: tuple[int, ...]) -> None:
    """Each in place of a REPLY, with the body that the REPLY would have."""
    perform(play, *(refused(REQUEST, frame(octet, "ba")) for octet in types))


@case(
    "client.type.refused-at-header",
    "it closes at the header of a critical type, however long the body is said to be",
    "REQ-TYPE-7",
)
def case_refused_at_header(play: Play) -> None:
    """No octet of the body comes."""
    perform(play, *(refused(REQUEST, header(octet, 0x7FFF_FFFF)) for octet in (0x00, 0x09, 0x7F)))


@case(
    "client.type.ignorable",
    "it discards all 64 ignorable types, whatever they hold",
    "REQ-TYPE-3",
    "REQ-TYPE-4",
)
def case_ignorable(play: Play) -> None:
    """Before, between and after answers; empty, ill-formed, and full of what looks like frames."""
    bodies = [b"", b"\xff", frame(REPLY, "no") * 3, frame(ERROR, "500 no")]
    noise = [frame(octet, bodies[octet % len(bodies)]) for octet in range(0x80, 0xC0)]
    answers = [(asked("REQUEST", f"{n}"), frame(REPLY, f"{n}"), body(REPLY, f"{n}")) for n in range(64)]
    perform(
        play,
        exchange((ask, one + answer, want) for one, (ask, answer, want) in zip(noise, answers, strict=True)),
    )


@case(
    "client.type.other-application",
    "it closes at an application frame of another type than it asked with",
    "REQ-ORDER-7",
)
def case_other_application(play: Play) -> None:
    """All 63 others."""
    perform(play, *(refused(asked("C0", "ab"), frame(octet, "ab")) for octet in range(0xC1, 0x100)))


@case(
    "client.type.unasked",
    "an answer of any type that comes while none is awaited is not read over",
    "REQ-ORDER-7",
)
def case_unasked(play: Play) -> None:
    """It comes with the answer before it."""
    unasked = [frame(octet, text) for kind, (_, octet, text) in ANSWERS.items() if kind != "error"]
    perform(
        play,
        *(
            Scenario(
                ask=(REQUEST, NEXT_PING),
                steps=(read(), send(frame(REPLY, "ba") + octets), maybe(NEXT_PONG_OCTETS)),
                expect=(body(REPLY, "ba"), FAILED),
                then="closed",
                pipeline=False,
            )
            for octets in unasked
        ),
    )


@case(
    "client.type.unasked-error",
    "a recoverable ERROR that comes while no answer is awaited is not read over",
    "REQ-ORDER-7",
    "REQ-ERROR-12",
)
def case_unasked_error(play: Play) -> None:
    """A client that has sent the PING before it reads on may take the ERROR for the answer to that."""
    perform(
        play,
        Scenario(
            ask=(REQUEST, NEXT_PING),
            steps=(read(), send(frame(REPLY, "ba") + frame(ERROR, "400 no")), maybe(NEXT_PONG_OCTETS)),
            expect=(body(REPLY, "ba"), [FAILED, error(400)]),
            then="closed",
            pipeline=False,
        ),
    )


@case(
    "client.type.swapped-pongs",
    "of several PINGs under way each has its own PONG: it closes where they are swapped",
    "REQ-PING-3",
    "REQ-ORDER-6",
)
def case_swapped_pongs(play: Play) -> None:
    """The last one first; and the first one twice."""
    asks = tuple(asked("PING", name) for name in ("first", "second", "third"))
    pongs = [frame(PONG, ask.body) for ask in asks]
    perform(
        play,
        *(
            Scenario(
                ask=asks,
                steps=(read(3), send(b"".join(pongs[place] for place in places))),
                expect=tuple(
                    body(PONG, ask.body) if number < good else FAILED for number, ask in enumerate(asks)
                ),
                then="closed",
            )
            for places, good in (((2, 1, 0), 0), ((1, 0, 2), 0), ((0, 0, 1), 1), ((0, 2, 1), 1))
        ),
    )


@case(
    "client.type.same-again",
    "an answer that is equal to the one before is taken as any other",
    "REQ-ORDER-6",
    "REQ-FRAME-5",
)
def case_same_again(play: Play) -> None:
    """Three of each kind, and three empty ones."""
    kinds = [found for kind, found in ANSWERS.items() if kind != "stopped"]
    kinds += [(REQUEST, REPLY, ""), (asked("PING"), PONG, ""), (asked("C0"), 0xC0, "")]
    triples = [(ask, frame(octet, text), answer(octet, text)) for ask, octet, text in kinds for _ in range(3)]
    for pipeline in (True, False):
        perform(play, exchange(triples, pipeline=pipeline))


_KINDS = ("reply", "pong", "hello", "stopped", "application")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=case(
                f"client.type.wrong-for-{kind}", f"it closes at each answer but {kind}", "REQ-ORDER-7"
            ),
        )
        for kind in _KINDS
    ],
)
def case_wrong_answer(play: Play, kind: str) -> None:
    """Each other kind of answer, well-formed by itself, in its place."""
    others = [name for name in _KINDS if name != kind]
    ask = ANSWERS[kind][0]
    perform(play, *(refused(ask, frame(ANSWERS[name][1], ANSWERS[name][2])) for name in others))
