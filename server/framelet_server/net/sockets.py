"""Listening sockets: how they are opened and checked, and what belongs to them."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Any

from framelet import (
    Address,
    ConfigurationError,
    FrameletError,
    TcpAddress,
    TlsAddress,
    UnixAddress,
)

_log = logging.getLogger("framelet_server")

_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""How the system says that it has no such address, as of IPv6 where that is switched off."""

_FAMILIES = {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}


class ListenError(FrameletError, OSError):
    """The server cannot listen on an address."""


def open_listeners(address: Address, backlog: int) -> list[socket.socket]:
    """Listen on an address: on every one of this system that a host name stands for, all on the same port.

    Raises ListenError that names the address and the reason.
    """
    try:
        if isinstance(address, UnixAddress):
            return [_open_unix(address.path, backlog)]
        return _open_tcp(address, backlog)
    except (OSError, UnicodeError) as error:  # UnicodeError for what cannot be a host name
        message = f"cannot listen on {address}: {getattr(error, 'strerror', None) or error}"
        raise ListenError(message) from error


def _open_tcp(address: TcpAddress | TlsAddress, backlog: int) -> list[socket.socket]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    failures: list[OSError] = []
    for family, kind, protocol, _, (host, _, *rest) in dict.fromkeys(found):
        # Port 0: the first one decides for all.
        port = sockets[0].getsockname()[1] if sockets else address.port
        try:
            sockets.append(_open_one(socket.socket(family, kind, protocol), (host, port, *rest), backlog))
        except OSError as error:
            failures.append(error)
    for failure in failures:
        if failure.errno not in _ABSENT or not sockets:
            for sock in sockets:
                sock.close()
            raise failure
    return sockets


def _open_one(sock: socket.socket, name: Any, backlog: int) -> socket.socket:  # noqa: ANN401 - socket addresses have a form per family
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _open_unix(path: str, backlog: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(path):
                raise
            Path(path).unlink()
            sock.bind(path)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _is_stale(path: str) -> bool:
    """Whether a socket file was left behind by a process that has ended; False for other kinds of file."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)  # the backlog of a server that lives may be full
        return probe.connect_ex(path) == errno.ECONNREFUSED


def close_listeners(sockets: list[socket.socket]) -> None:
    """Close what ``open_listeners`` opened, and remove the file of a unix socket."""
    for sock in sockets:
        if sock.family == socket.AF_UNIX:
            SocketFile(sock).remove()
        sock.close()


def check_listening(sock: socket.socket) -> None:
    """See that a socket from elsewhere can be accepted on; raises ConfigurationError."""
    try:
        family, kind = sock.family, sock.type
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        message = f"file descriptor {sock.fileno()} is not a socket: {error.strerror}"
        raise ConfigurationError(message) from None
    if family not in _FAMILIES or kind != socket.SOCK_STREAM or not listening:
        message = f"file descriptor {sock.fileno()} is not a listening TCP or unix stream socket"
        raise ConfigurationError(message)


def address_of(sock: socket.socket) -> Address:
    """The address of a listening socket."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return UnixAddress(os.fsdecode(name).replace("\0", "@", 1))  # Linux also has names that are not paths
    return TcpAddress(name[0], name[1])


class SocketFile:
    """The file of a unix socket, to be removed when that is closed."""

    def __init__(self, sock: socket.socket) -> None:
        """Remember which file it is."""
        self._path = Path(sock.getsockname())
        self._file = self._path.lstat()

    def remove(self) -> None:
        """Remove the file, unless it is another's by now; never raises."""
        try:
            if os.path.samestat(self._path.lstat(), self._file):
                self._path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("cannot remove %s: %s", self._path, error.strerror)
