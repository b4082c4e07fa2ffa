"""The threading server and client of websockets, without compression: it would cost them time here."""

# pyright: reportMissingImports=false
# (the package may be missing, or without types)
from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from websockets.sync.client import connect as open_websocket
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as open_server

from .common import Exchange, Options, announce, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def serve(options: Options) -> None:
    """Serve until terminated."""
    handle = options.handler()

    def answer(connection: ServerConnection) -> None:
        for text in connection:
            assert isinstance(text, str)  # noqa: S101 - the clients send text
            connection.send(handle(text))

    with open_server(answer, "127.0.0.1", 0, compression=None) as server:
        announce(server.socket.getsockname()[1])
        server.serve_forever()


@contextlib.contextmanager
def connect(port: int) -> Iterator[Callable[[str], str]]:
    """One request at a time."""
    with open_websocket(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as connection:

        def request(text: str) -> str:
            connection.send(text)
            return str(connection.recv())

        yield request


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """A window of requests, then their replies."""
    with open_websocket(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as connection:
        replies: list[str] = []
        started = time.perf_counter()
        for window in windows(texts):
            for text in window:
                connection.send(text)
            replies += [str(connection.recv()) for _ in window]
        return Exchange(time.perf_counter() - started, replies)
