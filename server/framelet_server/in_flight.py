"""Answers of one client that come later, sent in the order in which they were asked for."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

from framelet import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet import ApplicationReceived, RequestReceived, ServerConnection

    from .deadlines import Deadlines
    from .handlers import Handlers

    Delivery = Callable[[ServerConnection, Future[str]], None]


class InFlight:
    """Keeps the futures of an executor in order, up to a number, and delivers those that are done.

    It belongs to the owner of the channel; ``on_done`` is called from whichever thread a future ends in.
    """

    __slots__ = ("_blocked", "_most", "_on_done", "_waiting")

    def __init__(self, most: int, on_done: Callable[[], None]) -> None:
        """Take up to ``most`` at once."""
        self._most = most
        self._on_done = on_done
        self._waiting: deque[tuple[Future[str], Delivery]] = deque()
        self._blocked = False  # nothing may be asked for before all of these are delivered

    @property
    def has_room(self) -> bool:
        """Whether another answer may be asked for."""
        return not self._blocked and len(self._waiting) < self._most

    def submit(self, handlers: Handlers, event: RequestReceived | ApplicationReceived) -> None:
        """Have the answer to a frame made elsewhere."""
        future, handler = handlers.submit(event)
        self._append(future, lambda connection, done: handlers.deliver(connection, handler, done))

    def refuse_stop(self, deadlines: Deadlines, wait: float) -> None:
        """Refuse a STOP in its turn, after some seconds in which nothing else is taken (REQ-STOP-3)."""
        future: Future[str] = Future()
        self._append(future, lambda connection, _: connection.send_error(ErrorCode.STOP_REFUSED))
        self._blocked = wait > 0
        if wait:
            deadlines.schedule(time.monotonic() + wait, lambda: _settle(future))
        else:
            _settle(future)

    def deliver(self, connection: ServerConnection, most: int) -> bool:
        """Send the answers that are next and done, up to ``most`` octets; whether there was one."""
        found = False
        while self._waiting and self._waiting[0][0].done() and connection.output_size <= most:
            future, send = self._waiting.popleft()
            send(connection, future)
            found = True
        if not self._waiting:
            self._blocked = False
        return found

    def cancel(self) -> None:
        """Have what was not begun not done."""
        for future, _ in self._waiting:
            future.cancel()
        self._waiting.clear()

    def _append(self, future: Future[str], send: Delivery) -> None:
        self._waiting.append((future, send))
        future.add_done_callback(lambda _: self._on_done())


def _settle(future: Future[str]) -> None:
    if future.set_running_or_notify_cancel():
        future.set_result("")
