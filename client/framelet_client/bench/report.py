"""What a measurement says to people and to programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from framelet_client.exit_codes import ExitCode

from .load import LATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan
    from .stats import Latencies, Tally

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)
BUSY = 0.9
"""Share of the time at work from which the load generator is said to be the limit."""

WRONG_HINT = "for a server with another handler there are --expect echo and --expect any"
"""What to do where the replies are right after all."""

_REACHED = 0.99  # share of the rate from which it counts as reached


def exit_code_of(tally: Tally) -> ExitCode:
    """The exit code of the command."""
    if tally.interrupted:
        return ExitCode.INTERRUPTED
    if tally.ends["timed out"]:
        return ExitCode.TIMED_OUT
    if tally.ends["broke the protocol"]:
        return ExitCode.PROTOCOL_ERROR
    if tally.ends and not (tally.answered or tally.wrong or tally.errors):
        return ExitCode.NO_CONNECTION
    return ExitCode.PARTIAL if tally.failed or tally.ends else ExitCode.SUCCESS


def rate_of(tally: Tally) -> float:
    """Requests answered a second."""
    return _per_second(tally.answered, tally)


def _per_second(number: int, tally: Tally) -> float:
    return number / tally.seconds if tally.seconds else 0.0


def rate_reached(plan: Plan, tally: Tally) -> bool:
    """Whether an open loop has kept its rate."""
    return plan.rate is None or (not tally.unsent and rate_of(tally) >= _REACHED * plan.rate)


def is_limited(tally: Tally) -> bool:
    """Whether a process of the load generator had about as much to do as it could."""
    return any(share >= BUSY for share in tally.busy)


def complaints(plan: Plan, tally: Tally) -> Iterator[str]:
    """A line for each kind of failure."""
    first = tally.first_words
    if tally.wrong:
        words = f"{_many(tally.wrong, 'reply was', 'replies were')} wrong: in the first, {first['wrong']}"
        yield f"{words}; {WRONG_HINT}"
    for code, count in sorted(tally.errors.items()):
        words = first[f"ERROR {code}"]
        yield f"{_many(count, 'request was', 'requests were')} answered ERROR {code}: {words}"
    for kind, count in sorted(tally.ends.items()):
        unanswered = tally.timed_out if kind == "timed out" else tally.lost
        yield (
            f"{_many(count, 'connection')} of {plan.connections} {kind}: {first[kind]}; "
            f"{_many(unanswered, 'request has', 'requests have')} no answer"
        )
    if tally.ends.total() == plan.connections and not tally.interrupted:
        yield f"no connection was left after {tally.seconds:.3f} seconds of the measurement"


def _many(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def table(address: str, plan: Plan, tally: Tally) -> list[str]:
    """The report for people."""
    sizes = ", ".join(f"{size:,}" for size in plan.sizes)
    loop = "closed loop" if plan.rate is None else f"open loop of {plan.rate:,g} requests/s"
    keeps = "in flight on each" if plan.rate is None else "at most in flight on each"
    checked = "not compared" if plan.expect == "any" else "each compared"
    rate = rate_of(tally)
    sent, received = (_per_second(octets, tally) for octets in (tally.octets_sent, tally.octets_received))
    lines = [
        f"{address}: {loop}, {_many(plan.connections, 'connection')}, {plan.window:,} {keeps}",
        f"texts        {sizes} octets, {plan.text}",
        f"answered     {tally.answered:,} of {tally.sent:,} in {tally.seconds:.3f} s, {checked}",
        f"throughput   {rate:,.0f} requests/s; octets/s: {sent:,.0f} sent, {received:,.0f} received",
        "",
        "ms        " + "".join(f"{name:>11}" for name in ("mean", *map(_name, PERCENTILES), "max")),
        _row("latency" if plan.rate is None else "since due", tally.latency),
    ]
    if plan.rate is not None:
        lines += [_row("since sent", tally.service), _row("sent late", tally.lateness)]
    remarks = list(_remarks(plan, tally))
    return [*lines, "", *remarks] if remarks else lines


def _remarks(plan: Plan, tally: Tally) -> Iterator[str]:
    """What has to be known to read the numbers."""
    if plan.rate is not None and tally.sent:
        share = tally.late / tally.sent
        yield f"{share:.1%} of the requests ({tally.late:,}) were sent more than {LATE * 1000:g} ms late"
    if plan.rate is not None and not tally.interrupted and not rate_reached(plan, tally):
        unsent = f"; {_many(tally.unsent, 'request')} due and never sent" if tally.unsent else ""
        yield f"the rate of {plan.rate:,g} requests/s was not reached: it was {rate_of(tally):,.1f}{unsent}"
    if is_limited(tally):
        yield (
            f"the load generator itself was a limit: at work {max(tally.busy):.0%} of the time, "
            f"on {max(tally.cpu):.0%} of a core; more --processes may show more of the server"
        )
    if tally.interrupted:
        yield f"interrupted, with {_many(tally.abandoned, 'request')} in flight"


def _row(name: str, latencies: Latencies) -> str:
    values = (latencies.mean, *map(latencies.percentile, PERCENTILES), latencies.max)
    return f"{name:<10}" + "".join(f"{value * 1000:>11.3f}" for value in values)


def _name(percent: float) -> str:
    return f"p{percent:g}"


def as_json(address: str, plan: Plan, tally: Tally) -> str:
    """The report for programs: one line; times in seconds."""
    is_open = plan.rate is not None
    report: dict[str, Any] = {
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
        "seconds": tally.seconds,
        "interrupted": tally.interrupted,
        "requests": {
            "sent": tally.sent,
            "answered": tally.answered,
            "wrong": tally.wrong,
            "errors": {str(code): count for code, count in sorted(tally.errors.items())},
            "timed_out": tally.timed_out,
            "lost": tally.lost,
            "abandoned": tally.abandoned,
            "unsent": tally.unsent,
        },
        "connections_ended": dict(tally.ends),
        "requests_per_second": rate_of(tally),
        "octets_sent_per_second": _per_second(tally.octets_sent, tally),
        "octets_received_per_second": _per_second(tally.octets_received, tally),
        "rate_reached": rate_reached(plan, tally) if is_open else None,
        "latency": _figures(tally.latency),
        "since_sent": _figures(tally.service) if is_open else None,
        "sent_late": {**_figures(tally.lateness), "late": tally.late} if is_open else None,
        "generator_cores": tally.cpu,
        "generator_busy": tally.busy,
        "generator_is_a_limit": is_limited(tally),
        "histogram": tally.latency.encoded(),
    }
    return json.dumps(report)


def _figures(latencies: Latencies) -> dict[str, float]:
    figures = {_name(percent): latencies.percentile(percent) for percent in PERCENTILES}
    return {"count": latencies.count, "mean": latencies.mean, **figures, "max": latencies.max}
