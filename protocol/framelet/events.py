"""What a connection tells the program: one class per kind of news.

``next_event`` of a connection returns these in the order in which things happened.  They cannot be changed,
and each is equal to those of its own class alone.  An answer names the event that it answers, by the object
itself: events of the same text are equal, and not the same.

Their texts are the peer's: ``escape`` makes them safe to show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .errors import FrameletError, ProtocolError, TruncatedFrameError
from .registry import ErrorCode, FrameType


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

    ``code`` is 400 to 599, one that is not registered included (REQ-ERROR-10); ``text`` is for people only
    (REQ-ERROR-13).  ``answered`` is the type of the frame
    that failed, or None for a fatal error, which ends the connection with ``unanswered`` frames open.
    """

    code: ErrorCode
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

_HIDDEN = (
    "\x00-\x1f\x7f-\x9f\u2028\u2029\ufff9-\ufffb\ud800-\udfff"
    # The rest of Unicode's Default_Ignorable_Code_Point: soft hyphen, zero-width space, fillers, what
    # reorders text, tags, and the further variation selectors, which can spell out any octets.
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""What moves the cursor, breaks a line, reorders what is shown, or cannot be seen."""

_VARIANTS, _JOINERS = "\ufe00-\ufe0f", "\u200c\u200d"
# Emoji, Persian and Indic text need these, each after what can be seen; elsewhere, or in a row, they hide.
_UNSAFE = re.compile(
    f"[{_HIDDEN}]"
    rf"|(?<![^{_HIDDEN}{_VARIANTS}{_JOINERS}\s])[{_VARIANTS}]"
    rf"|(?<![^{_HIDDEN}{_JOINERS}\s])[{_JOINERS}]"
)
_PIECE = 65_536
"""Characters escaped at a time: each takes a hundred octets of memory meanwhile."""


def escape(text: str) -> str:
    r"""Make a text safe to show, on a terminal or in a log (REQ-SEC-1).

    What is not visible text becomes ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``, as in source: control characters,
    what breaks or reorders lines, and what is invisible, except for a joiner or variation selector that
    follows a visible character.
    """
    return "".join(escape_in_pieces(text))


def escape_in_pieces(text: str) -> Iterator[str]:
    """The same piece by piece: a text from a peer may be of any size, and becomes ten times as long."""
    for start in range(0, len(text), _PIECE):
        yield _UNSAFE.sub(_code, text[start : start + _PIECE])


def _code(match: re.Match[str]) -> str:
    value = ord(match[0])
    if value <= 0xFF:  # noqa: PLR2004 - two digits' worth
        return f"\\x{value:02x}"
    return f"\\u{value:04x}" if value <= 0xFFFF else f"\\U{value:08x}"  # noqa: PLR2004 - four digits' worth
