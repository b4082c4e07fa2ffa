"""Schedules of the server on a simulated machine: always the same ones, and those that Hypothesis draws."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulation.bugs import BUGS
from tests.simulation.clients import Plan
from tests.simulation.conversations import run_seed, simulate
from tests.simulation.loop_bugs import LOOP_BUGS
from tests.simulation.machine import Finding
from tests.simulation.planting import Bug, planted

_TABLE = Path(__file__).with_name("RESULTS.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| ([^|]+) \| `([\w.]+)` \| (\d+) \| ([^|]+) \|$", re.MULTILINE)


@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.slow) for first in (100, 200))])
@pytest.mark.parametrize("loop", [False, True], ids=["threads", "asyncio"])
def test_schedules_of_seeds(first: int, *, loop: bool) -> None:
    for seed in range(first, first + 100):
        try:
            run_seed(seed, loop=loop)
        except Finding as finding:
            pytest.fail(f"seed {seed}: {finding}")


@settings(max_examples=30)
@given(st.data())
def test_schedules_that_shrink(data: st.DataObject) -> None:
    """Each of the first decisions is drawn; later ones take the threads in turn."""
    drawn = data.draw(st.lists(st.integers(0, 7), max_size=300), label="decisions")
    choices = iter(drawn)
    plan = Plan(
        data.draw(st.integers(0, 10_000), label="plan"), loop=data.draw(st.booleans(), label="asyncio")
    )
    simulate(plan, lambda machine, able: next(choices, machine.steps) % len(able))


@pytest.mark.parametrize("loop", [False, True], ids=["threads", "asyncio"])
def test_a_seed_gives_the_same_schedule_again(*, loop: bool) -> None:
    one, other = ([run_seed(seed, loop=loop).steps for seed in range(20)] for _ in range(2))
    assert one == other


def test_the_words_of_each_planted_bug_are_in_the_source() -> None:
    for bug in BUGS:
        with planted(bug):
            pass


def test_the_table_has_each_planted_bug_and_says_when_it_was_found() -> None:
    assert [(name, module) for name, module, *_ in _ROW.findall(_TABLE)] == [(b.name, b.module) for b in BUGS]


@pytest.mark.slow  # searches on where another change of the server has changed the schedules
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bugs_are_found(bug: Bug) -> None:
    found = {name: int(count) - 1 for name, _, count, _ in _ROW.findall(_TABLE)}
    seeds = (found[bug.name], *range(10_000))
    with planted(bug), pytest.raises(Finding):
        [run_seed(seed, loop=bug in LOOP_BUGS) for seed in seeds]
