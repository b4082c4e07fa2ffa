"""A client that reads nothing, with a socket so full that the poller reports no room, though it takes more.

Whatever is due to it then goes on: it must not wait until the client reads, which may be never.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from framelet import HEADER_SIZE, FrameType, encode, reverse
from framelet_server.connection import event_turn

from .peers import refuses_connections, sessions
from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .peers import Connect, Peer, Serve

STEP = 4_096
WINDOW = 0.1
"""Seconds in which octets that are under way arrive, and are confirmed."""

SMALL = (socket.SOL_SOCKET, socket.SO_RCVBUF, STEP)


@pytest.fixture
def fill(connect: Connect) -> Callable[[Any], tuple[Peer, Any]]:
    """Connect, and ask until the poller reports no room; the client, and the server's session with it."""

    def ask(server: Any) -> tuple[Peer, Any]:
        peer = connect(server, SMALL)
        until(lambda: sessions(server))
        (session,) = sessions(server)
        transport = session.transport
        transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * STEP)  # else it grows
        asked: list[int] = []
        while becomes_writable(transport):
            asked.append(STEP)
            peer.request("x" * (STEP - HEADER_SIZE))
            until(lambda: transport.sent == sum(asked))
        return peer, session

    return ask


def becomes_writable(transport: Any) -> bool:
    """Whether the poller would report room, at the latest when what is under way has come to the client."""
    end = time.monotonic() + WINDOW
    while not transport.writable:
        if time.monotonic() > end:
            return False
    return True


async def reverse_later(text: str) -> str:
    """What no eager task can answer at once."""
    await asyncio.sleep(0)
    return reverse(text)


@pytest.fixture(params=["executor", "loop"])
def elsewhere(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Any]:
    """A server whose answers are made by others than its workers."""
    if request.param == "loop":
        yield serve(reverse_later, in_loop=True)
        return
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        yield serve(executor=pool)


def test_an_answer_made_elsewhere_is_sent(elsewhere: Any, fill: Callable[[Any], Any]) -> None:
    peer, session = fill(elsewhere)
    before = session.transport.sent
    peer.request("ab")
    until(lambda: session.transport.sent == before + HEADER_SIZE + 2)


@pytest.mark.parametrize("in_loop", [False, True])
def test_a_turn_that_was_cut_short_goes_on(
    *, in_loop: bool, serve: Serve, fill: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_turn, "LONGEST", 0.0)
    server = serve(handlers={0xC0: reverse}, in_loop=in_loop)
    peer, session = fill(server)
    peer.send(encode(0xC0, b"ab") * 3, encode(FrameType.STOP))
    until(lambda: session.fin_sent)
    assert refuses_connections(server.address)


@pytest.mark.parametrize("in_loop", [False, True])
def test_a_drain_ends_the_connection(*, in_loop: bool, serve: Serve, fill: Callable[[Any], Any]) -> None:
    server = serve(in_loop=in_loop, linger_timeout=60.0)
    _, session = fill(server)
    server.begin_drain()
    until(lambda: session.fin_sent)


@pytest.mark.parametrize("in_loop", [False, True])
def test_the_maximum_age_ends_the_connection(
    *, in_loop: bool, serve: Serve, fill: Callable[[Any], Any]
) -> None:
    server = serve(in_loop=in_loop, linger_timeout=60.0, max_age=1.0)
    _, session = fill(server)
    until(lambda: session.fin_sent)
