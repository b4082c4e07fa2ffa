"""The targets for the figures, and whether a run met them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .calls import CASES
from .peers import BEFORE, FRAMELET, IN_LOOP, LIMIT, LOOP, PEERS
from .results import Ratio, amount
from .rows.clients import BOUND
from .rows.servers import PASSES, SERVER_ROWS

if TYPE_CHECKING:
    from .results import Measured, Results

EVERY_PEER = "every other peer"
"""The best of the peers, without the C limit."""

ITSELF = None
"""The target is a value, not a ratio."""

LINEAR = 4
"""How much more an octet of 64 MiB may cost than one of 1 MiB, because of caches; quadratic time: 64."""


@dataclass(frozen=True)
class Target:
    """A bound for one entry of some rows: for its ratio to another entry, or for its value.

    Without a bound the figure is reported.  Of several rows the one counts that is furthest from the bound.
    """

    rows: str | tuple[str, ...]
    against: str | None
    at_least: float | None = None
    at_most: float | None = None
    entry: str = FRAMELET
    of_row: str | None = None
    """The row of the other entry, where that is not the same."""
    title: str = ""
    """Of several rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rows."""
        return (self.rows,) if isinstance(self.rows, str) else self.rows

    @property
    def bound(self) -> str:
        """For people."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    def met_by(self, value: float) -> bool | None:
        """Whether a value, or a ratio, is within the bound; None without one."""
        if self.at_least is not None:
            return value >= self.at_least
        return None if self.at_most is None else value <= self.at_most


_THREADS = ("ping-pong-1", "ping-pong-64", "pipelined-1", "pipelined-16", "ascii-1m")
_OWN = tuple(row.name for row in SERVER_ROWS if row.name != row.work and not row.less)
_CHURN = "connect, one request, close, either handler"

TARGETS = (
    *(Target("calls", ITSELF, at_most=case.at_most, entry=name) for name, case in CASES.items()),
    # A handler of one's own.
    Target("pipelined-1-own", FRAMELET, at_least=0.6, of_row="pipelined-1"),
    Target("ping-pong-1-own", "asyncio_protocol", at_most=1),
    Target(_OWN, "asyncio_protocol", at_least=1, title="all other rows with an own handler"),
    Target("ping-pong-1-own", "uvloop_protocol"),
    Target(_OWN, "uvloop_protocol", title="all other rows with an own handler"),
    Target("ping-pong-64-own", LOOP, at_least=0.75),
    Target("clients-blocking", BOUND, at_least=0.97),
    # Either handler.
    Target(("churn", "churn-own"), "asyncio_protocol", at_least=1, title=_CHURN),
    Target(("churn", "churn-own"), "uvloop_protocol", title=_CHURN),
    Target(
        ("size-16384", "size-16384-own"),
        "uvloop_protocol",
        at_least=1,
        title="bodies of 16 KiB, either handler",
    ),
    Target(
        ("idle-memory", "idle-memory-own"),
        ITSELF,
        at_most=1500,
        title="memory of an idle connection, either handler",
    ),
    Target(
        ("idle-speed", "idle-speed-own"),
        ITSELF,
        at_least=0.95,
        title="among 10,000 idle ones, either handler",
    ),
    Target(
        ("sparse", "sparse-own"),
        BEFORE,
        at_most=1.1,
        title="processor time of sparse requests, either handler",
    ),
    Target(
        tuple(f"threads-{name}{kind}" for kind in ("", "-own") for name in _THREADS),
        "1",
        at_least=0.9,
        entry="4",
        title="4 threads, all rows",
    ),
    # Reversal.
    Target("ping-pong-1", LIMIT, at_most=1.1),
    Target("ping-pong-64", LIMIT, at_least=0.6),
    Target("pipelined-1", LIMIT, at_least=0.25),
    Target("pipelined-1", "twisted_int32", at_least=3.5),
    Target("ascii-1m", LIMIT, at_least=0.9),
    Target("ascii-64m", FRAMELET, at_least=1 / LINEAR, of_row="ascii-1m"),
    Target("mixed-1m", PASSES, at_least=0.95),
    Target("mixed-1m", LIMIT),
    # End to end, the codec, the commands.
    Target("clients-ping-pong", EVERY_PEER, at_least=1),
    Target("clients-pipelined", "zeromq", at_least=6),
    *(
        Target(row, other, at_least=1, entry=IN_LOOP)
        for row in ("clients-ping-pong", "clients-pipelined")
        for other in ("asyncio_streams", "websockets_asyncio")
    ),
    Target("decode-64m", ITSELF, at_most=LINEAR, entry="codec"),
    Target("import", ITSELF, at_most=60),
    Target("send", ITSELF, at_most=150),
)


@dataclass(frozen=True)
class Verdict:
    """A target, and what a run says to it."""

    target: Target
    title: str
    what: str
    value: str
    met: bool | None
    """None where the figure is reported only."""
    figure: float
    """What the bound is held against."""


def verdicts(results: Results) -> list[Verdict]:
    """All targets whose rows and entries were measured."""
    found = (_verdict(target, results) for target in TARGETS)
    return [verdict for verdict in found if verdict is not None]


def _verdict(target: Target, results: Results) -> Verdict | None:
    """Of the row that is furthest from the bound."""
    rows = [results.by_name[name] for name in target.names if name in results.by_name]
    found = [verdict for row in rows if (verdict := _of_row(target, row, results)) is not None]
    worst = min if target.at_most is None else max
    return worst(found, key=lambda verdict: verdict.figure, default=None)


def _of_row(target: Target, row: Measured, results: Results) -> Verdict | None:
    if target.entry not in row.values:
        return None
    title, found_in = row.title, ""
    if len(target.names) > 1:
        title, found_in = target.title, f" in {row.title}"
    elif target.entry != FRAMELET:
        title = f"{row.title}: {row.titles[target.entry]}"
    if target.against is ITSELF:
        value = statistics.median(row.values[target.entry])
        what = f"value, {row.unit}"
        return Verdict(target, title, what, amount(value) + found_in, target.met_by(value), value)
    what, ratio = _ratio(target, row, results)
    if ratio is None:
        return None
    return Verdict(
        target, title, f"ratio to {what}", ratio.text + found_in, target.met_by(ratio.median), ratio.median
    )


def _ratio(target: Target, row: Measured, results: Results) -> tuple[str, Ratio | None]:
    """What the ratio is to, for people, and the ratio."""
    other_row = results.by_name.get(target.of_row or row.name)
    if other_row is None:
        return "", None
    other = target.against
    if other == EVERY_PEER:
        other = row.best([name for name in row.values if name not in {target.entry, IN_LOOP, LIMIT, BEFORE}])
    what = other_row.titles.get(other or "", PEERS[other].title if other in PEERS else other or "")
    if target.against == EVERY_PEER:
        what = f"the best peer, {what}"
    if target.of_row:
        what = f"its own {other_row.title}"
    return what, Ratio.of(row.values[target.entry], other_row.values.get(other or "", ()))
