"""The system runs out of descriptors: the server goes on, does not spin, says so once, and recovers."""

from __future__ import annotations

import multiprocessing.connection
import os
import resource
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.peers import sessions

from framelet import Frame, FrameType, encode, parse_address

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tests.integration.conftest import Command, Peer

    from framelet_server import Server

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]
    Start = Callable[..., Command]

FEW = 40
"""Descriptors that the server may have; its own are about a dozen of them."""

REPLY = Frame(FrameType.REPLY, b"ba")


def allow_few() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW))


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_server_without_descriptors_serves_its_clients_and_recovers(
    command: Start, connect: Connect, until: Any
) -> None:
    server = command("--max-connections", "1000", preexec_fn=allow_few)
    address = parse_address(server.address())
    served = [connect(address) for _ in range(10)]
    assert [peer.ask("ab") for peer in served] == ["ba"] * 10
    crowd = [connect(address) for _ in range(100)]
    for peer in crowd:
        peer.request("ab")
    until(lambda: any("cannot accept" in line for line in server.errors))

    # It must not spin while nobody can be let in; an idle second costs next to nothing.
    before = cpu_seconds(server.process.pid)
    threading.Event().wait(1.0)  # what happens in this time is what is measured
    assert cpu_seconds(server.process.pid) - before < 0.5
    assert [peer.ask("ab") for peer in served] == ["ba"] * 10

    waiting = [peer for peer in crowd if not readable(peer.sock)]
    assert 60 < len(waiting) < 100
    for peer in served:
        peer.close()
    # Everybody gets a turn, as those before leave.
    for peer in crowd:
        assert peer.take(1) == [REPLY]
        peer.close()
    peer = connect(address)
    peer.send(encode(FrameType.REQUEST, b"ab"), encode(FrameType.STOP))
    assert peer.take(1) == [REPLY]
    peer.close()
    status, log = server.finish()
    assert status == 0
    assert "Traceback" not in log
    warned = [line for line in log.splitlines() if "cannot accept" in line]
    assert 1 <= len(warned) < 30, log


def readable(sock: socket.socket) -> bool:
    return bool(multiprocessing.connection.wait([sock], 0))


def test_clients_at_the_door_are_told_when_a_shortage_lasts(
    command: Start, connect: Connect, until: Any, tmp_path: Path
) -> None:
    # A descriptor is kept for this.  The server of this test loses patience sooner than others.
    (tmp_path / "impatient.py").write_text(
        "import framelet_server.pool.acceptor as listener\n"
        "listener._PATIENCE = 0.2\n"
        "def handler(text):\n"
        "    return text[::-1]\n"
    )
    server = command("--handler", "impatient:handler", "--max-connections", "1000", preexec_fn=allow_few)
    address = parse_address(server.address())
    crowd = [connect(address) for _ in range(200)]
    for peer in crowd:
        peer.request("ab")
    told = 0
    for peer in crowd:
        (frame,) = peer.take(1)
        if frame != REPLY:
            assert frame == (FrameType.ERROR, b"507 the system allows no further connection")
            assert peer.receive() is None
            told += 1
    assert 160 < told < 200
    for peer in crowd:
        peer.close()
    until(lambda: connect(address).served())
    late = connect(address)
    assert late.ask("ab") == "ba"
    server.process.send_signal(signal.SIGTERM)
    assert late.receive() is None
    late.close()
    status, log = server.finish()
    assert status == 0
    assert "Traceback" not in log


@pytest.mark.req("REQ-CLOSE-1")
def test_a_client_sees_the_end_though_a_process_that_was_forked_holds_its_socket(
    serve: Serve, connect: Connect, poller: Any
) -> None:
    server = serve(poller=poller)
    peer = connect(server)
    assert peer.ask("ab") == "ba"
    (session,) = sessions(server)
    with session.transport.sock.dup():  # what a fork does to every descriptor
        peer.end()
        assert peer.receive() is None
