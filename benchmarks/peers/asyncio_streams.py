"""Streams of asyncio on both sides."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from .common import HEADER, REPLY, REQUEST, Exchange, Options, announce, frame, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence


async def answer(
    handle: Callable[[str], str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Serve one connection."""
    try:
        while True:
            header = await reader.readexactly(HEADER)
            body = await reader.readexactly(int.from_bytes(header[1:]))
            writer.write(frame(REPLY, handle(body.decode()).encode()))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def serve(options: Options) -> None:
    """Serve until terminated."""
    assert not options.delay  # noqa: S101 - a handler that blocks would stop the loop

    async def run() -> None:
        server = await asyncio.start_server(partial(answer, options.handler()), "127.0.0.1", 0, backlog=1024)
        announce(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def read_reply(reader: asyncio.StreamReader) -> str:
    """The next one."""
    header = await reader.readexactly(HEADER)
    return (await reader.readexactly(int.from_bytes(header[1:]))).decode()


async def ask_singly(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, texts: Sequence[str]
) -> list[str]:
    """One request at a time."""
    replies = []
    for text in texts:
        writer.write(frame(REQUEST, text.encode()))
        await writer.drain()
        replies.append(await read_reply(reader))
    return replies


async def ask_many(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, texts: Sequence[str]
) -> list[str]:
    """A window of requests, then their replies."""
    replies = []
    for window in windows(texts):
        for text in window:
            writer.write(frame(REQUEST, text.encode()))
        await writer.drain()
        replies += [await read_reply(reader) for _ in window]
    return replies


async def _exchange(
    port: int,
    texts: Sequence[str],
    ask: Callable[
        [asyncio.StreamReader, asyncio.StreamWriter, Sequence[str]], Coroutine[None, None, list[str]]
    ],
) -> Exchange:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.perf_counter()
    replies = await ask(reader, writer, texts)
    seconds = time.perf_counter() - started
    writer.close()
    await writer.wait_closed()
    return Exchange(seconds, replies)


def ping_pong(port: int, texts: Sequence[str]) -> Exchange:
    """One request at a time."""
    return asyncio.run(_exchange(port, texts, ask_singly))


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """A window of requests."""
    return asyncio.run(_exchange(port, texts, ask_many))
