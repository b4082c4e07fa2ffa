"""How fast codec and server are, as ratios against something else in the same run.

Absolute figures change from machine to machine and from minute to minute; the ratios hold better.  Every
reply is compared with what it must be.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import selectors
import socket
import statistics
import sys
import time
from typing import TYPE_CHECKING, cast

from framelet import HEADER_SIZE, FrameDecoder, FrameType, ServerLimits, TcpAddress, encode, grammar
from framelet_server import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

ROUNDS = 3
BODY = bytes(range(32, 96))
REQUEST = encode(FrameType.REQUEST, BODY)
REPLY = encode(FrameType.REPLY, BODY[::-1])
MEBI = 1 << 20


def main() -> None:
    """Measure and print."""
    print(f"Python {sys.version.split()[0]}, median of {ROUNDS} interleaved rounds\n")
    codec()
    servers()


def codec() -> None:
    """Decode the same frames by the codec and by the grammar that it is derived from."""
    count = 2_000
    wire = REQUEST * count

    def by_codec() -> None:
        decoder = FrameDecoder()
        decoder.receive_data(wire)
        assert len(decoder.take_frames()) == count  # noqa: S101 - a benchmark checks its work

    def by_grammar() -> None:
        frames = grammar.parse_body(grammar.RawFrame[count], wire)
        assert len(frames) == count  # noqa: S101 - a benchmark checks its work

    def in_pieces(size: int) -> float:
        wire = encode(FrameType.REQUEST, bytes(size))
        decoder = FrameDecoder(max_body=size)
        started = time.perf_counter()
        for start in range(0, len(wire), 1448):
            decoder.receive_data(wire[start : start + 1448])
        assert len(decoder.take_frames()) == 1  # noqa: S101 - a benchmark checks its work
        return time.perf_counter() - started

    fast, slow = compare(by_codec, by_grammar)
    print(f"decode 64-octet frames    {count / fast:12,.0f} /s   {slow / fast:6.1f} x the Construct grammar")
    ratio = statistics.median(in_pieces(64 * MEBI) / in_pieces(MEBI) for _ in range(ROUNDS))
    print(f"64 MiB body in segments   {ratio:15.1f} x the time of 1 MiB (linear: 64)\n")


def servers() -> None:
    """Load the server and an asyncio server that does the same work."""
    with served(framelet_peer) as framelet, served(asyncio_peer) as peer:
        for title, load, count in (
            ("1 connection, ping-pong", ping_pong, 5_000),
            ("64 connections, ping-pong", many, 10_000),
            ("1 connection, pipelined", pipelined, 100_000),
            ("1 MiB bodies", large, 50),
        ):
            ours, theirs = compare(lambda: load(framelet, count), lambda: load(peer, count))  # noqa: B023 - called at once
            print(f"{title:25} {count / ours:12,.0f} /s   {theirs / ours:6.2f} x asyncio streams")


def compare(ours: Callable[[], None], theirs: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of each, run in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for work, kept in zip((ours, theirs), times, strict=True):
            started = time.perf_counter()
            work()
            kept.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


class served:  # noqa: N801 - used like a function, in a with statement
    """A server in a process of its own; its port."""

    def __init__(self, peer: Callable[[Connection], None]) -> None:
        """Not started yet."""
        context = multiprocessing.get_context("spawn")
        self._control, theirs = context.Pipe()
        self._process = context.Process(target=peer, args=(theirs,))

    def __enter__(self) -> int:
        """Start it, and wait until it listens."""
        self._process.start()
        port: int = self._control.recv()
        return port

    def __exit__(self, *error: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.join()


def framelet_peer(control: Connection) -> None:
    """Serve until terminated."""
    with Server(("127.0.0.1", 0), limits=ServerLimits(threads=4)) as server:
        assert isinstance(server.address, TcpAddress)  # noqa: S101 - as asked for
        control.send(server.address.port)
        server.wait()


def asyncio_peer(control: Connection) -> None:
    """Serve the same frames by asyncio streams, until terminated."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                header = await reader.readexactly(HEADER_SIZE)
                body = await reader.readexactly(int.from_bytes(header[1:]))
                reply = body.decode()[::-1].encode()
                writer.write(encode(FrameType.REPLY, reply))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        control.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def connect(port: int) -> socket.socket:
    """A connection without delays."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def expect(sock: socket.socket, reply: bytes) -> None:
    """Read exactly one reply and compare it."""
    received = bytearray()
    while len(received) < len(reply):
        received += sock.recv(len(reply) - len(received)) or b"\0" * len(reply)
    if received != reply:
        raise SystemExit("a reply differs from what it must be")


def ping_pong(port: int, count: int) -> None:
    """One request at a time."""
    with connect(port) as sock:
        for _ in range(count):
            sock.sendall(REQUEST)
            expect(sock, REPLY)


def many(port: int, count: int) -> None:
    """One request at a time on each of many connections."""
    connections = 64
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        sock = connect(port)
        sock.sendall(REQUEST)
        selector.register(sock, selectors.EVENT_READ)
    left = count - connections
    while selector.get_map():
        for key, _ in selector.select():
            sock = cast("socket.socket", key.fileobj)
            expect(sock, REPLY)
            if left > 0:
                left -= 1
                sock.sendall(REQUEST)
            else:
                selector.unregister(sock)
                sock.close()
    selector.close()


def pipelined(port: int, count: int) -> None:
    """Up to 1,000 requests at a time."""
    window = 1_000
    with connect(port) as sock:
        for _ in range(0, count, window):
            sock.sendall(REQUEST * window)
            expect(sock, REPLY * window)


def large(port: int, count: int) -> None:
    """Large bodies, one at a time."""
    body = (b"The quick brown fox jumps over the lazy dog. " * 24_000)[:MEBI]
    request, reply = encode(FrameType.REQUEST, body), encode(FrameType.REPLY, body[::-1])
    with connect(port) as sock:
        for _ in range(count):
            sock.sendall(request)
            expect(sock, reply)


if __name__ == "__main__":
    main()
