"""One thread that serves clients: what it has taken on, and where it is."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framelet_server.connection.channel import Channel
    from framelet_server.service.calls import HandlerCalls

HELD_UP = 0.01
"""Seconds in a handler after which a worker is held up; a turn may take twice as long."""


class Worker:
    """One thread: what it has taken on, and where it is.

    ``turn_began`` is infinite while it waits.  ``active`` is guarded by the lock of ``Workers``.
    """

    __slots__ = ("active", "calls", "ready", "turn_began", "turns", "unsent")

    def __init__(self, calls: HandlerCalls) -> None:
        """Stand by."""
        self.calls: HandlerCalls = calls
        self.active: bool = False  # whether it has a permit
        self.ready: deque[tuple[int, int]] = deque()  # sockets to be served, as the poller named them
        self.unsent: deque[Channel] = deque()  # whose turn is half done: their answers are to be sent
        self.turn_began: float = math.inf
        self.turns: int = 0

    def is_held_up(self, now: float) -> bool:
        """Whether it has been in a handler, or in one turn, for long."""
        return now - self.calls.began >= HELD_UP or now - self.turn_began >= 2 * HELD_UP

    def is_free(self, now: float) -> bool:
        """Whether it waits for clients, or will soon."""
        return self.active and self.calls.began == math.inf and not self.is_held_up(now)
