"""Which cases a run is of: ids and requirements with ``*`` and ``?``."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framelet_conformance.options import RunOptions
    from framelet_conformance.play import Case


class SelectionError(Exception):
    """The selection names nothing; the message says what."""


def select(cases: list[Case], options: RunOptions) -> tuple[list[Case], set[str]]:
    """The cases that were chosen, and the ids of those that are expected to fail; raises SelectionError."""
    wanted = matching(cases, options.only, "--only") if options.only else {which.id for which in cases}
    wanted -= matching(cases, options.exclude, "--exclude")
    expected = matching(cases, options.expect_fail, "--expect-fail")
    chosen = [which for which in cases if which.id in wanted]
    if not chosen:
        raise SelectionError("no case is selected: --exclude names all of them")
    return chosen, expected


def matching(cases: Iterable[Case], patterns: Iterable[str], option: str) -> set[str]:
    """The ids of the cases that some pattern matches; raises SelectionError where one matches none."""
    found: set[str] = set()
    for pattern in patterns:
        hits = {
            which.id
            for which in cases
            if any(fnmatch.fnmatchcase(name, pattern) for name in (which.id, *which.requirements))
        }
        if not hits:
            message = f"{option} {pattern} matches no case (see --list)"
            raise SelectionError(message)
        found |= hits
    return found
