"""Framelet inside an asyncio loop, on both sides."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from framelet import TcpAddress, TlsAddress
from framelet_client.asyncio import Client, connect
from framelet_server import ServerLimits
from framelet_server.asyncio import serve as serve_in_loop

from .common import Exchange, Options, announce
from .framelet import MAX_BODY, MAX_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence


def serve(options: Options) -> None:
    """Serve until terminated."""
    assert not options.delay  # noqa: S101 - a handler that blocks would stop the loop
    limits = ServerLimits(
        max_body=MAX_BODY,
        max_memory=16 * MAX_BODY,
        max_connections=MAX_CONNECTIONS,
        max_connections_per_address=MAX_CONNECTIONS,
    )

    async def run() -> None:
        async with serve_in_loop(options.handler(), ("127.0.0.1", 0), limits=limits) as server:
            assert isinstance(server.address, TcpAddress | TlsAddress)  # noqa: S101 - as asked for
            announce(server.address.port)
            await server.wait()

    asyncio.run(run())


async def _singly(client: Client, texts: Sequence[str]) -> list[str]:
    return [await client.request(text) for text in texts]


async def _many(client: Client, texts: Sequence[str]) -> list[str]:
    return [reply async for reply in client.pipeline(texts)]


async def _exchange(
    port: int, texts: Sequence[str], ask: Callable[[Client, Sequence[str]], Coroutine[None, None, list[str]]]
) -> Exchange:
    async with connect("127.0.0.1", port) as client:
        started = time.perf_counter()
        replies = await ask(client, texts)
        return Exchange(time.perf_counter() - started, replies)


def ping_pong(port: int, texts: Sequence[str]) -> Exchange:
    """One request at a time."""
    return asyncio.run(_exchange(port, texts, _singly))


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """The client's pipeline."""
    return asyncio.run(_exchange(port, texts, _many))
