"""The memory that all clients of a server take together, and who pays when it is too much.

What is counted is what Python holds for clients between turns: octets of frames and answers, and the objects
made of them.  What a worker has in hand is not: for each thread a read, or a frame with its text and answer.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from . import heap

if TYPE_CHECKING:
    from framelet_server.connection.context import Holder
    from framelet_server.net.timers import Timers
    from framelet_server.observe.log_limit import LogLimit

_KIND = "memory"

_GRACE = 0.5
"""Seconds in which clients may still take their answers before any of them is shed."""

_RELIEF = 7 / 8
"""Part of the budget to come down to, so that the next octet does not exceed it again."""

_URGENT = 9 / 8
"""Part of the budget above which there is no grace, as clients that held nothing are still read."""

_TIGHT = 1 / 4
"""Part of the budget above which the C library is to keep nothing that was freed."""


class MemoryBudget:
    """Counts the octets held for each client, exceeds or not, and sheds the largest when it stays exceeded.

    While it is exceeded nothing is read from clients for which anything is held; those that hold nothing are
    served as ever.  All methods may be called from any thread; no holder is called with the lock held.
    """

    def __init__(self, most: int, timers: Timers, limited_log: LogLimit) -> None:
        """Allow ``most`` octets."""
        self._throttle = limited_log
        self._most = most
        self._timers = timers
        self._lock = threading.Lock()  # guards the rest
        self._held: dict[Holder, int] = {}
        self._going: set[Holder] = set()  # shed, but a worker is still busy with them
        self._total = 0
        self._relieving = False  # whether ``_relieve`` is due
        self._urgent = False  # whether so much is held that it was due at once
        self._tight = False  # whether the C library is told to keep nothing
        self._shedding = self._telling = False  # whether the timers' thread is about to do so at once
        self.exceeded: bool = False
        self.shed: int = 0  # clients given up so far

    @property
    def total(self) -> int:
        """Octets held now."""
        return self._total

    def note(self, holder: Holder, octets: int) -> None:
        """Take down how many octets are held for a client now."""
        with self._lock:
            self._total += octets - self._held.pop(holder, 0)
            if octets:
                self._held[holder] = octets
            else:
                self._going.discard(holder)
            relieved = self.exceeded and self._total <= self._most * _RELIEF
            exceeds = not self.exceeded and self._total > self._most
            before, self._urgent = self._urgent, self._total > self._most * _URGENT
            urgent = self._urgent and not before
            before, self._tight = self._tight, self._total > self._most * _TIGHT / (1 + self._tight)
            turned = self._tight != before
            if not (relieved or exceeds or urgent or turned):
                return
            self.exceeded = (self.exceeded or exceeds) and not relieved
            starved = list(self._held) if relieved else []
            urgent, self._shedding = urgent and not self._shedding, self._shedding or urgent
            turned, self._telling = turned and not self._telling, self._telling or turned
            schedule, self._relieving = exceeds and not self._relieving, self._relieving or exceeds
        now = time.monotonic()
        if schedule:  # one timer of each kind, however often its bound is crossed
            self._timers.schedule(now + _GRACE, self._relieve)
        if urgent:
            self._timers.schedule(now, self._shed_largest)
        if turned:
            self._timers.schedule(now, self._tell_heap)
        if exceeds:
            message = "the clients hold %d octets of %d: not reading from them"
            self._throttle.warning(_KIND, message, self._total, self._most)
        for waiting in starved:
            waiting.wake()

    def _tell_heap(self) -> None:
        """Have the C library keep much or nothing of what is freed; called on the thread of the timers."""
        with self._lock:
            self._telling, tight = False, self._tight
        (heap.tighten if tight else heap.relax)()

    def _relieve(self) -> None:
        """Shed while the budget is exceeded; called on the thread of the timers."""
        with self._lock:
            self._relieving = self.exceeded
            if not self.exceeded:
                return
        self._shed_largest()
        self._timers.schedule(time.monotonic() + _GRACE, self._relieve)

    def _shed_largest(self) -> None:
        """Shed the largest until the rest is within bounds."""
        with self._lock:
            self._shedding = False
            excess = self._total - self._most * _RELIEF
            largest = []
            candidates = self._held.keys() - self._going
            for holder in sorted(candidates, key=self._held.__getitem__, reverse=True):
                if excess <= 0:
                    break
                excess -= self._held[holder]
                largest.append(holder)
            self._going.update(largest)
            self.shed += len(largest)
        if largest:
            self._throttle.error(_KIND, "shedding the %d clients that hold the most memory", len(largest))
        for holder in largest:
            holder.shed()
