"""What a server must read and discard: much behind its own FIN, and anything behind a STOP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from framelet_conformance.cases.server.closing import each_fault, still_taken, strictly_closed
from framelet_conformance.cases.server.drain import await_stopped, see_counts, see_it_end
from framelet_conformance.cases.server.received import held, met
from framelet_conformance.expectations import error
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, Verdict
from framelet_conformance.wire.frames import (
    APPLICATION,
    ERROR,
    HELLO,
    IGNORABLE,
    PING,
    REPLY,
    REQUEST,
    STOP,
    STOPPED,
    frame,
    header,
    text_of,
)
from framelet_conformance.wire.log import Ending

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.wire.conversation import Conversation

_MUCH = 1 << 23  # octets
_LINGER = 4.0  # times the time for an answer


@each_fault(
    "discards-much",
    "8 MiB behind the fault that ERROR {code} answers are read and discarded",
    client_error=(header(ERROR, 6), 400),
)
def case_much(play: Play, fault: bytes, code: int) -> None:
    """They come when the server has sent FIN."""
    linger = _LINGER * play.times.answer
    with play.dial(linger_timeout=linger) as conversation:
        conversation.send(fault)
        judge(conversation, [] if fault[0] == ERROR else [error(code)], "closed", play=play)
        strictly_closed(play, "REQ-ERROR-8")
        see_much_discarded(play, conversation, linger, *play.case.requirements)


@case(
    "stop.discards-much",
    "8 MiB behind STOPPED, and behind the FIN of a drain, are read and discarded",
    "REQ-STOP-10",
    "REQ-STATE-1",
    stops=True,
)
def case_much_in_drain(play: Play) -> None:
    """The client that asked for the end, and one that did not."""
    linger = _LINGER * play.times.answer
    server = play.target.server(fresh=True, stop="local", linger_timeout=linger, drain_timeout=2 * linger)
    other, stopper = met(play, server, "other", "stopper")
    stopper.send(frame(STOP))
    await_stopped(stopper)
    if other.read_end() is not Ending.FIN:
        message = f"a draining server ended another connection by {other.ending}"
        raise Failed(message, "REQ-STATE-1")
    see_much_discarded(play, stopper, linger, "REQ-STOP-10", "REQ-STATE-1")
    see_much_discarded(play, other, linger, "REQ-STATE-1")
    play.ended(Ending.FIN, Verdict.PASS)


def see_much_discarded(play: Play, conversation: Conversation, linger: float, *requirements: str) -> None:
    """Send much after the server's FIN, and see all of it taken and no reset before the linger timeout."""
    began, octets = time.monotonic(), frame(REQUEST, text_of(65_536))
    sent = sum(conversation.send(octets) for _ in range(_MUCH // len(octets) + 1))
    taken = sent >= _MUCH and still_taken(conversation, play.times.quiet)
    if not taken and time.monotonic() - began < linger:
        message = f"the server did not read and discard all of {_MUCH:,} octets that came after its FIN"
        raise Failed(message, *requirements)


_BEHIND = {
    "a REQUEST": frame(REQUEST, "ab"),
    "an ill-formed REQUEST": frame(REQUEST, b"\xff"),
    "a PING that is too long": frame(PING, "x" * 65),
    "a HELLO": frame(HELLO, "framelet/1 max-body=65536"),
    "a HELLO of another version": frame(HELLO, "framelet/2"),
    "another STOP": frame(STOP),
    "an ill-formed STOP": frame(STOP, b"\xff"),
    "an ERROR": frame(ERROR, "400 no"),
    "the header of an ERROR": header(ERROR, 6),
    "an ignorable frame": frame(IGNORABLE, "i"),
    "an application frame": frame(APPLICATION, "ab"),
    "type 00": header(0x00, 0),
    "an unknown type": header(0x09, 5),
    "a REPLY": header(REPLY, 0),
    "a STOPPED": frame(STOPPED, "closed=0 cut=0"),
    "a frame that is too large": header(REQUEST, 0xFFFF_FFFF),
    "part of a header": header(REQUEST, 9)[:3],
    "part of a body": header(PING, 9) + b"part",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
}


@case(
    "stop.discards-each-kind",
    "whatever came with an allowed STOP, behind it, is discarded, and does not spoil the STOPPED",
    "REQ-STOP-10",
    "REQ-STOP-11",
    "REQ-STOP-8",
    stops=True,
)
def case_each_kind(play: Play) -> None:
    """Each kind on a connection of its own, with the end of the stream and without, before the drain."""
    server = play.target.server(fresh=True, stop="local")
    kinds = [(name, octets, fin) for name, octets in _BEHIND.items() for fin in (False, True)]
    stoppers = met(play, server, *(f"{name}{', and the end' if fin else ''}" for name, _, fin in kinds))
    with held(server):
        for stopper, (_, octets, fin) in zip(stoppers, kinds, strict=True):
            (stopper.send_last if fin else stopper.send)(frame(STOP) + octets)
    for stopper in stoppers:
        try:
            parameters = await_stopped(stopper)
        except Failed as fault:
            message = f"behind a STOP came {stopper.log.name}: {fault.reason}"
            raise Failed(message, *(fault.broken or ("REQ-STOP-10", "REQ-STOP-8"))) from None
        see_counts(parameters, "all connections asked for the end", closed=0, cut=0)
    play.ended(Ending.FIN, Verdict.PASS)
    see_it_end(play, server)
