"""Whether a server still does what it is there for, so that one that is stuck can be told from a busy one.

A worker is in one of three places: it waits for a client, it is in a handler, which may take as long as it
likes, or it is in the server's own code, where a turn takes milliseconds.  A server is stuck when a worker
does not come out of its own code, or when a worker waits and yet does not wake for a socket that is ready.
That all workers are in handlers is no sign of it.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_server.net.timers import Timers

    from .liveness import LivenessProbe

_TICKS = 4
"""Looks in one period; so that one that comes at a bad moment, or late, does not end a healthy server."""

_here = threading.local()


class _Clock:
    """Since when one worker has been in the server's own code; written by that worker alone."""

    __slots__ = ("in_handler", "since")

    def __init__(self) -> None:
        self.since = math.inf
        self.in_handler = False

    def turn_began(self) -> None:
        """The worker was woken."""
        self.since = time.monotonic()

    def turn_ended(self) -> None:
        """The worker goes back to wait."""
        self.since = math.inf


class Progress:
    """Where each worker of a server is."""

    def __init__(self) -> None:
        """Begin without workers."""
        self._clocks: list[_Clock] = []

    def join(self) -> _Clock:
        """The clock of the calling thread, which is a worker from now on."""
        clock = _Clock()
        _here.clock = clock
        self._clocks.append(clock)
        return clock

    def longest_turn(self) -> float:
        """Seconds for which some worker has been in the server's own code by now."""
        return time.monotonic() - min((clock.since for clock in self._clocks), default=math.inf)

    def busy(self) -> int:
        """How many workers serve a client."""
        return sum(clock.in_handler or clock.since < math.inf for clock in self._clocks)

    def someone_waits(self) -> bool:
        """Whether some worker is free."""
        return any(clock.since == math.inf and not clock.in_handler for clock in self._clocks)


def call_handler(handler: Callable[[str], str], text: str) -> str:
    """Call a handler that may block, on a worker; its time is not the server's."""
    clock: _Clock | None = getattr(_here, "clock", None)
    if clock is None:
        return handler(text)
    clock.in_handler, clock.since = True, math.inf
    try:
        return handler(text)
    finally:
        clock.in_handler, clock.since = False, time.monotonic()


class Watch:
    """Calls back again and again while the server makes progress, and not when it is stuck.

    It runs on the thread of the timers, so that it falls silent with that as well.
    """

    def __init__(
        self,
        pulse: LivenessProbe,
        timers: Timers,
        progress: Progress,
        period: float,
        beat: Callable[[], None],
    ) -> None:
        """``beat`` is called several times in ``period`` seconds."""
        self._pulse = pulse
        self._timers = timers
        self._progress = progress
        self._period = period
        self._beat = beat
        self._tick()

    def _tick(self) -> None:
        self._timers.schedule(time.monotonic() + self._period / _TICKS, self._tick)
        late = self._period / 2
        stuck = self._progress.longest_turn() >= late
        deaf = self._pulse.pending >= late and self._progress.someone_waits()
        if not (stuck or deaf):
            self._beat()
