"""The handler calls of one worker: which one is under way, how long they take, what they have answered.

While a handler runs, its worker can do nothing else.  So that a handler that blocks for the first time holds
up neither the answers before its own nor other clients, the calls under way can be looked at from another
thread (``pool.stall_detector``): it sends the answers that are ready, by ``send_early``.

``lock`` guards ``began`` and ``sent``, and the session while ``began`` says that a call is under way.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from operator import length_hint
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from framelet_server.observe.histogram import BOUNDS

from .call_context import Caller
from .handlers import LONG, MOST_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framelet import ErrorAnswer

    from .handlers import Handlers, Service


_FIRST_BOUND = BOUNDS[0]

_NONE: list[str] = []

_MOST_CHARACTERS = 262_144
"""Characters of answers after which they are sent before the next call: a bound of memory (REQ-FLOW-1)."""


class EarlySender(Caller, Protocol):
    """Where answers go while a later one of the same read is still being made: the client's session."""

    def send_early(self, answers: list[str], now: float) -> None:
        """Send the answers to the oldest REQUESTs, and what waited before them; raises nothing."""
        ...


def _nothing() -> None:
    """Do nothing."""


class HandlerCalls:
    """What one worker has its handlers do."""

    __slots__ = (
        "_answers",
        "_cells",
        "_function",
        "_handlers",
        "_sender",
        "began",
        "done",
        "ended",
        "failure",
        "let_others_in",
        "lock",
        "now",
        "sent",
        "watch",
        "watched",
    )

    def __init__(self, handlers: Handlers) -> None:
        """Begin with no call under way."""
        self._handlers = handlers
        self._function = handlers.request.function
        self._cells = handlers.seconds.cells()
        self.lock: threading.Lock = threading.Lock()
        self.began: float = (
            math.inf
        )  # when the calls under way began, on the monotonic clock; infinity for none
        self.sent: int = 0  # how many of their answers were sent early
        self._answers = _NONE  # those made so far
        self._sender: EarlySender | None = None
        self.ended: float = 0.0  # when the last ones ended
        self.done: int = 0  # how many texts the last ones have dealt with
        self.failure: ErrorAnswer | None = None  # the answer to the last of them, where it raised
        self.now: float = 0.0  # when the worker's turn began
        self.watched: bool = False  # whether the stall detector is awake
        self.watch: Callable[[], None] = _nothing  # wakes it
        self.let_others_in: Callable[[], None] = _nothing  # before a call that may take long

    def answer(self, texts: Sequence[str], sender: EarlySender) -> list[str]:
        """Call the handler of REQUEST for texts, up to the first that fails (``failure``).

        Returns the answers that were not sent early.  One Python call for all texts of a read, as the time
        that it takes is a large part of what a quick handler takes.
        """
        service = self._handlers.request
        handler, count = self._function, len(texts)
        self.failure = None
        if count == 1 and service.at_once > 1:  # nothing to be sent early: half of what follows can be spared
            self.began = began = monotonic()
            try:
                answers = [handler(texts[0])]
            except BaseException:  # noqa: BLE001 - even SystemExit in a handler must cost its caller alone
                answers = []
                self.failure = self._handlers.failure(service)
            self.ended = ended = monotonic()
            self.began = math.inf
            self.done = 1
            sent = 0
        else:
            if service.at_once == 1:
                self.let_others_in()
            elif not self.watched:
                self.watch()
            answers = []
            append, size, left = answers.append, 0, iter(texts)
            self._answers, self._sender = answers, sender
            self.began = began = monotonic()
            try:
                for text in left:
                    answer = handler(text)
                    append(answer)
                    size += len(answer)
                    if size > _MOST_CHARACTERS:
                        break
            except BaseException:  # noqa: BLE001 - even SystemExit in a handler must cost its caller alone
                # The result has no length, so it is not a text: sending it reports that.
                if count - length_hint(left) > len(answers):
                    self.failure = self._handlers.failure(service)
            self.ended = ended = monotonic()
            with self.lock:  # from here on nothing is sent early
                self.began = math.inf
                sent, self.sent = self.sent, 0
            self._answers, self._sender = _NONE, None  # they must not stay in memory while the worker waits
            self.done = count = len(answers) + (self.failure is not None)
        spent = ended - began
        cells = self._cells
        cells.seconds += spent
        cells.counts[bisect_left(BOUNDS, spent / count) if spent > count * _FIRST_BOUND else 0] += count
        if spent > LONG or service.at_once < MOST_AT_ONCE:
            self._learn(service, count, spent)
        return answers[sent:] if sent else answers

    @staticmethod
    def _learn(service: Service, count: int, spent: float) -> None:
        """See how many calls fit into a millisecond."""
        if not service.fixed:
            if spent > LONG:
                service.at_once = max(1, int(count * LONG / spent))
            else:
                service.at_once = min(2 * service.at_once, MOST_AT_ONCE)

    def answer_one(self, service: Service, arguments: tuple[Any, ...], sender: EarlySender | None) -> object:
        """Call a handler for one frame; raises what it raises.

        ``sender`` has answers that are to go out while the call is made, if it takes long.
        """
        if service.at_once == 1:
            self.let_others_in()
        if sender is not None and not self.watched:
            self.watch()
        self._answers, self._sender = _NONE, sender
        self.began = began = monotonic()
        try:
            return service.function(*arguments)
        finally:
            self.ended = ended = monotonic()
            with self.lock:
                self.began = math.inf
                self._sender = None  # it must not be written to after its turn, when the next call blocks
            spent = ended - began
            self._cells.seconds += spent
            self._cells.counts[bisect_left(BOUNDS, spent)] += 1
            self._learn(service, 1, spent)

    def send_early(self, now: float) -> None:
        """Send the answers that are ready while a later one is being made; called from another thread."""
        with self.lock:
            if self.began == math.inf or self._sender is None:
                return
            ready = self._answers[self.sent :]
            self.sent += len(ready)
            self._sender.send_early(ready, now)


class ContextCalls(HandlerCalls):
    """The same for a handler of REQUEST that asks for the context of its calls: others pay nothing for it."""

    __slots__ = ()

    def answer(self, texts: Sequence[str], sender: EarlySender) -> list[str]:
        """Call the handler for texts of one client; all calls of a read have the same context."""
        request = self._handlers.request
        self._function = request.bound_to(sender)
        try:
            return super().answer(texts, sender)
        finally:
            self._function = request.function  # the client must not stay in memory


def handler_calls(handlers: Handlers) -> HandlerCalls:
    """What one worker has these handlers do."""
    return (ContextCalls if handlers.request.asks else HandlerCalls)(handlers)
