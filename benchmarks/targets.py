"""What the figures have to reach: each target once, and whether a run met it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .peers import FRAMELET, LIMIT, PEERS
from .results import Ratio, amount, times

if TYPE_CHECKING:
    from .results import Measured, Results

EVERY_PEER = "every other peer"
"""The best of them, without the limit."""

ITSELF = None
"""The target is a value, no ratio."""

LINEAR = 4
"""What an octet of 64 MiB may cost over one of 1 MiB, in a cache; quadratic time would make it 64."""


@dataclass(frozen=True)
class Target:
    """A bound for one entry of a row: for its ratio to another entry, or for its value."""

    row: str
    against: str | None
    at_least: float | None = None
    at_most: float | None = None
    entry: str = FRAMELET
    of_row: str | None = None
    """The row of the other entry, where that is not the same."""

    @property
    def bound(self) -> str:
        """For people."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return f"at most {self.at_most:g}"

    def met_by(self, value: float) -> bool:
        """Whether a value, or a ratio, is within the bound."""
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)


TARGETS = (
    Target("ping-pong-1", LIMIT, at_most=1.1),
    Target("ping-pong-64", LIMIT, at_least=0.8),
    Target("pipelined-1", LIMIT, at_least=0.25),
    Target("pipelined-1", "twisted_int32", at_least=3.5),
    Target("ascii-1m", LIMIT, at_least=0.9),
    Target("mixed-1m", LIMIT, at_least=1.3),
    Target("ascii-64m", FRAMELET, at_least=1 / LINEAR, of_row="ascii-1m"),
    Target("decode-64m", ITSELF, at_most=LINEAR, entry="codec"),
    Target("threads-ping-pong-1", "1", at_least=0.9, entry="4"),
    Target("threads-ping-pong-64", "1", at_least=0.9, entry="4"),
    Target("threads-pipelined-1", "1", at_least=0.9, entry="4"),
    Target("threads-pipelined-16", "1", at_least=0.9, entry="4"),
    Target("threads-ascii-1m", "1", at_least=0.9, entry="4"),
    Target("idle-memory", ITSELF, at_most=4096),
    Target("idle-speed", ITSELF, at_least=0.95),
    Target("clients-ping-pong", EVERY_PEER, at_least=1),
    Target("clients-pipelined", "zeromq", at_least=6),
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
    met: bool


def verdicts(results: Results) -> list[Verdict]:
    """All targets whose rows and entries were measured."""
    found = (_verdict(target, results) for target in TARGETS)
    return [verdict for verdict in found if verdict is not None]


def _verdict(target: Target, results: Results) -> Verdict | None:
    row = results.by_name.get(target.row)
    if row is None or target.entry not in row.values:
        return None
    ours = row.titles[target.entry]
    title = f"{row.title}: {ours}" if row.name.startswith("threads-") else row.title
    if target.against is ITSELF:
        value = statistics.median(row.values[target.entry])
        return Verdict(target, title, f"value, {row.unit}", amount(value), target.met_by(value))
    what, ratio = _ratio(target, row, results)
    if ratio is None:
        return None
    spread = f"{times(ratio.median)} ({times(ratio.least)} to {times(ratio.most)})"
    return Verdict(target, title, f"ratio to {what}", spread, target.met_by(ratio.median))


def _ratio(target: Target, row: Measured, results: Results) -> tuple[str, Ratio | None]:
    """What the ratio is to, for people, and the ratio."""
    other_row = results.by_name.get(target.of_row or row.name)
    if other_row is None:
        return "", None
    other = target.against
    if other == EVERY_PEER:
        other = row.best([name for name in row.values if name not in {target.entry, LIMIT}])
    what = other_row.titles.get(other or "", PEERS[other].title if other in PEERS else other or "")
    if target.against == EVERY_PEER:
        what = f"the best peer, {what}"
    if target.of_row:
        what = f"its own {other_row.title}"
    return what, Ratio.of(row.values[target.entry], other_row.values.get(other or "", ()))
