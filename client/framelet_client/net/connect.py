"""Opens the socket to a server, within one deadline over all of its addresses."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any, NamedTuple

from framelet import Address, UnixAddress
from framelet_client.errors import ConnectError

_SHORTEST = 0.001  # a time-out of 0 would mean "do not wait at all" to the socket
_RETRY = 0.01  # how long a unix socket with a full backlog is left alone


class _Target(NamedTuple):
    family: int
    kind: int
    protocol: int
    address: Any  # its shape depends on the family


def connect(address: Address, timeout: float) -> socket.socket:
    """A connected, non-blocking socket; raises ConnectError after at most ``timeout`` seconds.

    A host may have several addresses.  They are tried in the system's order, and each gets an equal share
    of the time that is left, so that one which swallows packets does not use up all of it.  The look-up of
    the name has the system's own time limits.
    """
    try:
        targets = _resolve(address)
    except (OSError, UnicodeError) as error:
        raise ConnectError(str(address), _words(error)) from error
    deadline = time.monotonic() + timeout
    reasons: list[str] = []
    for position, target in enumerate(targets):
        share = (deadline - time.monotonic()) / (len(targets) - position)
        try:
            return _open(target, max(share, _SHORTEST))
        except TimeoutError:
            reasons.append("timed out")
        except OSError as error:
            reasons.append(_words(error))
    raise ConnectError(str(address), "; ".join(dict.fromkeys(reasons)))


def _resolve(address: Address) -> list[_Target]:
    if isinstance(address, UnixAddress):
        return [_Target(socket.AF_UNIX, socket.SOCK_STREAM, 0, address.path)]
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [_Target(family, kind, protocol, where) for family, kind, protocol, _, where in found]


def _open(target: _Target, timeout: float) -> socket.socket:
    deadline = time.monotonic() + timeout
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(target.family, target.kind, target.protocol))
        sock.settimeout(timeout)
        while True:
            try:
                sock.connect(target.address)
                break
            except BlockingIOError:
                # A unix socket whose backlog is full says so at once, where TCP would wait.
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(_RETRY)
        sock.settimeout(0.0)
        if target.family != socket.AF_UNIX:
            # A request is one small segment, and nothing follows it until it is answered.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        undo.pop_all()  # the socket is the caller's now
        return sock


def _words(error: OSError | UnicodeError) -> str:
    """What the system says, without its number."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
