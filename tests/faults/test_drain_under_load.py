"""A server is told to end while fifty clients have a thousand requests in flight each."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, encode, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Command, Peer

    Connect = Callable[..., Peer]
    Start = Callable[..., Command]

CLIENTS, REQUESTS = 50, 1_000
SERVER = """
import threading
counted, lock = 0, threading.Lock()

def handler(text):
    global counted
    with lock:
        counted += 1
        if counted == 2_000:
            print("under load", flush=True)
    return text[::-1]
"""


def text(client: int, number: int) -> str:
    return f"client {client} request {number}"


@pytest.mark.req("REQ-STOP-6", "REQ-STOP-7", "REQ-STOP-8")
@pytest.mark.parametrize("how", ["STOP", "SIGTERM", "SIGINT"])
def test_what_was_received_is_answered_once(
    command: Start, connect: Connect, tmp_path: Path, how: str
) -> None:
    (tmp_path / "slow.py").write_text(SERVER)
    server = command("--handler", "slow:handler", "--threads", "4", "--linger-timeout", "20")
    address = parse_address(server.address())
    peers = [connect(address) for _ in range(CLIENTS)]
    stopper = connect(address)
    octets = [
        b"".join(encode(FrameType.REQUEST, text(client, number).encode()) for number in range(REQUESTS))
        for client in range(CLIENTS)
    ]

    def talk(client: int) -> list[str]:
        """Write all, which fits into the system's buffers, and read up to the end."""
        peers[client].send(octets[client])
        peers[client].await_receipt()
        frames = peers[client].rest()
        peers[client].close()
        assert {frame.type for frame in frames} <= {FrameType.REPLY}
        return [frame.body.decode() for frame in frames]

    with ThreadPoolExecutor(CLIENTS) as pool:
        talks = [pool.submit(talk, client) for client in range(CLIENTS)]
        assert server.line() == "under load\n"
        if how == "STOP":
            stopper.send(encode(FrameType.STOP))
        else:
            server.process.send_signal(getattr(signal, how))
        replies = [each.result() for each in talks]
    for client, found in enumerate(replies):
        assert found == [text(client, number)[::-1] for number in range(len(found))]
    answered = sum(map(len, replies))
    assert answered >= 2_000  # all that was received: only a client that wrote late has fewer than it sent
    if how == "STOP":
        assert stopper.rest() == [(FrameType.STOPPED, f"closed={CLIENTS} cut=0".encode())]
    stopper.close()
    status, log = server.finish()
    assert status == 0
    assert "Traceback" not in log


@pytest.mark.req("REQ-STOP-7")
def test_what_the_system_has_received_counts_although_no_worker_has_seen_it(
    command: Start, connect: Connect, until: Any, tmp_path: Path
) -> None:
    # The workers are all busy when the signal comes; everything has been received by then.
    (tmp_path / "slow.py").write_text(
        "import os, time\n"
        "def handler(text):\n"
        "    if text.startswith('hold'):\n"
        "        open(text, 'w').close()\n"
        "        while not os.path.exists('go'):\n"
        "            time.sleep(0.01)\n"
        "    return text[::-1]\n"
    )
    server = command(
        "--handler", "slow:handler", "--threads", "2", "--linger-timeout", "20", "--log-level", "info"
    )
    address = parse_address(server.address())
    crowd = [connect(address) for _ in range(20)]
    assert [peer.ask("in") for peer in crowd] == ["ni"] * 20
    held = [connect(address) for _ in range(2)]
    for number, peer in enumerate(held):
        peer.request(f"hold{number}")
        until((tmp_path / f"hold{number}").exists)
    for client, peer in enumerate(crowd):
        peer.request(*(text(client, number) for number in range(REQUESTS)))
    for peer in crowd:
        peer.await_receipt()
    server.process.send_signal(signal.SIGTERM)
    until(lambda: any("draining" in line for line in server.errors))
    (tmp_path / "go").touch()
    for number, peer in enumerate(held):
        assert peer.replies(1) == [f"{number}dloh"]
        assert peer.receive() is None
        peer.close()
    for client, peer in enumerate(crowd):
        assert peer.replies(REQUESTS) == [text(client, number)[::-1] for number in range(REQUESTS)]
        assert peer.receive() is None
        peer.close()
    assert server.finish()[0] == 0
