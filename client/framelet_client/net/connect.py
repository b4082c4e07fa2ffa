"""Opens the socket to a server, within one deadline over all of its addresses."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any, NamedTuple

from framelet import Address, UnixAddress
from framelet_client.errors import ConnectError

_SHORTEST = 0.001  # a socket takes a time-out of 0 for "non-blocking"
_RETRY = 0.01  # seconds between attempts at a unix socket whose backlog is full


class _Resolved(NamedTuple):
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
        addresses = _resolve(address)
    except (OSError, UnicodeError) as error:
        raise ConnectError(str(address), _words(error)) from error
    deadline = time.monotonic() + timeout
    reasons: list[str] = []
    for position, resolved in enumerate(addresses):
        share = (deadline - time.monotonic()) / (len(addresses) - position)
        try:
            return _open(resolved, max(share, _SHORTEST))
        except TimeoutError:
            reasons.append("timed out")
        except OSError as error:
            reasons.append(_words(error))
    raise ConnectError(str(address), "; ".join(dict.fromkeys(reasons)))


def _resolve(address: Address) -> list[_Resolved]:
    if isinstance(address, UnixAddress):
        return [_Resolved(socket.AF_UNIX, socket.SOCK_STREAM, 0, address.path)]
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [_Resolved(family, kind, protocol, where) for family, kind, protocol, _, where in found]


def _open(resolved: _Resolved, timeout: float) -> socket.socket:
    deadline = time.monotonic() + timeout
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(resolved.family, resolved.kind, resolved.protocol))
        sock.settimeout(timeout)
        while True:
            try:
                sock.connect(resolved.address)
                break
            except BlockingIOError:
                # A unix socket whose backlog is full fails at once, where TCP would wait.
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(_RETRY)
        sock.settimeout(0.0)
        if resolved.family != socket.AF_UNIX:
            # A request is one small segment, and nothing follows it until it is answered.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        undo.pop_all()  # the caller closes the socket from here on
        return sock


def _words(error: OSError | UnicodeError) -> str:
    """The system's message without its number."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
