"""A run of rows: what is measured in turns over all entries, and what came out."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from .peers import PEERS
from .processes import BenchmarkError, ServerProcess, Shape, WireFiles, calibrated, load, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .peers import Peer
    from .processes import Load

    Measure = Callable[["Bench", str], float]


class Bench:
    """Servers that are started when a row first needs them, and live until the run is over."""

    def __init__(self, peers: Sequence[str], seconds: float, rounds: int) -> None:
        """Nothing runs yet; ``seconds`` is the length of one measurement."""
        self.peers = [PEERS[name] for name in peers]
        self.seconds = seconds
        self.rounds = rounds
        self._stack = contextlib.ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="framelet-bench-")))
        self.files = WireFiles(self.folder)
        self._servers: dict[tuple[object, ...], ServerProcess] = {}
        self._counts: dict[tuple[object, ...], int] = {}

    def server(self, name: str, **options: float) -> ServerProcess:
        """The server of that kind, started now unless it runs already."""
        key = (name, *sorted(options.items()))
        if key not in self._servers:
            self._servers[key] = self._stack.enter_context(serve(PEERS[name], **options))
        return self._servers[key]

    def load(
        self, name: str, text: str, shape: Shape | None = None, *, server: ServerProcess | None = None
    ) -> Load:
        """One run of the load generator against a peer."""
        files = self.files.of(PEERS[name].framing or "framelet", text)
        return load(files, (server or self.server(name)).port, shape or Shape(), self.seconds)

    def count(
        self, key: tuple[object, ...], measure: Callable[[int], float], *, first: int, step: int = 1
    ) -> int:
        """How many requests make one measurement; found out once for each key."""
        if key not in self._counts:
            self._counts[key] = calibrated(measure, self.seconds, first=first, step=step)
        return self._counts[key]

    def raw_peers(self) -> list[Peer]:
        """Those that the load generator can drive."""
        return [peer for peer in self.peers if peer.framing]

    def close(self) -> None:
        """End all servers."""
        self._stack.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End all servers."""
        self.close()


@dataclass(frozen=True)
class Row:
    """One thing that is measured, for a number of entries: peers, or variants of one."""

    name: str
    group: str
    title: str
    unit: str
    entries: Callable[[Bench], dict[str, str]]
    """Names and titles."""
    measure: Measure | None = None
    """The value of one entry; called in turns."""
    collect: Callable[[Bench, str], list[float]] | None = None
    """All values of one entry, where the entries cannot run side by side."""
    less: bool = False
    """Whether less is better."""
    reference: str | None = None
    """The entry that the others are compared with."""
    rounds: int | None = None
    """How often, at most."""
    warm: bool = True
    """Whether the first value of each entry is left out."""


@dataclass
class Outcome:
    """What a row came to: the values of each entry, one for each round."""

    row: Row
    titles: dict[str, str]
    values: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """For the file of results."""
        return {
            "name": self.row.name,
            "group": self.row.group,
            "title": self.row.title,
            "unit": self.row.unit,
            "less": self.row.less,
            "reference": self.row.reference,
            "entries": [
                {"name": name, "title": title, "values": self.values.get(name, [])}
                for name, title in self.titles.items()
            ],
            "failed": self.failed,
        }


def measured(row: Row, bench: Bench) -> Outcome:
    """Measure a row: each round goes over all entries before the next one begins."""
    outcome = Outcome(row, row.entries(bench))
    outcome.values = {name: [] for name in outcome.titles}
    if row.collect is not None:
        for name in outcome.titles:
            _attempt(outcome, name, partial(row.collect, bench, name))
        return outcome
    rounds = min(bench.rounds, row.rounds or bench.rounds)
    assert row.measure is not None  # noqa: S101 - a row has the one or the other
    for number in range(rounds + row.warm):
        for name in outcome.titles:
            if name not in outcome.failed:
                _attempt(outcome, name, partial(_single, row.measure, bench, name))
        if row.warm and number == 0:
            outcome.values = {name: [] for name in outcome.titles}
    return outcome


def _single(measure: Measure, bench: Bench, name: str) -> list[float]:
    return [measure(bench, name)]


def _attempt(outcome: Outcome, name: str, measure: Callable[[], list[float]]) -> None:
    """Keep the values, or why there are none: one peer that fails does not cost the others their row."""
    try:
        outcome.values[name] += measure()
    except BenchmarkError as error:
        outcome.failed[name] = str(error)
        outcome.values[name] = []
