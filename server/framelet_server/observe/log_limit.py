"""Limits the log lines that a client can cause."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("framelet_server")


class LogLimit:
    """Logs a number of lines of each kind in a period, and says afterwards how many more there were.

    A client that could make a server log without end could fill its disk, and bury what matters.  All methods
    may be called from any thread.
    """

    def __init__(
        self, most: int = 10, seconds: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Let ``most`` lines of a kind through in ``seconds``, from the first one on."""
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()  # guards the rest
        self._began: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._suppressed = 0

    @property
    def suppressed(self) -> int:
        """How many lines were not logged so far."""
        return self._suppressed

    def warning(self, kind: str, message: str, *args: object, **fields: object) -> None:
        """Log a warning of a kind, with fields beside its message, unless there were too many."""
        if self._passes(kind):
            _log.warning(message, *args, extra=fields)

    def error(self, kind: str, message: str, *args: object, exc_info: bool = False) -> None:
        """Log an error of a kind, unless there were too many."""
        if self._passes(kind):
            _log.error(message, *args, exc_info=exc_info)

    def report(self, *, ending: bool = False) -> None:
        """Say how many lines were not logged; called now and then, and with ``ending`` once at the end."""
        now = self._clock()
        with self._lock:
            over = [kind for kind, began in self._began.items() if ending or now - began >= self._seconds]
            counts = {kind: self._counts.pop(kind) - self._most for kind in over}
            for kind in over:
                del self._began[kind]
        for kind, count in counts.items():
            if count > 0:
                _log.warning("%s: %d further lines were not logged", kind, count, extra={"suppressed": count})

    def _passes(self, kind: str) -> bool:
        with self._lock:
            self._began.setdefault(kind, self._clock())
            self._counts[kind] += 1
            passes = self._counts[kind] <= self._most
            self._suppressed += not passes
            return passes
