"""What ``make simulate`` runs: many schedules of the server as it is, and each planted bug until it is found.

Writes RESULTS.md beside it.  Exit status 1 where the server has a finding, or where a bug is not found that
is known to show.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.simulation.bugs import BUGS, planted
from tests.simulation.conversations import run_seed
from tests.simulation.machine import Finding

RESULTS = Path(__file__).with_name("RESULTS.md")
MOST = 10_000
_PART = 500

_HEAD = """# Planted bugs that the simulated machine finds

Written by `make simulate`: the first schedule, in the order of their seeds, in which each bug of `bugs.py` shows.
Those that are not found are either harmless, as other code makes up for them, or beyond what the machine does so far.

| bug | module | schedules | finding |
|---|---|---|---|
"""


def search(number: int, most: int = MOST) -> tuple[int, str]:
    """How many schedules a bug takes to be found, and as what; 0 where it is not."""
    with planted(BUGS[number]):
        for seed in range(most):
            try:
                run_seed(seed)
            except Finding as finding:
                return seed + 1, str(finding).partition(" (thread ")[0]
    return 0, ""


def check(first: int) -> list[str]:
    """Run the server as it is on some seeds; the findings."""
    found = []
    for seed in range(first, first + _PART):
        try:
            run_seed(seed)
        except Finding as finding:
            found.append(f"seed {seed}: {finding}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=100_000, help="of the server as it is")
    parser.add_argument("--most", type=int, default=MOST, help="schedules for each bug")
    options = parser.parse_args()
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        rows = list(zip(BUGS, pool.map(search, range(len(BUGS)), [options.most] * len(BUGS)), strict=True))
        findings = [line for part in pool.map(check, range(0, options.schedules, _PART)) for line in part]
    table = "".join(
        f"| {bug.name} | `{bug.module}` | {count or f'none of {options.most}'} | {words.partition(':')[0]} |\n"
        for bug, (count, words) in rows
    )
    RESULTS.write_text(_HEAD + table, encoding="utf-8")
    missed = sum(not count for _, (count, _) in rows)
    lost = [bug.name for bug, (count, _) in rows if bug.shows and not count]
    print(
        f"{len(rows) - missed} of {len(rows)} bugs found, not: {lost}; {len(findings)} findings in {options.schedules} schedules"
    )
    print("\n".join(findings[:20]))
    return 1 if lost or findings else 0


if __name__ == "__main__":
    sys.exit(main())
