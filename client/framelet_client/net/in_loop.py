"""Opens a connection in an asyncio loop: the same attempts and the same handshake, awaited."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from framelet import TlsAddress, UnixAddress

from .connect import Race, in_turn, path_of
from .handshake import RECEIVE_SIZE, take_in, told_as_tls_error
from .transport import OpenedConnection

if TYPE_CHECKING:
    from framelet import Address
    from framelet_client.tls import ClientTls, ClientTlsLayer


async def open_in_loop(address: Address, tls: ClientTls | None, timeout: float) -> OpenedConnection:  # noqa: ASYNC109 - one deadline for both steps
    """Connect, all within ``timeout`` seconds; raises ConnectError, or its TlsError."""
    deadline = asyncio.get_running_loop().time() + timeout
    sock = await _connect(address, timeout)
    if tls is None or not isinstance(address, TlsAddress):
        return OpenedConnection(sock, None, b"")
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        layer, early = await _shake_hands(sock, tls, address, deadline)
        undo.pop_all()
    return OpenedConnection(sock, layer, early)


async def _connect(address: Address, timeout: float) -> socket.socket:  # noqa: ASYNC109 - as above
    loop = asyncio.get_running_loop()
    with Race(address, timeout) as race:
        if isinstance(address, UnixAddress):
            race.enter(path_of(address))
        else:
            async with asyncio.timeout(timeout):
                found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            race.enter(in_turn(found))
        while race.winner is None:
            seconds = race.advance()
            for descriptor in await _ended(list(race.attempts), seconds):
                race.judge(descriptor)
        return race.winner


async def _ended(descriptors: list[int], seconds: float) -> list[int]:
    """Wait for attempts at a connection to end; those that have."""
    loop = asyncio.get_running_loop()
    found: list[int] = []
    first = asyncio.Event()

    def ended(descriptor: int) -> None:
        loop.remove_writer(descriptor)
        found.append(descriptor)
        first.set()

    try:
        for descriptor in descriptors:
            loop.add_writer(descriptor, ended, descriptor)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await first.wait()
    finally:
        for descriptor in descriptors:
            loop.remove_writer(descriptor)
    return found


async def _shake_hands(
    sock: socket.socket, tls: ClientTls, address: TlsAddress, deadline: float
) -> tuple[ClientTlsLayer, bytes]:
    """As ``shake_hands``; the deadline is on the loop's clock."""
    layer, loop = tls.layer(address.host), asyncio.get_running_loop()
    with told_as_tls_error(sock, layer, address):
        early = layer.receive(b"")
        async with asyncio.timeout_at(deadline):
            while True:
                await loop.sock_sendall(sock, b"".join(layer.send([])))
                if layer.established:
                    break
                early = take_in(layer, await loop.sock_recv(sock, RECEIVE_SIZE))
    return layer, early
