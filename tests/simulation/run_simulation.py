"""What ``make simulate`` runs: each planted bug until it is found, and many schedules of the server as it is.

Writes RESULTS.md beside it.  Exit status 1 where a bug is not found, or the server has a finding.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

from tests.simulation.bugs import BUGS
from tests.simulation.conversations import run_seed
from tests.simulation.loop_bugs import LOOP_BUGS
from tests.simulation.machine import Finding
from tests.simulation.planting import planted

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).with_name("RESULTS.md")
MOST = 10_000
_PART = 250

_HEAD = """# What the simulated machine finds

Written by `make simulate`: in how many schedules the server as it is had no finding, and the first schedule, in the
order of their seeds, in which each planted bug of `bugs.py` and `loop_bugs.py` shows.

"""
_SCHEDULES = "| server | schedules | findings |\n|---|---|---|\n"
_BUGS = "| planted bug | module | schedules | finding |\n|---|---|---|---|\n"


def search(number: int, most: int = MOST) -> tuple[int, str]:
    """How many schedules a bug takes to be found, and as what; 0 where it is not."""
    bug = BUGS[number]
    with planted(bug):
        for seed in range(most):
            try:
                run_seed(seed, loop=bug in LOOP_BUGS)
            except Finding as finding:
                return seed + 1, str(finding).partition(" (thread ")[0]
    return 0, ""


def check(first: int, last: int, loop: bool) -> list[str]:  # noqa: FBT001 - mapped over
    """Run the server as it is on some seeds; the findings."""
    found = []
    for seed in range(first, last):
        try:
            run_seed(seed, loop=loop)
        except Finding as finding:
            found.append(f"seed {seed}{' of asyncio' * loop}: {finding}")
    return found


def find_bugs(pool: ProcessPoolExecutor, most: int) -> tuple[list[str], int]:
    """A row of the table for each planted bug, and how many were not found."""
    searches = {pool.submit(search, number, most): number for number in range(len(BUGS))}
    rows, missed = [""] * len(BUGS), 0
    for done in as_completed(searches):
        bug, (count, words) = BUGS[searches[done]], done.result()
        words = re.sub(r"[|\n]", " ", words.partition(": [")[0])[:60].strip()
        rows[searches[done]] = f"| {bug.name} | `{bug.module}` | {count or f'none of {most:,}'} | {words} |\n"
        print(f"{count or 'NONE':>6}  {bug.name}: {words}", flush=True)
        missed += not count
    return rows, missed


def run_schedules(pool: ProcessPoolExecutor, most: int, *, loop: bool) -> tuple[str, list[str]]:
    """The row of the table for a server as it is, and the findings."""
    parts = [(first, min(first + _PART, most), loop) for first in range(0, most, _PART)]
    findings = [line for part in pool.map(check, *zip(*parts, strict=True)) for line in part]
    name = "`framelet_server.asyncio`" if loop else "`framelet_server`"
    print(f"{name}: {len(findings)} findings in {most:,} schedules", *findings[:20], sep="\n", flush=True)
    return f"| {name} | {most:,} | {len(findings) or 'none'} |\n", findings


def rows_of(text: str, head: str) -> Iterator[str]:
    """The rows of a table as RESULTS.md has it."""
    for line in text.partition(head)[2].splitlines(keepends=True):
        if not line.startswith("|"):
            return
        yield line


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("bugs", "schedules"), help="run only this")
    parser.add_argument(
        "--schedules", type=int, default=100_000, help="of the server as it is; asyncio: a tenth"
    )
    parser.add_argument("--most", type=int, default=MOST, help="schedules for each bug")
    options = parser.parse_args()
    old = RESULTS.read_text(encoding="utf-8")
    schedules, bugs = list(rows_of(old, _SCHEDULES)), list(rows_of(old, _BUGS))
    wrong = 0
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        if options.part != "schedules":
            bugs, wrong = find_bugs(pool, options.most)
        if options.part != "bugs":
            schedules = []
            for most, loop in ((options.schedules, False), (options.schedules // 10, True)):
                row, findings = run_schedules(pool, most, loop=loop)
                schedules.append(row)
                wrong += len(findings)
    tables = _SCHEDULES + "".join(schedules) + "\n" + _BUGS + "".join(bugs)
    RESULTS.write_text(_HEAD + tables, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
