"""How long things take: counted by many threads, each without waiting for another."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from bisect import bisect_left

BOUNDS = tuple(digit * 10.0**power for power in range(-5, 2) for digit in (1, 2.5, 5))
"""The upper bounds of the buckets, in seconds; one more bucket holds what is above the last bound."""


@dataclasses.dataclass(frozen=True)
class Distribution:
    """How many things took how long, at one moment."""

    counts: tuple[int, ...]
    """For each of ``BOUNDS``, those that took at most that long, but longer than the bound before; the last
    count is of those above all bounds."""

    seconds: float
    """The sum of all their times."""

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def cumulated(self) -> list[tuple[str, int]]:
        """The buckets as Prometheus wants them: an upper bound, and how many took at most that long."""
        names = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
        return list(zip(names, itertools.accumulate(self.counts), strict=True))


class Cells:
    """What one thread has counted; no other thread writes it, so it needs no lock."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self.counts: list[int] = [0] * (len(BOUNDS) + 1)
        self.seconds: float = 0.0


class Histogram:
    """Each thread counts in cells of its own; ``read`` adds them up."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._all: list[Cells] = []

    def cells(self) -> Cells:
        """Cells for one thread to count in: no other may write them."""
        cells = Cells()
        with self._lock:
            self._all.append(cells)
        return cells

    def note(self, seconds: float) -> None:
        """Count something that took so long."""
        cells: Cells | None = getattr(self._mine, "cells", None)
        if cells is None:
            cells = self._mine.cells = self.cells()
        cells.counts[bisect_left(BOUNDS, seconds)] += 1
        cells.seconds += seconds

    def read(self) -> Distribution:
        """What was counted so far; what a thread counts at this moment may be missing."""
        with self._lock:
            cells = list(self._all)
        counts = map(sum, zip(*(cell.counts for cell in cells), strict=True))
        return Distribution(tuple(counts) or (0,) * (len(BOUNDS) + 1), sum(cell.seconds for cell in cells))
