"""What a connection tells the program: one class per kind of news.

``next_event`` of a connection returns these in the order in which things happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .errors import FrameletError, ProtocolError, TruncatedFrameError
    from .registry import FrameType


class RequestReceived(NamedTuple):
    """Server: a REQUEST; answer it with ``send_reply`` or ``send_error``."""

    text: str


class ApplicationReceived(NamedTuple):
    """Server: an application frame, to be answered like a REQUEST.  Client: the answer to one."""

    type: int
    text: str


class StopReceived(NamedTuple):
    """Server: a STOP with its token, or the empty string; ``allow_stop`` or ``send_error``, at once."""

    token: str


class FrameRefused(NamedTuple):
    """Server: the client broke the protocol; the ERROR due, if any, has been queued already."""

    error: ProtocolError


class InputEnded(NamedTuple):
    """The peer's stream has ended: ``error`` where that was inside a frame.

    ``unanswered`` counts the frames of a client that no answer will come for (REQ-CLOSE-3).
    """

    error: TruncatedFrameError | None
    unanswered: int


class ReplyReceived(NamedTuple):
    """Client: the reply to the oldest unanswered REQUEST."""

    text: str


class PongReceived(NamedTuple):
    """Client: the PONG to the oldest unanswered PING."""

    text: str


class HelloReceived(NamedTuple):
    """Client: the server's HELLO."""

    version: int
    parameters: dict[str, str]


class StoppedReceived(NamedTuple):
    """Client: the server has drained; it closed ``closed`` connections in order and cut off ``cut``."""

    closed: int
    cut: int


class ErrorReceived(NamedTuple):
    """Client: an ERROR.

    ``code`` is 400 to 599, ``text`` for people only (REQ-ERROR-13).  ``answered`` is the type of the frame
    that failed, or None for a fatal error, which ends the connection with ``unanswered`` frames open.
    """

    code: int
    text: str
    answered: FrameType | int | None
    unanswered: int


class ConnectionFailed(NamedTuple):
    """Client: the server broke the protocol or kept silent for too long; close, and use nothing further."""

    error: FrameletError
    unanswered: int


ServerEvent = RequestReceived | ApplicationReceived | StopReceived | FrameRefused | InputEnded
"""What ``ServerConnection.next_event`` returns."""

ClientEvent = (
    ReplyReceived
    | ApplicationReceived
    | PongReceived
    | HelloReceived
    | StoppedReceived
    | ErrorReceived
    | ConnectionFailed
    | InputEnded
)
"""What ``ClientConnection.next_event`` returns."""
