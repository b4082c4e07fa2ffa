"""The standard library's framed connections, with a thread for each, and octets instead of pickles."""

from __future__ import annotations

import contextlib
import threading
import time
from multiprocessing.connection import Client, Connection, Listener
from typing import TYPE_CHECKING

from .common import Exchange, Options, announce, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def serve(options: Options) -> None:
    """Serve until terminated."""
    handle = options.handler()

    def answer(connection: Connection) -> None:
        with contextlib.suppress(EOFError, ConnectionError), connection:
            while True:
                connection.send_bytes(handle(connection.recv_bytes().decode()).encode())

    with Listener(("127.0.0.1", 0), backlog=1024) as listener:
        announce(int(listener.address[1]))
        while True:
            threading.Thread(target=answer, args=(listener.accept(),), daemon=True).start()


@contextlib.contextmanager
def connect(port: int) -> Iterator[Callable[[str], str]]:
    """One request at a time."""
    with Client(("127.0.0.1", port)) as connection:

        def request(text: str) -> str:
            connection.send_bytes(text.encode())
            return connection.recv_bytes().decode()

        yield request


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """A window of requests, then their replies."""
    with Client(("127.0.0.1", port)) as connection:
        replies: list[str] = []
        started = time.perf_counter()
        for window in windows(texts):
            for text in window:
                connection.send_bytes(text.encode())
            replies += [connection.recv_bytes().decode() for _ in window]
        return Exchange(time.perf_counter() - started, replies)
