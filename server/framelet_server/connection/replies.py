"""Answers of one client that come later, sent in the order in which they were asked for."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

from framelet import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from framelet import ApplicationReceived, RequestReceived, ServerConnection, StopReceived
    from framelet_server.net.timers import Timers
    from framelet_server.service.handlers import Delivery, Handlers

_WEIGHT = 1_024
"""Octets that a future and what belongs to it take, give or take, beside the texts."""


class _Answer:
    """An answer that is owed: its future, how it is sent, and how much is in memory for it."""

    __slots__ = ("asked", "began", "ended", "future", "held", "send")

    def __init__(self, future: Future[str], send: Delivery, text: str = "") -> None:
        self.future = future
        self.send = send
        self.began = time.perf_counter()
        self.ended = 0.0
        self.asked = _WEIGHT + len(text)  # the connection keeps the event until it is answered
        self.held = self.asked  # 0 once it is delivered


class PendingReplies:
    """Keeps the futures of an executor in order, up to a number, and delivers those that are done.

    It belongs to the owner of the channel; ``on_done`` is called from whichever thread a future ends in, and
    that can be the owner's own.
    """

    __slots__ = ("_blocked", "_ended", "_most", "_on_done", "_waiting", "held")

    def __init__(self, most: int, on_done: Callable[[], None]) -> None:
        """Take up to ``most`` at once."""
        self._most = most
        self._on_done: Callable[[], None] | None = on_done
        self._waiting: deque[_Answer] = deque()
        self._ended: deque[_Answer] = deque()  # those that have ended since this was last asked
        self._blocked = False  # nothing may be asked for before all of these are delivered
        self.held = 0  # octets in memory, where the texts are ASCII

    def __len__(self) -> int:
        """How many answers are owed."""
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether another answer may be asked for."""
        return not self._blocked and len(self._waiting) < self._most

    def submit(
        self, handlers: Handlers, executor: Executor, event: RequestReceived | ApplicationReceived
    ) -> None:
        """Have the answer to a frame made elsewhere."""
        future, deliver = handlers.submit(executor, event)
        self._append(_Answer(future, deliver, event.text))

    def refuse_stop(self, event: StopReceived, timers: Timers, wait: float) -> None:
        """Refuse a STOP in its turn, after some seconds in which nothing else is taken (REQ-STOP-3)."""
        future: Future[str] = Future()
        code = ErrorCode.STOP_REFUSED
        self._append(_Answer(future, lambda connection, _: connection.send_error(event, code)))
        self._blocked = wait > 0
        if wait:
            timers.schedule(time.monotonic() + wait, lambda: _settle(future))
        else:
            _settle(future)

    def deliver(self, connection: ServerConnection, most: int) -> bool:
        """Send the answers that are next and done, up to ``most`` octets; whether there was one."""
        self._weigh()
        found = False
        while self._waiting and self._waiting[0].future.done() and connection.output_size <= most:
            answer = self._waiting.popleft()
            self.held -= answer.held
            answer.held = 0
            send, answer.send = answer.send, _unheard
            send(connection, (answer.ended or time.perf_counter()) - answer.began)
            found = True
        if not self._waiting:
            self._blocked = False
        return found

    def cancel(self) -> None:
        """Have what was not begun not done; what has begun ends unheard, and keeps nothing in memory."""
        self._on_done = None
        for answer in self._waiting:
            answer.send = _unheard  # its future may wait for long in the executor, and would keep the event
            answer.future.cancel()
        self._waiting.clear()
        self._ended.clear()
        self.held = 0

    def _append(self, answer: _Answer) -> None:
        self._waiting.append(answer)
        self.held += answer.held
        answer.future.add_done_callback(lambda _: self._has_ended(answer))

    def _has_ended(self, answer: _Answer) -> None:
        """Have the answer seen to; called from any thread."""
        answer.ended = time.perf_counter()
        on_done = self._on_done
        if on_done is not None:
            self._ended.append(answer)
            on_done()

    def _weigh(self) -> None:
        """Count the texts of those that have ended and wait for others before them."""
        while self._ended:
            answer = self._ended.popleft()
            if not answer.held:
                continue
            self.held -= answer.held
            answer.held = answer.asked
            if not (answer.future.cancelled() or answer.future.exception()):
                text: object = answer.future.result()
                answer.held += len(text) if isinstance(text, str) else 0
            self.held += answer.held


def _unheard(_connection: ServerConnection, _seconds: float) -> None:
    """Send nothing: it was sent, or there is nobody to send it to."""


def _settle(future: Future[str]) -> None:
    if future.set_running_or_notify_cancel():
        future.set_result("")
