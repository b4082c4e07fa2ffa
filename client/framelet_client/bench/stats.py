"""The results of a measurement, and how those of several processes add up.  Needs hdrhistogram."""

from __future__ import annotations

import dataclasses
from collections import Counter

from hdrh.histogram import HdrHistogram

_LONGEST = 86_400 * 10**9  # nanoseconds; longer times are counted as this
_DIGITS = 3  # significant digits


class Latencies:
    """A histogram of times; in and out in seconds, kept in nanoseconds with three significant digits."""

    def __init__(self) -> None:
        """Start empty."""
        self._histogram = HdrHistogram(1, _LONGEST, _DIGITS)
        self._max = 0
        # Answers that come together often took the same time, which is recorded once for all of them.
        self._last = 0.0
        self._repeated = 0

    def record(self, seconds: float) -> None:
        """Add a time."""
        if seconds != self._last:
            self._flush()
            self._last = seconds
        self._repeated += 1

    def _flush(self) -> None:
        if self._repeated:
            value = min(max(0, round(self._last * 1e9)), _LONGEST)
            self._histogram.record_value(value, self._repeated)
            self._max = max(self._max, value)
            self._repeated = 0

    @property
    def histogram(self) -> HdrHistogram:
        """All times, in nanoseconds."""
        self._flush()
        return self._histogram

    def add(self, other: Latencies) -> None:
        """Add all that another histogram holds."""
        self.histogram.add(other.histogram)
        self._max = max(self._max, other._max)

    @property
    def count(self) -> int:
        """How many times it holds."""
        return int(self.histogram.get_total_count())

    @property
    def mean(self) -> float:
        """Their mean; 0 if there are none."""
        return float(self.histogram.get_mean_value()) / 1e9

    @property
    def max(self) -> float:
        """The largest, exactly."""
        self._flush()
        return self._max / 1e9

    def percentile(self, percent: float) -> float:
        """The time that so many percent of them do not exceed; 0 if there are none."""
        # The histogram gives the upper end of a cell, which is above the largest time in the last cell.
        return min(int(self.histogram.get_value_at_percentile(percent)) / 1e9, self.max)

    def encoded(self) -> str:
        """The histogram in nanoseconds, in the base64 that the tools of HdrHistogram read (V2)."""
        return bytes(self.histogram.encode()).decode("ascii")

    def __getstate__(self) -> tuple[str, int]:
        """The octets of the histogram, for another process: HdrHistogram itself cannot be pickled."""
        return self.encoded(), self._max

    def __setstate__(self, state: tuple[str, int]) -> None:
        """Restore what ``__getstate__`` gave."""
        encoded, largest = state
        self.__init__()  # type: ignore[misc] # unpickling does not call it
        self._histogram.decode_and_add(encoded)
        self._max = largest


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
    interrupted: bool = False

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
            elif isinstance(mine, Latencies):
                mine.add(its)
            elif isinstance(mine, dict) and not isinstance(mine, Counter):
                self.first_words = its | mine
            else:
                setattr(self, field.name, mine + its)
