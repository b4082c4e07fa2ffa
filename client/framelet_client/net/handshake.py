"""The TLS handshake over a socket, before any frame is sent."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from framelet_client.errors import TlsError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from framelet import TlsAddress
    from framelet_client.tls import ClientTls, ClientTlsLayer

RECEIVE_SIZE = 65_536
_SHORTEST = 0.001  # a socket takes a time-out of 0 for "non-blocking"


def shake_hands(
    sock: socket.socket, tls: ClientTls, address: TlsAddress, deadline: float
) -> tuple[ClientTlsLayer, bytes]:
    """Established TLS, and the plain octets that came together with the end of the handshake.

    Raises TlsError that says what failed, at the latest at the deadline on the monotonic clock.  The socket
    is non-blocking before and after.
    """
    layer = tls.layer(address.host)
    with told_as_tls_error(sock, layer, address):
        early = layer.receive(b"")
        while True:
            sock.settimeout(_left(deadline))
            sock.sendall(b"".join(layer.send([])))
            if layer.established:
                break
            sock.settimeout(_left(deadline))
            early = take_in(layer, sock.recv(RECEIVE_SIZE))
    sock.settimeout(0.0)
    return layer, early


def take_in(layer: ClientTlsLayer, data: bytes) -> bytes:
    """Plain octets in what has come before the layer was established; raises OSError."""
    if not data:
        raise OSError(0, "the server closed the connection during the handshake")
    return layer.receive(data)


@contextlib.contextmanager
def told_as_tls_error(sock: socket.socket, layer: ClientTlsLayer, address: TlsAddress) -> Iterator[None]:
    """Around a handshake: raise TlsError for what fails in it."""
    try:
        yield
    except TimeoutError:
        raise TlsError(str(address), "the server did not finish the handshake in time") from None
    except OSError as error:
        sock.settimeout(0.0)
        with contextlib.suppress(OSError):
            sock.send(b"".join(layer.send([])))  # the alert, so that the server can log the reason too
        raise TlsError(str(address), error.strerror or str(error)) from error


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), _SHORTEST)
