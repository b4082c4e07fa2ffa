"""Measure Framelet beside its peers and the limit::

    python -m benchmarks                       all rows; writes results/full.json, plots and the pages
    python -m benchmarks --quick               about a minute; writes results/quick.json
    python -m benchmarks --rows churn-own,send --peers framelet,limit --rounds 3
    python -m benchmarks --rows sparse --before ../old    beside Framelet of another checkout, in turns
    python -m benchmarks --page                plots and pages anew, from results/full.json

Exits with 1 where something could not be measured, wrong replies among it, and 2 for wrong usage.
"""  # noqa: D400, D415 - the first line introduces the usage

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from framelet.errors import install_command

from . import plots
from .machine import machine, versions
from .native import CompilerError
from .page import PAGE, ROUNDS_PAGE, PageError, regenerated, rounds_page, table, targets_section
from .peers import BEFORE, FRAMELET, LIMIT, LOOP, PEERS, before
from .processes import CORES, BenchmarkError, raise_descriptors
from .results import Results, amount
from .rows import QUICK, ROWS
from .suite import Bench, measured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .results import Measured

RESULTS = Path(__file__).parent / "results"
FULL = RESULTS / "full.json"
ROUNDS, SECONDS = 5, 0.3
QUICK_ROUNDS, QUICK_SECONDS = 2, 0.15


def main() -> int:
    """Measure, show and keep; the exit status."""
    given = options()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start compiles what installing has compiled
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are ended on the way out
    try:
        if given.page:
            publish(Results.read(FULL))
            return 0
        return measure(given)
    except (BenchmarkError, CompilerError, PageError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="Framelet beside its peers and the limit."
    )
    parser.add_argument("--quick", action="store_true", help="a few rows, short rounds: about a minute")
    parser.add_argument("--rows", type=listed(ROWS), help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--peers", type=listed(PEERS), help=f"some of: {', '.join(PEERS)}")
    parser.add_argument("--before", type=Path, help="another checkout whose Framelet is measured, too")
    parser.add_argument("--rounds", type=positive(int), help=f"of each row; {ROUNDS}")
    parser.add_argument("--seconds", type=positive(float), help=f"for each measurement; {SECONDS}")
    parser.add_argument("--json", type=Path, help="where the results go")
    parser.add_argument("--page", action="store_true", help="only write plots and pages anew")
    given = parser.parse_args()
    if given.before and not (given.before / "server" / "framelet_server").is_dir():
        parser.error(f"--before {given.before}: not a checkout of Framelet")
    given.complete = not (given.quick or given.rows or given.peers or given.before or given.json)
    given.rounds = given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS)
    given.seconds = given.seconds or (QUICK_SECONDS if given.quick else SECONDS)
    given.rows = given.rows or (QUICK if given.quick else tuple(ROWS))
    given.json = given.json or (FULL if given.complete else RESULTS / "quick.json")
    return given


class listed:  # noqa: N801 - used like a function, as a type of argparse
    """Names separated by commas, all of them known."""

    def __init__(self, known: Mapping[str, object]) -> None:
        """Have the known ones."""
        self._known = known

    def __call__(self, text: str) -> tuple[str, ...]:
        """Raises ArgumentTypeError at an unknown one."""
        names = tuple(text.split(","))
        for name in names:
            if name not in self._known:
                message = f"{name} is unknown: expected some of {', '.join(self._known)}"
                raise argparse.ArgumentTypeError(message)
        return names


class positive:  # noqa: N801 - used like a function, as a type of argparse
    """A number above zero."""

    def __init__(self, kind: type[int | float]) -> None:
        """Have its kind."""
        self._kind = kind

    def __call__(self, text: str) -> float:
        """Raises ArgumentTypeError, or ValueError where it is no number."""
        value = self._kind(text)
        if not value > 0:
            message = f"{text} is not above zero"
            raise argparse.ArgumentTypeError(message)
        return value


def measure(given: argparse.Namespace) -> int:
    """Run the rows; the exit status."""
    raise_descriptors()
    wanted = given.peers or tuple(PEERS)
    skipped = {PEERS[name].title: why for name in wanted if (why := PEERS[name].missing)}
    for title, why in skipped.items():
        print(f"{title} is skipped: {why}")
    peers = [name for name in wanted if not PEERS[name].missing]
    if given.peers is None and {FRAMELET, LIMIT, LOOP} - set(peers):
        raise BenchmarkError("Framelet, the limit and the bare loop are what everything is compared with")
    if given.before:
        PEERS[BEFORE] = before(given.before.resolve())
        peers.insert(1, BEFORE)
    began = time.monotonic()
    outcomes = []
    with Bench(peers, given.seconds, given.rounds) as bench:
        for _, names in itertools.groupby(given.rows, key=lambda name: ROWS[name].work):
            found = [outcome.as_json() for outcome in measured(bench, *(ROWS[name] for name in names))]
            outcomes += found
            for row in Results.from_json(blank(found)).rows:
                show(row)
    run = {
        "machine": machine(),
        "versions": versions(PEERS[name] for name in peers),
        "method": {
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
            "minutes": round((time.monotonic() - began) / 60, 1),
            "rounds": given.rounds,
            "seconds": given.seconds,
            "server core": CORES.server,
            "load core": CORES.load,
        },
        "skipped": skipped,
        "rows": outcomes,
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    results = Results.from_json(run)
    print(f"\n{targets_section(results)}\n{given.json}")
    if given.complete:
        publish(results)
    return any(row.failed for row in results.rows)


def blank(rows: Sequence[object]) -> dict[str, object]:
    """A run with nothing but rows."""
    return {"machine": {}, "versions": {}, "method": {}, "skipped": {}, "rows": rows}


def show(row: Measured) -> None:
    """Print a row as soon as it is there."""
    if not row.values and not row.failed:
        return
    lines = []
    for name in row.values:
        ratio = row.ratio(name, row.reference)
        lines.append((row.titles[name], amount(row.median(name)), ratio.text if ratio else ""))
    reference = row.titles.get(row.reference or "", "")
    print(f"\n{row.title}" + (" (less is better)" if row.less else ""))
    print(
        table((row.name, row.unit, f"ratio to {reference}" if reference else ""), lines), end="", flush=True
    )
    for name, why in row.failed.items():
        print(f"{row.titles[name]} failed: {why}", flush=True)


def publish(results: Results) -> None:
    """Write plots and pages."""
    if plots.available():
        for file in plots.draw(results, RESULTS):
            print(file)
    else:
        print(f"no plots: matplotlib is not installed ({install_command('bench')})")
    PAGE.write_text(regenerated(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    ROUNDS_PAGE.write_text(rounds_page(results), encoding="utf-8")
    print(PAGE, ROUNDS_PAGE, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
