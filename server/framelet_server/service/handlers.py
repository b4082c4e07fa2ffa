"""The program's part of the service: functions from text to text."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from framelet import (
    AnswerTooLargeError,
    ApplicationReceived,
    ConfigurationError,
    ErrorCode,
    IllFormedTextError,
    RequestReceived,
    TypeRange,
    reverse,
)
from framelet_server.observe.histogram import Histogram
from framelet_server.observe.log_limit import LogLimit
from framelet_server.observe.watchdog import call_handler

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from framelet import ServerConnection

Handler = Callable[[str], str]
"""Takes the text of a frame and returns the text of its answer; may raise anything."""

_FAILED = "failed handlers"

Delivery = Callable[["ServerConnection", float], None]
"""Queues an answer that has come, on a connection, after so many seconds."""


class Handlers:
    """The handler of REQUEST, and those of application types (REQ-TYPE-5, 6)."""

    def __init__(
        self,
        request: Handler,
        applications: Mapping[int, Handler],
        executor: Executor | None = None,
    ) -> None:
        """Raise ConfigurationError for a type that is not the application's, or no function.

        With an ``executor`` it is that which calls the handlers; its owner shuts it down.
        """
        for handler in (request, *applications.values()):
            if not callable(handler):
                message = f"{handler!r} is no handler: expected a function from str to str"
                raise ConfigurationError(message)
        for frame_type in applications:
            if frame_type not in TypeRange.APPLICATION.types:
                message = f"a handler cannot be registered for type {frame_type!r}: expected 0xC0 to 0xFF"
                raise ConfigurationError(message)
        self._request = request
        self._applications = dict(applications)
        self.executor = executor
        self.limited_log = LogLimit()
        self.seconds = Histogram()
        """How long handlers took: with an executor, from the submission to the result."""
        # Reversal is known not to block, so its answers may be sent many at a time, and it is not timed.  The
        # answer of any other handler is sent before the next handler is called, which may take long.
        self.may_block = request is not reverse or bool(applications)
        self.reverses = request is reverse and executor is None
        """Whether REQUESTs are reversed here and now, which a connection does by itself."""
        self.may_wait = self.may_block or executor is not None
        """Whether a worker may come to wait for something that is not the server's own code."""

    def answer(self, connection: ServerConnection, event: RequestReceived | ApplicationReceived) -> None:
        """Call the handler and queue its answer, or the recoverable ERROR that takes its place."""
        handler = self._handler(event)
        if handler is None:
            connection.send_error(ErrorCode.NO_HANDLER)
            return
        try:
            answer = self._timed(handler, event.text) if self.may_block else handler(event.text)
        except BaseException:  # noqa: BLE001 - even SystemExit in a handler must cost its caller alone
            self._failed(connection, handler)
        else:
            self._send(connection, handler, answer)

    def submit(self, event: RequestReceived | ApplicationReceived) -> tuple[Future[str], Delivery]:
        """Have the executor call the handler; the future, and what is to be done when it has ended."""
        handler = self._handler(event)
        if handler is None or self.executor is None:
            return _done(), lambda connection, _: connection.send_error(ErrorCode.NO_HANDLER)
        try:
            future = self.executor.submit(handler, event.text)
        except Exception as error:  # noqa: BLE001 - an executor that is shut down, or broken
            future = _done(error)

        def deliver(connection: ServerConnection, seconds: float) -> None:
            self.seconds.note(seconds)
            try:
                answer = future.result()
            except BaseException:  # noqa: BLE001 - whatever it was, it costs its caller alone
                self._failed(connection, handler)
            else:
                self._send(connection, handler, answer)

        return future, deliver

    def _timed(self, handler: Handler, text: str) -> str:
        began = time.perf_counter()
        try:
            return call_handler(handler, text)
        finally:
            self.seconds.note(time.perf_counter() - began)

    def _handler(self, event: RequestReceived | ApplicationReceived) -> Handler | None:
        return self._request if isinstance(event, RequestReceived) else self._applications.get(event.type)

    def _send(self, connection: ServerConnection, handler: Handler, answer: object) -> None:
        """Queue what a handler returned."""
        if not isinstance(answer, str):
            self.limited_log.error(
                _FAILED, "handler %s returned %s, not str", _name(handler), type(answer).__name__
            )
            connection.send_error(ErrorCode.HANDLER_FAILED)
            return
        try:
            connection.send_reply(answer)
        except AnswerTooLargeError as error:
            connection.send_error(ErrorCode.ANSWER_TOO_LARGE, str(error))
        except IllFormedTextError as error:
            self.limited_log.error(
                _FAILED, "handler %s returned text that cannot be sent: %s", _name(handler), error
            )
            connection.send_error(ErrorCode.HANDLER_FAILED)

    def _failed(self, connection: ServerConnection, handler: Handler) -> None:
        self.limited_log.error(_FAILED, "handler %s failed", _name(handler), exc_info=True)
        connection.send_error(ErrorCode.HANDLER_FAILED)


def _done(error: Exception | None = None) -> Future[str]:
    future: Future[str] = Future()
    if error is None:
        future.set_result("")
    else:
        future.set_exception(error)
    return future


def _name(handler: Handler) -> str:
    return getattr(handler, "__qualname__", None) or repr(handler)
