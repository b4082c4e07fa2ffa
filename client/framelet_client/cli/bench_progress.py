"""A progress bar for a measurement."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from .progress import start_bar

if TYPE_CHECKING:
    from rich.progress import Progress

    from framelet_client.bench.plan import Plan


class BenchProgress:
    """A bar on standard error while a measurement goes on, if that is a terminal."""

    def __init__(self, plan: Plan) -> None:
        """Show nothing before the first update."""
        self._plan = plan
        self._bar: Progress | None = None
        self._wanted = sys.stderr is not None and sys.stderr.isatty()
        self._started = self._last_time = time.monotonic()
        self._last_count = 0

    def update(self, answered: int, failed: int) -> None:
        """Show where the measurement stands."""
        if not self._wanted:
            return
        now = time.monotonic()
        if self._bar is None:
            self._started = now
            self._bar = _start()
        rate = (answered - self._last_count) / max(now - self._last_time, 1e-9)
        self._last_time, self._last_count = now, answered
        words = f"{answered:,} answered, {rate:,.0f}/s" + (f", {failed:,} failed" if failed else "")
        self._bar.update(self._bar.task_ids[0], completed=self._share(answered + failed, now), words=words)
        self._bar.refresh()

    def close(self) -> None:
        """Leave no trace."""
        if self._bar is not None:
            self._bar.stop()

    def _share(self, done: int, now: float) -> float:
        """How much of the measurement is done, from 0 to 1."""
        plan, elapsed = self._plan, now - self._started
        if plan.count is not None:
            return done / plan.count
        return elapsed / (plan.warmup + (plan.duration or 0.0))


def _start() -> Progress:
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - only where a bar is shown

    columns = (BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn())
    return start_bar(*columns, total=1.0)
