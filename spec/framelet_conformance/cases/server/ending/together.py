"""The end of the client's stream in the very segment that brings a fault or a STOP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet_conformance.cases.server.closing import FAULTS, strictly_closed
from framelet_conformance.cases.server.drain import await_stopped, have_answers_wait, see_counts, take_answers
from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Verdict
from framelet_conformance.wire.frames import ERROR, PING, REQUEST, STOP, frame, header

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_BROKEN = {501: "REQ-TYPE-1", 502: "REQ-TYPE-2", 503: "REQ-SIZE-4", 400: "REQ-ERROR-9"}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(
            fault,
            code,
            marks=case(
                f"closing.with-the-end.{kind}",
                f"what is due comes although the end of the stream came with a fault: {kind}",
                _BROKEN[code],
                "REQ-ERROR-5",
                "REQ-ERROR-8",
                "REQ-CLOSE-1",
            ),
        )
        for kind, (fault, code) in (FAULTS | {"client-error": (header(ERROR, 6), 400)}).items()
    ],
)
def case_fault(play: Play, fault: bytes, code: int) -> None:
    """The fault alone, behind other frames, and with more behind it."""
    few = frame(REQUEST, "ab") + frame(PING, "p"), [reply("ab"), pong("p")]
    many = frame(REQUEST, "text") * 1_000, [reply("text")] * 1_000
    last = [] if fault[0] == ERROR else [error(code)]
    for before, answers in ((b"", []), few, many):
        for behind in (b"", frame(REQUEST, "late")):
            with play.dial() as conversation:
                conversation.send_last(before + fault + behind)
                judge(conversation, [*answers, *last], "closed", play=play)
            strictly_closed(play, _BROKEN[code], "REQ-ERROR-8")


@case(
    "stop.with-the-end",
    "STOP and the end of the stream in one segment: STOPPED comes when others have taken their answers",
    "REQ-STOP-8",
    "REQ-STOP-7",
    "REQ-DRAIN-1",
    "REQ-CLOSE-1",
    stops=True,
)
def case_stop(play: Play) -> None:
    """Behind a REQUEST, so that there is something to lose besides."""
    server = play.target.server(fresh=True, stop="local")
    stopper = play.open(server, "stopper")
    other, text, count = have_answers_wait(play, server)
    stopper.send_last(frame(REQUEST, "ab") + frame(STOP))
    judge(stopper, [reply("ab")], "silent")
    stopper.pause(play.times.quiet)
    take_answers(other, text, count)
    other.close()
    parameters = await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)
    see_counts(parameters, "one other connection was open", "REQ-STOP-8", closed=1, cut=0)
