"""One thread that calls back when it is time, off the workers, however busy they are."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from .threads import begin_thread

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("framelet_server")

_LOOK = 1.0
"""Seconds between two looks at timers that were not due soon."""

_LATER = 2 * _LOOK
"""Seconds from which a timer is not due soon."""

_FEW = 64
"""Cancelled timers that may stay in the heap before it is tidied up."""


class Timer:
    """A call that is due at a time; ``cancel`` forgets it.

    The function and its subject stand apart because a server has a timer for each connection, and a bound
    method would take 64 octets more.
    """

    __slots__ = ("_callback", "_subject", "_timers", "when")

    def __init__(self, when: float, callback: Callable[..., object], subject: object) -> None:
        """Due at ``when`` seconds on the monotonic clock."""
        self.when: float = when
        self._callback: Callable[..., object] | None = callback
        self._subject = subject
        self._timers: Timers | None = None  # who wants to know that it is cancelled

    def __lt__(self, other: Timer) -> bool:
        """Any order will do for two that are due at the same time."""
        return id(self) < id(other)

    def cancel(self) -> None:
        """Do not call back, and let go of the callback."""
        if self._callback is not None:
            self._callback = self._subject = None
            if self._timers is not None:
                self._timers.forget()

    def wanted_by(self, timers: Timers) -> None:
        """Have timers told if it is cancelled."""
        self._timers = timers

    def fire(self) -> None:
        """Call back, unless cancelled."""
        # In this order, as ``cancel`` forgets the callback first: it is never called without its subject.
        subject, callback = self._subject, self._callback
        self._callback = self._subject = None
        if callback is not None:
            if subject is None:
                callback()
            else:
                callback(subject)

    @property
    def cancelled(self) -> bool:
        """Whether nothing will happen any more."""
        return self._callback is None


class Timers:
    """Calls back in order of time, on a thread of its own; callbacks must not block."""

    def __init__(self) -> None:
        """Start the thread; raises ThreadLimitError."""
        self._condition = threading.Condition()
        self._heap: list[tuple[float, Timer]] = []
        # Most connections end long before they time out.  Their timers wait here until the thread looks
        # again; neither to come here nor to be cancelled takes a lock.
        self._later: deque[Timer] = deque()
        self._cancelled = 0
        self._closed = False
        self._thread = begin_thread("framelet-timers", self._run)

    def schedule(self, when: float, callback: Callable[..., object], subject: object = None) -> Timer:
        """Call back at ``when`` seconds on the monotonic clock, with the subject if there is one."""
        timer = Timer(when, callback, subject)
        if when - time.monotonic() > _LATER:
            self._later.append(timer)
            return timer
        timer.wanted_by(self)
        with self._condition:
            heapq.heappush(self._heap, (when, timer))
            if self._heap[0][1] is timer:
                self._condition.notify()
        return timer

    def forget(self) -> None:
        """Note that a timer was cancelled; tidy up when those are the larger part."""
        with self._condition:
            self._cancelled += 1
            if self._cancelled > _FEW and self._cancelled > len(self._heap) // 2:
                self._heap = [entry for entry in self._heap if not entry[1].cancelled]
                heapq.heapify(self._heap)
                self._cancelled = 0

    def close(self) -> None:
        """Call nothing back any more, and wait for the thread, unless this is it."""
        with self._condition:
            self._closed = True
            self._heap.clear()
            self._later.clear()
            self._condition.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _sort_in(self) -> None:
        """Put those that were not due soon with the others; the lock is held."""
        while self._later:
            timer = self._later.popleft()
            if not timer.cancelled:
                timer.wanted_by(self)
                heapq.heappush(self._heap, (timer.when, timer))

    def _run(self) -> None:
        while (timer := self._next()) is not None:
            try:
                timer.fire()
            except Exception:  # noqa: BLE001 - a fault in one callback must not end all timers
                _log.exception("a deadline could not be enforced")

    def _next(self) -> Timer | None:
        """Wait for the next timer that is due; None when closed."""
        with self._condition:
            while not self._closed:
                self._sort_in()
                remaining = self._heap[0][0] - time.monotonic() if self._heap else _LOOK
                if remaining <= 0:
                    timer = heapq.heappop(self._heap)[1]
                    if not timer.cancelled:
                        return timer
                    self._cancelled = max(0, self._cancelled - 1)
                else:
                    self._condition.wait(min(remaining, _LOOK))
            return None
