"""The errors of Framelet: one tree, one class per condition.

``FrameletError`` is the root of everything that Framelet raises on purpose, in the server and the client
as well.  The classes below ``ProtocolError`` stand for the conditions of the error registry and carry its
``code``: the peer broke the protocol, or a frame could not be sent without breaking it.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

from .registry import CODES, ErrorCode, is_fatal

if TYPE_CHECKING:
    from collections.abc import Iterator


class FrameletError(Exception):
    """Root of all errors that Framelet raises on purpose; each can be copied and pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Give what ``_restored`` needs: ``args`` are not the parameters of every class."""
        return _restored, (type(self), self.args), self.__dict__


def _restored(cls: type[FrameletError], args: tuple[Any, ...]) -> FrameletError:
    return cls.__new__(cls, *args)  # which keeps them as ``args``


class ConfigurationError(FrameletError, ValueError):
    """A setting is of the wrong kind, out of range, or contradicts another."""


class MissingExtraError(ConfigurationError):
    """Something needs a package that is not installed; the message names the extra."""


@contextlib.contextmanager
def importing_extra(extra: str, package: str, purpose: str) -> Iterator[None]:
    """Around the import of a package that an extra brings: raise MissingExtraError if it is missing.

    ``purpose`` is the message's subject and verb, as in "the command line needs".
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        message = f'{purpose} the extra "{extra}": {install_command(extra)}'
        raise MissingExtraError(message) from None


def install_command(extra: str) -> str:
    """The command that installs an extra from where this package came from: index, checkout or wheel."""
    from importlib import metadata  # noqa: PLC0415 - it reads files, and is for the words of an error alone

    try:
        found = metadata.distribution("framelet").read_text("direct_url.json")
        origin: dict[str, Any] = json.loads(found or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        origin = {}
    url = str(origin.get("url", ""))
    if (origin.get("dir_info") or {}).get("editable"):
        path = re.sub(rb"%(..)", lambda found: bytes.fromhex(found[1].decode()), url.encode()).decode()
        return f"pip install -e '{path.removeprefix('file://')}[{extra}]'"
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    return f"pip install 'framelet[{extra}]{' @ ' if url else ''}{url}'"


class AddressError(FrameletError, ValueError):
    """An address is not of a form that Framelet understands."""


class HandlerError(FrameletError):
    """Raised by a handler: its frame is answered by a recoverable ERROR of this code and text (REQ-ERROR-15).

    Codes from 460 to 499 are the application's own.  Others from 400 on are for a relay, which passes on what
    its server has said.  ``text`` is for people, of up to 1,020 octets; what is longer is cut.
    """

    def __init__(self, code: int, text: str = "") -> None:
        """Raise TypeError, or ConfigurationError for a code that no handler may answer with."""
        super().__init__(code, text)
        self.code: ErrorCode = recoverable(code)
        self.text: str = text
        if not isinstance(text, str):
            message = f"the text of an error is a str, not {type(text).__name__}"
            raise TypeError(message)

    def __str__(self) -> str:
        """Both in one line."""
        return f"{self.code:d} {self.text or self.code.condition}"


def recoverable(code: int) -> ErrorCode:
    """The ErrorCode for a number that answers one frame; raises TypeError, or ConfigurationError."""
    if not isinstance(code, int) or isinstance(code, bool):
        message = f"a code is an int or ErrorCode, not {type(code).__name__}"
        raise TypeError(message)
    if code not in CODES or is_fatal(code):
        message = f"{code:d} is not a recoverable error: those are 400 to 499, an application's 460 to 499"
        raise ConfigurationError(message)
    return ErrorCode(int(code))


class ConnectionStateError(FrameletError, RuntimeError):
    """The program asked for something that this connection cannot do in its present state."""


class HeaderRefusedError(FrameletError):
    """A header of a FrameFormat with a wrong constant, or a length that is not allowed."""


class ProtocolError(FrameletError):
    """A frame, or the stream, breaks the protocol; ``code`` names the condition."""

    code: ClassVar[ErrorCode]

    def __init__(self, message: str = "") -> None:
        """Keep a message for people; without one, the registry's words for the condition."""
        super().__init__(message or self.code.condition)


class UnknownTypeError(ProtocolError):
    """A type that no receiver may accept (REQ-TYPE-1)."""

    code = ErrorCode.TYPE_UNKNOWN


class UnexpectedTypeError(ProtocolError):
    """A known type that does not belong here (REQ-TYPE-2, REQ-ORDER-7)."""

    code = ErrorCode.TYPE_UNEXPECTED


class FrameTooLargeError(ProtocolError):
    """A length above the maximum body size (REQ-SIZE-2); ``type`` and ``length`` are the header's."""

    code = ErrorCode.FRAME_TOO_LARGE

    def __init__(self, frame_type: int, length: int, max_body: int) -> None:
        """Name the length and the maximum, both in octets."""
        super().__init__(f"a body of {length} octets exceeds the maximum of {max_body}")
        self.type = frame_type
        self.length = length


class FrameTimeoutError(ProtocolError):
    """A frame that was not complete in time (REQ-TIME-1)."""

    code = ErrorCode.FRAME_TIMEOUT


class IdleTimeoutError(ProtocolError):
    """A connection on which nothing happened for too long (REQ-TIME-3)."""

    code = ErrorCode.IDLE_TIMEOUT


class TruncatedFrameError(ProtocolError):
    """A stream that ended inside a frame (REQ-CLOSE-2, REQ-CLOSE-4)."""

    code = ErrorCode.FRAME_TRUNCATED


class IllFormedTextError(ProtocolError):
    """A body, or a text to be sent, that has no well-formed UTF-8 (REQ-TEXT-1, REQ-TEXT-2)."""

    code = ErrorCode.ILL_FORMED_TEXT


class PingTooLargeError(ProtocolError):
    """A PING whose body is too long (REQ-PING-2)."""

    code = ErrorCode.PING_TOO_LARGE


class HelloMalformedError(ProtocolError):
    """A HELLO whose body is not of its form (REQ-HELLO-3)."""

    code = ErrorCode.HELLO_MALFORMED


class VersionUnsupportedError(ProtocolError):
    """A HELLO for another version (REQ-HELLO-4)."""

    code = ErrorCode.VERSION_UNSUPPORTED


class AnswerMalformedError(ProtocolError):
    """An answer whose body is not of its form (REQ-ERROR-11, REQ-HELLO-7, REQ-STOP-9)."""

    code = ErrorCode.ANSWER_MALFORMED


class ErrorReceivedError(ProtocolError):
    """An ERROR came from a peer that may not send one, so none is sent back (REQ-ERROR-9)."""

    code = ErrorCode.TYPE_UNEXPECTED


class AnswerTimeoutError(FrameletError, TimeoutError):
    """The server did not answer in time (REQ-TIME-6)."""
