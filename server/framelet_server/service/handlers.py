"""The program's part of the service: functions from text to text."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from framelet import (
    ApplicationReceived,
    ConfigurationError,
    ErrorAnswer,
    ErrorCode,
    IllFormedTextError,
    RequestReceived,
    TypeRange,
)
from framelet_server.observe.histogram import Histogram
from framelet_server.observe.log_limit import LogLimit

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from concurrent.futures import Executor

    from framelet import ServerConnection

Handler = Callable[[str], str]
"""Takes the text of a frame and returns the text of its answer; may raise anything."""

_FAILED = "failed handlers"

FAILURE = ErrorAnswer(ErrorCode.HANDLER_FAILED)
"""The answer of a handler that has none."""

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

    __slots__ = ("at_once", "fixed", "function")

    def __init__(self, function: Handler, blocking: bool | None) -> None:  # noqa: FBT001 - private to the room
        """Raise ConfigurationError for what cannot be called with a text, or would not return one."""
        if fault := _fault_of(function):
            message = f"{name_of(function)} is no handler: {fault}; expected a function from str to str"
            raise ConfigurationError(message)
        self.function = function
        self.fixed = blocking is not None
        self.at_once = MOST_AT_ONCE if blocking is False else 1

    @property
    def name(self) -> str:
        """What the function is called, for the log."""
        return name_of(self.function)


def name_of(function: object) -> str:
    """What a handler is called; never its repr, which may hold what it was made with, a password."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _fault_of(function: Any) -> str:  # noqa: ANN401 - whatever a program has given
    """Why this cannot be a handler; empty where it may."""
    if not callable(function):
        return f"a {type(function).__qualname__} cannot be called"
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if isinstance(inner, type) and not issubclass(inner, str):
        return "to call the class makes an object, and no text"
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    if any(is_kind(found) for is_kind in kinds for found in (inner, getattr(inner, "__call__", None))):  # noqa: B004 - of its class
        return "it is async, or a generator"
    try:
        inspect.signature(function).bind("")
    except TypeError as error:
        return f"it cannot be called with one text: {error}"
    except ValueError:
        return ""  # of those that are written in C some do not tell
    return ""


class Handlers:
    """The handler of REQUEST, and those of application types (REQ-TYPE-5, 6)."""

    def __init__(
        self,
        request: Handler,
        applications: Mapping[int, Handler],
        executor: Executor | None = None,
        *,
        blocking: bool | None = None,
    ) -> None:
        """Raise ConfigurationError for a type that is not the application's, or no function.

        With an ``executor`` it is that which calls the handlers; its owner shuts it down.  ``blocking`` says
        whether handlers may block; None: to be learned, of each by itself.
        """
        if executor is not None:
            blocking = False  # for no worker ever calls one
        self.request = Service(request, blocking)
        self._applications = {number: Service(found, blocking) for number, found in applications.items()}
        for frame_type in applications:
            if frame_type not in TypeRange.APPLICATION.types:
                message = f"a handler cannot be registered for type {frame_type!r}: expected 0xC0 to 0xFF"
                raise ConfigurationError(message)
        self.executor = executor
        self._queued = _Queued()
        self.limited_log = LogLimit()
        self.seconds = Histogram()
        """How long handlers took: with an executor, from the submission to the result."""

    @property
    def application_types(self) -> Container[int]:
        """The application types that have a handler."""
        return self._applications

    def service_of(self, event: RequestReceived | ApplicationReceived) -> Service:
        """What answers a frame."""
        return self.request if isinstance(event, RequestReceived) else self._applications[event.type]

    def submit(
        self, executor: Executor, event: RequestReceived | ApplicationReceived
    ) -> tuple[Future[str], Delivery]:
        """Have the executor call the handler; the future, and what is to be done when it has ended."""
        service = self.service_of(event)
        try:
            call = _Call(service.function, event.text, self._queued)
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
                self.failed(service)
                connection.send_error(event, ErrorCode.HANDLER_FAILED)
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

    def failed(self, service: Service) -> None:
        """Log the exception that a handler has raised; to be called while it is handled."""
        self.limited_log.error(_FAILED, "handler %s failed", service.name, exc_info=True)


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
    """A call that an executor is to make; once it is done, or cancelled, its text is not kept in memory."""

    def __init__(self, function: Handler, text: str, queued: _Queued) -> None:
        queued.add()
        self._function, self._text, self._queued = function, text, queued

    def __call__(self) -> str:
        return self._function(self._text)

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is the call alone, for which nothing of this package is needed."""
        return functools.partial, (self._function, self._text)

    def __del__(self) -> None:
        if hasattr(self, "_queued"):
            self._queued.remove()

    def forget(self, future: Future[str]) -> None:
        """Keep the text no longer: an executor keeps what was cancelled until its turn comes."""
        self._text = ""
        if not future.cancelled():
            self.__dict__.pop("_queued").remove()
