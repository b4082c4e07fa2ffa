"""The bound for any server in Python: one thread around ``select.epoll``, and nothing that can be left out.

It has no deadlines, no limits, and no error but that of a client that has gone.  It has no client of its own:
a blocking socket asks it.
"""

from __future__ import annotations

import select
import socket
import struct
from typing import TYPE_CHECKING

from .common import REPLY, Options, announce
from .threading_tcp import connect, pipelined

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["connect", "pipelined", "serve"]

HEADER = struct.Struct(">BI")
MOST = 65_536
"""Octets of one read."""


class Connection:
    """A client: its unfinished frame, and the answers that it has not taken."""

    __slots__ = ("handle", "poller", "received", "sock", "unsent")

    def __init__(self, sock: socket.socket, poller: select.epoll, handle: Callable[[str], str]) -> None:
        """Wait for its first request."""
        self.sock = sock
        self.poller = poller
        self.handle = handle
        self.received = bytearray()
        self.unsent = memoryview(b"")
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poller.register(sock, select.EPOLLIN)

    def ready(self) -> bool:
        """Read once, and answer what is complete by one send; False once the client has closed."""
        if self.unsent:
            self.send_rest()
            return True
        data: bytes | bytearray = self.sock.recv(MOST)
        if not data:
            return False
        if self.received:
            self.received += data
            data = self.received
        unpack, pack, handle = HEADER.unpack_from, HEADER.pack, self.handle
        replies: list[bytes] = []
        start, body, size = 0, HEADER.size, len(data)
        while body <= size and (end := body + unpack(data, start)[1]) <= size:
            answer = handle(data[body:end].decode()).encode()
            replies += (pack(REPLY, len(answer)), answer)
            start, body = end, end + HEADER.size
        if data is self.received:
            del self.received[:start]
        elif start < size:
            self.received += data[start:]
        if replies:
            self.send(b"".join(replies))
        return True

    def send(self, answers: bytes) -> None:
        """Send what the socket takes; with a rest, the client is not read before it has taken it."""
        try:
            sent = self.sock.send(answers)
        except BlockingIOError:
            sent = 0
        if sent < len(answers):
            self.unsent = memoryview(answers)[sent:]
            self.poller.modify(self.sock, select.EPOLLOUT)

    def send_rest(self) -> None:
        """Go on with what did not fit into the socket's buffer."""
        self.unsent = self.unsent[self.sock.send(self.unsent) :]
        if not self.unsent:
            self.poller.modify(self.sock, select.EPOLLIN)


def serve(options: Options) -> None:
    """Serve until terminated."""
    assert not options.delay  # noqa: S101 - a handler that blocks would stop the loop
    handle = options.handler()
    connections: dict[int, Connection] = {}
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener, select.epoll() as poller:
        poller.register(listener, select.EPOLLIN)
        announce(listener.getsockname()[1])
        while True:
            for number, _ in poller.poll():
                if number == listener.fileno():
                    sock, _ = listener.accept()
                    connections[sock.fileno()] = Connection(sock, poller, handle)
                    continue
                try:
                    open_still = connections[number].ready()
                except ConnectionError:
                    open_still = False
                if not open_still:
                    connections.pop(number).sock.close()
