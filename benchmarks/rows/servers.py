"""Servers under the load generator: every octet of every reply is compared by it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.peers import FRAMELET, LIMIT
from benchmarks.processes import Shape
from benchmarks.suite import Row
from benchmarks.work import MEBI, ascii_text, mixed_text
from framelet_server import ServerLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.processes import ServerProcess
    from benchmarks.suite import Bench, Measure

GROUP = "Servers, by the load generator in C"
THREADS_GROUP = "Framelet's server by its number of threads"
RATE = "requests/s"
SMALL = 64
SIZES = (0, 16, 64, 256, 1024, 16_384)
THREADS = (1, 2, 4, 8)
AWAKE_GROUP = "Framelet's server by the time that its worker stays awake (`busy_poll`)"
AS_IT_COMES = ServerLimits().busy_poll
AWAKE = {"0": "asleep at once", f"{AS_IT_COMES}": f"{AS_IT_COMES * 1e6:g} µs: as it comes"}
CHURNING = 16
"""Connections at once in the row with one request for each."""


def raw_peers(bench: Bench) -> dict[str, str]:
    """Those that the load generator can drive."""
    return {peer.name: peer.title for peer in bench.raw_peers()}


def rate(bench: Bench, name: str, shape: Shape, *, octets: int = SMALL) -> float:
    """Requests for each second."""
    return bench.load(name, ascii_text(octets), shape).rate


def latency(bench: Bench, name: str) -> float:
    """The median of one connection's round trips, in microseconds."""
    return bench.load(name, ascii_text(SMALL)).p50 * 1e6


def throughput(bench: Bench, name: str, text: Callable[[int], str], octets: int, shape: Shape) -> float:
    """Megaoctets of request bodies for each second."""
    return bench.load(name, text(octets), shape).rate * octets / 1e6


def by_threads(bench: Bench, name: str, shape: Shape, octets: int) -> float:
    """Requests for each second, by a server with so many threads."""
    server = bench.server(FRAMELET, threads=int(name))
    return bench.load(FRAMELET, ascii_text(octets), shape, server=server).rate


def thread_counts(bench: Bench) -> dict[str, str]:
    """The variants of Framelet's server."""
    if all(peer.name != FRAMELET for peer in bench.peers):
        return {}
    return {str(count): f"{count} thread{'s' * (count > 1)}" for count in THREADS}


def awake_entries(bench: Bench) -> dict[str, str]:
    """The variants of Framelet's server, beside the limit."""
    titles = {peer.name: peer.title for peer in bench.raw_peers() if peer.name == LIMIT}
    return titles | AWAKE if any(peer.name == FRAMELET for peer in bench.peers) else {}


def awake_server(bench: Bench, name: str) -> ServerProcess:
    """The server of that variant."""
    return bench.server(LIMIT) if name == LIMIT else bench.server(FRAMELET, busy_poll=float(name))


def awake_latency(bench: Bench, name: str) -> float:
    """The median of one connection's round trips, in microseconds."""
    return bench.load(FRAMELET, ascii_text(SMALL), server=awake_server(bench, name)).p50 * 1e6


def awake_cost(bench: Bench, name: str) -> float:
    """Processor time of the server for each request, in microseconds."""
    server = awake_server(bench, name)
    before = server.cpu()
    found = bench.load(FRAMELET, ascii_text(SMALL), server=server)
    return (server.cpu() - before) / found.count * 1e6


def _awake_row(name: str, what: str, measure: Measure) -> Row:
    title = f"1 connection, ping-pong: {what}"
    return Row(name, AWAKE_GROUP, title, "µs", awake_entries, measure, less=True, reference=LIMIT)


def _row(name: str, title: str, unit: str, measure: Measure) -> Row:
    return Row(name, GROUP, title, unit, raw_peers, measure, reference=LIMIT)


def _thread_row(row: Row, shape: Shape, octets: int = SMALL) -> Row:
    return Row(
        f"threads-{row.name}",
        THREADS_GROUP,
        f"{row.title.partition(':')[0]}, by threads",
        RATE,
        thread_counts,
        partial(by_threads, shape=shape, octets=octets),
        reference="1",
    )


ONE, MANY = Shape(), Shape(connections=64)
DEEP, BROAD = Shape(window=1_000), Shape(connections=16, window=256)

_PING_PONG_1 = replace(
    _row("ping-pong-1", "1 connection, ping-pong: median round trip", "µs", latency), less=True
)
_PING_PONG_64 = _row("ping-pong-64", "64 connections, ping-pong", RATE, partial(rate, shape=MANY))
_PIPELINED_1 = _row("pipelined-1", "1 connection, 1,000 in flight", RATE, partial(rate, shape=DEEP))
_PIPELINED_16 = _row(
    "pipelined-16", "16 connections, 256 in flight on each", RATE, partial(rate, shape=BROAD)
)
_ASCII_1M = _row(
    "ascii-1m", "1 MiB of ASCII", "MB/s", partial(throughput, text=ascii_text, octets=MEBI, shape=ONE)
)
_MIXED_1M = _row(
    "mixed-1m", "1 MiB of mixed scripts", "MB/s", partial(throughput, text=mixed_text, octets=MEBI, shape=ONE)
)
_ASCII_64M = replace(
    _row(
        "ascii-64m",
        "64 MiB of ASCII",
        "MB/s",
        partial(throughput, text=ascii_text, octets=64 * MEBI, shape=Shape(count=1, patience=60)),
    ),
    rounds=3,
    warm=False,
)
_CHURN = _row(
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


SERVER_ROWS = (
    _PING_PONG_1,
    _PING_PONG_64,
    _PIPELINED_1,
    _PIPELINED_16,
    _ASCII_1M,
    _MIXED_1M,
    _ASCII_64M,
    _CHURN,
    *map(_size_row, SIZES),
    _awake_row("awake-round-trip", "median round trip", awake_latency),
    _awake_row("awake-cost", "processor time of the server for each request", awake_cost),
    _thread_row(_PING_PONG_1, ONE),
    _thread_row(_PING_PONG_64, MANY),
    _thread_row(_PIPELINED_1, DEEP),
    _thread_row(_PIPELINED_16, BROAD),
    _thread_row(_ASCII_1M, ONE, MEBI),
)
