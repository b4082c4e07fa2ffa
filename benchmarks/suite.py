"""A run of rows: what is measured in turns over all entries, and what came out."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .certificates import Certificate
from .peers import FRAMELET, PEERS
from .peers.common import OWN, REVERSE
from .processes import BenchmarkError, ServerProcess, Shape, WireFiles, calibrated, load, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .peers import Peer
    from .processes import Load

Measure = Callable[..., float]
"""From a bench and the name of an entry to its value; of a row that is there twice, with ``handler`` too."""

_OWN = "-own"


def own_name(name: str) -> str:
    """The name of the row that does the same with an own handler."""
    return name + _OWN


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

    @cached_property
    def certificate(self) -> Certificate:
        """For servers that speak TLS."""
        return Certificate.issue(self.folder)

    def server(self, name: str, **options: object) -> ServerProcess:
        """The server of that kind, started now unless it runs already."""
        key = (name, *sorted(options.items()))
        if key not in self._servers:
            self._servers[key] = self._stack.enter_context(serve(PEERS[name], **options))
        return self._servers[key]

    def load(
        self,
        name: str,
        text: str,
        shape: Shape | None = None,
        *,
        handler: str = REVERSE,
        server: ServerProcess | None = None,
    ) -> Load:
        """One run of the load generator against a peer."""
        files = self.files.of(PEERS[name].framing or "framelet", text, handler)
        server = server or self.server(name, handler=handler)
        return load(files, server.port, shape or Shape(), self.seconds)

    def count(
        self, key: tuple[object, ...], measure: Callable[[int], float], *, first: int, step: int = 1
    ) -> int:
        """How many requests make one measurement; found out once for each key."""
        if key not in self._counts:
            self._counts[key] = calibrated(measure, self.seconds, first=first, step=step)
        return self._counts[key]

    def titles(self, handler: str, wanted: Callable[[Peer], object]) -> dict[str, str]:
        """Names and titles of the peers that are wanted and can call the handler."""
        return {peer.name: peer.title for peer in self.peers if handler in peer.handlers and wanted(peer)}

    def variants(self, titles: dict[str, str]) -> dict[str, str]:
        """Entries that stand for variants of Framelet: none where it is not measured."""
        return titles if any(peer.name == FRAMELET for peer in self.peers) else {}

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
    entries: Callable[..., dict[str, str]]
    """From a bench to names and titles; of a row that is there twice, with ``handler`` too."""
    measure: Measure | None = None
    """The value of one entry; called in turns."""
    collect: Callable[..., list[float]] | None = None
    """All values of one entry, where the entries cannot run side by side."""
    less: bool = False
    """Whether less is better."""
    reference: str | None = None
    """The entry that the others are compared with."""
    rounds: int | None = None
    """How often, at most."""
    warm: bool = True
    """Whether the first value of each entry is left out."""

    def twice(self) -> tuple[Row, Row]:
        """The row with reversal, and the same with an own handler."""
        changes: dict[str, Any] = {
            name: partial(function, handler=OWN)
            for name in ("entries", "measure", "collect")
            if (function := getattr(self, name)) is not None
        }
        title = f"{self.title}, own handler"
        return self, replace(self, name=own_name(self.name), title=title, **changes)

    @property
    def work(self) -> str:
        """What is the same for a row and its twin, which are measured in the same rounds."""
        return self.name.removesuffix(_OWN)

    def turns(self, bench: Bench) -> int:
        """How often each entry is measured."""
        return 1 if self.collect else min(bench.rounds, self.rounds or bench.rounds) + self.warm

    def values(self, bench: Bench, name: str) -> list[float]:
        """What one turn of an entry gives."""
        if self.collect:
            return self.collect(bench, name)
        assert self.measure is not None  # noqa: S101 - a row has the one or the other
        return [self.measure(bench, name)]


@dataclass
class Outcome:
    """What a row came to: the values of each entry, one for each round."""

    row: Row
    titles: dict[str, str]
    values: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def take_turn(self, bench: Bench, *, keep: bool) -> None:
        """Measure each entry once: one that fails does not cost the others their row."""
        for name in self.titles:
            if name in self.failed:
                continue
            try:
                values = self.row.values(bench, name)
            except BenchmarkError as error:
                self.failed[name] = str(error)
                self.values[name] = []
            else:
                self.values.setdefault(name, []).extend(values if keep else ())

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


def measured(bench: Bench, *rows: Row) -> list[Outcome]:
    """Measure rows side by side: each round goes over all of their entries before the next one begins."""
    outcomes = [Outcome(row, row.entries(bench)) for row in rows]
    for number in range(max(row.turns(bench) for row in rows)):
        for outcome in outcomes:
            if number < outcome.row.turns(bench):
                outcome.take_turn(bench, keep=number > 0 or not outcome.row.warm)
    return outcomes
