"""End to end: each peer's server, and its own client in Python, which compares every reply."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.peers import FRAMELET, PEERS
from benchmarks.peers.common import OWN, REVERSE
from benchmarks.processes import ask
from benchmarks.suite import Row

if TYPE_CHECKING:
    from benchmarks.suite import Bench

GROUP = "End to end, by each peer's own Python client"
BLOCKED = 0.01
"""Seconds that the handler blocks in the row with many clients."""
CLIENTS = 32
BOUND = "bound"
FIRST = {"ping-pong": 20, "pipelined": 2_000}
"""Requests of a first try: some windows where they are pipelined, or their ends would count for too much."""


def all_peers(bench: Bench, handler: str = REVERSE) -> dict[str, str]:
    """Everyone; the limit is asked by Framelet's client."""
    return bench.titles(handler, lambda _: True)


def blocking_peers(bench: Bench) -> dict[str, str]:
    """Those whose handlers may block side by side, and what they cannot exceed."""
    return bench.titles(OWN, lambda peer: peer.blocks) | {BOUND: "the bound"}


def rate(bench: Bench, name: str, work: str, *, handler: str = REVERSE) -> float:
    """Requests for each second."""
    server = bench.server(name, handler=handler)

    def measure(count: int) -> float:
        return ask(PEERS[name], server.port, work, count, handler=handler)

    count = bench.count((name, work, handler), measure, first=FIRST[work])
    return count / measure(count)


def blocking_rate(bench: Bench, name: str) -> float:
    """The same, by many clients of a server whose own handler blocks."""
    if name == BOUND:
        return CLIENTS / BLOCKED
    server = bench.server(name, threads=CLIENTS, delay=BLOCKED, handler=OWN)

    def measure(count: int) -> float:
        return ask(PEERS[name], server.port, "parallel", count, CLIENTS, OWN)

    count = bench.count((name, "parallel"), measure, first=20 * CLIENTS, step=CLIENTS)
    return count / measure(count)


# Their first tries, by which the counts are found, have warmed them up.
CLIENT_ROWS = (
    *Row(
        "clients-ping-pong",
        GROUP,
        "end to end, ping-pong",
        "requests/s",
        all_peers,
        partial(rate, work="ping-pong"),
        reference=FRAMELET,
        warm=False,
    ).twice(),
    *Row(
        "clients-pipelined",
        GROUP,
        "end to end, pipelined",
        "requests/s",
        all_peers,
        partial(rate, work="pipelined"),
        reference=FRAMELET,
        warm=False,
    ).twice(),
    Row(
        "clients-blocking",
        GROUP,
        f"end to end, {CLIENTS} clients, own handler blocks {BLOCKED * 1000:g} ms, {CLIENTS} threads",
        "requests/s",
        blocking_peers,
        blocking_rate,
        reference=BOUND,
        warm=False,
        rounds=3,
    ),
)
