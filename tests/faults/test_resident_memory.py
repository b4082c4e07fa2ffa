"""``--max-memory`` bounds what Python holds, and not what clients have sent.

Small frames become objects of ten times their size; one character can make a text four times as large.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.test_memory import MIB, resident
from tests.integration.peers import Command, Peer
from tests.integration.scripted import until

from framelet import FrameType, RequestReceived, encode, parse_address
from framelet_server.connection.replies import PendingReplies
from framelet_server.service.handlers import Handlers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Connect = Callable[..., Peer]

MOST = 12 * MIB
"""Octets that the server may hold for all clients."""

IN_HAND = 6 * MIB
"""Octets that two threads may have in hand, which do not count."""

PIECE = 65_536
CROWD = 32
TINY = encode(FrameType.REQUEST, b"ab") * 5_000
ASTRAL = encode(FrameType.REQUEST, b"a" * (MIB // 8 - 4) + "\N{GRINNING FACE}".encode())

HANDLERS = """
import asyncio, itertools, time
def grow(text): return text * (30 if len(text) < 9 else 1)
calls = itertools.count()
def block(text):
    if next(calls) % 1_000 == 0:
        time.sleep(0.02)
    return grow(text)
async def wait(text):
    await asyncio.sleep(0)
    return grow(text)
"""
IN_A_LOOP = """
import asyncio, logging, sys, handlers
from framelet_server.asyncio import serve
from framelet_server import ServerLimits
logging.basicConfig()
async def main(name, where, most):
    async with serve(getattr(handlers, name), where, limits=ServerLimits(max_memory=int(most))) as server:
        print("framelet-server listening on", server.address, flush=True)
        await server.wait()
asyncio.run(main(*sys.argv[1:]))
"""

ROADS = {
    "threads": ("grow",),
    "blocking": ("block",),
    "executor": ("grow", "--executor", "thread:2"),
    "processes": ("grow", "--executor", "process:1"),
    "workers": ("grow", "--workers", "2"),
    "loop": ("grow", "in a loop"),
    "tasks": ("wait", "in a loop"),
}


@pytest.fixture
def start(
    command: Callable[..., Command],
    tmp_path: Path,
) -> Iterator[Callable[..., Command]]:
    """Start a server of a kind, with one thread, and as much memory as the test allows."""
    (tmp_path / "handlers.py").write_text(HANDLERS)
    # By a unix socket, as the system keeps far less for one than for a connection of TCP.
    where = str(tmp_path / "socket")
    started: list[Command] = []

    def begin(handler: str, *options: str) -> Command:
        if options == ("in a loop",):
            words = [sys.executable, "-c", IN_A_LOOP, handler, f"unix:{where}", str(MOST)]
            pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            started.append(Command(subprocess.Popen(words, cwd=tmp_path, **pipes)))
            return started[-1]
        options = *options, "--unix", where
        return command(
            "--handler", f"handlers:{handler}", "--threads", "2", "--max-memory", str(MOST), *options
        )

    yield begin
    for server in started:
        server.kill()


class Attacker:
    """A client that sends without end, and takes none of its answers."""

    def __init__(self, connect: Callable[[], Peer], data: bytes) -> None:
        self._connect, self._data, self._sent = connect, memoryview(data), 0
        self._sock: Any = None

    def send(self) -> None:
        try:
            if self._sock is None:
                self._sock, self._sent = self._connect().sock, 0
                self._sock.settimeout(0)
            self._sent += self._sock.send(self._data[self._sent : self._sent + PIECE])
            self._sent %= len(self._data)
        except BlockingIOError:
            pass
        except OSError:  # it was shed: it comes again
            if self._sock is not None:
                self._sock.close()
            self._sock = None


def processes_of(server: Command) -> list[int]:
    """Those that serve: the children, where there are some of this program."""
    pid = server.process.pid
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"--worker" in Path(f"/proc/{child}/cmdline").read_bytes()] or [
        pid
    ]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.req("REQ-FLOW-7")
@pytest.mark.parametrize(
    ("road", "data"),
    [
        pytest.param(road, data, id=f"{road}-{name}")
        for road in ROADS
        for name, data in (("tiny", TINY), ("astral", ASTRAL))
        if (road, name) != ("processes", "astral")  # what goes to a process and back is not counted
    ],
)
def test_the_memory_of_the_process_is_what_was_allowed(
    start: Callable[..., Command], connect: Connect, road: str, data: bytes
) -> None:
    server = start(*ROADS[road])
    address = parse_address(server.address())

    def join() -> Peer:
        peer = connect(address)
        peer.sock.settimeout(120)  # the machine may be busy, and all attackers have their turns
        return peer

    honest = join()
    for _ in range(2):  # what workers have in hand does not count
        peers = [join() for _ in range(8 if road == "workers" else 2)]
        for peer in peers:
            peer.send(data)
        for peer in peers:
            peer.take(data.count(b"\x01\0"))
            peer.close()
    before = {pid: resident(pid) for pid in processes_of(server)}
    attackers = [Attacker(join, data) for _ in range(CROWD)]
    highest = 0

    def attack() -> bool:
        nonlocal highest
        for attacker in attackers:
            attacker.send()
            highest = max(highest, *(resident(pid) - start for pid, start in before.items()))
        assert honest.ask("/")
        return sum("not reading" in line for line in server.errors) >= 3

    until(attack, 300)
    assert highest < 1.5 * MOST + IN_HAND, f"{highest / MOST:.2f} of what was allowed"


def test_an_answer_that_is_made_elsewhere_takes_what_is_counted_for_it() -> None:
    count, gate = 2_000, threading.Event()
    caller: Any = SimpleNamespace(gone=False)

    def handler(text: str) -> str:
        gate.wait(20)
        return text

    with ThreadPoolExecutor(1) as executor:
        handlers = Handlers(handler, {}, executor)
        events = [RequestReceived(str(number)) for number in range(count)]
        replies = PendingReplies(count, lambda: None)
        tracemalloc.start()
        try:
            for event in events:
                replies.submit(handlers, executor, event, caller)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gate.set()
    assert held / 1.5 < replies.held < 1.5 * held
