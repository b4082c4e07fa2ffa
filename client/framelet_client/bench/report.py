"""The report of a measurement, for people and for programs."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

from framelet_client.exit_codes import ExitCode

from .load import LATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .plan import Plan
    from .stats import Latencies, LoadStats

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)
BUSY = 0.9
"""Share of busy time from which the report names the load generator as a bottleneck."""

WRONG_HINT = "for a server with another handler use --expect echo or --expect any"
"""What to do if the server is not wrong, but has another handler."""

_REACHED = 0.99  # share of the rate from which it counts as reached


def exit_code_of(stats: LoadStats) -> ExitCode:
    """The exit code of the command."""
    if stats.interrupted:
        return ExitCode.INTERRUPTED
    if stats.ends["timed out"]:
        return ExitCode.TIMED_OUT
    if stats.ends["broke the protocol"]:
        return ExitCode.PROTOCOL_ERROR
    if stats.ends and not (stats.answered or stats.wrong or stats.errors):
        return ExitCode.NO_CONNECTION
    return ExitCode.PARTIAL if stats.failed or stats.ends else ExitCode.SUCCESS


def rate_of(stats: LoadStats) -> float:
    """Requests answered a second."""
    return _per_second(stats.answered, stats)


def _per_second(number: int, stats: LoadStats) -> float:
    return number / stats.seconds if stats.seconds else 0.0


def rate_reached(plan: Plan, stats: LoadStats) -> bool:
    """Whether an open loop kept its rate."""
    return plan.rate is None or (not stats.unsent and rate_of(stats) >= _REACHED * plan.rate)


def is_limited(stats: LoadStats) -> bool:
    """Whether a process of the load generator was busy for nearly all of the time."""
    return any(share >= BUSY for share in stats.busy)


def complaints(plan: Plan, stats: LoadStats) -> Iterator[str]:
    """A line for each kind of failure."""
    first = stats.first_words
    if stats.wrong:
        words = f"{_many(stats.wrong, 'reply was', 'replies were')} wrong: in the first, {first['wrong']}"
        yield f"{words}; {WRONG_HINT}"
    for code, count in sorted(stats.errors.items()):
        words = first[f"ERROR {code}"]
        yield f"{_many(count, 'request was', 'requests were')} answered ERROR {code}: {words}"
    for kind, count in sorted(stats.ends.items()):
        unanswered = stats.timed_out if kind == "timed out" else stats.lost
        yield (
            f"{_many(count, 'connection')} of {plan.connections} {kind}: {first[kind]}; "
            f"{_many(unanswered, 'request has', 'requests have')} no answer"
        )
    if stats.ends.total() == plan.connections and not stats.interrupted:
        yield f"no connection was left after {stats.seconds:.3f} seconds of the measurement"


def _many(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def table(address: str, plan: Plan, stats: LoadStats) -> list[str]:
    """The report for people."""
    sizes = ", ".join(f"{size:,}" for size in plan.sizes)
    loop = "closed loop" if plan.rate is None else f"open loop of {plan.rate:,g} requests/s"
    keeps = "in flight on each" if plan.rate is None else "at most in flight on each"
    checked = "not compared" if plan.expect == "any" else "each compared"
    rate = rate_of(stats)
    sent, received = (_per_second(octets, stats) for octets in (stats.octets_sent, stats.octets_received))
    lines = [
        f"{address}: {loop}, {_many(plan.connections, 'connection')}, {plan.window:,} {keeps}",
        f"texts        {sizes} octets, {plan.text}",
        f"answered     {stats.answered:,} of {stats.sent:,} in {stats.seconds:.3f} s, {checked}",
        f"throughput   {rate:,.0f} requests/s; octets/s: {sent:,.0f} sent, {received:,.0f} received",
        "",
        "ms        " + "".join(f"{name:>11}" for name in ("mean", *map(_name, PERCENTILES), "max")),
        _row("latency" if plan.rate is None else "since due", stats.latency),
    ]
    if plan.rate is not None:
        lines += [_row("since sent", stats.service), _row("sent late", stats.lateness)]
    remarks = list(_remarks(plan, stats))
    return [*lines, "", *remarks] if remarks else lines


def _remarks(plan: Plan, stats: LoadStats) -> Iterator[str]:
    """Remarks that are needed to interpret the numbers."""
    if plan.rate is not None and stats.sent:
        share = stats.late / stats.sent
        yield f"{share:.1%} of the requests ({stats.late:,}) were sent more than {LATE * 1000:g} ms late"
    if plan.rate is not None and not stats.interrupted and not rate_reached(plan, stats):
        unsent = f"; {_many(stats.unsent, 'request')} due and never sent" if stats.unsent else ""
        yield f"the rate of {plan.rate:,g} requests/s was not reached: it was {rate_of(stats):,.1f}{unsent}"
    if is_limited(stats):
        yield (
            f"the load generator may be the bottleneck: busy {max(stats.busy):.0%} of the time, "
            f"on {max(stats.cpu):.0%} of a core; more --processes may show a faster server"
        )
    if stats.interrupted:
        yield f"interrupted, with {_many(stats.abandoned, 'request')} in flight"


def _row(name: str, latencies: Latencies) -> str:
    values = (latencies.mean, *map(latencies.percentile, PERCENTILES), latencies.max)
    return f"{name:<10}" + "".join(f"{value * 1000:>11.3f}" for value in values)


def _name(percent: float) -> str:
    return f"p{percent:g}"


def record(address: str, plan: Plan, stats: LoadStats) -> dict[str, Any]:
    """The report for programs; times in seconds."""
    is_open = plan.rate is not None
    return {
        "address": address,
        "loop": "open" if is_open else "closed",
        "connections": plan.connections,
        "window": plan.window,
        "processes": plan.processes,
        "rate": plan.rate,
        "sizes": plan.sizes,
        "text": plan.text,
        "expect": plan.expect,
        "warmup": plan.warmup,
        "seconds": stats.seconds,
        "interrupted": bool(stats.interrupted),
        "requests": {
            "sent": stats.sent,
            "answered": stats.answered,
            "wrong": stats.wrong,
            "errors": {str(code): count for code, count in sorted(stats.errors.items())},
            "timed_out": stats.timed_out,
            "lost": stats.lost,
            "abandoned": stats.abandoned,
            "unsent": stats.unsent,
        },
        "connections_ended": dict(stats.ends),
        "requests_per_second": rate_of(stats),
        "octets_sent_per_second": _per_second(stats.octets_sent, stats),
        "octets_received_per_second": _per_second(stats.octets_received, stats),
        "rate_reached": rate_reached(plan, stats) if is_open else None,
        "latency": _figures(stats.latency),
        "since_sent": _figures(stats.service) if is_open else None,
        "sent_late": {**_figures(stats.lateness), "late": stats.late} if is_open else None,
        "generator_cores": stats.cpu,
        "generator_busy": stats.busy,
        "generator_is_a_limit": is_limited(stats),
        "histogram": stats.latency.cells(),
        "series": list(series(plan, stats)),
    }


def series(plan: Plan, stats: LoadStats) -> Iterator[dict[str, float]]:
    """A row for each interval of the plan: its end, in seconds since the warm-up, and what came in it."""
    for number, (latencies, failed) in enumerate(stats.series):
        begin = number * plan.interval if number else 0.0
        end = begin + plan.interval if number + 1 < len(stats.series) else max(begin, stats.seconds)
        figures = _figures(latencies)
        counts = {"end": round(end, 3), "answered": figures.pop("count"), "failed": failed}
        yield counts | {"requests_per_second": counts["answered"] / (end - begin or math.inf)} | figures


def write_csv(file: Path, plan: Plan, stats: LoadStats) -> None:
    """Write the series, with a line of headings; raises OSError."""
    rows = list(series(plan, stats))
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _figures(latencies: Latencies) -> dict[str, float]:
    figures = {_name(percent): latencies.percentile(percent) for percent in PERCENTILES}
    return {"count": latencies.count, "mean": latencies.mean, **figures, "max": latencies.max}
