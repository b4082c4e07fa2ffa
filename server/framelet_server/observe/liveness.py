"""A look at the server itself, once a second: whether it lives, and how long a client waits for a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from framelet_server.net.poller import Poller
    from framelet_server.net.timers import Timers

    from .log_limit import LogLimit

_EVERY = 1.0
"""Seconds between two beats."""

SILENCE = 10.0
"""Seconds without a sign of life after which a thread or a process counts as stuck: a machine may be slow."""


class Health(NamedTuple):
    """Whether a server is alive, whether new clients are welcome, and in words why not."""

    alive: bool
    ready: bool
    words: str


class LivenessProbe:
    """Beats on the thread of the timers, and has itself woken by the poller as a client would be.

    Its socket is always ready, so the time until a worker comes is what a client that is ready waits, behind
    the same others.  Where all workers are busy it stays with one question, which grows older.
    """

    def __init__(self, poller: Poller, timers: Timers, limited_log: LogLimit) -> None:
        """Begin to beat."""
        self._poller = poller
        self._timers = timers
        self._throttle = limited_log
        self._sock, self._other = socket.socketpair()
        self._lock = threading.Lock()  # guards the rest
        self._closed = False
        self._asked: float | None = None  # when it became ready, while no worker has come
        self._waited = 0.0  # seconds, the last time
        self._beat_at = time.monotonic()
        self._late_after = self._seen_late = (
            0.0  # the beat after which none came in time, and when that was seen
        )
        poller.add(self._sock, self, read=False, write=False)
        self._beat()

    @property
    def wait(self) -> float:
        """Seconds that the last question waited for a worker, or that the present one has waited so far."""
        with self._lock:
            return self._waited if self._asked is None else max(self._waited, time.monotonic() - self._asked)

    @property
    def pending(self) -> float:
        """Seconds that the present question has waited so far; 0 where a worker has come."""
        with self._lock:
            return 0.0 if self._asked is None else time.monotonic() - self._asked

    @property
    def beats(self) -> bool:
        """Whether the thread of the timers goes on; where a beat is late, it has one more second for it.

        The whole process may have been stopped, and this be the first thread of it that goes on.
        """
        now, beat_at = time.monotonic(), self._beat_at
        if now - beat_at < SILENCE:
            return True
        if self._late_after != beat_at:
            self._late_after, self._seen_late = beat_at, now
        return now - self._seen_late < _EVERY

    def ready(self, *, gone: bool) -> None:
        """Take the time, called by a worker."""
        del gone
        with self._lock:
            if self._asked is not None:
                self._waited = time.monotonic() - self._asked
                self._asked = None

    def wake_worker(self) -> None:
        """Have a worker that waits for clients come back from the poller."""
        with contextlib.suppress(OSError, ValueError):  # the server has ended, and closed it
            self._poller.arm(self._sock, read=False, write=True)

    def close(self) -> None:
        """Beat no more, and say what the log has kept back."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._poller.discard(self._sock)
            self._other.close()
        self._throttle.report(ending=True)

    def forked(self) -> None:
        """Close the copies of a fork."""
        self._sock.close()
        self._other.close()

    def _beat(self) -> None:
        now = time.monotonic()
        with self._lock:
            if self._closed:
                return
            self._timers.schedule(now + _EVERY, self._beat)  # first, so that no fault is the last beat
            self._beat_at = now
            if self._asked is None:
                self._asked = now
                self._poller.arm(self._sock, read=False, write=True)
        self._throttle.report()
