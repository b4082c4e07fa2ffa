"""Clocks of a client that does not take its answers, which wait in the server's own memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from framelet_conformance.cases.server.deadlines import EARLY, await_fatal
from framelet_conformance.expectations import pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, Skipped
from framelet_conformance.wire.frames import ERROR, PING, REQUEST, frame, header, text_of

from .rest import LARGE, rest_of

if TYPE_CHECKING:
    from framelet_conformance.play import Play

    from .rest import Rest

_TIMEOUT = 1.5  # seconds: what happens meanwhile must come before it is over
_SIPS = 3

_MEANWHILE = {
    "": ("further answers", frame(PING)),
    ".half-close": ("the end of the client's stream", b""),
    ".fault": ("a fault of the client's", header(0, 0)),
    ".error": ("an ERROR of the client's", frame(ERROR, "400 no")),
    ".part": ("part of a frame", header(REQUEST, 9)),
}


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(
            octets,
            marks=case(
                f"deadlines.write-timeout-of-a-little{name}",
                f"{title} does not extend the write timeout, however few octets wait",
                "REQ-TIME-5",
                "REQ-TIME-9",
                slow=True,
            ),
        )
        for name, (title, octets) in _MEANWHILE.items()
    ],
)
def case_little_waits(play: Play, octets: bytes) -> None:
    """PINGs are sent again and again, all else once."""
    timeout = _TIMEOUT * play.times.scale
    rest = rest_of(play, play.target.server(write_timeout=timeout))
    conversation, until = rest.conversation, rest.seen + timeout + play.times.grace
    conversation.send(octets, reading=False)
    if not octets:
        conversation.send_fin()
    while time.monotonic() < until and not rest.over:
        if octets == frame(PING):
            conversation.send(octets, reading=False, within=0.0)
        time.sleep(timeout / 40)
    see_it_over(rest, rest.asked, timeout)


def see_it_over(rest: Rest, taken: float, timeout: float) -> None:
    """See that the server has ended its side now, not before its time; ``taken`` is when a read began."""
    waited = time.monotonic() - taken
    if not rest.over:
        message = (
            f"a client that took nothing for {waited:.3g} s was not cut off; the timeout is {timeout:.3g} s"
        )
        raise Failed(message, "REQ-TIME-5")
    if waited < timeout - EARLY:
        message = f"a client was cut off {waited:.3g} s after it took octets; the timeout is {timeout:.3g} s"
        raise Failed(message, "REQ-TIME-9", "REQ-TIME-5")


@case(
    "deadlines.write-timeout-of-a-slow-reader",
    "the write timeout begins anew when the client takes some of what waits",
    "REQ-TIME-5",
    "REQ-TIME-9",
    slow=True,
)
def case_slow_reader(play: Play) -> None:
    """At last it takes no more."""
    timeout = _TIMEOUT * play.times.scale
    rest = rest_of(play, play.target.server(write_timeout=timeout), first=LARGE)
    taken = rest.asked
    for _ in range(_SIPS):
        while time.monotonic() < taken + 0.6 * timeout:
            time.sleep(timeout / 40)
        if rest.over:
            see_it_over(rest, taken, timeout)
        taken = time.monotonic()
        rest.take_some()
    if not rest.over and rest.octets == 0:
        message = f"the system's buffers hold so much that it took {_SIPS} reads to empty the server's memory"
        raise Skipped(message)
    while time.monotonic() < rest.seen + timeout + play.times.grace and not rest.over:
        time.sleep(timeout / 40)
    see_it_over(rest, taken, timeout)


_PARTS = {"type": 1, "length": 3, "header": 5, "body": 9}


@case(
    "deadlines.part-while-unread",
    "the frame timeout of a frame that began with unread answers runs only while the server reads",
    "REQ-TIME-8",
    "REQ-TIME-1",
    slow=True,
)
def case_part(play: Play) -> None:
    """Part of a PING comes with a large REQUEST, one more octet when the answer waits, the rest much later.

    Where that octet is read, the server reads on, and its clock may run.
    """
    unit = play.times.scale
    server = play.target.server(frame_timeout=unit, idle_timeout=30 * unit, write_timeout=30 * unit)
    if (server.max_body or 0) < LARGE:
        message = f"needs a server that takes a body of {LARGE:,} octets"
        raise Skipped(message)
    text, ping = text_of(LARGE), frame(PING, "0123456789")
    opened = []
    for name, size in _PARTS.items():
        for more in (ping[size + 1 :], b""):
            conversation = play.open(
                server, f"{name}, {'then all' if more else 'no more'}", receive_buffer=8_192
            )
            conversation.send(frame(REQUEST, text) + ping[:size], reading=False)
            conversation.read_more()
            conversation.send(ping[size : size + 1], reading=False)
            opened.append((conversation, more))
    time.sleep(unit + play.times.grace)
    for conversation, more in opened:
        queues = conversation.queues_of_peer
        if queues is None or not queues.unread:
            judge(conversation, [reply(text)], "silent")
            continue
        conversation.send(more, reading=False)
        began = time.monotonic()
        if more:
            judge(conversation, [reply(text), pong(ping[5:].decode())], "open", play=play)
        else:
            judge(conversation, [reply(text)], "silent")
            await_fatal(play, conversation, 504, began, unit, early=unit / 2)
        conversation.close()
