"""What a run found: read from its file, with the ratios that everything shown is made of."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Ratio:
    """The median of the ratios of each round, and the smallest and largest of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Self | None:
        """Round by round; None where one side has no values."""
        ratios = [a / b for a, b in zip(ours, theirs, strict=False) if b]
        return cls(statistics.median(ratios), min(ratios), max(ratios)) if ratios else None

    @property
    def text(self) -> str:
        """For people."""
        return f"{times(self.median)} ({times(self.least)} to {times(self.most)})"


@dataclass(frozen=True)
class Measured:
    """One row of a run."""

    name: str
    group: str
    title: str
    unit: str
    less: bool
    reference: str | None
    titles: Mapping[str, str]
    """Of all entries, those that failed among them."""
    values: Mapping[str, Sequence[float]]
    failed: Mapping[str, str]

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Measured:
        """As ``Outcome.as_json`` wrote it."""
        entries = row["entries"]
        return cls(
            row["name"],
            row["group"],
            row["title"],
            row["unit"],
            row["less"],
            row["reference"],
            {entry["name"]: entry["title"] for entry in entries},
            {entry["name"]: entry["values"] for entry in entries if entry["values"]},
            row["failed"],
        )

    def median(self, entry: str) -> float:
        """The value that stands for all rounds."""
        return statistics.median(self.values[entry])

    def ratio(self, entry: str, other: str | None) -> Ratio | None:
        """Of two entries; None where one was not measured."""
        return Ratio.of(self.values.get(entry, ()), self.values.get(other or "", ()))

    def times_better(self, ours: Sequence[float], theirs: Sequence[float]) -> Ratio | None:
        """How many times as good as others we are, round by round."""
        return Ratio.of(theirs, ours) if self.less else Ratio.of(ours, theirs)

    def better(self, a: float, b: float) -> bool:
        """Whether a is ahead of b."""
        return a < b if self.less else a > b

    def best(self, among: Sequence[str]) -> str | None:
        """Who is ahead of all others, by the median."""
        return (min if self.less else max)(among, key=self.median, default=None)


@dataclass(frozen=True)
class Results:
    """A whole run."""

    machine: Mapping[str, str]
    versions: Mapping[str, str]
    method: Mapping[str, Any]
    skipped: Mapping[str, str]
    rows: Sequence[Measured]

    @classmethod
    def from_json(cls, run: Mapping[str, Any]) -> Results:
        """As ``python -m benchmarks`` wrote it."""
        rows = [Measured.from_json(row) for row in run["rows"]]
        return cls(run["machine"], run["versions"], run["method"], run["skipped"], rows)

    @classmethod
    def read(cls, file: Path) -> Results:
        """From a file; raises OSError, and ValueError or KeyError where it holds something else."""
        return cls.from_json(json.loads(file.read_text(encoding="utf-8")))

    @cached_property
    def by_name(self) -> Mapping[str, Measured]:
        """The rows."""
        return {row.name: row for row in self.rows}

    @cached_property
    def groups(self) -> Mapping[str, Sequence[Measured]]:
        """The rows that have values, by their groups."""
        groups: dict[str, list[Measured]] = {}
        for row in self.rows:
            if row.values:
                groups.setdefault(row.group, []).append(row)
        return groups


def amount(value: float) -> str:
    """A value for people: three digits that matter, or more where it has them before the point."""
    if not value:
        return "0"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0  # noqa: PLR2004 - decimal digits
    return f"{value:,.{digits}f}"


def times(value: float) -> str:
    """A ratio for people: two digits that matter at least."""
    digits = 3 if abs(value) < 0.1 else 2 if abs(value) < 10 else 0  # noqa: PLR2004 - decimal digits
    return f"{value:,.{digits}f}"
