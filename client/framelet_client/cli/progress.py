"""A progress bar for long input."""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import TYPE_CHECKING

from .terminal import complain

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

_PATIENCE = 1.0  # seconds of work before a bar is worth showing
_REFRESH = 0.1


class ProgressBar:
    """Shows on standard error how much of the input has been read, once that takes a while.

    Only if a person sees it and nothing else is written there: standard error is a terminal, input and
    output are not.
    """

    def __init__(self, descriptor: int) -> None:
        """Watch the input ``descriptor``."""
        self._total = _size(descriptor)
        self._due = time.monotonic() + _PATIENCE if _wanted(descriptor) else float("inf")
        self._bar: Progress | None = None

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
            self._bar.update(self._bar.task_ids[0], completed=octets)
            self._bar.refresh()

    def complain(self, line: str) -> None:
        """Write a line to standard error, above the bar."""
        if self._bar is None:
            complain(line)
        else:
            self._bar.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._due = float("inf")


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


def _start(total: int | None) -> Progress | None:
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
    return start_bar(BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), total=total)


def start_bar(*columns: ProgressColumn, total: float | None, words: str = "") -> Progress:
    """Show a bar of rich's on standard error, of which nothing is left once it is stopped."""
    from rich.console import Console  # noqa: PLC0415 - only where a bar is shown: it takes a while
    from rich.progress import Progress  # noqa: PLC0415 - see above

    bar = Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
    bar.add_task("", total=total, words=words)
    bar.start()
    return bar
