"""No client can make a worker spin: what stays ready and is not wanted is not asked for."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Gate, Peer

    from framelet_server import Server

    Connect = Callable[..., Peer]

WINDOW = 0.1
"""Seconds of watching, in which a worker that spins is woken a thousand times."""

FEW = 20

BODY = b"x" * 100_000
REQUEST = encode(FrameType.REQUEST, BODY)
MANY = 100
"""REQUESTs whose answers are more than the system holds for a client, so that the server holds some."""

SMALL = (socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)


class Workers:
    """Starts a server and counts how often its workers are woken."""

    def __init__(self, start: Callable[..., Server], poller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.serve = start
        self._woken = 0
        begin = poller.__init__

        def counted(made: Any) -> None:
            begin(made)
            poll = made.poll

            def counting(timeout: float, most: int) -> Any:
                ready = poll(timeout, most)
                self._woken += timeout != 0  # else it is awake anyway
                return ready

            made.poll = counting

        monkeypatch.setattr(poller, "__init__", counted)

    def woken(self, seconds: float) -> int:
        before = self._woken
        threading.Event().wait(seconds)  # what happens in this time is what is measured
        return self._woken - before

    def are_quiet(self) -> bool:
        return self.woken(WINDOW) < FEW


@pytest.fixture(params=["tcp", "unix"])
def workers(
    request: pytest.FixtureRequest, serve: Any, poller: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workers:
    """A server on each kind of socket that hangs up in its own way, with each poller."""
    address = "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path / 'server.sock'}"

    def start(*args: Any, **limits: Any) -> Server:
        return serve(*args, poller=poller, address=address, **limits)  # type: ignore[no-any-return]  # a fixture

    return Workers(start, poller, monkeypatch)


@pytest.fixture
def settle(workers: Workers, until: Any) -> Callable[[], None]:
    """Wait until the workers have nothing to do."""
    return lambda: until(lambda: workers.woken(0.02) == 0)


def test_idle_connections(workers: Workers, connect: Connect) -> None:
    server = workers.serve()
    peers = [connect(server) for _ in range(20)]
    assert [peer.ask("ab") for peer in peers] == ["ba"] * 20
    assert workers.are_quiet()


def test_a_part_of_a_frame(workers: Workers, connect: Connect) -> None:
    peer = connect(workers.serve())
    peer.send(REQUEST[:500])
    peer.await_receipt()
    assert workers.are_quiet()


def test_a_half_closed_client_that_does_not_read_its_answers(
    workers: Workers, connect: Connect, settle: Any
) -> None:
    peer = connect(workers.serve(max_unsent=100_000_000), SMALL)
    peer.send(REQUEST * MANY)
    peer.end()
    settle()
    assert workers.are_quiet()
    assert len(peer.rest()) == MANY


def test_a_client_that_is_not_read_because_it_reads_nothing(workers: Workers, connect: Connect) -> None:
    peer = connect(workers.serve(max_unsent=10_000), SMALL)
    peer.sock.settimeout(WINDOW)
    with contextlib.suppress(TimeoutError):
        peer.send(REQUEST * 200)
    assert workers.are_quiet()


@pytest.mark.req("REQ-ERROR-8")
def test_a_refused_client_that_goes_on_sending_and_reads_nothing(workers: Workers, connect: Connect) -> None:
    # Answers wait, so FIN cannot be sent yet; and input waits, which nobody takes before.
    peer = connect(workers.serve(max_unsent=100_000_000), SMALL)
    peer.send(REQUEST * MANY)
    peer.send(encode(0x00))
    peer.sock.settimeout(WINDOW)
    with contextlib.suppress(TimeoutError):
        peer.send(REQUEST * 200)
    assert workers.are_quiet()
    peer.sock.settimeout(20)
    assert [frame.body for frame in peer.take(MANY)] == [BODY] * MANY
    assert peer.error() == 501
    assert peer.receive() is None


def test_a_refused_client_that_ends_its_stream_and_reads_nothing(
    workers: Workers, connect: Connect, settle: Any
) -> None:
    peer = connect(workers.serve(max_unsent=100_000_000), SMALL)
    peer.send(REQUEST * MANY)
    peer.send(encode(0x00))
    settle()
    peer.end()
    assert workers.are_quiet()


@pytest.mark.req("REQ-STOP-7")
def test_a_client_that_goes_on_sending_and_reads_nothing_in_a_drain(
    workers: Workers, connect: Connect, until: Any
) -> None:
    server = workers.serve(max_unsent=100_000_000)
    peer = connect(server, SMALL)
    peer.send(REQUEST * MANY)
    until(lambda: server.metrics().frames == MANY)
    server.begin_drain()
    peer.sock.settimeout(WINDOW)
    with contextlib.suppress(TimeoutError):
        peer.send(REQUEST * 200)
    assert workers.are_quiet()
    peer.sock.settimeout(20)
    assert len(peer.rest()) >= MANY


@pytest.mark.req("REQ-STOP-8", "REQ-STOP-10")
@pytest.mark.parametrize("ended", [False, True])
def test_clients_that_wait_for_stopped(
    workers: Workers, connect: Connect, gate: Gate, *, ended: bool
) -> None:
    server = workers.serve(
        gate,
    )
    busy, stopper = connect(server), connect(server)
    busy.request("block")
    gate.await_entry()
    stopper.send(encode(FrameType.STOP))
    if ended:
        stopper.end()
    else:
        stopper.send(REQUEST * 10)
    assert workers.are_quiet()
    gate.open()
    assert busy.replies(1) == ["kcolb"]
    assert stopper.take(1)[0].type == FrameType.STOPPED


def test_a_client_that_lingers(workers: Workers, connect: Connect) -> None:
    peer = connect(workers.serve(linger_timeout=20))
    peer.send(encode(0x00))
    assert peer.error() == 501
    assert peer.receive() is None
    assert workers.are_quiet()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_goes_away_while_its_answers_wait(
    workers: Workers, connect: Connect, settle: Any, how: str
) -> None:
    server = workers.serve(max_unsent=100_000_000)
    peer = connect(server, SMALL)
    peer.send(REQUEST * MANY)
    peer.end()
    settle()
    getattr(peer, how)()
    assert workers.are_quiet()


def test_many_workers_busy_and_the_rest_waiting(workers: Workers, connect: Connect, gate: Gate) -> None:
    server = workers.serve(gate, threads=2)
    peers = [connect(server) for _ in range(10)]
    for peer in peers:
        peer.request("block")
    gate.await_entry()
    gate.await_entry()
    assert workers.are_quiet()
    gate.open()
    assert [peer.replies(1) for peer in peers] == [["kcolb"]] * 10
