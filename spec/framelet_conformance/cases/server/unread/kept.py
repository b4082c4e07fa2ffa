"""Answers that are not taken for long are given in full, whatever else happens on the connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from framelet_conformance.cases.server.closing import strictly_closed
from framelet_conformance.cases.server.deadlines import EARLY, await_fatal
from framelet_conformance.cases.server.flow import admitted
from framelet_conformance.expectations import error, pong
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed
from framelet_conformance.wire.frames import ERROR, PING, REQUEST, frame, header

from .rest import LARGE, SMALL, rest_of

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.wire.conversation import Conversation

_UNIT, _LINGER = 1.0, 0.5  # seconds


class Event(NamedTuple):
    """What comes from a client that does not take its answers; without octets it is FIN.

    ``answers`` follow those that wait, and the connection ends after them, unless it is ``open``.
    """

    title: str
    requirements: str
    octets: bytes = b""
    answers: tuple[Any, ...] = ()
    fin: bool = False
    open: bool = False

    def send(self, conversation: Conversation) -> None:
        """Have it come from the client, who reads nothing meanwhile."""
        conversation.send(self.octets, reading=False)
        if self.fin:
            conversation.send_fin()


EVENTS = {
    "half-close": Event("the client's half-close", "REQ-CLOSE-1 REQ-TIME-4", fin=True),
    "part": Event(
        "a half-close inside a frame", "REQ-CLOSE-2 REQ-CLOSE-1", header(REQUEST, 9) + b"part", fin=True
    ),
    "fault": Event("a fault", "REQ-ERROR-5 REQ-ERROR-8", header(0, 0) + b"behind", (error(501),)),
    "error": Event("an ERROR from the client", "REQ-ERROR-9", frame(ERROR, "400 no") + frame(REQUEST, "ab")),
    "fault-end": Event(
        "a fault and the client's half-close",
        "REQ-ERROR-5 REQ-ERROR-8",
        header(2, 0),
        (error(502),),
        fin=True,
    ),
    "error-end": Event(
        "an ERROR from the client and its half-close", "REQ-ERROR-9", header(ERROR, 6), fin=True
    ),
}
_SMALL_ONLY = {
    "frame-timeout": Event("the frame timeout", "REQ-ERROR-5 REQ-TIME-1", header(REQUEST, 9), (error(504),)),
    "idle-timeout": Event(
        "the idle timeout", "REQ-TIME-4 REQ-TIME-3", frame(PING, "p"), (pong("p"),), open=True
    ),
}


@pytest.mark.parametrize(
    ("event", "first"),
    [
        pytest.param(
            event,
            first,
            marks=case(
                f"closing.{name}.{kind}",
                f"answers of which {left} octets wait for longer than each timeout are not cut short by "
                f"{event.title}",
                *event.requirements.split(),
                slow=True,
            ),
        )
        for name, left, first, events in (
            ("backlog", "millions of", LARGE, EVENTS),
            ("rest", "few", SMALL, EVENTS | _SMALL_ONLY),
        )
        for kind, event in events.items()
    ],
)
def case_kept(play: Play, event: Event, first: int) -> None:
    """The idle timeout and the linger timeout begin when nothing waits any more."""
    unit = _UNIT * play.times.scale
    linger = _LINGER * play.times.scale
    server = play.target.server(
        idle_timeout=unit,
        frame_timeout=unit if error(504) in event.answers else 30 * unit,
        linger_timeout=linger,
        write_timeout=30 * unit,
    )
    rest = rest_of(play, server, first=first)
    conversation = rest.conversation
    event.send(conversation)
    time.sleep(unit + play.times.grace)
    if rest.over:
        raise Failed("the server ended a connection while its client had answers to take")
    began = time.monotonic()
    while rest.octets > 0:
        began = time.monotonic()
        rest.take_some()
    answers = [*rest.answers, *event.answers]
    judge(conversation, answers, "silent" if event.open else "closed", play=play)
    if event.open:
        await_fatal(play, conversation, 505, began, unit)
        return
    strictly_closed(play, *event.requirements.split())
    if not event.fin:
        see_linger_last(play, conversation, began, linger, "REQ-ERROR-8", *event.requirements.split())


def see_linger_last(
    play: Play, conversation: Conversation, began: float, linger: float, *requirements: str
) -> None:
    """See that the server discards until the linger timeout is over; it sent FIN after ``began``."""
    while (lasted := time.monotonic() - began) < linger - EARLY:
        conversation.send(frame(REQUEST, "late") * 10)
        conversation.pause(play.times.pause)
        if not conversation.writable and time.monotonic() - began < linger - EARLY:
            message = (
                f"a reset came at most {lasted:.3g} s after the FIN; the linger timeout is {linger:.3g} s"
            )
            raise Failed(message, *requirements)


@case(
    "flow.unread-count",
    "connections whose answers wait count, whatever has come from their clients",
    "REQ-FLOW-6",
    alone=True,
)
def case_count(play: Play) -> None:
    """They fill the server; when they have ended, there is room again."""
    server = play.target.server(max_connections=len(EVENTS), fresh=True)
    admitted(play, server).close()
    rests = [rest_of(play, server, name) for name in EVENTS]
    for rest, event in zip(rests, EVENTS.values(), strict=True):
        event.send(rest.conversation)
        rest.conversation.log.event(f"what has come: {event.title}")
        time.sleep(play.times.quiet / 4)
        with play.open(server, "one too many") as refused:
            judge(refused, [error(507)], "closed", play=play)
    for rest, event in zip(rests, EVENTS.values(), strict=True):
        judge(rest.conversation, [*rest.answers, *event.answers], "closed", play=play)
        rest.conversation.close()
        admitted(play, server)
