"""Servers under the load generator: every octet of every reply is compared by it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.peers import FRAMELET, LIMIT
from benchmarks.suite import Row
from benchmarks.work import MEBI, ascii_text, mixed_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.suite import Bench

GROUP = "Servers, by the load generator in C"
SMALL = 64
SIZES = (0, 16, 64, 256, 1024, 16_384)
THREADS = (1, 2, 4, 8)
CHURNING = 16
"""Connections at once in the row with one request for each."""


def raw_peers(bench: Bench) -> dict[str, str]:
    """Those that the load generator can drive."""
    return {peer.name: peer.title for peer in bench.raw_peers()}


def rate(
    bench: Bench,
    name: str,
    *,
    octets: int = SMALL,
    text: Callable[[int], str] = ascii_text,
    **options: float | bool,
) -> float:
    """Requests for each second."""
    return bench.load(name, text(octets), **options).rate


def latency(bench: Bench, name: str) -> float:
    """The median of one connection's round trips, in microseconds."""
    return bench.load(name, ascii_text(SMALL)).p50 * 1e6


def throughput(
    bench: Bench,
    name: str,
    *,
    octets: int,
    text: Callable[[int], str],
    **options: float | bool,
) -> float:
    """Megaoctets of request bodies for each second."""
    return rate(bench, name, octets=octets, text=text, **options) * octets / 1e6


def by_threads(bench: Bench, name: str, **options: float) -> float:
    """Requests for each second, by a server with so many threads."""
    octets = int(options.pop("octets", SMALL))
    server = bench.server(FRAMELET, threads=int(name))
    return bench.load(FRAMELET, ascii_text(octets), server, **options).rate


def thread_counts(bench: Bench) -> dict[str, str]:
    """The variants of Framelet's server."""
    if all(peer.name != FRAMELET for peer in bench.peers):
        return {}
    return {str(count): f"{count} thread{'s' * (count > 1)}" for count in THREADS}


def _row(name: str, title: str, unit: str, measure: Callable[[Bench, str], float], **more: object) -> Row:
    return Row(name, GROUP, title, unit, raw_peers, measure, reference=LIMIT, **more)  # type: ignore[arg-type]  # of Row


def _thread_row(name: str, title: str, **options: float) -> Row:
    return Row(
        f"threads-{name}",
        "Framelet's server by its number of threads",
        title,
        "requests/s",
        thread_counts,
        partial(by_threads, **options),
        reference="1",
        rounds=5,
    )


SERVER_ROWS = (
    _row("ping-pong-1", "1 connection, ping-pong: median round trip", "µs", latency, less=True),
    _row("ping-pong-64", "64 connections, ping-pong", "requests/s", partial(rate, connections=64)),
    _row("pipelined-1", "1 connection, 1,000 in flight", "requests/s", partial(rate, window=1_000)),
    _row(
        "pipelined-16",
        "16 connections, 256 in flight on each",
        "requests/s",
        partial(rate, connections=16, window=256),
    ),
    _row("ascii-1m", "1 MiB of ASCII", "MB/s", partial(throughput, octets=MEBI, text=ascii_text)),
    _row("mixed-1m", "1 MiB of mixed scripts", "MB/s", partial(throughput, octets=MEBI, text=mixed_text)),
    _row(
        "ascii-64m",
        "64 MiB of ASCII",
        "MB/s",
        partial(throughput, octets=64 * MEBI, text=ascii_text, count=1, patience=60),
        rounds=3,
        warm=False,
    ),
    _row(
        "churn",
        f"connect, one request, close: {CHURNING} at once",
        "connections/s",
        partial(rate, connections=CHURNING, churn=True),
    ),
    *(
        _row(
            f"size-{size}",
            f"bodies of {size:,} octets, 64 in flight",
            "requests/s",
            partial(rate, octets=size, window=64),
            rounds=3,
        )
        for size in SIZES
    ),
    _thread_row("ping-pong-1", "1 connection, ping-pong"),
    _thread_row("ping-pong-64", "64 connections, ping-pong", connections=64),
    _thread_row("pipelined-1", "1 connection, 1,000 in flight", window=1_000),
    _thread_row("pipelined-16", "16 connections, 256 in flight on each", connections=16, window=256),
    _thread_row("ascii-1m", "1 MiB of ASCII", octets=MEBI),
)
