"""Finds workers that are held up by a handler, and has others go on in their place.

It runs on the thread of the timers, every 10 ms while much is going on, and sleeps otherwise (``awake``).
Awake, one worker serves all clients.  Asleep, two wait for clients, so that one is there when a handler holds
up the other; a worker that is woken often, or while the other is at work, wakes the detector.
"""

from __future__ import annotations

import math
import threading
from time import monotonic
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_server.connection.context import Context

    from .worker import Worker

_TICK = 0.01
"""Seconds between two looks; a worker that is in a handler for so long is held up."""

_OFTEN = 8
"""Turns in two ticks from which one worker serves all."""

_QUIET = 50
"""Ticks with few turns after which the detector goes to sleep."""


class Team(Protocol):
    """The workers, as the detector sees them."""

    @property
    def all(self) -> Sequence[Worker]:
        """Each of them."""
        ...

    def relieve(self, worker: Worker) -> bool:
        """Take the permit from a worker that is held up; False where it has none."""
        ...

    def send_left(self, now: float) -> None:
        """Send the answers that nobody has taken over from a worker that is held up."""

    def add_permit(self) -> None:
        """Let one more worker wait for clients."""


class StallDetector:
    """Looks after the workers of one server."""

    def __init__(self, team: Team, context: Context, *, may_be_alone: bool) -> None:
        """Sleep; ``may_be_alone`` says whether one worker is to serve all while it is awake."""
        self._team = team
        self._context = context
        self._may_be_alone = may_be_alone
        self._lock = threading.Lock()  # guards ``awake`` and ``surplus``
        self.awake = False
        self.relieved = 0
        """How many times a worker was held up by surprise."""
        self.surplus = 0  # permits to be taken back
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
        # With several clients at hand it waited while the detector was awake still: any of them may block.
        if (
            self._recent > _OFTEN
            or len(worker.ready) > 1
            or any(other.turn_began < math.inf and other is not worker for other in self._team.all)
        ):
            self.wake()

    def wake(self) -> None:
        """Begin to look; called by a worker."""
        with self._lock:
            if self.awake:
                return
            self.awake = True
            self._quiet = 0
            if self._may_be_alone:
                self.surplus += 1
                self._context.keep_armed = True
        for worker in self._team.all:
            worker.calls.watched = True
        self._context.timers.schedule(monotonic() + _TICK, self._look)

    def takes_back(self, worker: Worker) -> bool:
        """Whether a worker has to stand by, as one fewer is to wait for clients."""
        with self._lock:
            if not self.surplus:
                return False
            self.surplus -= 1
        with worker.calls.lock:
            worker.active = False
        return True

    def _look(self) -> None:
        """Relieve those who are held up; go to sleep where little has gone on for a while."""
        now = monotonic()
        workers = self._team.all
        held_up = [
            worker
            for worker in workers
            if now - worker.calls.began >= _TICK or (worker.active and now - worker.turn_began >= 2 * _TICK)
        ]
        for worker in held_up:
            worker.calls.send_early(now)
            self.relieved += self._team.relieve(worker)
        self._team.send_left(now)
        turns = sum(worker.turns for worker in workers)
        little = turns - self._turns <= _OFTEN // 2 and not any(w.turn_began < math.inf for w in workers)
        self._quiet = self._quiet + 1 if little else 0
        self._turns = turns
        if self._quiet < _QUIET:
            self._context.timers.schedule(now + _TICK, self._look)
        else:
            self._sleep()

    def _sleep(self) -> None:
        more = False
        with self._lock:
            self.awake = False
            if self._may_be_alone:
                self._context.keep_armed = False
                more = not self.surplus
                self.surplus = 0
        for worker in self._team.all:
            worker.calls.watched = False
        if more:
            self._team.add_permit()
        if any(worker.turn_began < math.inf for worker in self._team.all):
            self.wake()  # its turn began just now, when it still saw the detector awake
