"""Clients that ask together and then wait together, by blocking sockets, in this process."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Self

from .processes import BenchmarkError

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
PATIENCE = 20.0
"""Seconds that a reply may take."""


class Lockstep:
    """A number of connections, each with so many requests in flight in each round."""

    def __init__(
        self,
        port: int,
        octets: tuple[bytes, bytes],
        connections: int = 1,
        window: int = 1,
        authority: Path | None = None,
    ) -> None:
        """Connect; ``octets`` are those of a request and its reply; with the authority's file, speak TLS."""
        self._requests, self._replies = octets[0] * window, octets[1] * window
        self.requests = connections * window
        """Of one round."""
        self._stack = contextlib.ExitStack()
        self._socks = []
        with contextlib.ExitStack() as failed:
            failed.callback(self.close)
            for _ in range(connections):
                sock = socket.create_connection((HOST, port), PATIENCE)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if authority is not None:
                    context = ssl.create_default_context(cafile=authority)
                    sock = context.wrap_socket(sock, server_hostname=HOST)
                self._socks.append(self._stack.enter_context(sock))
            failed.pop_all()

    def round(self) -> None:
        """Ask on all connections, then take all replies; raises BenchmarkError unless they are right."""
        try:
            for sock in self._socks:
                sock.sendall(self._requests)
            for sock in self._socks:
                self._take_replies(sock)
        except OSError as error:
            message = f"a connection failed: {error}"
            raise BenchmarkError(message) from error

    def _take_replies(self, sock: socket.socket) -> None:
        received = b""
        while len(received) < len(self._replies):
            data = sock.recv(len(self._replies) - len(received))
            if not data:
                raise BenchmarkError("the server closed a connection with replies outstanding")
            received += data
        if received != self._replies:
            raise BenchmarkError("a reply is wrong")

    def close(self) -> None:
        """Close all connections."""
        self._stack.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close all connections."""
        self.close()
