"""How late this machine is: a case that fails while the suite itself does not get to run shows nothing."""

from __future__ import annotations

import threading
import time

_BEAT = 0.02  # seconds


class Pulse:
    """Wakes up again and again, and knows how late it was woken."""

    def __init__(self) -> None:
        """Begin."""
        self._stopped = threading.Event()
        self._late: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        due = time.monotonic() + _BEAT
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            now = time.monotonic()
            if now - due > _BEAT:
                self._late.append((now, now - due))
            due = now + _BEAT

    def lateness(self, since: float) -> float:
        """The most that it was late since then, in seconds; ``since`` is on the monotonic clock."""
        # It may be late right now, and has not noted it yet: another beat tells.
        self._stopped.wait(2 * _BEAT)
        return max((late for when, late in self._late if when >= since), default=0.0)

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._thread.join()
