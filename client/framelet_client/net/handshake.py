"""The TLS handshake over a socket, before any frame is sent."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from framelet_client.errors import TlsError

if TYPE_CHECKING:
    import socket

    from framelet import TlsAddress
    from framelet_client.tls import ClientTls, ClientTlsLayer

_RECEIVE_SIZE = 65_536
_SHORTEST = 0.001  # a socket takes a time-out of 0 for "non-blocking"


def shake_hands(
    sock: socket.socket, tls: ClientTls, address: TlsAddress, deadline: float
) -> tuple[ClientTlsLayer, bytes]:
    """Established TLS, and the plain octets that the server has sent after its handshake already.

    Raises TlsError that says what failed, at the latest at the deadline on the monotonic clock.  The socket
    is non-blocking before and after.
    """
    layer = tls.layer(address.host)
    try:
        early = layer.receive(b"")
        _send(sock, layer, deadline)
        while not layer.established:
            sock.settimeout(_left(deadline))
            data = sock.recv(_RECEIVE_SIZE)
            if not data:
                raise OSError(0, "the server closed the connection during the handshake")  # noqa: TRY301 - told as the others are
            early = layer.receive(data)
            _send(sock, layer, deadline)
    except TimeoutError:
        raise TlsError(str(address), "the server did not finish the handshake in time") from None
    except OSError as error:
        with contextlib.suppress(OSError):
            _send(sock, layer, deadline)  # the alert, so that the server can log the reason too
        raise TlsError(str(address), error.strerror or str(error)) from error
    sock.settimeout(0.0)
    return layer, early


def _send(sock: socket.socket, layer: ClientTlsLayer, deadline: float) -> None:
    """Send the handshake's own octets."""
    sock.settimeout(_left(deadline))
    sock.sendall(b"".join(layer.send([])))


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), _SHORTEST)
