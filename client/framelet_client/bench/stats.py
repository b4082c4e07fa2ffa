"""The results of a measurement, and how those of several processes add up."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from typing import NamedTuple

_BITS = 11  # of a time in nanoseconds that are kept: a cell is narrower than a thousandth of its times


class Latencies:
    """A histogram of times; in and out in seconds.

    Each time is counted in a cell of neighbouring nanoseconds, so that memory grows with the logarithm of
    the longest time and not with their number.  Count, mean and maximum are exact.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._cells: Counter[int] = Counter()  # by the longest time in it, in nanoseconds
        self._total = 0
        self._max = 0

    def record(self, seconds: float) -> None:
        """Add a time; a negative one counts as 0."""
        time = round(seconds * 1e9) if seconds > 0 else 0
        self._total += time
        self._max = max(self._max, time)
        if (dropped := time.bit_length() - _BITS) > 0:
            time |= (1 << dropped) - 1
        self._cells[time] += 1

    def add(self, other: Latencies) -> None:
        """Add all that another histogram holds."""
        self._cells += other._cells
        self._total += other._total
        self._max = max(self._max, other._max)

    @property
    def count(self) -> int:
        """How many times it holds."""
        return self._cells.total()

    @property
    def mean(self) -> float:
        """Their mean, exactly; 0 if there are none."""
        return self._total / max(1, self.count) / 1e9

    @property
    def max(self) -> float:
        """The largest, exactly; 0 if there are none."""
        return self._max / 1e9

    def cells(self) -> list[tuple[float, int]]:
        """The longest time and the count of each cell that holds any, in ascending order."""
        return [(min(time, self._max) / 1e9, count) for time, count in sorted(self._cells.items())]

    def percentile(self, percent: float) -> float:
        """The time that so many percent do not exceed, at most 0.1 % too long; 0 if there are none."""
        # Rounded first: 99.9 % of 1,000 are 999, and a product of floats may be a trifle more.
        rank = math.ceil(round(percent * self.count / 100, 6))
        cells = self.cells()
        seen = itertools.accumulate(count for _, count in cells)
        return next((time for (time, _), up_to in zip(cells, seen, strict=True) if up_to >= rank), 0.0)


class Slice(NamedTuple):
    """A part of a measurement: the latencies of what was answered in it, and how many failed."""

    latency: Latencies
    failed: int


@dataclasses.dataclass(slots=True, kw_only=True)
class LoadStats:
    """What became of the requests that count, and of the connections.

    Every request that was sent is in one of the numbers from ``answered`` to ``abandoned``.
    """

    answered: int = 0  # by a reply that is as expected
    wrong: int = 0  # by another reply
    errors: Counter[int] = dataclasses.field(default_factory=Counter)  # by a recoverable ERROR of each code
    timed_out: int = 0  # unanswered on a connection whose next answer was overdue
    lost: int = 0  # unanswered on a connection that ended for another reason
    abandoned: int = 0  # unanswered at an interruption
    unsent: int = 0  # due, but never sent
    octets_sent: int = 0  # in the bodies of requests that were answered as expected
    octets_received: int = 0  # in the bodies of their replies
    latency: Latencies = dataclasses.field(default_factory=Latencies)  # of answered requests, since due
    service: Latencies = dataclasses.field(default_factory=Latencies)  # of the same, since sent
    lateness: Latencies = dataclasses.field(default_factory=Latencies)  # of sending after due
    late: int = 0  # requests that were sent later than the grace
    ends: Counter[str] = dataclasses.field(default_factory=Counter)  # connections given up, by kind of end
    first_words: dict[str, str] = dataclasses.field(default_factory=dict)  # the first failure of each kind
    seconds: float = 0.0
    cpu: list[float] = dataclasses.field(default_factory=list)  # share of a core, for each process
    busy: list[float] = dataclasses.field(default_factory=list)  # share of the time not spent waiting
    interrupted: int = 0  # by the signal of this number
    series: list[Slice] = dataclasses.field(default_factory=list)  # one for each interval of the plan

    @property
    def sent(self) -> int:
        """All that were sent."""
        return self.answered + self.failed + self.abandoned

    @property
    def failed(self) -> int:
        """Those that were sent and not answered as expected."""
        return self.wrong + self.errors.total() + self.timed_out + self.lost

    def add(self, other: LoadStats) -> None:
        """Add what another process has found in the same time."""
        for field in dataclasses.fields(self):
            mine, its = getattr(self, field.name), getattr(other, field.name)
            if field.name in ("seconds", "interrupted"):
                setattr(self, field.name, max(mine, its))
            elif field.name == "series":
                mine += [Slice(Latencies(), 0) for _ in its[len(mine) :]]
                for number, (latency, failed) in enumerate(its):
                    mine[number].latency.add(latency)
                    mine[number] = Slice(mine[number].latency, mine[number].failed + failed)
            elif isinstance(mine, Latencies):
                mine.add(its)
            elif isinstance(mine, dict) and not isinstance(mine, Counter):
                self.first_words = its | mine
            else:
                setattr(self, field.name, mine + its)
