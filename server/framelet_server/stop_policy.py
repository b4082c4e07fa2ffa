"""Who may stop a server (section 10 of the specification)."""

from __future__ import annotations

import dataclasses
import enum
import hmac
import ipaddress
import socket
from typing import Any, Self

from framelet import ConfigurationError


class StopKind(enum.Enum):
    """The three policies."""

    LOCAL = "local"
    TOKEN = "token"  # noqa: S105 - the name of a policy, no secret
    OFF = "off"


@dataclasses.dataclass(frozen=True)
class StopPolicy:
    """A policy, with its token where it has one; ``local`` by default (REQ-STOP-1, 2)."""

    kind: StopKind = StopKind.LOCAL
    token: str = dataclasses.field(default="", repr=False)  # REQ-SEC-3

    def __post_init__(self) -> None:
        """Raise ConfigurationError for a token where none belongs, or that none can send (REQ-STOP-5)."""
        if self.kind is StopKind.TOKEN and not self.token:
            raise ConfigurationError("the stop policy 'token' needs a token that is not empty")
        if self.kind is not StopKind.TOKEN and self.token:
            message = f"a stop token is given, but the stop policy is {self.kind.value!r}: expected 'token'"
            raise ConfigurationError(message)
        try:
            self.token.encode()
        except UnicodeEncodeError:  # from an environment variable of other octets
            raise ConfigurationError("the stop token is not UTF-8") from None

    @classmethod
    def local(cls) -> Self:
        """Clients on this machine may stop a server that listens on this machine alone."""
        return cls(StopKind.LOCAL)

    @classmethod
    def with_token(cls, token: str) -> Self:
        """Clients that know the token may stop the server."""
        return cls(StopKind.TOKEN, token)

    @classmethod
    def off(cls) -> Self:
        """No client may stop the server."""
        return cls(StopKind.OFF)

    def allows(self, token: str, *, local: bool) -> bool:
        """Whether a STOP with this token is to be obeyed.

        ``local`` says whether the client, and every address that the server listens on, is on this machine.
        Tokens are compared in constant time (REQ-STOP-4).
        """
        if self.kind is StopKind.TOKEN:
            return hmac.compare_digest(token.encode(), self.token.encode())
        return self.kind is StopKind.LOCAL and local


def is_local(family: int, address: Any) -> bool:  # noqa: ANN401 - socket addresses have a form per family
    """Whether a socket address cannot be reached from, or come from, another machine."""
    if family == socket.AF_UNIX:
        return True
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback
