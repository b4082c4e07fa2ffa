"""The errors of a client, in addition to those of the protocol.

All are FrameletErrors.  A call may also raise framelet's AnswerTimeoutError, its ProtocolErrors where the
server broke the protocol or a text cannot be sent, and its ConnectionStateError where the connection is
closed or in use.
"""

from __future__ import annotations

from framelet import FrameletError, escape


class ClientError(FrameletError):
    """Root of the client's own errors."""


class ConnectError(ClientError):
    """No connection could be made; ``address`` is where to, and ``reason`` says why not."""

    def __init__(self, address: str, reason: str) -> None:
        """Keep the address as people write it, and the system's words."""
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        """Both in one line."""
        return f"no connection to {self.address}: {self.reason}"


class TlsError(ConnectError):
    """The server was reached, but not by TLS, or not one that could be trusted; nothing was sent to it."""


class ConnectionLostError(ClientError):
    """The connection ended with ``unanswered`` frames that no answer will come for (REQ-CLOSE-3)."""

    def __init__(self, reason: str, unanswered: int) -> None:
        """Keep what happened, and how many frames it left unanswered."""
        super().__init__(reason, unanswered)
        self.reason = reason
        self.unanswered = unanswered

    def __str__(self) -> str:
        """Both in one line."""
        return f"{self.reason}; {_count(self.unanswered)}"


class AnswerError(ClientError):
    """The server answered this frame with a recoverable ERROR; the connection goes on (REQ-ERROR-12).

    ``code`` is 400 to 499, of which 460 to 499 belong to the application (REQ-ERROR-16).  ``text`` is for
    people only (REQ-ERROR-13), and as it came: escape it before it reaches a terminal.
    """

    def __init__(self, code: int, text: str) -> None:
        """Keep the two parts of the ERROR."""
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        """The ERROR as one line that is safe to show (REQ-SEC-1)."""
        return f"the server answered ERROR {self.code}: {escape(self.text)}"


class FatalAnswerError(ClientError):
    """The server ended the connection with a fatal ERROR; ``unanswered`` frames have no answer.

    ``code`` is 500 to 599; ``text`` as for AnswerError.
    """

    def __init__(self, code: int, text: str, unanswered: int) -> None:
        """Keep the two parts of the ERROR, and how many frames it left unanswered."""
        super().__init__(code, text, unanswered)
        self.code = code
        self.text = text
        self.unanswered = unanswered

    def __str__(self) -> str:
        """The ERROR as one line that is safe to show (REQ-SEC-1)."""
        error = f"the server ended the connection with ERROR {self.code}: {escape(self.text)}"
        return f"{error}; {_count(self.unanswered)}"


def _count(unanswered: int) -> str:
    return f"{unanswered} {'frame is' if unanswered == 1 else 'frames are'} unanswered"
