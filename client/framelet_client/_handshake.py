"""The handshake of TLS over a socket, which is all that comes before the engine has it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from .errors import TlsError

if TYPE_CHECKING:
    import socket

    from framelet import TlsAddress

    from .tls import ClientTls, ClientTlsLayer

_RECEIVE_SIZE = 65_536
_SHORTEST = 0.001  # a time-out of 0 would mean "do not wait at all" to the socket


def shake_hands(
    sock: socket.socket, tls: ClientTls, address: TlsAddress, deadline: float
) -> tuple[ClientTlsLayer, bytes]:
    """TLS that is established, and what the server has sent behind its handshake already.

    Raises TlsError that says why there is none, by the deadline on the monotonic clock.  The socket is
    non-blocking before and after.
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
            _send(sock, layer, deadline)  # the alert, so that the server knows why as well
        raise TlsError(str(address), error.strerror or str(error)) from error
    sock.settimeout(0.0)
    return layer, early


def _send(sock: socket.socket, layer: ClientTlsLayer, deadline: float) -> None:
    """Send what the handshake has to say."""
    sock.settimeout(_left(deadline))
    sock.sendall(b"".join(layer.send([])))


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), _SHORTEST)
