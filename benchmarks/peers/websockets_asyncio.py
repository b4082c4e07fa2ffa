"""The asyncio server and client of websockets, without compression: it would cost them time here."""

# pyright: reportMissingImports=false
# (the package may be missing, or without types)
from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as open_server

from .common import Exchange, Options, announce, windows

if TYPE_CHECKING:
    from collections.abc import Sequence


def serve(options: Options) -> None:
    """Serve until terminated."""
    assert not options.delay  # noqa: S101 - a handler that blocks would stop the loop
    handle = options.handler()

    async def answer(connection: ServerConnection) -> None:
        async for text in connection:
            assert isinstance(text, str)  # noqa: S101 - the clients send text
            await connection.send(handle(text))

    async def run() -> None:
        async with open_server(answer, "127.0.0.1", 0, compression=None) as server:
            announce(next(iter(server.sockets)).getsockname()[1])
            await server.serve_forever()

    asyncio.run(run())


async def _exchange(port: int, parts: Sequence[Sequence[str]]) -> Exchange:
    """Write each part at once, then read its replies."""
    async with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as connection:
        replies: list[str] = []
        started = time.perf_counter()
        for part in parts:
            for text in part:
                await connection.send(text)
            replies += [str(await connection.recv()) for _ in part]
        return Exchange(time.perf_counter() - started, replies)


def ping_pong(port: int, texts: Sequence[str]) -> Exchange:
    """One request at a time."""
    return asyncio.run(_exchange(port, [[text] for text in texts]))


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """A window of requests, then their replies."""
    return asyncio.run(_exchange(port, list(windows(texts))))
