"""Drains while clients have not taken their answers, of which a rest waits in the server's own memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from framelet_conformance.cases.server.deadlines import EARLY
from framelet_conformance.cases.server.drain import await_stopped, see_counts, see_one_cut
from framelet_conformance.cases.server.received import held, met
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, Verdict
from framelet_conformance.wire.conversation import Silence
from framelet_conformance.wire.frames import ERROR, REQUEST, STOP, frame, header
from framelet_conformance.wire.log import Ending

from .kept import EVENTS, see_linger_last
from .rest import LARGE, rest_of

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.wire.conversation import Conversation


@case(
    "stop.awaits-the-unread",
    "STOPPED comes when all others have taken their answers, however long that takes, and counts them",
    "REQ-STOP-8",
    "REQ-STOP-7",
    "REQ-TIME-4",
    "REQ-DRAIN-1",
    stops=True,
    slow=True,
)
def case_awaits(play: Play) -> None:
    """Nor does another timeout end the client that waits for it, and has begun a frame behind its STOP."""
    unit = play.times.scale
    server = play.target.server(
        fresh=True, stop="local", idle_timeout=unit, frame_timeout=unit, linger_timeout=unit / 2
    )
    met(play, server, "first")[0].close()
    rests = [rest_of(play, server, name) for name in ("open", *EVENTS)]
    answers = [rest.answers.copy() for rest in rests]
    for rest, more, event in zip(rests[1:], answers[1:], EVENTS.values(), strict=True):
        event.send(rest.conversation)
        more.extend(event.answers)
    [stopper] = met(play, server, "stopper")
    stopper.send(frame(STOP) + header(REQUEST, 9))
    see_no_stopped(stopper, unit + play.times.grace)
    for rest, due in zip(rests, answers, strict=True):
        see_no_stopped(stopper, play.times.quiet / 4)
        judge(rest.conversation, due, "closed", play=play)
        if rest.conversation.ending is not Ending.FIN:
            message = f"a draining server ended another connection by {rest.conversation.ending}"
            raise Failed(message, "REQ-STOP-7")
    parameters = await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)
    see_counts(parameters, f"{len(rests)} others had answers to take", closed=len(rests), cut=0)


def see_no_stopped(stopper: Conversation, seconds: float) -> None:
    """See that nothing comes to the client that waits for STOPPED, for so long."""
    try:
        found = stopper.read_frame(seconds)
    except Silence:
        return
    if found is None or found.type == ERROR:
        raise Failed("a client that waits for STOPPED was ended", "REQ-TIME-4", "REQ-STOP-8")
    raise Failed("STOPPED came while another client had answers to take", "REQ-STOP-8")


@case(
    "stop.write-timeout",
    "a client that takes none of its answers is cut off in a drain, too, at the write timeout, and counted",
    "REQ-TIME-5",
    "REQ-DRAIN-1",
    "REQ-STOP-8",
    stops=True,
    slow=True,
)
def case_write_timeout(play: Play) -> None:
    """The drain timeout is far longer."""
    timeout = 1.5 * play.times.scale
    server = play.target.server(fresh=True, stop="local", write_timeout=timeout, drain_timeout=20 * timeout)
    [stopper] = met(play, server, "stopper")
    rest = rest_of(play, server, "stuck")
    stopper.send(frame(STOP))
    try:
        stopper.read_more(max(0.0, rest.seen + timeout + play.times.grace - time.monotonic()))
    except Silence:
        message = f"a drain did not cut off a client that takes nothing; the write timeout is {timeout:.3g} s"
        raise Failed(message, "REQ-TIME-5") from None
    waited = time.monotonic() - rest.asked
    parameters = await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)
    if waited < timeout - EARLY:
        message = f"STOPPED came after {waited:.3g} s, although a client had answers to take"
        raise Failed(message, "REQ-STOP-8")
    see_counts(parameters, "one connection was cut off", closed=0, cut=1)


@case(
    "stop.counts-the-reset",
    "STOPPED counts a connection that its client resets in the drain as closed, and not one reset before",
    "REQ-DRAIN-1",
    "REQ-STOP-8",
    stops=True,
)
def case_reset(play: Play) -> None:
    """Both had answers to take."""
    server = play.target.server(fresh=True, stop="local")
    [stopper] = met(play, server, "stopper")
    before, meanwhile = (rest_of(play, server, name) for name in ("reset before", "reset in the drain"))
    before.conversation.reset()
    stopper.pause(play.times.quiet)
    stopper.send(frame(STOP))
    see_no_stopped(stopper, play.times.quiet)
    meanwhile.conversation.reset()
    parameters = await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)
    see_counts(parameters, "one connection was reset by its client in the drain", closed=1, cut=0)


@case(
    "stop.ends-in-spite-of-progress",
    "a client that takes its answers slowly, while others leave, does not hold up the drain for longer",
    "REQ-STOP-12",
    "REQ-STOP-8",
    "REQ-DRAIN-1",
    stops=True,
    slow=True,
)
def case_progress(play: Play) -> None:
    """The server can send some each time, but never all; further STOPs are discarded."""
    timeout = 0.8 * play.times.scale
    server = play.target.server(fresh=True, stop="local", drain_timeout=timeout)
    rest = rest_of(play, server, "slow", first=2 * LARGE)
    stopper, *guests = (play.open(server, name) for name in ("stopper", *(f"guest {n}" for n in range(20))))
    began = taken = time.monotonic()
    stopper.send(frame(STOP))
    while not stopper.waiting and time.monotonic() < began + timeout + play.times.grace:
        stopper.pause(timeout / 20)
        if guests:
            guests.pop().close()
        stopper.send(frame(STOP))
        if time.monotonic() > taken + timeout / 2:
            taken = time.monotonic()
            rest.take_some()
    see_one_cut(play, stopper, began, timeout)


@case(
    "stop.counts-no-stopper",
    "STOPPED counts no connection whose STOP was allowed, whatever becomes of it in the drain",
    "REQ-DRAIN-1",
    "REQ-STOP-11",
    "REQ-STOP-8",
    stops=True,
)
def case_no_stopper(play: Play) -> None:
    """Of three one resets and one ends its stream, while the only other client has answers to take."""
    server = play.target.server(fresh=True, stop="local")
    stoppers = met(play, server, "stays", "resets", "ends its stream")
    rest = rest_of(play, server, "other")
    with held(server):
        for stopper in stoppers:
            stopper.send(frame(STOP))
    stays, resets, ends = stoppers
    see_no_stopped(stays, play.times.quiet)
    resets.reset()
    ends.send_fin()
    see_no_stopped(stays, play.times.quiet)
    judge(rest.conversation, rest.answers, "closed", play=play)
    for stopper in (stays, ends):
        parameters = await_stopped(stopper)
        play.ended(stopper.ending, Verdict.PASS)
        see_counts(parameters, "one connection did not ask for the end", closed=1, cut=0)


@case(
    "stop.lingers-behind-answers",
    "the linger timeout of a drain begins behind the answers of each connection, and behind STOPPED",
    "REQ-TIME-9",
    "REQ-STATE-1",
    "REQ-STOP-10",
    stops=True,
    slow=True,
)
def case_lingers_behind_answers(play: Play) -> None:
    """The STOP itself stands behind answers that are taken late; the answers to another are taken later."""
    linger = play.times.scale
    server = play.target.server(fresh=True, stop="local", linger_timeout=linger, drain_timeout=30 * linger)
    met(play, server, "first")[0].close()
    other, asker = (rest_of(play, server, name) for name in ("other", "stopper"))
    stopper = asker.conversation
    stopper.send(frame(STOP), reading=False)
    time.sleep(1.5 * linger)
    judge(stopper, asker.answers, "silent")
    see_no_stopped(stopper, 1.5 * linger)
    began = time.monotonic()
    judge(other.conversation, other.answers, "closed", play=play)
    await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)
    see_linger_last(play, other.conversation, began, linger / 2, "REQ-TIME-9", "REQ-STATE-1")
    see_linger_last(play, stopper, began, linger, "REQ-TIME-9", "REQ-STOP-10")
