"""Ten thousand idle connections: what each costs in memory, and what all cost the one that is active.

Not all peers can hold theirs at the same time, so each has its turn; the two servers of one peer, with idle
connections and without, are measured in turns.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from benchmarks.peers import PEERS
from benchmarks.peers.common import REVERSE
from benchmarks.processes import BenchmarkError, raise_descriptors, serve
from benchmarks.suite import Row
from benchmarks.work import ascii_text, exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.processes import ServerProcess
    from benchmarks.suite import Bench

GROUP = "Idle connections"
IDLE = 10_000
SMALL = 64
SPARE = 200
"""Descriptors that are left for everything else."""


@dataclass(frozen=True)
class Crowd:
    """What a peer makes of a crowd."""

    memory: float
    """Octets for each idle connection."""
    speeds: list[float]
    """Of the active connection, as parts of its speed without the others."""


def crowd_peers(bench: Bench, handler: str = REVERSE) -> dict[str, str]:
    """Those that need no thread for a connection."""
    return bench.titles(handler, lambda peer: peer.framing and peer.crowd)


@contextlib.contextmanager
def idle_connections(port: int, count: int, request: bytes, reply: bytes) -> Iterator[None]:
    """So many, each of which has had one reply."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            sock.sendall(request)
            if sock.recv(len(reply), socket.MSG_WAITALL) != reply:
                raise BenchmarkError("an idle connection got a wrong reply")
        yield


@cache
def crowd(bench: Bench, name: str, handler: str) -> Crowd:
    """Measure one peer, for both rows."""
    count = IDLE
    if (descriptors := raise_descriptors()) < count + SPARE:
        message = (
            f"{count + SPARE:,} descriptors are needed, and the system allows {descriptors:,} (ulimit -Hn)"
        )
        raise BenchmarkError(message)
    text = ascii_text(SMALL)
    request, reply = exchange(PEERS[name].framing or "framelet", text, handler)

    def rate(server: ServerProcess) -> float:
        return bench.load(name, text, handler=handler, server=server).rate

    try:
        with serve(PEERS[name], handler=handler) as alone, serve(PEERS[name], handler=handler) as crowded:
            for server in (alone, crowded):
                rate(server)
            before = crowded.memory()
            with idle_connections(crowded.port, count, request, reply):
                memory = (crowded.memory() - before) / count
                speeds = [rate(crowded) / rate(alone) for _ in range(bench.rounds)]
    except OSError as error:
        message = f"{count:,} idle connections: {error}"
        raise BenchmarkError(message) from error
    return Crowd(memory, speeds)


def memory_of_each(bench: Bench, name: str, *, handler: str = REVERSE) -> list[float]:
    """Octets."""
    return [crowd(bench, name, handler).memory]


def speed_of_active(bench: Bench, name: str, *, handler: str = REVERSE) -> list[float]:
    """Parts of the speed without a crowd."""
    return crowd(bench, name, handler).speeds


CROWD_ROWS = (
    *Row(
        "idle-memory",
        GROUP,
        f"memory of the process for each of {IDLE:,} idle connections",
        "octets",
        crowd_peers,
        collect=memory_of_each,
        less=True,
        warm=False,
    ).twice(),
    *Row(
        "idle-speed",
        GROUP,
        f"ping-pong of one connection among {IDLE:,}: part of its speed alone",
        "ratio",
        crowd_peers,
        collect=speed_of_active,
        warm=False,
    ).twice(),
)
