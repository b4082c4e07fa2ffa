"""How a server ends: the drain, from the first word of it to the last STOPPED (section 10 of SPEC.md).

The way of a drain, in the order of the methods below:

1. ``begin``: a signal, the program, or a STOP (``stop_allowed``) asks for the end.  No client is accepted any
   more, and every channel is told; each answers what it has received, sends FIN, and says so by ``finished``.
2. ``force``, at the drain timeout or a second signal: those that still have answers to send are cut off.
3. ``_advance``, when no client is waited for: the ``DrainObserver`` hears the counts, and calls ``_conclude``
   with those of all processes.
4. ``_conclude``: those whose STOP was allowed get STOPPED, as their last frame.
5. ``_end``, when the last channel is ``closed``, or has lingered for too long: the workers go.

All methods may be called from any thread, with no lock held.  ``_lock`` guards the fields; what follows from
a change of them is done after it is released.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framelet_server.config import ServerLimits
    from framelet_server.connection.context import Connected
    from framelet_server.net.timers import Timers

    from .admission import Admission
    from .connections import ConnectionTable

_log = logging.getLogger("framelet_server")


class DrainObserver:
    """Hears of a drain, and has its say where several processes are one server; this one only listens.

    The methods are called from any thread of the server, and must not block.
    """

    def drain_began(self, reason: str) -> None:
        """The server has begun to drain."""

    def ends_listening(self) -> bool:
        """Whether sockets that were given to the server end with this drain, about to begin.

        Then waiting clients are accepted first: no other process will accept them.
        """
        return False

    def stop_allowed(self, reason: str) -> None:
        """A client's STOP was allowed; the drain has begun by now."""

    def drained(self, closed: int, cut: int, conclude: Callable[[int, int], None]) -> None:
        """All clients but those whose STOP was allowed have been closed, or cut off.

        Those get STOPPED with the numbers that ``conclude`` is called with, by whichever thread, once.  Until
        then the server waits for it (REQ-STOP-8).
        """
        conclude(closed, cut)


class Drain:
    """The end of one server."""

    def __init__(
        self,
        table: ConnectionTable,
        admission: Admission,
        timers: Timers,
        limits: ServerLimits,
        observer: DrainObserver,
    ) -> None:
        """Nothing ends yet."""
        self._table = table
        self._admission = admission
        self._timers = timers
        self._limits = limits
        self._observer = observer
        self.stop_accepting: Callable[[], None] = lambda: None
        self.on_end: Callable[[], None] = lambda: None
        self.ended: threading.Event = threading.Event()
        self.ends_at: float = math.inf
        """When what is left will be cut off, on the monotonic clock; infinity before it has begun."""
        self._lock = threading.Lock()
        self._finished: set[Connected] = (
            set()
        )  # open channels that the drain does not wait for: their last octet is sent
        self._stoppers: set[Connected] = set()  # those whose STOP was allowed
        self._active: set[Connected] = set()  # once it has begun: those that it waits for
        self._begun = False
        self._forced = False
        self._counted = False  # the observer knows that no client is waited for
        self.outcome: tuple[int, int] = (0, 0)
        """How many connections were closed, and how many cut: what STOPPED says, once ``_concluded``."""
        self._concluded = False
        self._over = False
        self._closed = 0
        self._cut = 0

    @property
    def begun(self) -> bool:
        """Whether the server takes no frames beyond those received."""
        return self._begun

    # 1. The beginning.

    def begin(self, reason: str) -> None:
        """Answer what was received, then end; returns at once, and does nothing the second time."""
        # This first: no channel comes after those that are told, and no client is closed without a word
        # (REQ-STOP-6).
        self.stop_accepting()
        with self._lock:
            if self._begun:
                return
            self._begun = True
            self.ends_at = time.monotonic() + self._limits.drain_timeout
            channels = [channel for channel in self._table.all() if channel not in self._stoppers]
            self._active = {channel for channel in channels if not self._is_done(channel)}
        _log.info("draining %d connections: %s", len(channels), reason)
        self._observer.drain_began(reason)
        self._timers.schedule(self.ends_at, self.force)
        for channel in channels:
            channel.drain()
        self._advance()

    def stop_allowed(self, channel: Connected) -> None:
        """A client's STOP was allowed: it waits for the others (REQ-STOP-8, 11)."""
        with self._lock:
            if channel in self._stoppers:
                return
            self._stoppers.add(channel)
            self._active.discard(channel)
        reason = f"{channel.peer.name} sent STOP"
        self.begin(reason)
        self._observer.stop_allowed(reason)
        self._advance()  # it may have been the last one that a drain under way was waiting for

    def finished(self, channel: Connected) -> None:
        """A channel has sent its last octet, or has been cut off."""
        with self._lock:
            self._finished.add(channel)
            self._count(channel)
        self._advance()

    # 2. By force.

    def force(self) -> None:
        """Cut off everything that still has answers to send (REQ-STOP-12)."""
        with self._lock:
            if not self._begun:
                return
            self._forced = True
            late = list(self._active)
        for channel in late:
            channel.abort()
        self._advance()
        self._limit_linger()

    # 3. No client is waited for.

    def _advance(self) -> None:
        """Take the drain to its next step, if it is time for one."""
        if not self._begun:  # and when it begins it looks by itself
            return
        with self._lock:
            count = not (self._counted or self._active)
            self._counted = self._counted or count
            over = self._counted and not len(self._table)
        if count:
            self._observer.drained(self._closed, self._cut, self._conclude)
        if over:
            self._end()

    # 4. STOPPED.

    def _conclude(self, closed: int, cut: int) -> None:
        """Have STOPPED sent with these numbers (REQ-STOP-8)."""
        with self._lock:
            if self._concluded:
                return
            self.outcome = closed, cut
            self._concluded = True
            stoppers = list(self._stoppers)
        for channel in stoppers:
            channel.send_stopped()
        self._limit_linger()

    def _limit_linger(self) -> None:
        """After a drain that was cut short, give the last clients the linger timeout to take STOPPED."""
        if self._forced and self._concluded:
            self._timers.schedule(time.monotonic() + self._limits.linger_timeout, self._end)

    # 5. The end.

    def closed(self, channel: Connected) -> None:
        """A channel is gone."""
        self._table.remove(channel)
        self._admission.leave(channel.peer.host, refused=channel.refused)
        with self._lock:
            self._finished.discard(channel)
            self._stoppers.discard(channel)
            self._count(channel)
        self._advance()

    def _end(self) -> None:
        """Let the workers go; clients that linger on are cut off."""
        with self._lock:
            if self._over:
                return
            self._over = True
        for channel in self._table.all():
            channel.abort()
        _log.info("drained: %d connections closed, %d cut off", self._closed, self._cut)
        self.on_end()
        self.ended.set()

    def _count(self, channel: Connected) -> None:
        """Count a channel that the drain has waited for."""
        assert self._lock.locked()
        if channel in self._active:
            self._active.discard(channel)
            self._closed += not channel.cut
            self._cut += channel.cut

    def _is_done(self, channel: Connected) -> bool:
        """Whether the drain does not wait for a channel; the lock is held."""
        assert self._lock.locked()
        return channel.refused or channel in self._finished
