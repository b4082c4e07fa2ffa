"""Which cases cover which requirement, and which requirements none covers.

``python -m framelet_conformance.cli.coverage`` prints both and ends with status 1 where a MUST is covered by
no case and ``uncovered.toml`` gives no reason, or where that file says what is not true.
"""

from __future__ import annotations

import sys

from framelet_conformance.options import RunOptions
from framelet_conformance.running.collection import collect
from framelet_conformance.specification import read_requirements, read_uncovered


def covered() -> dict[str, list[str]]:
    """The ids of the cases that name each requirement, of both roles; also of unknown ones."""
    found: dict[str, list[str]] = {name: [] for name in read_requirements()}
    for role in ("server", "client"):
        for which in collect(RunOptions(role)):
            for name in which.requirements:
                found.setdefault(name, []).append(which.id)
    return found


def faults(cases: dict[str, list[str]], reasons: dict[str, str]) -> list[str]:
    """What is wrong with the coverage, each as a line; ``reasons`` are those of uncovered requirements."""
    known = read_requirements()
    found = [
        f"{name} does not exist, but {ids[0]} names it" for name, ids in cases.items() if name not in known
    ]
    found += [f"uncovered.toml names {name}, which does not exist" for name in reasons if name not in known]
    found += [
        f"uncovered.toml names {name}, which {cases[name][0]} covers" for name in reasons if cases.get(name)
    ]
    found += [
        f"no case covers {name}, and uncovered.toml gives no reason"
        for name, item in known.items()
        if item.level == "MUST" and not cases.get(name) and name not in reasons
    ]
    return found


def main() -> int:
    """Print the coverage and its faults; the exit status."""
    cases, reasons = covered(), read_uncovered()
    for name in read_requirements():
        ids = cases[name]
        print(f"{name:16} {len(ids):5} {ids[0] if ids else reasons.get(name, '-')}")
    found = faults(cases, reasons)
    for fault in found:
        print(fault, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
