"""Tells a server that is stuck from one that is busy.

A worker is in one of three places: it waits for a client, it is in a handler, which may take as long as it
likes, or it is in the server's own code, where a turn takes milliseconds.  A server is stuck when a worker
does not come out of its own code, or when a worker waits and yet does not wake for a socket that is ready.
Workers that are all in handlers do not count as stuck.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_server.net.timers import Timers

    from .liveness import LivenessProbe

_TICKS = 4
"""Looks in one period; so that one that comes at a bad moment, or late, does not end a healthy server."""


class WorkerProgress(Protocol):
    """The workers, as the watchdog sees them."""

    @property
    def one_waits(self) -> bool:
        """Whether a worker waits for clients."""
        ...

    def longest_turn(self) -> float:
        """Seconds for which some worker has been in the server's own code by now."""
        ...


class Watchdog:
    """Calls back again and again while the server makes progress, and not when it is stuck.

    It runs on the thread of the timers, so that it falls silent with that as well.
    """

    def __init__(
        self,
        probe: LivenessProbe,
        timers: Timers,
        team: WorkerProgress,
        period: float,
        beat: Callable[[], None],
    ) -> None:
        """``beat`` is called several times in ``period`` seconds."""
        self._probe = probe
        self._timers = timers
        self._team = team
        self._period = period
        self._beat = beat
        self._tick()

    def _tick(self) -> None:
        self._timers.schedule(time.monotonic() + self._period / _TICKS, self._tick)
        late = self._period / 2
        stuck = self._team.longest_turn() >= late
        deaf = self._probe.pending >= late and self._team.one_waits
        if not (stuck or deaf):
            self._beat()
