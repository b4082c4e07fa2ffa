"""Many clients: thousands served by four threads, thousands idle, and the ones that are too many."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameDecoder, FrameType, TcpAddress, encode

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Peer

    from framelet_server import Server

    from .peers import Connect, Serve


@pytest.fixture
def crowd() -> Iterator[Callable[[Server, int], list[socket.socket]]]:
    """Connect many plain sockets to a server."""
    socks: list[socket.socket] = []

    def connect(server: Server, count: int) -> list[socket.socket]:
        assert isinstance(server.address, TcpAddress)
        target = (server.address.host, server.address.port)
        socks.extend(socket.create_connection(target, timeout=20) for _ in range(count))
        return socks

    yield connect
    for sock in socks:
        sock.close()


def round_trips(socks: list[socket.socket]) -> int:
    """Send a text of its own on every socket, then wait for all replies; how many were right."""
    right = 0
    with selectors.DefaultSelector() as selector:
        for number, sock in enumerate(socks):
            sock.send(encode(FrameType.REQUEST, f"client {number}".encode()))
            expected = f"client {number}"[::-1].encode()
            selector.register(sock, selectors.EVENT_READ, (FrameDecoder(), expected))
        finish = time.monotonic() + 40
        while selector.get_map():
            assert time.monotonic() < finish, f"{len(selector.get_map())} clients have no reply"
            for key, _ in selector.select(timeout=1):
                decoder, expected = key.data
                assert isinstance(key.fileobj, socket.socket)
                decoder.receive_data(key.fileobj.recv(4_096))
                for frame in decoder.take_frames():
                    right += frame == (FrameType.REPLY, expected)
                    selector.unregister(key.fileobj)
    return right


def test_two_thousand_clients_are_served_by_four_threads(
    serve: Serve, room: Any, crowd: Any, poller: Any
) -> None:
    count = room(2_000)
    before = threading.active_count()
    socks = crowd(serve(poller=poller, threads=4), count)
    assert round_trips(socks) == count
    assert round_trips(socks) == count
    assert threading.active_count() == before + 5


@pytest.mark.slow
def test_ten_thousand_idle_connections_need_no_threads(serve: Serve, room: Any, crowd: Any) -> None:
    count = room(10_000)
    before = threading.active_count()
    server = serve(threads=2)
    socks = crowd(server, count)
    assert round_trips(socks[::100]) == len(socks[::100])
    assert threading.active_count() == before + 3
    assert count >= 1_000


@pytest.mark.req("REQ-FLOW-6", "REQ-ERROR-8")
def test_a_client_too_many_is_refused_and_room_is_given_when_one_leaves(
    serve: Serve, connect: Connect, poller: Any
) -> None:
    server = serve(poller=poller, max_connections=2)
    first, second = connect(server), connect(server)
    assert [first.ask("ab"), second.ask("ab")] == ["ba", "ba"]
    refused = connect(server)
    refused.request("too late")  # the refusal must survive what was on its way
    assert refused.error() == 507
    assert refused.receive() is None
    refused.close()
    assert first.ask("ab") == "ba"
    first.end()
    assert first.receive() is None
    assert welcome(connect, server).ask("ab") == "ba"


@pytest.mark.req("REQ-FLOW-6")
def test_refused_clients_that_do_not_leave_take_no_room(serve: Serve, connect: Connect) -> None:
    server = serve(max_connections=3, linger_timeout=1_000)
    peers = [connect(server) for _ in range(3)]
    assert [peer.ask("ab") for peer in peers] == ["ba"] * 3
    refused = [connect(server) for _ in range(5)]
    assert [peer.error() for peer in refused] == [507] * 5
    peers[0].end()
    assert peers[0].receive() is None
    assert welcome(connect, server).ask("ab") == "ba"


@pytest.mark.req("REQ-FLOW-6")
def test_refused_clients_are_bounded_too(serve: Serve, connect: Connect) -> None:
    # Otherwise those who were refused and stay would use up all descriptors.
    server = serve(max_connections=1, linger_timeout=1_000)
    first = connect(server)
    assert first.ask("ab") == "ba"
    told = closed = 0
    for _ in range(200):
        peer = connect(server)
        try:
            frame = peer.receive()
        except ConnectionResetError:
            frame = None
        if frame is None:
            closed += 1
        else:
            assert frame.body[:4] == b"507 "
            told += 1
    assert (told, closed) == (64, 136)
    assert first.ask("ab") == "ba"


def welcome(connect: Connect, server: Server) -> Peer:
    """Connect until the server has noticed that somebody left."""
    found: list[Peer] = []

    def accepted() -> bool:
        peer = connect(server)
        peer.send(encode(FrameType.PING))
        (frame,) = peer.take(1)
        found.append(peer)
        return frame.type == FrameType.PONG

    until(accepted)
    return found[-1]
