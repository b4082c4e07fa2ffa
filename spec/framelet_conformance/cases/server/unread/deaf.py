"""Clients that do not take their answers: the timeouts that end them, and clocks that must stand still."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from framelet_conformance.cases.server.deadlines import await_fatal
from framelet_conformance.expectations import pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, NonStrict, Skipped, Verdict
from framelet_conformance.wire.conversation import Silence
from framelet_conformance.wire.frames import HELLO, PING, REQUEST, frame, header, text_of
from framelet_conformance.wire.log import Ending

from .rest import LARGE

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.wire.conversation import Conversation

_UNIT = 1.0  # seconds
_TEXT = 60_000  # octets of a REQUEST
_MANY, _MORE = 300, 600  # of them: more than the system's buffers hold


class Deaf(NamedTuple):
    """A client that reads nothing for a while, and then must get all its answers.

    Times are in units: the server's ``timeouts``, the pause after a PONG before anything else is sent, and
    how long nothing is read.  With ``fin`` the client's stream ends first.  Afterwards ``part`` is sent, and
    the ERROR ``code`` must come after one unit.
    """

    name: str
    title: str
    requirements: str
    timeouts: dict[str, float]
    deaf: float
    before: float = 0.0
    number: int = _MANY
    size: int = _TEXT
    fin: bool = False
    part: bytes = b""
    code: int | None = None


_DEAF = (
    Deaf(
        "write-timeout-not-early",
        "a client that takes nothing for less than the write timeout gets all its answers",
        "REQ-TIME-5 REQ-TIME-9",
        {"write_timeout": 2.0},
        deaf=1.0,
    ),
    Deaf(
        "write-timeout-begins-with-answers",
        "the write timeout does not count the time in which nothing was to be taken",
        "REQ-TIME-5 REQ-TIME-9",
        {"write_timeout": 2.0},
        deaf=1.0,
        before=2.5,
    ),
    Deaf(
        "no-idle-while-owing",
        "the idle timeout does not run while answers wait to be taken, and begins after them",
        "REQ-TIME-4 REQ-TIME-3",
        {"idle_timeout": 1.0, "frame_timeout": 10.0, "write_timeout": 10.0},
        deaf=2.5,
        code=505,
    ),
    Deaf(
        "no-idle-behind-half-close",
        "the idle timeout does not run while answers wait, when the client's stream has ended",
        "REQ-TIME-4 REQ-CLOSE-1",
        {"idle_timeout": 1.0, "frame_timeout": 1.0, "write_timeout": 10.0},
        deaf=2.5,
        number=1,
        size=LARGE,
        fin=True,
    ),
    Deaf(
        "no-frame-timeout-while-unread",
        "the frame timeout does not run while the server does not read, and is kept afterwards",
        "REQ-TIME-8 REQ-TIME-1",
        {"frame_timeout": 1.0, "idle_timeout": 20.0, "write_timeout": 20.0},
        deaf=2.5,
        number=_MORE,
        part=header(REQUEST, 9),
        code=504,
    ),
)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row, marks=case(f"deadlines.{row.name}", row.title, *row.requirements.split(), slow=True)
        )
        for row in _DEAF
    ],
)
def case_deaf(play: Play, row: Deaf) -> None:
    """A server that takes in all REQUESTs meanwhile cannot be asked about its frame timeout."""
    unit = _UNIT * play.times.scale
    server = play.target.server(**{name: value * unit for name, value in row.timeouts.items()})
    text = text_of(min(row.size, server.max_body or _TEXT))
    stream = frame(REQUEST, text) * row.number
    with play.open(server, receive_buffer=8_192) as conversation:
        conversation.allow(10 * unit + play.times.whole)
        conversation.send(frame(PING, "p"))
        judge(conversation, [pong("p")], "silent")
        conversation.pause(row.before * unit)
        sent = conversation.send(stream, reading=False, within=unit / 4)
        if row.code == 504 and sent == len(stream):  # noqa: PLR2004 - of the table
            message = f"the server takes in {sent:,} octets of REQUESTs without having its answers read"
            raise Skipped(message)
        if row.fin:
            conversation.send(stream[sent:], reading=False)
            conversation.send_fin()
        time.sleep(row.deaf * unit)
        if not row.fin:
            conversation.send(stream[sent:])
        then = "silent" if row.code else "closed" if row.fin else "open"
        judge(conversation, [reply(text)] * row.number, then, play=play)
        if row.code:
            began = time.monotonic()
            conversation.send(row.part)
            # The last answers may have been in the system's buffers for a while.
            await_fatal(play, conversation, row.code, began, unit, early=unit / 2)


@case(
    "deadlines.clients-do-not-set-them",
    "timeouts in the HELLO of a client are not obeyed",
    "REQ-HELLO-8",
)
def case_clients_timeouts(play: Play) -> None:
    """One millisecond for the frame and for the pause."""
    with play.dial() as conversation:
        conversation.send(frame(HELLO, "framelet/1 frame-timeout-ms=1 idle-timeout-ms=1"))
        judge(conversation, [{"type": "HELLO", "parameters": {}}], "open", play=play)
        conversation.pause(play.times.quiet)
        conversation.send(frame(REQUEST, "ab")[:-1])
        conversation.pause(play.times.quiet)
        conversation.send(frame(REQUEST, "ab")[-1:])
        judge(conversation, [reply("ab")], "open", play=play)


@pytest.mark.parametrize(
    "talks",
    [
        pytest.param(talks, marks=case(name, title, "REQ-TIME-5", "REQ-CLOSE-6", slow=True))
        for talks, name, title in (
            (
                False,
                "deadlines.write-timeout",
                "a client that takes none of its answers is cut off, by a reset",
            ),
            (
                True,
                "deadlines.write-timeout-while-sending",
                "a client that takes no answers is cut off, although it goes on sending, octet by octet",
            ),
        )
    ],
)
def case_write_timeout(play: Play, talks: bool) -> None:  # noqa: FBT001 - a parameter of the case
    """More answers than the system's buffers hold; nothing is read until the timeout is over."""
    timeout = 0.8 * _UNIT * play.times.scale
    server = play.target.server(write_timeout=timeout)
    with play.open(server, receive_buffer=8_192) as conversation:
        conversation.allow(timeout + play.times.whole)
        wanted = frame(REQUEST, text_of(_TEXT)) * 500
        patience = timeout + play.times.grace
        sent = conversation.send(wanted, reading=False, within=timeout / 4)
        end = time.monotonic() + patience
        while (left := end - time.monotonic()) > 0 and conversation.writable:
            time.sleep(min(left, timeout / 8))  # a server may keep all that the client does not take
            if talks:
                more = wanted[sent : sent + 1] or frame(PING)
                sent += conversation.send(more, reading=False, within=0.0)
        see_it_cut_off(play, conversation, patience)


def see_it_cut_off(play: Play, conversation: Conversation, patience: float) -> None:
    """Read what the system still holds for a client that took nothing for so many seconds, and the end."""
    try:
        while conversation.ending is Ending.OPEN:
            if conversation.read_frame() is None:
                break
    except Silence:
        message = f"the server held on to a client that read nothing for {patience:.3g} s"
        raise Failed(message, "REQ-TIME-5") from None
    play.ended(conversation.ending, Verdict.PASS)
    if conversation.ending is Ending.FIN and not conversation.waiting:
        raise NonStrict("it was cut off by FIN at a boundary, as if that were an orderly end")


@case(
    "stop.ends-in-spite-of-signals",
    "further signals do not extend the drain timeout",
    "REQ-STOP-12",
    "REQ-DRAIN-3",
    stops=True,
    slow=True,
)
def case_further_signals(play: Play) -> None:
    """A client takes nothing, and SIGTERM comes again and again; the second one may cut the client off."""
    if play.options.launch is None:
        raise Skipped("needs a server that the suite launched (--launch), to send it SIGTERM")
    timeout = 2.0 * _UNIT * play.times.scale
    server = play.target.server(fresh=True, drain_timeout=timeout)
    assert server.process is not None  # noqa: S101 - launched
    stuck = play.open(server, "stuck", receive_buffer=8_192)
    stuck.send(frame(REQUEST, text_of(1 << 16)) * 200, reading=False, within=play.times.quiet)
    end = time.monotonic() + timeout + play.times.grace
    while (left := end - time.monotonic()) > 0 and server.process.wait(min(left, timeout / 4)) is None:
        server.process.send_signal(signal.SIGTERM)
    if server.process.status is None:
        message = f"the drain timeout of {timeout:.3g} s is over, and the server still drains"
        raise Failed(message)
