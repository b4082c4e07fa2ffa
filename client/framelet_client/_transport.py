"""A connection that is ready for frames: the socket, and what is spoken below the frames."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

from framelet import ConfigurationError, TcpAddress, TlsAddress

from ._connect import connect
from ._handshake import shake_hands
from .tls import ClientTls

if TYPE_CHECKING:
    import socket

    from framelet import Address

    from .tls import ClientTlsLayer


class Transport(NamedTuple):
    """A connected, non-blocking socket, its TLS if it has any, and what that has received early."""

    socket: socket.socket
    layer: ClientTlsLayer | None
    early: bytes


def secured(address: Address, tls: ClientTls | None) -> tuple[Address, ClientTls | None]:
    """Have either of the two ask for TLS: it is never left out where one was to have it."""
    if tls is None:
        return address, ClientTls() if isinstance(address, TlsAddress) else None
    if isinstance(address, TcpAddress):
        address = TlsAddress(*address)
    if isinstance(address, TlsAddress):
        return address, tls
    message = f"{address} cannot have TLS: expected framelets://HOST:PORT"
    raise ConfigurationError(message)


def open_transport(address: Address, tls: ClientTls | None, timeout: float) -> Transport:
    """Connect, all within ``timeout`` seconds; raises ConnectError, or its TlsError."""
    deadline = time.monotonic() + timeout
    sock = connect(address, timeout)
    if tls is None or not isinstance(address, TlsAddress):
        return Transport(sock, None, b"")
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        layer, early = shake_hands(sock, tls, address, deadline)
        undo.pop_all()
    return Transport(sock, layer, early)
