"""The numbers of Framelet: frame types, type ranges, error codes, and who sends what.

Data only; the forms of frames and bodies are in ``grammar``.  Tables in the documentation are made from
these definitions.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    from collections.abc import Mapping


VERSION = 1
"""The version of the protocol that this package speaks (section 9)."""

ALPN = f"framelet/{VERSION}"
"""The name of this version in the handshake of TLS (RFC 7301; section 17)."""


class Role(enum.Enum):
    """The two ends of a connection."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__  # in C: that of Enum is a Python function

    CLIENT = "client"
    SERVER = "server"


class FrameType(enum.IntEnum):
    """The assigned frame types (section 5), each with who sends it and what it is for."""

    senders: frozenset[Role]
    purpose: str

    # The defaults are for type checkers, which take the look-up FrameType(1) for a call of this.
    def __new__(cls, value: int, senders: tuple[Role, ...] = (), purpose: str = "") -> Self:
        """Keep the columns of the table as attributes."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.senders = frozenset(senders)
        member.purpose = purpose
        return member

    REQUEST = 0x01, (Role.CLIENT,), "a text to be served"
    REPLY = 0x02, (Role.SERVER,), "answers REQUEST"
    STOP = 0x03, (Role.CLIENT,), "asks the server to end; the body is a token, or empty"
    STOPPED = 0x04, (Role.SERVER,), "answers STOP when the server has drained"
    ERROR = 0x05, (Role.SERVER,), "answers any frame that failed, or ends the connection"
    PING = 0x06, (Role.CLIENT,), "asks for its body back"
    PONG = 0x07, (Role.SERVER,), "answers PING"
    HELLO = 0x08, (Role.CLIENT, Role.SERVER), "states version and limits; answers HELLO"


class TypeRange(enum.Enum):
    """What the octets that are not a FrameType stand for (section 5)."""

    types: frozenset[int]
    purpose: str

    def __new__(cls, value: str, types: frozenset[int] = frozenset(), purpose: str = "") -> Self:
        """Keep the columns of the table as attributes."""
        member = object.__new__(cls)
        member._value_ = value
        member.types = types
        member.purpose = purpose
        return member

    NEVER = "never assigned", frozenset({0x00, 0x16, 0x47, 0x50, 0x53}), "refused"
    CRITICAL = "critical", frozenset(range(0x09, 0x80)) - {0x16, 0x47, 0x50, 0x53}, "unassigned: refused"
    IGNORABLE = "ignorable", frozenset(range(0x80, 0xC0)), "unassigned: read and discarded"
    APPLICATION = (
        "application",
        frozenset(range(0xC0, 0x100)),
        "the application's own; answered with the same type",
    )


type_kinds: Mapping[int, FrameType | TypeRange] = {
    **{octet: kind for kind in TypeRange for octet in kind.types},
    **{int(kind): kind for kind in FrameType},
}
"""Each of the 256 type octets, with what it stands for."""

ANSWERS: Mapping[int, int] = {
    FrameType.REQUEST: FrameType.REPLY,
    FrameType.STOP: FrameType.STOPPED,
    FrameType.PING: FrameType.PONG,
    FrameType.HELLO: FrameType.HELLO,
    **{octet: octet for octet in TypeRange.APPLICATION.types},
}
"""Each type that asks for an answer, with the type that answers it (REQ-ORDER-1, REQ-TYPE-5)."""


STOP_TOKEN_VARIABLE = "FRAMELET_STOP_TOKEN"  # noqa: S105 - the name of a variable, no secret
"""The environment variable from which commands read the token of a STOP."""


def is_fatal(code: int) -> bool:
    """Whether the sender of an error closes the connection after it; also for codes not registered here."""
    return code >= 500  # noqa: PLR2004 - the class of the code is its first digit (section 7)


CODES = range(400, 600)
"""All codes that an ERROR can have (REQ-ERROR-1)."""

APPLICATION_CODES = range(460, 500)
"""Those that belong to applications (REQ-ERROR-15)."""

_LOCAL = True


class ErrorCode(enum.IntEnum):
    """The error registry (section 7), in order of precedence (REQ-ERROR-3).

    ``fatal`` says whether the connection ends; ``local`` whether the condition is only reported to the
    program at this end and never sent.  It is open: ``ErrorCode(462)`` is a member as well, of the name
    APPLICATION, and ``ErrorCode(418)`` one of the name UNKNOWN (REQ-ERROR-10).  Iterating gives those of the
    registry alone.
    """

    condition: str
    local: bool

    def __new__(cls, value: int, condition: str = "", *local: bool) -> Self:
        """Keep the columns of the table as attributes."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.condition = condition
        member.local = any(local)
        return member

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """Make a member of a code that is not registered, once."""
        if type(value) is not int or value not in CODES:
            return None
        member = int.__new__(cls, value)
        member._value_, member.local = value, False
        if value in APPLICATION_CODES:
            member._name_, member.condition = "APPLICATION", "an error of the application's own"
        else:
            member._name_, member.condition = "UNKNOWN", "an error unknown to this version"
        return cast("Self", cls._value2member_map_.setdefault(value, member))

    @property
    def fatal(self) -> bool:
        """Whether the sender closes the connection after this error."""
        return is_fatal(self)

    @property
    def title(self) -> str:
        """The name as people read it, as in ``frame-too-large``."""
        return self.name.lower().replace("_", "-")

    TOO_MANY_CONNECTIONS = 507, "the server has as many connections as it allows"
    OVERLOADED = 509, "the server gives this connection up to free memory for others"
    TYPE_UNKNOWN = 501, "the type is `00`, never assigned, or an unassigned critical type"
    TYPE_UNEXPECTED = 502, "the type is known, and not one that this receiver accepts here"
    FRAME_TOO_LARGE = 503, "the length exceeds the receiver's maximum body size"
    FRAME_TIMEOUT = 504, "the frame was not complete within the frame timeout"
    IDLE_TIMEOUT = 505, "nothing was received or owed for the idle timeout"
    FRAME_TRUNCATED = 506, "the stream ended inside a frame", _LOCAL
    ILL_FORMED_TEXT = 400, "the body is not well-formed UTF-8"
    PING_TOO_LARGE = 413, "the body of a PING is longer than 64 octets"
    HELLO_MALFORMED = 422, "the body of a HELLO is not a valid `hello-body`"
    VERSION_UNSUPPORTED = 426, "the server does not speak the version that HELLO names"
    NO_HANDLER = 404, "no handler is registered for the application type"
    STOP_REFUSED = 403, "the server's policy does not allow this STOP"
    HANDLER_FAILED = 450, "the server's handler failed on this frame"
    ANSWER_TOO_LARGE = 451, "the answer would exceed what the client or the server allows"
    INTERNAL_ERROR = 500, "the server itself failed"
    ANSWER_MALFORMED = 508, "an answer has a body of another form than its type calls for", _LOCAL
