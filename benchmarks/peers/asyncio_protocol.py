"""A Protocol of asyncio on both sides; a user who writes one joins what goes out together."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, cast

from .common import HEADER, REPLY, REQUEST, WINDOW, Exchange, Options, announce, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Framed(asyncio.Protocol):
    """Cuts the stream into bodies."""

    def __init__(self) -> None:
        """Nothing received."""
        self.received = bytearray()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand over the bodies of all whole frames."""
        received = self.received
        received += data
        bodies: list[bytes] = []
        start, size = 0, len(received)
        while size - start >= HEADER:
            end = start + HEADER + int.from_bytes(received[start + 1 : start + HEADER])
            if end > size:
                break
            bodies.append(bytes(received[start + HEADER : end]))
            start = end
        del received[:start]
        if bodies:
            self.bodies_received(bodies)

    def bodies_received(self, bodies: list[bytes]) -> None:
        """What came together."""
        raise NotImplementedError


class Answerer(Framed):
    """The server's side."""

    def __init__(self, handle: Callable[[str], str]) -> None:
        """Not connected yet."""
        super().__init__()
        self.handle = handle

    def bodies_received(self, bodies: list[bytes]) -> None:
        """Answer."""
        handle = self.handle
        self.transport.write(b"".join([frame(REPLY, handle(body.decode()).encode()) for body in bodies]))


class Asker(Framed):
    """The client's side: keeps a window of requests under way."""

    def __init__(self, texts: Sequence[str], window: int) -> None:
        """Not connected yet."""
        super().__init__()
        self.texts = texts
        self.replies: list[str] = []
        self.sent = 0
        self.window = window
        self.done = asyncio.get_running_loop().create_future()

    def ask(self, count: int) -> None:
        """Send the next texts."""
        texts = self.texts[self.sent : self.sent + count]
        self.sent += len(texts)
        if texts:
            self.transport.write(b"".join([frame(REQUEST, text.encode()) for text in texts]))

    def bodies_received(self, bodies: list[bytes]) -> None:
        """Keep the replies, and ask for as many more."""
        self.replies += [body.decode() for body in bodies]
        self.ask(len(bodies))
        if len(self.replies) == len(self.texts):
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Too early, unless all is there."""
        if not self.done.done():
            self.done.set_exception(exc or EOFError("the server closed the connection"))


async def run_server(handle: Callable[[str], str]) -> None:
    """Serve until terminated."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Answerer, handle), "127.0.0.1", 0, backlog=1024)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def exchange(port: int, texts: Sequence[str], window: int) -> Exchange:
    """All texts."""
    loop = asyncio.get_running_loop()
    _, asker = await loop.create_connection(lambda: Asker(texts, window), "127.0.0.1", port)
    started = time.perf_counter()
    asker.ask(window)
    await asker.done
    seconds = time.perf_counter() - started
    asker.transport.close()
    return Exchange(seconds, asker.replies)


def serve(options: Options) -> None:
    """Serve until terminated."""
    assert not options.delay  # noqa: S101 - a handler that blocks would stop the loop
    asyncio.run(run_server(options.handler()))


def ping_pong(port: int, texts: Sequence[str]) -> Exchange:
    """One request at a time."""
    return asyncio.run(exchange(port, texts, 1))


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """A window of requests."""
    return asyncio.run(exchange(port, texts, WINDOW))
