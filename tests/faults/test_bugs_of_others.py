"""Bugs that other servers and clients shipped, each made to happen here by its name.

docs/operations.md has the whole list; those that another test shows already are named there.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import AnswerTimeoutError, ConnectionStateError, FrameletError, FrameType, encode
from framelet_client import Client, ClientLimits

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tests.integration.conftest import Gate, Peer, Script

    from framelet_server import Server

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]

PART = encode(FrameType.REQUEST, b"x" * 100)[:1]
REPLY = encode(FrameType.REPLY, b"eno")


def test_thrift_thread_pool_idle_connections_starve_the_next(
    serve: Serve, connect: Connect, poller: Any
) -> None:
    # Ten connections that say nothing took all ten threads.
    server = serve(poller=poller, threads=2)
    idle = [connect(server) for _ in range(50)]
    assert connect(server).ask("ab") == "ba"
    assert [peer.ask("ab") for peer in idle] == ["ba"] * 50


def test_gunicorn_and_cheroot_two_clients_of_one_octet_each_stop_a_pool_of_two(
    serve: Serve, connect: Connect, poller: Any
) -> None:
    server = serve(poller=poller, threads=2, frame_timeout=1_000.0)
    for _ in range(2):
        connect(server).send(PART)
    peer = connect(server)
    assert [peer.ask("ab") for _ in range(100)] == ["ba"] * 100


@pytest.mark.req("REQ-FRAME-4")
@pytest.mark.parametrize("size", [4_096, 8_192, 16_384, 65_536, 262_144])
@pytest.mark.parametrize("before", [1, 2, 3])
def test_thrift_nonblocking_a_part_that_is_a_multiple_of_the_read_size(
    serve: Serve, connect: Connect, size: int, before: int
) -> None:
    # The connection was closed, because a read that was filled to the brim was taken for its end.
    peer = connect(serve())
    frame = encode(FrameType.REQUEST, b"a" * (size * before + 100))
    peer.send(frame[: size * before])
    peer.await_receipt()
    peer.send(frame[size * before :])
    assert len(peer.replies(1)[0]) == size * before + 100


@pytest.mark.req("REQ-ERROR-7", "REQ-ERROR-5")
def test_waitress_what_is_read_ahead_of_a_request_at_work_does_not_touch_it(
    serve: Serve, connect: Connect, gate: Gate, poller: Any
) -> None:
    # Input that came while a handler worked could put a second thread on the same connection.
    server = serve(gate, poller=poller, threads=4)
    peer = connect(server)
    peer.request("block")
    gate.await_entry()
    peer.request("one")
    peer.send(encode(0x00), encode(FrameType.REQUEST, b"never"))
    peer.end()
    assert connect(server).ask("ab") == "ba"  # a worker had the time to look at it
    assert gate.seen == ["block", "ab"]
    gate.open()
    assert peer.replies(2) == ["kcolb", "eno"]
    assert peer.error() == 501
    assert peer.receive() is None
    assert "never" not in gate.seen


@pytest.mark.req("REQ-TIME-6")
def test_redis_py_a_reply_that_comes_after_its_timeout_is_never_anothers(scripted_server: Script) -> None:
    # CVE-2023-28858 and 28859: the next caller got the answer of the one who had given up.
    given_up = threading.Event()

    def late(sock: socket.socket) -> None:
        assert given_up.wait(20)
        sock.sendall(REPLY)

    script = scripted_server(8, late)
    with Client(script.host, script.port, limits=ClientLimits(answer_timeout=0.2)) as client:
        with pytest.raises(AnswerTimeoutError):
            client.request("one")
        given_up.set()
        with pytest.raises((ConnectionStateError, FrameletError)):
            client.request("two")


@pytest.mark.parametrize("length", [2**31 - 1, 2**31, 2**32 - 1, 2**32 - 5])
@pytest.mark.req("REQ-SIZE-4")
def test_nats_a_length_near_the_end_of_its_integer(serve: Serve, connect: Connect, length: int) -> None:
    # CVE-2026-27889: header and length added up overflowed.
    server = serve()
    peer = connect(server)
    peer.send(encode(FrameType.REQUEST, b"ab"), b"\x01" + length.to_bytes(4, "big"))
    assert peer.replies(1) == ["ba"]
    assert peer.error() == 503
    assert peer.receive() is None
    assert connect(server).ask("ab") == "ba"


def test_cpython_and_hypercorn_a_shutdown_does_not_wait_for_idle_clients(
    serve: Serve, connect: Connect, poller: Any
) -> None:
    # CPython #113538, hypercorn #308: the server waited for clients that had nothing to say, for ever.
    server = serve(poller=poller, drain_timeout=60.0, idle_timeout=600.0)
    idle = [connect(server) for _ in range(20)]
    assert [peer.ask("ab") for peer in idle] == ["ba"] * 20
    server.begin_drain()
    for peer in idle:
        assert peer.receive() is None
    assert server.wait(10)
