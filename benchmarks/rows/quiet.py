"""Ten thousand idle connections, and one with few requests: what they cost in memory and processor time.

Not all peers can hold theirs at the same time, so each has its turn; the two servers of one peer, with idle
connections and without, are measured in turns.
"""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from benchmarks.lockstep import Lockstep
from benchmarks.peers import LOOP, PEERS
from benchmarks.peers.common import REVERSE
from benchmarks.processes import CORES, BenchmarkError, pinned, raise_descriptors, serve
from benchmarks.suite import Row
from benchmarks.work import ascii_text, exchange

from .servers import SMALL, raw_peers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.processes import ServerProcess
    from benchmarks.suite import Bench

GROUP = "Idle connections, and few requests"
IDLE = 10_000
SPARSE_RATE, SPARSE_SECONDS = 50, 2.0
"""Requests for each second on one connection, and for how long."""
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


def sparse_cost(bench: Bench, name: str, *, handler: str = REVERSE) -> float:
    """Processor time of the server for each request, in microseconds; what it does meanwhile is in it."""
    server = bench.server(name, handler=handler)
    octets = exchange(PEERS[name].framing or "framelet", ascii_text(SMALL), handler)
    count = round(SPARSE_RATE * SPARSE_SECONDS)
    with pinned(CORES.load), Lockstep(server.port, octets) as client:
        client.round()
        before, due = server.cpu(), time.perf_counter()
        for _ in range(count):
            client.round()
            due += 1 / SPARSE_RATE
            time.sleep(max(0.0, due - time.perf_counter()))
        return (server.cpu() - before) / count * 1e6


QUIET_ROWS = (
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
        f"ping-pong of one connection among {IDLE:,} idle ones: ratio to its speed alone",
        "ratio",
        crowd_peers,
        collect=speed_of_active,
        warm=False,
    ).twice(),
    *Row(
        "sparse",
        GROUP,
        f"{SPARSE_RATE} requests/s on one connection: processor time of the server per request",
        "µs",
        raw_peers,
        sparse_cost,
        less=True,
        reference=LOOP,
        rounds=3,
        warm=False,
    ).twice(),
)
