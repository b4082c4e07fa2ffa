"""What a request costs: the Python calls for it, and TLS."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.calls import CASES
from benchmarks.lockstep import Lockstep
from benchmarks.peers import FRAMELET
from benchmarks.peers.common import REVERSE
from benchmarks.processes import CORES, pinned, run
from benchmarks.suite import Row
from benchmarks.work import ascii_text, exchange

from .servers import RATE, SMALL

if TYPE_CHECKING:
    from benchmarks.suite import Bench

CALLS_GROUP = "Python calls for one request"
TLS_GROUP = "With TLS and without"
TLS_CONNECTIONS = 8


def call_cases(bench: Bench) -> dict[str, str]:
    """The kinds of traffic."""
    return bench.variants({name: case.title for name, case in CASES.items()})


def call_count(_: Bench, name: str) -> float:
    """Hardly any noise: a window may arrive in one piece or two."""
    calls: float = json.loads(run([sys.executable, "-m", "benchmarks.calls", name]))[name]
    return calls


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
        CALLS_GROUP,
        "Python calls of the workers for one request",
        "calls",
        call_cases,
        call_count,
        less=True,
        rounds=1,
        warm=False,
    ),
    *Row(
        "tls",
        TLS_GROUP,
        f"{TLS_CONNECTIONS} connections, ping-pong in step, by a Python client",
        RATE,
        tls_variants,
        tls_rate,
        reference="plain",
    ).twice(),
)
