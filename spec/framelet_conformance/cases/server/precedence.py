"""Two conditions at one moment, of which one decides: connections that are refused, ended, or drained.

`precedence.toml` names for each pair of conditions the case that asks about it, or says why it cannot be met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from framelet_conformance.expectations import error, reply
from framelet_conformance.judging.comparing import show
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, Verdict
from framelet_conformance.wire import frames
from framelet_conformance.wire.frames import frame, header

from .closing import strictly_closed
from .drain import await_stopped, refuses
from .received import held, met

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest

_FATAL = {
    501: header(0x09, 5),
    502: header(frames.REPLY, 5),
    503: header(frames.REQUEST, 0xFFFF_FFFF),
}
_FRAMES = {
    **{f"condition {code}": octets for code, octets in _FATAL.items()},
    "condition 400": frame(frames.REQUEST, b"\xff"),
    "condition 413": frame(frames.PING, "x" * 65),
    "condition 422": frame(frames.HELLO, "no"),
    "condition 426": frame(frames.HELLO, "framelet/2"),
    "condition 404": frame(0xC0, "x"),
    "part of a frame": header(frames.REQUEST, 9),
    "an ERROR": frame(frames.ERROR, "400 no"),
    "a STOP": frame(frames.STOP),
    "nothing": b"",
}
_SHORT = 0.5


@case(
    "precedence.too-many-connections",
    "a connection above the limit gets ERROR 507, whatever else is wrong with what it sends",
    "REQ-FLOW-6",
    "REQ-ERROR-3",
    "REQ-ERROR-7",
    stops=True,
)
def case_too_many(play: Play) -> None:
    """Each condition on a connection of its own, with and without the end of its stream."""
    server = play.target.server(fresh=True, stop="local", application="none", max_connections=1)
    [kept] = met(play, server, "kept")
    for name, octets in _FRAMES.items():
        for fin in (False, True):
            with play.open(server, name) as refused:
                refused.send(octets)
                if fin:
                    refused.send_fin()
                try:
                    judge(refused, [error(507)], "closed", play=play)
                except Failed as fault:
                    message = f"a connection above the limit that sends {name}: {fault.reason}"
                    raise Failed(message, *fault.broken) from None
    kept.send(frame(frames.REQUEST, "ab"))
    judge(kept, [reply("ab")], "open", play=play)


@case(
    "precedence.stop-behind-the-end",
    "a STOP that comes when the connection has ended by an ERROR stops nothing",
    "REQ-ERROR-7",
    "REQ-ERROR-9",
    "REQ-STATE-1",
    stops=True,
)
def case_stop_behind_the_end(play: Play) -> None:
    """By each fatal ERROR that a client can cause, and by the client's own; it may come with the fault."""
    short = _SHORT * play.times.scale
    server = play.target.server(fresh=True, stop="local", frame_timeout=short, idle_timeout=short)
    ends = [*_FATAL.items(), (504, header(frames.REQUEST, 9)), (505, b""), (0, _FRAMES["an ERROR"])]
    for code, octets in ends:
        with play.open(server, f"ERROR {code or 'of the client'}") as conversation:
            conversation.send(octets)
            judge(conversation, [error(code)] if code else [], "closed", play=play)
            strictly_closed(play, "REQ-ERROR-8")
            conversation.send(frame(frames.STOP))
            conversation.pause(play.times.quiet)
        see_it_goes_on(play, server)
    for code, octets in (*_FATAL.items(), (0, header(frames.ERROR, 0))):
        for fin in (False, True):
            with play.open(server, f"ERROR {code or 'of the client'} and STOP") as conversation:
                (conversation.send_last if fin else conversation.send)(octets + frame(frames.STOP))
                judge(conversation, [error(code)] if code else [], "closed", play=play)
            see_it_goes_on(play, server)


def see_it_goes_on(play: Play, server: ServerUnderTest) -> None:
    """See that nothing has stopped the server."""
    if refuses(play, server):
        message = "a STOP behind what ended its connection stopped the server"
        raise Failed(message, "REQ-ERROR-7", "REQ-STATE-1")


@case(
    "precedence.fault-before-a-drain",
    "frames before a fault are answered in a drain, and the connection ends, with the ERROR or without",
    "REQ-STOP-7",
    "REQ-ERROR-6",
    stops=True,
)
def case_fault_before_drain(play: Play) -> None:
    """Everything was received before the STOP; a draining server may read and discard the fault."""
    server = play.target.server(fresh=True, stop="local")
    faults: list[tuple[int | None, bytes]] = [*_FATAL.items(), (None, _FRAMES["an ERROR"])]
    *others, stopper = met(play, server, *(f"fault {code}" for code, _ in faults), "stopper")
    with held(server):
        for conversation, (_, octets) in zip(others, faults, strict=True):
            conversation.send(frame(frames.REQUEST, "ab") + octets)
        stopper.send(frame(frames.STOP))
    for conversation, (code, _) in zip(others, faults, strict=True):
        judge(conversation, [reply("ab")], "silent")
        found = conversation.read_frame()
        due = found is None or (found.type == frames.ERROR and found.body.startswith(f"{code} ".encode()))
        if not due:
            message = f"{show(found)} came instead of {f'ERROR {code} or ' if code else ''}the end"
            raise Failed(message, "REQ-STOP-7")
        judge(conversation, [], "closed", play=play)
        conversation.close()
    await_stopped(stopper)
    play.ended(stopper.ending, Verdict.PASS)
