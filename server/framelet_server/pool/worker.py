"""One thread that serves clients: what it has taken on, and where it is."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framelet_server.connection.channel import Channel
    from framelet_server.service.calls import HandlerCalls


class Worker:
    """One thread: what it has taken on, and where it is.

    ``turn_began`` is infinite while it waits.  ``active`` is guarded by the lock of ``Workers``.
    """

    __slots__ = ("active", "calls", "ready", "turn_began", "turns", "unsent")

    def __init__(self, calls: HandlerCalls) -> None:
        """Stand by."""
        self.calls = calls
        self.active = False  # whether it has a permit
        self.ready: deque[tuple[int, int]] = deque()  # sockets to be served, as the poller named them
        self.unsent: deque[Channel] = (
            deque()
        )  # channels whose turn is half done: their answers are to be sent
        self.turn_began = math.inf
        self.turns = 0
