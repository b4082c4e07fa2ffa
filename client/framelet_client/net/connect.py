"""Opens the socket to a server, within one deadline over all of its addresses."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from framelet import Address, UnixAddress
from framelet_client.errors import ConnectError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_STAGGER = 0.25  # seconds from one attempt to the next (RFC 8305, section 8)
_RETRY = 0.01  # seconds between attempts at a unix socket whose backlog is full


class Resolved(NamedTuple):
    """An address as the system takes it."""

    family: int
    kind: int
    protocol: int
    address: Any  # its shape depends on the family


def connect(address: Address, timeout: float) -> socket.socket:
    """A connected, non-blocking socket; raises ConnectError after at most ``timeout`` seconds.

    A host may have several addresses, and the first may swallow packets.  So an attempt at the next one
    begins every 250 ms, or at once where one has failed; the first that succeeds ends the others (RFC 8305).
    The look-up of the name has the system's own time limits.
    """
    with Race(address, timeout) as race:
        if isinstance(address, UnixAddress):
            race.enter(path_of(address))
        else:
            race.enter(in_turn(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)))
        while race.winner is None:
            seconds = race.advance()
            poll = select.poll()
            for descriptor in race.attempts:
                poll.register(descriptor, select.POLLOUT)
            for descriptor, _ in poll.poll(seconds * 1000):
                race.judge(descriptor)
        return race.winner


class Race:
    """Attempts at several addresses, each begun a little later than the one before.  It never waits itself.

    Inside the context an OSError becomes ConnectError; at the end all sockets but the winner's are closed.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        """Begin with no attempt."""
        self.attempts: dict[int, socket.socket] = {}  # those under way, by descriptor
        self.winner: socket.socket | None = None
        self._address = address
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._reasons: list[str] = []  # why others failed
        self._left: deque[Resolved] = deque()
        self._stagger = self._next_at = 0.0

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the attempts that lost; raise ConnectError with all reasons for an OSError."""
        for loser in self.attempts.values():
            loser.close()
        if isinstance(error, (OSError, UnicodeError)):
            self._reasons.append("timed out" if isinstance(error, TimeoutError) else _words(error))
            raise ConnectError(str(self._address), "; ".join(dict.fromkeys(self._reasons))) from None

    def enter(self, addresses: list[Resolved]) -> None:
        """Set the addresses."""
        self._left.extend(addresses)
        self._stagger = min(_STAGGER, self._timeout / len(addresses))  # so that each address is tried

    def advance(self) -> float:
        """Begin the attempt that is due; seconds to wait for one to end.  Raises TimeoutError when over."""
        now = time.monotonic()
        if now >= self._deadline:
            raise TimeoutError
        if self._left and now >= self._next_at:
            try:
                self._begin(self._left.popleft(), now)
            except OSError as error:
                self._failed(error)
        until = min(self._deadline, self._next_at) if self._left else self._deadline
        return max(until - now, 0.0)

    def judge(self, descriptor: int) -> None:
        """Note how an attempt ended.  Raises OSError if it failed and was the last one."""
        if self.winner is not None:
            return
        sock = self.attempts.pop(descriptor)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not number:
            self.winner = sock
            return
        sock.close()
        self._failed(OSError(number, os.strerror(number)))

    def _failed(self, error: OSError) -> None:
        if not (self._left or self.attempts):
            raise error
        self._reasons.append(_words(error))
        self._next_at = 0.0

    def _begin(self, resolved: Resolved, now: float) -> None:
        self._next_at = now + self._stagger
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket(resolved.family, resolved.kind, resolved.protocol))
            sock.settimeout(0.0)
            if resolved.family != socket.AF_UNIX:
                # A request is one small segment, and nothing follows it until it is answered.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = sock.connect_ex(resolved.address)
            if number == errno.EAGAIN:
                # A unix socket whose backlog is full fails at once, where TCP would wait.
                self._left.append(resolved)
                self._next_at = now + _RETRY
                return
            if number not in (0, errno.EINPROGRESS):
                raise OSError(number, os.strerror(number))
            self.attempts[sock.fileno()] = sock
            undo.pop_all()  # the end of the race closes it


def path_of(address: UnixAddress) -> list[Resolved]:
    """A unix socket, which needs no look-up."""
    return [Resolved(socket.AF_UNIX, socket.SOCK_STREAM, 0, address.path)]


def in_turn(found: Iterable[Any]) -> list[Resolved]:
    """What ``getaddrinfo`` has found, in its order, but with the families in turn (RFC 8305, section 4)."""
    families: dict[int, list[Resolved]] = {}
    for family, kind, protocol, _, where in found:
        families.setdefault(family, []).append(Resolved(family, kind, protocol, where))
    return [one for turn in itertools.zip_longest(*families.values()) for one in turn if one is not None]


def _words(error: OSError | UnicodeError) -> str:
    """The system's message without its number."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
