"""Servers under the load generator: every octet of every reply is compared by it."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.peers import LIMIT, LOOP
from benchmarks.peers.common import ECHO, HANDLERS, REVERSE
from benchmarks.processes import CORES, Shape, pinned
from benchmarks.suite import Row
from benchmarks.work import MEBI, ascii_text, mixed_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.suite import Bench, Measure

GROUP = "Servers, by the load generator in C"
RATE = "requests/s"
SMALL = 64
SIZES = (0, 16, 64, 256, 1024, 16_384)
CHURNING = 16
"""Connections at once in the row with one request for each."""
PASSES = "passes"
"""The bound for large texts in Python: the transport of the limit, and the three passes of CPython."""


def raw_peers(bench: Bench, handler: str = REVERSE) -> dict[str, str]:
    """Those that the load generator can drive."""
    return bench.titles(handler, lambda peer: peer.framing)


def with_passes(bench: Bench, handler: str = REVERSE) -> dict[str, str]:
    """The same, and the bound."""
    titles = raw_peers(bench, handler)
    if any(peer.name == LIMIT for peer in bench.peers):
        titles[PASSES] = "echo in C and three passes of CPython"
    return titles


def rate(bench: Bench, name: str, shape: Shape, *, octets: int = SMALL, handler: str = REVERSE) -> float:
    """Requests for each second."""
    return bench.load(name, ascii_text(octets), shape, handler=handler).rate


def latency(bench: Bench, name: str, *, handler: str = REVERSE) -> float:
    """The median of one connection's round trips, in microseconds."""
    return bench.load(name, ascii_text(SMALL), handler=handler).p50 * 1e6


def throughput(
    bench: Bench, name: str, text: Callable[[], str], shape: Shape, *, handler: str = REVERSE
) -> float:
    """Megaoctets of request bodies for each second."""
    size = len(text().encode()) / 1e6
    if name == PASSES:
        echo = bench.load(LIMIT, text(), shape, handler=ECHO).rate
        return size / (1 / echo + passes(text(), HANDLERS[handler], bench.seconds))
    return bench.load(name, text(), shape, handler=handler).rate * size


def passes(text: str, handle: Callable[[str], str], seconds: float) -> float:
    """Seconds that this process takes to decode, handle and encode a text, on the core of the servers."""
    body, count = text.encode(), 0
    with pinned(CORES.server):
        started = time.perf_counter()
        while (taken := time.perf_counter() - started) < seconds:
            handle(body.decode()).encode()
            count += 1
    return taken / count


def _row(name: str, title: str, unit: str, measure: Measure) -> Row:
    return Row(name, GROUP, title, unit, raw_peers, measure, reference=LOOP)


ONE, MANY = Shape(), Shape(connections=64)
DEEP, BROAD = Shape(window=1_000), Shape(connections=16, window=256)

PING_PONG_1 = replace(
    _row("ping-pong-1", "1 connection, ping-pong: median round trip", "µs", latency), less=True
)
PING_PONG_64 = _row("ping-pong-64", "64 connections, ping-pong", RATE, partial(rate, shape=MANY))
PIPELINED_1 = _row("pipelined-1", "1 connection, 1,000 in flight", RATE, partial(rate, shape=DEEP))
PIPELINED_16 = _row("pipelined-16", "16 connections, 256 in flight on each", RATE, partial(rate, shape=BROAD))
ASCII_1M = _row(
    "ascii-1m", "1 MiB of ASCII", "MB/s", partial(throughput, text=partial(ascii_text, MEBI), shape=ONE)
)
MIXED_1M = replace(
    _row(
        "mixed-1m",
        "1 MiB of mixed scripts",
        "MB/s",
        partial(throughput, text=partial(mixed_text, MEBI), shape=ONE),
    ),
    entries=with_passes,
)
ASCII_64M = replace(
    _row(
        "ascii-64m",
        "64 MiB of ASCII",
        "MB/s",
        partial(throughput, text=partial(ascii_text, 64 * MEBI), shape=Shape(count=1, patience=60)),
    ),
    rounds=3,
    warm=False,
)
CHURN = _row(
    "churn",
    f"connect, one request, close: {CHURNING} at once",
    "connections/s",
    partial(rate, shape=Shape(connections=CHURNING, churn=True)),
)


def _size_row(octets: int) -> Row:
    measure = partial(rate, shape=Shape(window=64), octets=octets)
    return replace(
        _row(f"size-{octets}", f"bodies of {octets:,} octets, 64 in flight", RATE, measure), rounds=3
    )


_WORKS = (
    PING_PONG_1,
    PING_PONG_64,
    PIPELINED_1,
    PIPELINED_16,
    ASCII_1M,
    MIXED_1M,
    ASCII_64M,
    CHURN,
    *map(_size_row, SIZES),
)
SERVER_ROWS = tuple(row for work in _WORKS for row in work.twice())
