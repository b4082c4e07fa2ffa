# pyright: strict
"""What a user's program may look like: `make lint` holds it to pyright and mypy at their strictest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from framelet import (
    ClientConnection,
    Connection,
    ErrorAnswer,
    ErrorCode,
    ErrorReceived,
    FormatFrame,
    FrameFormat,
    HandlerError,
    ReplyReceived,
    RequestReceived,
    ServerConnection,
    ServerEvent,
    grammar,
    reverse,
)
from framelet_client import AnswerError, Client, ClientLimits, Pool
from framelet_client.asyncio import connect
from framelet_server import AsyncHandler, CallContext, Handler, Server, ServerLimits, StopPolicy
from framelet_server.asyncio import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def shout(text: str, context: CallContext) -> str:
    if text == "room":
        raise HandlerError(460, "no such room")
    return text.upper() if context.deadline is None and not context.cancelled else ""


def flush(connection: Connection) -> bytes:
    return connection.data_to_send(0.0)


def answer(server: ServerConnection, event: ServerEvent) -> None:
    if isinstance(event, RequestReceived):
        server.send_reply(event, reverse(event.text))


def relay(server: ServerConnection, event: RequestReceived, received: ErrorReceived) -> None:
    if received.code == ErrorCode(499) or received.code is ErrorCode.NO_HANDLER or received.code.fatal:
        server.send_error(event, 450, received.text)
    else:
        server.send_error(event, received.code)
    server.queue_replies([ErrorAnswer(received.code), "text"])


def by_hand() -> str:
    client, server = ClientConnection(now=0.0), ServerConnection(now=0.0)
    client.send_request("hello")
    server.receive_data(flush(client), 0.0)
    while (event := server.next_event()) is not None:
        answer(server, event)
    client.receive_data(flush(server), 0.0)
    found = client.next_event()
    return found.text if isinstance(found, ReplyReceived) else ""


def frames_of(stream: bytes) -> list[FormatFrame]:
    own = FrameFormat(grammar.FrameHeader, max_body=1_000)
    decoder = own.decoder()
    frames = decoder.receive_data(stream)
    decoder.receive_eof()
    return frames


async def shout_later(text: str) -> str:
    await asyncio.sleep(0)
    return text.upper()


async def texts() -> AsyncIterator[str]:
    yield "a"
    yield "b"


async def in_a_loop() -> list[str]:
    handler: AsyncHandler = shout_later
    async with serve(handler, ("127.0.0.1", 0)) as server, connect(server.address) as client:
        replies = await asyncio.gather(client.request("x"), client.request("y"))
        return [*replies, *[reply async for reply in client.pipeline(texts())]]


def main() -> list[str]:
    handler: Handler = shout
    printed: list[str] = []
    limits = ServerLimits(threads=1, linger_timeout=0.1)
    with (
        Server(("127.0.0.1", 0), handler, limits=limits, stop_policy=StopPolicy.off()) as server,
        Client(server.address, limits=ClientLimits(answer_timeout=20.0)) as client,
        Pool(server.address, size=1) as pool,
    ):
        printed.append(pool.request("hi", idempotent=True))
        printed.append(client.request("hello"))
        try:
            client.request("room")
        except AnswerError as error:
            printed.append(f"{error.code} {error.text}")
    frames = [f"{frame.header['type']} {frame.body!r}" for frame in frames_of(b"\1\0\0\0\1a")]
    return [*printed, by_hand(), *asyncio.run(in_a_loop()), *frames]
