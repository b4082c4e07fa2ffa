"""The standard library's thread per connection, and a blocking socket as its client."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import time
from typing import TYPE_CHECKING

from .common import HEADER, REPLY, REQUEST, Exchange, Options, announce, frame, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO


def serve(options: Options) -> None:
    """Serve until terminated."""
    handle = options.handler()

    class Reverser(socketserver.StreamRequestHandler):
        """One connection."""

        disable_nagle_algorithm = True

        def handle(self) -> None:
            """Answer until the client closes."""
            with contextlib.suppress(ConnectionError):
                while header := self.rfile.read(HEADER):
                    body = self.rfile.read(int.from_bytes(header[1:]))
                    self.wfile.write(frame(REPLY, handle(body.decode()).encode()))

    class Threading(socketserver.ThreadingTCPServer):
        """A thread for each connection."""

        daemon_threads = True
        request_queue_size = 1024

    with Threading(("127.0.0.1", 0), Reverser) as server:
        announce(server.server_address[1])
        server.serve_forever()


@contextlib.contextmanager
def open_stream(port: int) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """A socket to write to, and a file to read from."""
    with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rb") as file:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock, file


def read_reply(file: BinaryIO) -> str:
    """The next one."""
    header = file.read(HEADER)
    return file.read(int.from_bytes(header[1:])).decode()


@contextlib.contextmanager
def connect(port: int) -> Iterator[Callable[[str], str]]:
    """One request at a time."""
    with open_stream(port) as (sock, file):

        def request(text: str) -> str:
            sock.sendall(frame(REQUEST, text.encode()))
            return read_reply(file)

        yield request


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """A window of requests, then their replies: as many fit into the buffers of the sockets."""
    with open_stream(port) as (sock, file):
        replies: list[str] = []
        started = time.perf_counter()
        for window in windows(texts):
            sock.sendall(b"".join([frame(REQUEST, text.encode()) for text in window]))
            replies += [read_reply(file) for _ in window]
        return Exchange(time.perf_counter() - started, replies)
