"""The program's part of the service: functions from text to text."""

from __future__ import annotations

import logging
from collections.abc import Callable
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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framelet import ServerConnection

_log = logging.getLogger("framelet_server")

Handler = Callable[[str], str]
"""Takes the text of a frame and returns the text of its answer; may raise anything."""


class Handlers:
    """The handler of REQUEST, and those of application types (REQ-TYPE-5, 6)."""

    def __init__(self, request: Handler, applications: Mapping[int, Handler]) -> None:
        """Raise ConfigurationError for a type that is not the application's, or no function."""
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
        # Reversal is known not to block, so its answers may be sent many at a time.  The answer of any
        # other handler is sent before the next handler is called, which may take long.
        self.may_block = request is not reverse or bool(applications)

    def answer(self, connection: ServerConnection, event: RequestReceived | ApplicationReceived) -> None:
        """Call the handler and queue its answer, or the recoverable ERROR that takes its place."""
        if isinstance(event, RequestReceived):
            handler = self._request
        elif event.type in self._applications:
            handler = self._applications[event.type]
        else:
            connection.send_error(ErrorCode.NO_HANDLER)
            return
        try:
            answer = handler(event.text)
            if not isinstance(answer, str):
                message = f"the handler returned {type(answer).__name__}, not str"
                raise TypeError(message)  # noqa: TRY301 - treated as what the handler raises itself
        except BaseException:  # noqa: BLE001 - even SystemExit in a handler must cost its caller alone
            _log.exception("handler %s failed", _name(handler))
            connection.send_error(ErrorCode.HANDLER_FAILED)
            return
        try:
            connection.send_reply(answer)
        except AnswerTooLargeError as error:
            connection.send_error(ErrorCode.ANSWER_TOO_LARGE, str(error))
        except IllFormedTextError as error:
            _log.error("handler %s returned text that cannot be sent: %s", _name(handler), error)
            connection.send_error(ErrorCode.HANDLER_FAILED)


def _name(handler: Handler) -> str:
    return getattr(handler, "__qualname__", None) or repr(handler)
