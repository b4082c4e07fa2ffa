"""Opens a connection that is ready for frames: the socket, and TLS where it is asked for."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

from framelet import ConfigurationError, TcpAddress, TlsAddress
from framelet_client.tls import ClientTls

from .connect import connect
from .handshake import shake_hands

if TYPE_CHECKING:
    import socket

    from framelet import Address
    from framelet_client.tls import ClientTlsLayer


class OpenedConnection(NamedTuple):
    """A connected, non-blocking socket, its TLS if it has any, and what that has received early."""

    socket: socket.socket
    tls: ClientTlsLayer | None
    early: bytes


def secured(address: Address, tls: ClientTls | None) -> tuple[Address, ClientTls | None]:
    """The address and the settings to connect with: TLS as soon as either of the two asks for it."""
    if tls is None:
        return address, ClientTls() if isinstance(address, TlsAddress) else None
    if isinstance(address, TcpAddress):
        address = TlsAddress(*address)
    if isinstance(address, TlsAddress):
        return address, tls
    message = f"{address} cannot have TLS: expected framelets://HOST:PORT"
    raise ConfigurationError(message)


def open_connection(address: Address, tls: ClientTls | None, timeout: float) -> OpenedConnection:
    """Connect, all within ``timeout`` seconds; raises ConnectError, or its TlsError."""
    deadline = time.monotonic() + timeout
    sock = connect(address, timeout)
    if tls is None or not isinstance(address, TlsAddress):
        return OpenedConnection(sock, None, b"")
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        layer, early = shake_hands(sock, tls, address, deadline)
        undo.pop_all()
    return OpenedConnection(sock, layer, early)
