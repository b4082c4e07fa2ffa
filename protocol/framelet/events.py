"""What a connection tells the program: one class per kind of news.

``next_event`` of a connection returns these in the order in which things happened.  They cannot be changed,
and each is equal to those of its own class alone.  An answer names the event that it answers, by the object
itself: events of the same text are equal, and not the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import FrameletError, ProtocolError, TruncatedFrameError
from .registry import FrameType


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """Server: a REQUEST; answer it with ``send_reply`` or ``send_error``."""

    text: str


@dataclass(frozen=True, slots=True)
class ApplicationReceived:
    """Server: an application frame, to be answered like a REQUEST.  Client: the answer to one."""

    type: int
    text: str


@dataclass(frozen=True, slots=True)
class StopReceived:
    """Server: a STOP with its token, or the empty string; ``allow_stop`` at once, or ``send_error``."""

    token: str


@dataclass(frozen=True, slots=True)
class FrameRefused:
    """Server: the client broke the protocol; the ERROR due, if any, has been queued already."""

    error: ProtocolError


@dataclass(frozen=True, slots=True)
class InputEnded:
    """The peer's stream has ended: ``error`` where that was inside a frame.

    ``unanswered`` counts the frames of a client that no answer will come for (REQ-CLOSE-3).
    """

    error: TruncatedFrameError | None
    unanswered: int


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """Client: the reply to the oldest unanswered REQUEST."""

    text: str


@dataclass(frozen=True, slots=True)
class PongReceived:
    """Client: the PONG to the oldest unanswered PING."""

    text: str


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """Client: the server's HELLO."""

    version: int
    parameters: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class StoppedReceived:
    """Client: the server has drained; it closed ``closed`` connections in order and cut off ``cut``."""

    closed: int
    cut: int


@dataclass(frozen=True, slots=True)
class ErrorReceived:
    """Client: an ERROR.

    ``code`` is 400 to 599, ``text`` for people only (REQ-ERROR-13).  ``answered`` is the type of the frame
    that failed, or None for a fatal error, which ends the connection with ``unanswered`` frames open.
    """

    code: int
    text: str
    answered: FrameType | int | None
    unanswered: int


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
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
