"""Several processes of one server, each known by a client."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Command, Peer

    Start = Callable[..., Command]
    Connect = Callable[..., Peer]

HANDLER = """
import os, pathlib, time
def handler(text):
    if text == "pid":
        return str(os.getpid())
    if text.startswith("block"):
        pathlib.Path("blocked").touch()
        while not pathlib.Path("opened").exists():
            time.sleep(0.001)
    return text[::-1]
"""


def lives(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - short
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Pool:
    """Two children with a handler that says which one it is in, and a client of each."""

    def __init__(self, server: Command, connect: Connect) -> None:
        self.server = server
        self.address = server.address()
        self._connect = connect
        self.peers: dict[int, Peer] = {}
        self.others: list[Peer] = []
        self.find_all()

    def connect(self) -> Peer:
        return self._connect(self.address)

    def find_all(self) -> None:
        """Connect until there is a client of two children that live."""
        self.peers = {pid: peer for pid, peer in self.peers.items() if lives(pid)}
        deadline = time.monotonic() + 20
        while len(self.peers) < 2:
            assert time.monotonic() < deadline, "one child takes no client"
            peer = self.connect()
            pid = int(peer.ask("pid"))
            if pid not in self.peers:
                self.peers[pid] = peer
            elif len(self.others) < 100:
                self.others.append(peer)
            else:  # a new child takes its time to start
                peer.close()

    def is_draining(self) -> bool:
        """Whether the supervisor has begun to drain; not asked by connecting, as clients are counted."""
        return any("draining all children" in line for line in self.server.errors)

    @property
    def clients(self) -> int:
        return len(self.peers) + len(self.others)

    def kill(self) -> None:
        """End the children that are left."""
        for pid in self.peers:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if b"several:handler" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for peer in (*self.peers.values(), *self.others):
            peer.close()


@pytest.fixture
def pool(command: Start, connect: Connect, tmp_path: Path) -> Iterator[Callable[..., Pool]]:
    """Start two children; they end with the test, also where it has failed."""
    (tmp_path / "several.py").write_text(HANDLER)
    pools: list[Pool] = []

    def start(*arguments: str, **keywords: Any) -> Pool:
        server = command(
            *("--workers", "2", "--handler", "several:handler", "--log-level", "info"),
            *("--linger-timeout", "0.2", "--threads", "2", *arguments),
            **keywords,
        )
        pools.append(Pool(server, connect))
        return pools[-1]

    yield start
    (tmp_path / "opened").touch()
    for started in pools:
        started.kill()
