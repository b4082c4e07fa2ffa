"""How late this machine is: a case that fails while the suite itself does not get to run shows nothing."""

from __future__ import annotations

import threading
import time

_INTERVAL = 0.02  # seconds


class MachineLateness:
    """A thread that wakes up at intervals, and notes how late it was woken."""

    def __init__(self) -> None:
        """Begin."""
        self._stopped = threading.Event()
        self._late: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._measure, name="lateness", daemon=True)
        self._thread.start()

    def _measure(self) -> None:
        due = time.monotonic() + _INTERVAL
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            now = time.monotonic()
            if now - due > _INTERVAL:
                self._late.append((now, now - due))
            due = now + _INTERVAL

    def most_since(self, began: float) -> float:
        """The most that it was late since then, in seconds; ``began`` is on the monotonic clock."""
        # It may be late right now, and has not noted it yet: wait for another wake-up.
        self._stopped.wait(2 * _INTERVAL)
        return max((late for when, late in self._late if when >= began), default=0.0)

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._thread.join()
