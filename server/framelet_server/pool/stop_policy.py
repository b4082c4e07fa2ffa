"""Who may stop a server (section 10 of the specification)."""

from __future__ import annotations

import dataclasses
import enum
import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Self

from framelet import ConfigurationError

if TYPE_CHECKING:
    from framelet_server.net.peer import Peer
    from framelet_server.observe.log_limit import LogLimit


_FEWEST = 6
"""Characters of a token: shorter ones could be guessed, at ten a second."""


class StopKind(enum.Enum):
    """The four policies."""

    LOCAL = "local"
    TOKEN = "token"  # noqa: S105 - the name of a policy, no secret
    CERTIFICATE = "certificate"
    OFF = "off"


@dataclasses.dataclass(frozen=True)
class StopPolicy:
    """A policy, with the token or the role where it has one; ``local`` by default (REQ-STOP-1, 2)."""

    kind: StopKind = StopKind.LOCAL
    token: str = dataclasses.field(default="", repr=False)  # REQ-SEC-3
    role: str = ""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for a token or role that is unusable or not needed (REQ-STOP-5)."""
        if self.kind is StopKind.TOKEN and len(self.token) < _FEWEST:
            message = f"the stop policy 'token' needs a token of {_FEWEST} characters or more"
            raise ConfigurationError(message)
        if self.kind is not StopKind.TOKEN and self.token:
            message = f"a stop token is given, but the stop policy is {self.kind.value!r}: expected 'token'"
            raise ConfigurationError(message)
        if (self.kind is StopKind.CERTIFICATE) != bool(self.role):
            raise ConfigurationError("a role is needed by the stop policy 'certificate', and by no other")
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
    def with_certificate(cls, role: str) -> Self:
        """Clients whose verified certificate names the role may stop the server: see ``ServerTls``."""
        return cls(StopKind.CERTIFICATE, role=role)

    @classmethod
    def off(cls) -> Self:
        """No client may stop the server."""
        return cls(StopKind.OFF)

    def allows(self, token: str, *, local: bool, roles: AbstractSet[str] = frozenset()) -> bool:
        """Whether a STOP with this token is to be obeyed.

        ``local`` says whether the client, and every address that the server listens on, is on this machine;
        ``roles`` are those of the client's verified certificate (REQ-STOP-16).  Tokens are compared in
        constant time (REQ-STOP-4).
        """
        if self.kind is StopKind.CERTIFICATE:
            return self.role in roles
        if self.kind is StopKind.TOKEN:
            return hmac.compare_digest(token.encode(), self.token.encode())
        return self.kind is StopKind.LOCAL and local


_FREE = 3
"""Wrong tokens from one address that are answered at once: people mistype."""

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 2.0
"""Seconds after further ones in which no token of that address is looked at; doubled each time."""

_MEMORY = 60.0
"""Seconds without a wrong token after which an address starts afresh."""

_MOST_HOSTS = 1_024
"""Addresses remembered; the one that has been quiet for longest is forgotten first."""

_RATE, _BURST = 10.0, 50.0
"""Wrong tokens a second that are looked at in all, and how many at once: for guesses from many addresses."""


class WrongTokens:
    """Counts the wrong tokens of each address, so that to guess takes time on any number of connections.

    The decision is what waits, not only its answer: a guesser need not stay for that.
    """

    def __init__(self) -> None:
        """Begin with no address."""
        self._hosts: OrderedDict[str, tuple[int, float, float]] = OrderedDict()
        self._left = _BURST  # wrong tokens that may be looked at now
        self._at = 0.0  # when that was worked out

    def closed(self, host: str, now: float) -> float:
        """Seconds in which no token of this address is to be looked at; 0 where one may be."""
        _, _, until = self._hosts.get(host, (0, now, now))
        self._left = min(_BURST, self._left + (now - self._at) * _RATE)
        self._at = now
        return max(until - now, 0.0 if self._left >= 1.0 else (1.0 - self._left) / _RATE)

    def wait(self, host: str, now: float) -> float:
        """Take down a wrong token; the seconds for which its answer is to be kept back."""
        self._left -= 1.0
        count, last, _ = self._hosts.pop(host, (0, now, now))
        count = 1 if now - last > _MEMORY else count + 1
        wait = min(_FIRST_WAIT * 2.0 ** min(count - _FREE - 1, 10), _LONGEST_WAIT) if count > _FREE else 0.0
        self._hosts[host] = count, now, now + wait
        if len(self._hosts) > _MOST_HOSTS:
            self._hosts.popitem(last=False)
        return wait


class StopControl:
    """Decides on each STOP, and counts those that are refused; may be asked from any thread."""

    def __init__(self, policy: StopPolicy, limited_log: LogLimit, *, local: bool) -> None:
        """``local`` says whether every address that the server listens on is on this machine."""
        self._policy = policy
        self._limited_log = limited_log
        self._local = local
        self._lock = threading.Lock()  # guards the rest
        self._wrong_tokens = WrongTokens()
        self.refused: int = 0

    def refusal(self, peer: Peer, token: str) -> float | None:
        """Decide on a STOP (REQ-STOP-1): None where it is allowed.

        Otherwise the seconds for which its answer is to be kept back (REQ-STOP-15).
        """
        wait = 0.0
        with self._lock:
            now = time.monotonic()
            guesses = self._wrong_tokens if self._policy.kind is StopKind.TOKEN else None
            closed = guesses.closed(peer.host, now) if guesses else 0.0
            if not closed and self._policy.allows(token, local=peer.local and self._local, roles=peer.roles):
                return None
            self.refused += 1
            if guesses:
                wait = closed or guesses.wait(peer.host, now)
        self._limited_log.warning("refused STOPs", "%s: STOP refused", peer.name, peer=peer.name)
        return wait
