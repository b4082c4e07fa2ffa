"""The program's part of the service: functions from text to text."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from framelet import (
    ApplicationReceived,
    ConfigurationError,
    ErrorAnswer,
    ErrorCode,
    FrameType,
    HandlerError,
    IllFormedTextError,
    RequestReceived,
    TypeRange,
)
from framelet_server.net.forks import end_fork_of
from framelet_server.observe.histogram import Histogram
from framelet_server.observe.log_limit import LogLimit

from .call_context import CallContext, asks_for_context, signature_of

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from framelet import ServerConnection

    from .call_context import Caller

Handler = Callable[[str], str] | Callable[[str, CallContext], str]
"""Takes the text of a frame and returns the text of its answer; may raise HandlerError, or anything.

One that has a second parameter annotated with CallContext is given that, too.
"""

AsyncHandler = Callable[[str], Awaitable[str]] | Callable[[str, CallContext], Awaitable[str]]
"""A Handler that is an ``async def``, for a server that runs in a loop."""


class Submitter(Protocol):
    """Has calls made elsewhere, as a ``concurrent.futures.Executor`` does."""

    def submit(self, call: Callable[[], str], /) -> Future[str]:
        """Have a call made; raises where that is not possible."""
        ...


_FAILED = "failed handlers"

FAILURE = ErrorAnswer(ErrorCode.HANDLER_FAILED)
"""The answer of a handler that has none, and did not say why."""

Delivery = Callable[["ServerConnection", float], None]
"""Queues an answer that has come, on a connection, after so many seconds."""

LONG = 0.001
"""Seconds of handler time before the answers so far are sent: what they may be delayed by."""

_MOST_QUEUED = 65_536
"""Calls that an executor may hold for all clients; beyond these a request fails."""

MOST_AT_ONCE = 65_536
"""REQUESTs answered in one go at the most."""


class Service:
    """One handler, and what was learned of it.

    ``at_once`` is how many of its calls may be made before their answers are sent: as many as take about a
    millisecond.  Each call teaches it, unless ``blocking`` says.  At 1 a call may take long, so its worker
    lets another one take over first; a handler begins there, and doubles with each quick call.
    """

    __slots__ = ("asks", "at_once", "executor", "fixed", "function")

    def __init__(
        self,
        function: Handler | AsyncHandler,
        blocking: bool | None,  # noqa: FBT001 - private to the room
        executor: Submitter | None = None,
        tasks: Submitter | None = None,
    ) -> None:
        """Raise ConfigurationError for what cannot be called with a text, or would not return one.

        ``executor`` makes the calls, if there is one; ``tasks`` those of an ``async def``.
        """
        if fault := _fault_of(function, awaited=tasks is not None):
            message = (
                f"{name_of(function)} is not a handler: {fault}; expected a function from str to str, "
                "whose second parameter, if it has one, is annotated with CallContext"
            )
            raise ConfigurationError(message)
        signature = signature_of(function)
        if _is(function, inspect.iscoroutinefunction):
            executor = tasks
        self.asks: bool = signature is not None and asks_for_context(
            signature
        )  # for the context of each call
        self.function: Callable[..., Any] = function
        self.executor: Submitter | None = executor
        if executor is not None:
            blocking = False  # for no worker ever calls it
        self.fixed: bool = blocking is not None
        self.at_once = MOST_AT_ONCE if blocking is False else 1

    @property
    def name(self) -> str:
        """What the function is called, for the log."""
        return name_of(self.function)

    def arguments(self, event: RequestReceived | ApplicationReceived, caller: Caller) -> tuple[Any, ...]:
        """What the function is called with."""
        if not self.asks:
            return (event.text,)
        frame_type = event.type if isinstance(event, ApplicationReceived) else FrameType.REQUEST
        return event.text, CallContext(frame_type, caller.peer, caller)

    def bound_to(self, caller: Caller) -> Callable[[str], Any]:
        """The function that takes a REQUEST's text alone, for one that asks."""
        function, context = self.function, CallContext(FrameType.REQUEST, caller.peer, caller)
        return lambda text: function(text, context)


def name_of(function: object) -> str:
    """What a handler is called; never its repr, which may hold what it was made with, a password."""
    function = _innermost(function)
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _is(function: Any, *kinds: Callable[[object], bool]) -> bool:  # noqa: ANN401 - whatever a program has given
    """Whether a function, or the ``__call__`` of an object, is of one of the kinds."""
    inner = _innermost(function)
    return any(is_kind(found) for is_kind in kinds for found in (inner, getattr(inner, "__call__", None)))  # noqa: B004 - of its class


def _innermost(function: object) -> object:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _fault_of(function: Any, *, awaited: bool) -> str:  # noqa: ANN401 - whatever a program has given
    """Why this cannot be a handler; empty where it may.  ``awaited`` says that ``async def`` is none."""
    if not callable(function):
        return f"a {type(function).__qualname__} cannot be called"
    inner = _innermost(function)
    if isinstance(inner, type) and not issubclass(inner, str):
        return "calling the class makes an object, not a text"
    kinds = (inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    if _is(function, *kinds, *(() if awaited else (inspect.iscoroutinefunction,))):
        return "it is async, or a generator"
    signature = signature_of(function)
    if signature is None:
        return ""
    try:
        signature.bind("", *([None] if asks_for_context(signature) else []))
    except TypeError as error:
        return f"it cannot be called with one text: {error}"
    return ""


class Handlers:
    """The handler of REQUEST, and those of application types (REQ-TYPE-5, 6)."""

    def __init__(
        self,
        request: Handler | AsyncHandler,
        applications: Mapping[int, Handler | AsyncHandler],
        executor: Submitter | None = None,
        *,
        tasks: Submitter | None = None,
        blocking: bool | None = None,
    ) -> None:
        """Raise ConfigurationError for a type that is not the application's, or no function.

        With an ``executor`` it is that which calls the handlers; its owner shuts it down.  ``tasks`` calls
        those that are ``async def``; None: there may be none.  ``blocking`` says whether handlers may block;
        None: to be learned, of each by itself.
        """
        self.request: Service = Service(request, blocking, executor, tasks)
        self._applications = {
            number: Service(found, blocking, executor, tasks) for number, found in applications.items()
        }
        for frame_type in applications:
            if frame_type not in TypeRange.APPLICATION.types:
                message = f"a handler cannot be registered for type {frame_type!r}: expected 0xC0 to 0xFF"
                raise ConfigurationError(message)
        self.inline: _Inline | None = _Inline() if tasks is not None else None
        """Makes calls in the worker, after calls that an executor is making."""
        self._queued = _Queued()
        self.limited_log: LogLimit = LogLimit()
        self.seconds: Histogram = Histogram()
        """How long handlers took: with an executor, from the submission to the result."""

    @property
    def application_types(self) -> Container[int]:
        """The application types that have a handler."""
        return self._applications

    def service_of(self, event: RequestReceived | ApplicationReceived) -> Service:
        """What answers a frame."""
        return self.request if isinstance(event, RequestReceived) else self._applications[event.type]

    def submit(
        self, executor: Submitter, event: RequestReceived | ApplicationReceived, caller: Caller
    ) -> tuple[Future[str], Delivery]:
        """Have the executor call the handler; the future, and what is to be done when it has ended."""
        service = self.service_of(event)
        try:
            call = _Call(service.function, service.arguments(event, caller), self._queued)
            future = executor.submit(call)
            future.add_done_callback(call.forget)
        except Exception as error:  # noqa: BLE001 - an executor that is shut down, or broken
            future = Future()
            future.set_exception(error)

        def deliver(connection: ServerConnection, seconds: float) -> None:
            self.seconds.note(seconds)
            try:
                answer = future.result()
            except BaseException:  # noqa: BLE001 - whatever it was, it costs its caller alone
                connection.send_error(event, *self.failure(service))
            else:
                self.send(connection, service, answer, event)

        return future, deliver

    def send(
        self,
        connection: ServerConnection,
        service: Service,
        answer: object,
        event: RequestReceived | ApplicationReceived | None = None,
    ) -> None:
        """Queue what a handler returned for an event, or for the oldest REQUEST of a batch.

        Where that cannot be sent, a recoverable ERROR takes its place.
        """
        fault = f"{type(answer).__name__}, not str"
        try:
            if isinstance(answer, str):
                if event is None:
                    connection.queue_replies([answer])
                else:
                    connection.send_reply(event, answer)
                return
        except IllFormedTextError as error:
            fault = f"text that cannot be sent: {error}"
        self.limited_log.error(_FAILED, "handler %s returned %s", service.name, fault)
        if event is None:
            connection.queue_replies([FAILURE])
        else:
            connection.send_error(event, ErrorCode.HANDLER_FAILED)

    def failure(self, service: Service) -> ErrorAnswer:
        """The answer for the exception that a handler has raised; to be called while it is handled."""
        error = sys.exception()
        with contextlib.suppress(Exception):  # a class of its own may have no code or text, or wrong ones
            if isinstance(error, HandlerError):
                return ErrorAnswer(HandlerError(error.code, error.text).code, error.text)
        self.limited_log.error(_FAILED, "handler %s failed", service.name, exc_info=True)
        return FAILURE


class _Inline:
    """Makes each call at once."""

    def submit(self, call: Callable[[], str], /) -> Future[str]:
        """Make it; its future has ended."""
        future: Future[str] = Future()
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - even SystemExit in a handler must cost its caller alone
            future.set_exception(error)
        return future


class _Queued:
    """Counts the calls that an executor holds: also those that were cancelled, until it drops them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # whatever is done under it may free a call, on this very thread
        self._count = 0

    def add(self) -> None:
        """Count one more; raises OverflowError where there are too many."""
        with self._lock:
            if self._count >= _MOST_QUEUED:
                message = f"{_MOST_QUEUED} calls wait for the executor"
                raise OverflowError(message)
            self._count += 1

    def remove(self) -> None:
        """Count one less."""
        with self._lock:
            self._count -= 1


class _Call:
    """A call that an executor is to make; once it is done, or cancelled, it keeps no text in memory."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], queued: _Queued) -> None:
        queued.add()
        self._function, self._arguments, self._queued = function, arguments, queued
        self._process = os.getpid()

    def __call__(self) -> Any:  # noqa: ANN401 - a str, or what becomes one when it is awaited
        return self._function(*self._arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is the call alone, for which nothing of this package is needed."""
        return functools.partial, (self._function, *self._arguments)

    def __del__(self) -> None:
        if hasattr(self, "_queued"):
            self._queued.remove()

    def forget(self, future: Future[str]) -> None:
        """Keep the text no longer: an executor keeps what was cancelled until its turn comes."""
        end_fork_of(self._process)  # by a handler, and the call was made in both
        self._arguments = ()
        if not future.cancelled():
            self.__dict__.pop("_queued").remove()
