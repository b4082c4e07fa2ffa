"""End to end: each peer's server, and its own client in Python, which compares every reply."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.peers import FRAMELET, PEERS
from benchmarks.processes import ask
from benchmarks.suite import Row

if TYPE_CHECKING:
    from benchmarks.suite import Bench

GROUP = "End to end, by each peer's own Python client"
BLOCKED = 0.01
"""Seconds that the handler blocks in the row with many clients."""
CLIENTS = 32
FIRST = {"ping-pong": 20, "pipelined": 2_000}
"""Requests of a first try: some windows where they are pipelined, or their ends would count for too much."""


def all_peers(bench: Bench) -> dict[str, str]:
    """Everyone; the limit is asked by Framelet's client."""
    return {peer.name: peer.title for peer in bench.peers}


def blocking_peers(bench: Bench) -> dict[str, str]:
    """Those whose handlers may block side by side."""
    return {peer.name: peer.title for peer in bench.peers if peer.blocks}


def rate(bench: Bench, name: str, work: str) -> float:
    """Requests for each second."""
    server = bench.server(name)

    def measure(count: int) -> float:
        return ask(PEERS[name], server.port, work, count)

    count = bench.count((name, work), measure, first=FIRST[work])
    return count / measure(count)


def blocking_rate(bench: Bench, name: str) -> float:
    """The same, by many clients of a server whose handler blocks."""
    server = bench.server(name, threads=CLIENTS, delay=BLOCKED)

    def measure(count: int) -> float:
        return ask(PEERS[name], server.port, "parallel", count, CLIENTS)

    count = bench.count((name, "parallel"), measure, first=20 * CLIENTS, step=CLIENTS)
    return count / measure(count)


# Their first tries, by which the counts are found, have warmed them up.
CLIENT_ROWS = (
    Row(
        "clients-ping-pong",
        GROUP,
        "end to end, ping-pong",
        "requests/s",
        all_peers,
        partial(rate, work="ping-pong"),
        reference=FRAMELET,
        warm=False,
    ),
    Row(
        "clients-pipelined",
        GROUP,
        "end to end, pipelined",
        "requests/s",
        all_peers,
        partial(rate, work="pipelined"),
        reference=FRAMELET,
        warm=False,
    ),
    Row(
        "clients-blocking",
        GROUP,
        f"end to end, {CLIENTS} clients, handler blocks {BLOCKED * 1000:g} ms, {CLIENTS} threads "
        f"(bound: {CLIENTS / BLOCKED:,.0f})",
        "requests/s",
        blocking_peers,
        blocking_rate,
        reference=FRAMELET,
        warm=False,
        rounds=3,
    ),
)
