"""All connections that are open, and the sums of those that were."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from framelet_server.observe.counters import TotalStats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framelet_server.connection.context import Connected


class ConnectionCounts(NamedTuple):
    """What there was of connections, at one moment."""

    taken: int
    open: int
    close_reasons: Mapping[str, int]
    totals: TotalStats
    pending: int


class ConnectionTable:
    """The channels of a server.

    All methods may be called from any thread; ``_lock`` guards everything, and nothing is called under it but
    the counts of a channel that is gone.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._channels: set[Connected] = set()
        self._taken = 0
        self._close_reasons: Counter[str] = Counter()
        self._totals = TotalStats()  # of those that are gone

    def __len__(self) -> int:
        """How many are open."""
        return len(self._channels)

    def add(self, channel: Connected) -> None:
        """Take a channel in."""
        with self._lock:
            self._taken += 1
            self._channels.add(channel)

    def remove(self, channel: Connected) -> None:
        """Forget a channel that is closed."""
        with self._lock:
            self._channels.remove(channel)
            self._totals.add(channel.stats())
            self._close_reasons[channel.close_reason] += 1

    def all(self) -> list[Connected]:
        """All channels now."""
        with self._lock:
            return list(self._channels)

    def counts(self) -> ConnectionCounts:
        """What there was so far.

        Those that are open are read as they change: what is counted meanwhile may be in it or not, but
        nothing is counted twice, and no count ever falls.
        """
        with self._lock:
            channels = list(self._channels)
            totals = self._totals.copy()
            reasons = dict(self._close_reasons)
            taken = self._taken
        for channel in channels:
            totals.add(channel.stats())
        pending = sum(channel.pending for channel in channels)
        return ConnectionCounts(taken, len(channels), reasons, totals, pending)
