"""Which event ends a connection, and with which error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framelet import ConnectionFailed, ErrorReceived, InputEnded
from framelet_client.errors import ConnectionLostError, FatalAnswerError

if TYPE_CHECKING:
    from framelet import ClientEvent, FrameletError


def error_of_end(event: ClientEvent, broken: OSError | None) -> FrameletError | None:
    """The error for an event that ends the connection, None for any other.

    ``broken`` is the socket's error, if it has failed before.
    """
    if isinstance(event, ConnectionFailed):
        return event.error
    if isinstance(event, ErrorReceived) and event.answered is None:
        return FatalAnswerError(event.code, event.text, event.unanswered)
    if not isinstance(event, InputEnded):
        return None
    where = " inside a frame" if event.error else ""
    reason = f"the server closed the connection{where}"
    if broken is not None:
        reason = f"the connection broke{where}: {broken.strerror}"
    return ConnectionLostError(reason, event.unanswered)
