"""Opens a connection that is ready for frames: the socket, and TLS if that is asked for."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, NamedTuple

from framelet import Address, ConfigurationError, TcpAddress, TlsAddress, UnixAddress
from framelet_client.config import ClientLimits
from framelet_client.tls import ClientTls

from .connect import connect
from .handshake import shake_hands

if TYPE_CHECKING:
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


class Configured:
    """What every client is given, or the defaults: its limits, its TLS, and where its server is."""

    def __init__(self, limits: ClientLimits | None, tls: ClientTls | None, address: Address) -> None:
        """Raise ConfigurationError for what is of another kind, or contradicts the address."""
        if not isinstance(limits, (ClientLimits, type(None))):
            message = f"limits are ClientLimits, not {type(limits).__name__}"
            raise ConfigurationError(message)
        if not isinstance(tls, (ClientTls, type(None))):
            message = f"tls is a ClientTls, not {type(tls).__name__}"
            raise ConfigurationError(message)
        self._limits = limits or ClientLimits()
        self._address, self._tls = secured(address, tls)

    @property
    def address(self) -> Address:
        """Where the server is."""
        return self._address

    @property
    def limits(self) -> ClientLimits:
        """The limits in force."""
        return self._limits


def address_of(sock: socket.socket) -> Address:
    """Where a connected socket leads; raises ConfigurationError for one that no frames can go over."""
    if isinstance(sock, ssl.SSLSocket):
        raise ConfigurationError(
            "the socket speaks TLS already: expected a plain one, and tls=ClientTls(...)"
        )
    try:
        name = sock.getpeername()
    except OSError as error:
        message = f"the socket is not connected: {error.strerror}"
        raise ConfigurationError(message) from None
    if sock.type != socket.SOCK_STREAM:
        raise ConfigurationError("the socket is not a stream socket: expected TCP or unix")
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return TcpAddress(*name[:2])
    return UnixAddress(os.fsdecode(name))


def open_connection(
    address: Address, tls: ClientTls | None, timeout: float, sock: socket.socket | None = None
) -> OpenedConnection:
    """Connect, or use a socket that is connected, all within ``timeout`` seconds.

    Raises ConnectError, or its TlsError; the socket is closed then.
    """
    deadline = time.monotonic() + timeout
    sock = sock or connect(address, timeout)
    sock.settimeout(0.0)
    if tls is None or not isinstance(address, TlsAddress):
        return OpenedConnection(sock, None, b"")
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        layer, early = shake_hands(sock, tls, address, deadline)
        undo.pop_all()
    return OpenedConnection(sock, layer, early)
