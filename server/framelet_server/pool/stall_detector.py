"""Finds workers that are held up by a handler, and decides how many workers are active.

It runs on the thread of the timers, every 10 ms while much is going on, and sleeps otherwise (``awake``).

- Awake, one worker serves all clients, and sockets stay armed between turns.  One that is held up by
  surprise is replaced, and the answers that it has ready are sent.
- Asleep, two wait for clients, so that one is there when a handler holds up the other.  A worker that is
  woken often, or while the other is at work, wakes the detector.
- While handlers are known to block, a worker lets another one in before each call, up to all threads.
- Without a GIL all threads are active always.
"""

from __future__ import annotations

import math
import threading
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from .worker import HELD_UP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_server.connection.context import Context

    from .worker import Worker

_TICK = HELD_UP
"""Seconds between two looks."""

_OFTEN = 8
"""Turns in two ticks from which one worker serves all."""

_QUIET = 50
"""Ticks with few turns after which the detector goes to sleep."""


_ASLEEP = 2
"""Workers that wait for clients while the detector sleeps."""


class Team(Protocol):
    """The workers, as the detector sees them."""

    @property
    def all(self) -> Sequence[Worker]:
        """Each of them."""
        ...

    @property
    def granted(self) -> int:
        """How many are active, or are about to be."""
        ...

    def let_others_in(self, worker: Worker) -> None:
        """See that another one is there while this one is held up."""

    def send_left(self, now: float) -> None:
        """Send the answers of a worker that is held up, unless another has taken them over."""

    def grow_to(self, wanted: int) -> None:
        """Have at least so many active."""

    def shrink_to(self, wanted: int) -> None:
        """Have at most so many active."""


class StallDetector:
    """Looks after the workers of one server."""

    def __init__(self, team: Team, context: Context, *, alone: bool) -> None:
        """Sleep; ``alone`` says whether one worker is to serve all where no handler blocks."""
        self._team = team
        self._context = context
        self._alone = alone
        self._lock = threading.Lock()  # guards ``awake``
        self.awake: bool = False
        self.stalls: int = 0
        """How many times a worker was held up by surprise."""
        self.others_wanted: bool = False
        """Whether a worker has let others in since the last tick, before a call that may take long."""
        self._held_up: list[Worker] = []  # at the last tick
        self._quiet = 0  # ticks with few turns
        self._turns = 0  # of all workers, at the last tick
        self._since = 0.0  # when the turns that are counted in ``_recent`` began
        self._recent = 0

    def note_turn(self, worker: Worker) -> None:
        """A turn begins while the detector sleeps: see whether it has to wake up."""
        now = worker.turn_began
        if now - self._since > 2 * _TICK:
            self._since, self._recent = now, 0
        self._recent += 1
        # Several clients come at once where it began to wait while the detector was awake: any may hold it
        # up.
        if self._recent > _OFTEN or len(worker.ready) > 1 or self._others_are_busy(worker):
            self.wake()

    def wake(self) -> None:
        """Begin to look; called by a worker."""
        with self._lock:
            if self.awake:
                return
            self.awake = True
        self._quiet = 0
        for worker in self._team.all:
            worker.calls.watched = True
        self._context.timers.schedule(monotonic() + _TICK, self._look)

    def _look(self) -> None:
        """Have others go on for those who are held up; go to sleep where little has gone on for a while."""
        now = monotonic()
        workers = self._team.all
        held_up = [worker for worker in workers if worker.is_held_up(now)]
        quick = self._context.handlers.request.at_once > 1
        for worker in held_up:
            worker.calls.send_early(now)
            self._team.let_others_in(worker)
            self.stalls += quick and worker not in self._held_up
        self._held_up = held_up
        self._team.send_left(now)
        if self._alone:
            self._context.keep_armed = quick
            if quick or self._quiet:
                self._team.shrink_to(1 + len(held_up))
            elif not self.others_wanted:  # though REQUESTs may take long, or none have come
                self._team.shrink_to(_ASLEEP + len(held_up))
            self.others_wanted = False
        turns = sum(worker.turns for worker in workers)
        few = turns - self._turns <= _OFTEN // 2 and not self._others_are_busy(None)
        self._quiet = self._quiet + 1 if few else 0
        self._turns = turns
        too_many = self._alone and self._team.granted > _ASLEEP
        if self._quiet < _QUIET or too_many:
            self._context.timers.schedule(now + _TICK, self._look)
        else:
            self._sleep()

    def _sleep(self) -> None:
        with self._lock:
            self.awake = False
        for worker in self._team.all:
            worker.calls.watched = False
        if self._alone:
            self._context.keep_armed = False
            self._team.shrink_to(_ASLEEP)
            self._team.grow_to(_ASLEEP)
        if self._others_are_busy(None):
            self.wake()  # a turn began just now, when its worker still saw the detector awake

    def _others_are_busy(self, worker: Worker | None) -> bool:
        return any(other.turn_began < math.inf and other is not worker for other in self._team.all)
