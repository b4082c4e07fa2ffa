"""Staying awake for the next client: to sleep and to be woken often takes longer than to wait for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .poller import Poller

_RAREST = 64
"""Waits in which it is tried once at least."""


class BusyPoll:
    """Waits for sockets for one worker, at first awake where that has paid off before.

    If no client comes in time it is left alone for twice as many waits as the last time, so that a server
    with little to do, or one that shares its only core with its clients, spends next to nothing on it.
    """

    def __init__(self, poller: Poller, most: int, seconds: float) -> None:
        """Wait for up to ``most`` sockets, awake for so many ``seconds``; 0: never."""
        self._poller = poller
        self._most = most
        self._seconds = seconds
        self._pause = 1  # waits to be slept through after the next failure, before it is doubled
        self._asleep = 0  # of them, those that are left

    def wait(self) -> list[tuple[int, int]]:
        """Block until sockets are ready, or the poller is closed."""
        if self._asleep:
            self._asleep -= 1
        elif self._seconds:
            until = time.monotonic() + self._seconds
            while time.monotonic() < until:
                if ready := self._poller.poll(0, self._most):
                    self._pause = 1
                    return ready
            self._asleep = self._pause = min(self._pause * 2, _RAREST)
        return self._poller.poll(-1, self._most)
