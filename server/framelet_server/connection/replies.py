"""Answers of one client that come later, sent in the order in which they were asked for."""

from __future__ import annotations

import gc
import sys
import time
from collections import deque
from concurrent.futures import Future
from types import ModuleType
from typing import TYPE_CHECKING

from framelet import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet import ApplicationReceived, RequestReceived, ServerConnection, StopReceived
    from framelet_server.net.timers import Timers
    from framelet_server.service.call_context import Caller
    from framelet_server.service.handlers import Delivery, Handlers, Submitter


def _size_with_parts(whole: object) -> int:
    """Octets of memory that an object and all that it refers to take, types and modules left out."""
    parts: dict[int, object] = {}
    left = [whole]
    while left:
        part = left.pop()
        if id(part) not in parts and not isinstance(part, (type, ModuleType)):
            parts[id(part)] = part
            left += gc.get_referents(part)
    return sum(map(sys.getsizeof, parts.values()))


_WEIGHT = 5 * _size_with_parts(Future()) // 2
"""Octets that a future takes, as much again for the call, its callbacks and its place in a queue, and a
quarter of that for what lies idle between many small objects.
"""


class _Answer:
    """An answer that is owed: its future, how it is sent, and how much is in memory for it."""

    __slots__ = ("began", "ended", "future", "held", "send")

    def __init__(self, future: Future[str], send: Delivery) -> None:
        self.future = future
        self.send = send
        self.began = time.perf_counter()
        self.ended = 0.0
        self.held = _WEIGHT  # 0 once it is delivered; the connection keeps the event, and counts that


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
        self.held: int = 0  # octets of memory

    def __len__(self) -> int:
        """How many answers are owed."""
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether another answer may be asked for."""
        return not self._blocked and len(self._waiting) < self._most

    def submit(
        self,
        handlers: Handlers,
        executor: Submitter,
        event: RequestReceived | ApplicationReceived,
        caller: Caller,
    ) -> None:
        """Have the answer to a frame made elsewhere."""
        future, deliver = handlers.submit(executor, event, caller)
        self._append(_Answer(future, deliver))

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
            del answer.future  # it keeps its callbacks, which keep the answer: a circle with the text in it
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
            answer.held = 0
            del answer.future
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
        if on_done is not None and answer.held:  # else it was delivered before this was called
            self._ended.append(answer)
            on_done()

    def _weigh(self) -> None:
        """Count the texts of those that have ended and wait for others before them."""
        while self._ended:
            answer = self._ended.popleft()
            if answer.held and not (answer.future.cancelled() or answer.future.exception()):
                text: object = answer.future.result()
                size = str.__sizeof__(text) if isinstance(text, str) else 0
                answer.held += size
                self.held += size


def _unheard(_connection: ServerConnection, _seconds: float) -> None:
    """Send nothing: it was sent already, or the client is gone."""


def _settle(future: Future[str]) -> None:
    if future.set_running_or_notify_cancel():
        future.set_result("")
