"""Framelet's server by its number of threads, and by the time that its worker stays awake."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.peers import FRAMELET, LOOP
from benchmarks.peers.common import REVERSE
from benchmarks.suite import Row
from benchmarks.work import MEBI, ascii_text
from framelet_server import ServerLimits

from .servers import (
    ASCII_1M,
    BROAD,
    DEEP,
    MANY,
    ONE,
    PING_PONG_1,
    PING_PONG_64,
    PIPELINED_1,
    PIPELINED_16,
    RATE,
    SMALL,
)

if TYPE_CHECKING:
    from benchmarks.processes import ServerProcess, Shape
    from benchmarks.suite import Bench, Measure

THREADS_GROUP = "Framelet's server by its number of threads"
THREADS = (1, 2, 4, 8)
AWAKE_GROUP = "Framelet's server by the time that its worker stays awake (`busy_poll`)"
AS_IT_COMES = ServerLimits().busy_poll
AWAKE = {"0": "asleep at once", f"{AS_IT_COMES}": f"{AS_IT_COMES * 1e6:g} µs: as it comes"}


def by_threads(bench: Bench, name: str, shape: Shape, octets: int, *, handler: str = REVERSE) -> float:
    """Requests for each second, by a server with so many threads."""
    server = bench.server(FRAMELET, threads=int(name), handler=handler)
    return bench.load(FRAMELET, ascii_text(octets), shape, handler=handler, server=server).rate


def thread_counts(bench: Bench, handler: str = REVERSE) -> dict[str, str]:
    """The variants of Framelet's server; there are the same for each handler."""
    del handler
    return bench.variants({str(count): f"{count} thread{'s' * (count > 1)}" for count in THREADS})


def awake_entries(bench: Bench, handler: str = REVERSE) -> dict[str, str]:
    """The variants of Framelet's server, beside the bare loop, which sleeps at once."""
    return bench.variants(bench.titles(handler, lambda peer: peer.name == LOOP) | AWAKE)


def awake_server(bench: Bench, name: str, handler: str) -> ServerProcess:
    """The server of that variant."""
    if name == LOOP:
        return bench.server(LOOP, handler=handler)
    return bench.server(FRAMELET, busy_poll=float(name), handler=handler)


def awake_latency(bench: Bench, name: str, *, handler: str = REVERSE) -> float:
    """The median of one connection's round trips, in microseconds."""
    server = awake_server(bench, name, handler)
    return bench.load(FRAMELET, ascii_text(SMALL), handler=handler, server=server).p50 * 1e6


def awake_cost(bench: Bench, name: str, *, handler: str = REVERSE) -> float:
    """Processor time of the server for each request, in microseconds."""
    server = awake_server(bench, name, handler)
    before = server.cpu()
    found = bench.load(FRAMELET, ascii_text(SMALL), handler=handler, server=server)
    return (server.cpu() - before) / found.count * 1e6


def _awake_row(name: str, what: str, measure: Measure) -> Row:
    title = f"1 connection, ping-pong: {what}"
    return Row(name, AWAKE_GROUP, title, "µs", awake_entries, measure, less=True, reference=LOOP)


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


_WORKS = (
    _awake_row("awake-round-trip", "median round trip", awake_latency),
    _awake_row("awake-cost", "processor time of the server per request", awake_cost),
    _thread_row(PING_PONG_1, ONE),
    _thread_row(PING_PONG_64, MANY),
    _thread_row(PIPELINED_1, DEEP),
    _thread_row(PIPELINED_16, BROAD),
    _thread_row(ASCII_1M, ONE, MEBI),
)
VARIANT_ROWS = tuple(row for work in _WORKS for row in work.twice())
