"""What a request costs: Python calls, processor time where requests are few, and TLS.

A client in this process asks, so that it can pace itself and speak TLS.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.calls import CASES
from benchmarks.lockstep import Lockstep
from benchmarks.peers import FRAMELET, LOOP, PEERS
from benchmarks.peers.common import REVERSE
from benchmarks.processes import CORES, pinned, run
from benchmarks.suite import Row
from benchmarks.work import ascii_text, exchange

from .servers import RATE, SMALL, raw_peers

if TYPE_CHECKING:
    from benchmarks.suite import Bench

GROUP = "What a request costs"
SPARSE_RATE, SPARSE_SECONDS = 50, 2
"""Requests for each second on one connection, and for how long."""
TLS_CONNECTIONS = 8


def call_cases(bench: Bench) -> dict[str, str]:
    """The kinds of traffic."""
    return bench.variants({name: case.title for name, case in CASES.items()})


def call_count(_: Bench, name: str) -> float:
    """Exact, but for how the octets of a window happen to arrive."""
    calls: float = json.loads(run([sys.executable, "-m", "benchmarks.calls", name]))[name]
    return calls


def sparse_cost(bench: Bench, name: str, *, handler: str = REVERSE) -> float:
    """Processor time of the server for each request, in microseconds; what it does meanwhile is in it."""
    server = bench.server(name, handler=handler)
    octets = exchange(PEERS[name].framing or "framelet", ascii_text(SMALL), handler)
    count = SPARSE_RATE * SPARSE_SECONDS
    with pinned(CORES.load), Lockstep(server.port, octets) as client:
        client.round()
        before, due = server.cpu(), time.perf_counter()
        for _ in range(count):
            client.round()
            due += 1 / SPARSE_RATE
            time.sleep(max(0.0, due - time.perf_counter()))
        return (server.cpu() - before) / count * 1e6


def tls_variants(bench: Bench, handler: str = REVERSE) -> dict[str, str]:
    """Without TLS and with it; the same for each handler."""
    del handler
    return bench.variants({"plain": "Framelet, plain", "tls": "Framelet, TLS"})


def tls_rate(bench: Bench, name: str, *, handler: str = REVERSE) -> float:
    """Requests for each second."""
    octets = exchange("framelet", ascii_text(SMALL), handler)
    authority, options = None, {}
    if name == "tls":
        authority, options = bench.certificate.authority, {"tls": bench.certificate.server}
    server = bench.server(FRAMELET, handler=handler, **options)
    with pinned(CORES.load), Lockstep(server.port, octets, TLS_CONNECTIONS, authority=authority) as clients:
        clients.round()
        count, started = 0, time.perf_counter()
        while (taken := time.perf_counter() - started) < bench.seconds:
            clients.round()
            count += clients.requests
        return count / taken


COST_ROWS = (
    Row(
        "calls",
        GROUP,
        "Python calls of the workers for one request",
        "calls",
        call_cases,
        call_count,
        less=True,
        rounds=1,
        warm=False,
    ),
    *Row(
        "sparse",
        GROUP,
        f"{SPARSE_RATE} requests/s on one connection: processor time of the server for each",
        "µs",
        raw_peers,
        sparse_cost,
        less=True,
        reference=LOOP,
        rounds=3,
        warm=False,
    ).twice(),
    *Row(
        "tls",
        GROUP,
        f"{TLS_CONNECTIONS} connections, ping-pong in step, by a Python client",
        RATE,
        tls_variants,
        tls_rate,
        reference="plain",
    ).twice(),
)
