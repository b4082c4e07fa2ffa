"""Every pair of conditions has a case, or a line that says why not: see `precedence.toml`."""

from __future__ import annotations

import itertools
import tomllib
from collections import Counter
from importlib import resources

from framelet import ErrorCode
from framelet_conformance.options import RunOptions
from framelet_conformance.running.collection import collect

EVENTS = ("ERROR", "STOP", "DRAIN", "FIN", "RST")
TABLE = tomllib.loads(
    resources.files("framelet_conformance").joinpath("precedence.toml").read_text(encoding="utf-8")
)


def pairs(text: str) -> list[frozenset[str]]:
    """The pairs that one entry stands for."""
    left, right = (side.split() for side in text.split("+"))
    return [frozenset(pair) for pair in itertools.product(left, right)]


def test_every_pair_stands_there_once() -> None:
    names = [*(str(int(code)) for code in ErrorCode), *EVENTS]
    wanted = {frozenset(pair) for pair in itertools.combinations(names, 2)}
    found = Counter(pair for part in TABLE.values() for text in part for pair in pairs(text))
    missing = sorted(" + ".join(sorted(pair)) for pair in wanted - found.keys())
    assert not missing, f"add a case, or a reason: {missing}"
    strange = sorted(" + ".join(sorted(pair)) for pair in found.keys() - wanted)
    assert not strange, f"no two conditions of the registry: {strange}"
    assert max(found.values()) == 1, [set(pair) for pair, count in found.items() if count > 1]


def test_each_has_its_cases_or_a_reason() -> None:
    assert TABLE.keys() == {"cases", "none"}
    assert all(TABLE["none"].values())
    known = {case.id for case in collect(RunOptions("server", launch="x {port}"))}
    named = {name for names in TABLE["cases"].values() for name in names.split()}
    assert named <= known, named - known
