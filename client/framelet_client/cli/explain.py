"""The messages for errors of the connection (what happened, where, why, what to do), and their exit codes."""

from __future__ import annotations

import os
from errno import EACCES, ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ENOENT
from typing import TYPE_CHECKING, NamedTuple

from framelet import (
    AnswerTimeoutError,
    ErrorCode,
    FrameletError,
    ProtocolError,
    TlsAddress,
    UnixAddress,
    escape,
)
from framelet_client.errors import AnswerError, ConnectError, ConnectionLostError, FatalAnswerError
from framelet_client.exit_codes import ExitCode

if TYPE_CHECKING:
    from framelet import Address

_START = "is a server running there? {} starts one"
NO_HOST = "unknown host: HOST comes first, then PORT"
_UNREACHABLE = "the network has no route to the address: check HOST"
_ADVICE = {
    os.strerror(ECONNREFUSED): _START,
    os.strerror(ENOENT): _START,
    os.strerror(EACCES): "the permissions of the socket, or of a folder above it, do not allow this user in",
    os.strerror(EHOSTUNREACH): _UNREACHABLE,
    os.strerror(ENETUNREACH): _UNREACHABLE,
    "Name or service not known": NO_HOST,
    "No address associated with hostname": NO_HOST,
    "Temporary failure in name resolution": "no name server answers: check HOST and the network",
    "timed out": "nothing answers: check HOST, PORT and firewalls; --connect-timeout SECONDS waits longer",
    "did not finish the handshake": "it may not speak TLS: check PORT; framelet:// connects without TLS",
    "does not speak TLS": "framelet:// connects without TLS",
    "certificate is not accepted": "--ca-file FILE names the authorities to trust, "
    "--server-name NAME the name to expect",
    "speaks TLS": "framelets:// connects with TLS",
    "seems to speak TLS": "framelets:// connects with TLS",
    "seems to speak": "another program listens there: check PORT",
    "certificate required": "--cert-file FILE shows the server a certificate",
}
"""What to do, by a part of the reason; the first that matches counts."""

_ADVICE_BY_CODE: dict[int, str] = {
    ErrorCode.STOP_REFUSED: "if the server wants a token: --token-file FILE, or FRAMELET_STOP_TOKEN; "
    "see framelet-server --stop",
}


class Explanation(NamedTuple):
    """The parts of a message, empty where there is nothing to say, and the exit code."""

    headline: str
    reason: str
    advice: str
    code: ExitCode

    @property
    def lines(self) -> list[str]:
        """The message for people, in up to three lines."""
        said = (self.headline, self.reason) if self.headline else (f"framelet: {self.reason}",)
        return [*said, self.advice] if self.advice else [*said]

    @property
    def message(self) -> str:
        """What happened, in one line."""
        return f"{self.headline}: {self.reason}" if self.headline else self.reason


def explain(error: FrameletError, host: str, address: Address) -> Explanation:
    """Explain an error of the connection to ``address``, given as ``host``; raises any other error again."""
    headline = f"Couldn't get connection to {host}"
    if isinstance(error, ConnectError):
        reason = f"{error.address}: {error.reason}"
        return Explanation(headline, reason, _advice(error.reason, address), ExitCode.NO_CONNECTION)
    if isinstance(error, ConnectionLostError):
        return Explanation(headline, f"{address}: {error}", "", ExitCode.NO_CONNECTION)
    if isinstance(error, AnswerTimeoutError):
        advice = "--answer-timeout SECONDS waits longer; if another program listens there: check PORT"
        return Explanation("", str(error), advice, ExitCode.TIMED_OUT)
    if isinstance(error, (AnswerError, FatalAnswerError)):
        advice = _ADVICE_BY_CODE.get(error.code) or _advice(error.text, address)
        return Explanation("", str(error), advice, ExitCode.ERROR_ANSWERED)
    if isinstance(error, ProtocolError):
        reason = f"the server broke the protocol: {escape(str(error))}"
        return Explanation("", reason, _advice(reason, address), ExitCode.PROTOCOL_ERROR)
    raise error


def _advice(reason: str, address: Address) -> str:
    for part, advice in _ADVICE.items():
        if part in reason:
            return advice.format(_start_command(address))
    return ""


def _start_command(address: Address) -> str:
    if isinstance(address, UnixAddress):
        return f"framelet-server --unix {address.path}"
    tls = " --tls-cert FILE" if isinstance(address, TlsAddress) else ""
    return f"framelet-server --port {address.port}{tls}"
