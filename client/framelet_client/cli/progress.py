"""Progress bars, for long input and for measurements."""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import TYPE_CHECKING

from .terminal import complain, tidied

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from framelet_client.bench.plan import Plan

_PATIENCE = 1.0  # seconds of work before a bar is worth showing
_REFRESH = 0.1


class ProgressBar:
    """Shows on standard error how much of the input has been read, once that takes a while.

    Only if standard error is a terminal, and input and output are not: then nothing else is written there.
    """

    def __init__(self, descriptor: int) -> None:
        """Watch the input ``descriptor``."""
        self._total = _size(descriptor)
        self._due = time.monotonic() + _PATIENCE if _wanted(descriptor) else float("inf")
        self._bar: _Bar | None = None

    def update(self, octets: int) -> None:
        """Show that so many octets have been read; cheap enough to be called often."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _REFRESH
        if self._bar is None:
            self._bar = _start(self._total)
        if self._bar is None:
            self._due = float("inf")
        else:
            self._bar.show(octets)

    def complain(self, line: str) -> None:
        """Write a line to standard error, above the bar."""
        if self._bar is None:
            complain(line)
        else:
            self._bar.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._due = float("inf")


class BenchProgress:
    """A bar on standard error while a measurement goes on, if that is a terminal."""

    def __init__(self, plan: Plan) -> None:
        """Show nothing before the first update."""
        self._plan = plan
        self._bar: _Bar | None = None
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
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - only for a bar

            columns = (BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn())
            self._bar = _Bar(*columns, total=1.0)
        rate = (answered - self._last_count) / max(now - self._last_time, 1e-9)
        self._last_time, self._last_count = now, answered
        words = f"{answered:,} answered, {rate:,.0f}/s" + (f", {failed:,} failed" if failed else "")
        self._bar.show(self._share(answered + failed, now), words)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()

    def _share(self, done: int, now: float) -> float:
        """How much of the measurement is done, from 0 to 1."""
        plan, elapsed = self._plan, now - self._started
        if plan.count is not None:
            return done / plan.count
        return elapsed / (plan.warmup + (plan.duration or 0.0))


def _wanted(descriptor: int) -> bool:
    return (
        sys.stderr is not None
        and sys.stderr.isatty()
        and not os.isatty(descriptor)
        and not (sys.stdout is not None and sys.stdout.isatty())
    )


def _size(descriptor: int) -> int | None:
    """Octets from here to the end, where the input is a file."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return None
    return max(0, status.st_size - os.lseek(descriptor, 0, os.SEEK_CUR))


def _start(total: int | None) -> _Bar | None:
    """A bar, if rich is installed."""
    try:
        from rich.progress import (  # noqa: PLC0415 - only where a bar is shown: it takes a while
            BarColumn,
            DownloadColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
    except ModuleNotFoundError:
        return None
    return _Bar(BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), total=total)


class _Bar:
    """A bar of rich's on standard error; it disappears when it is stopped or the process ends."""

    def __init__(self, *columns: ProgressColumn, total: float | None) -> None:
        """Show it."""
        from rich.console import Console  # noqa: PLC0415 - only where a bar is shown: it takes a while
        from rich.progress import Progress  # noqa: PLC0415 - see above

        class Steady(Console):
            def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - as rich has it
                """Do nothing: a hidden cursor would stay hidden after SIGKILL, or while stopped by Ctrl-Z."""
                return False

        progress = Progress(*columns, console=Steady(stderr=True), auto_refresh=False, transient=True)
        self.print = progress.console.print
        self._progress = progress
        self._task = progress.add_task("", total=total, words="")
        self._signals = tidied(progress.stop)
        progress.start()
        self._signals.__enter__()

    def show(self, completed: float, words: str = "") -> None:
        """Show how far it has come."""
        self._progress.update(self._task, completed=completed, words=words)
        self._progress.refresh()

    def stop(self) -> None:
        """Remove the bar."""
        self._signals.__exit__(None, None, None)
        self._progress.stop()
