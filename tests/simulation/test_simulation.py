"""Schedules of the server on a simulated machine: always the same ones, and those that Hypothesis draws."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulation.bugs import BUGS, Bug, planted
from tests.simulation.conversations import Plan, run_seed, simulate
from tests.simulation.machine import Finding


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_schedules_of_seeds(first: int) -> None:
    for seed in range(first, first + 100):
        try:
            run_seed(seed)
        except Finding as finding:
            pytest.fail(f"seed {seed}: {finding}")


@settings(max_examples=30)
@given(st.data())
def test_schedules_that_shrink(data: st.DataObject) -> None:
    """Each of the first decisions is drawn; later ones take the threads in turn."""
    drawn = data.draw(st.lists(st.integers(0, 7), max_size=300), label="decisions")
    choices = iter(drawn)
    plan = Plan(data.draw(st.integers(0, 10_000), label="plan"))
    simulate(plan, lambda machine, able: next(choices, machine.steps) % len(able))


def test_a_seed_gives_the_same_schedule_again() -> None:
    assert [run_seed(seed).steps for seed in range(20)] == [run_seed(seed).steps for seed in range(20)]


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.shows], ids=lambda bug: bug.name)
def test_planted_bugs_are_found(bug: Bug) -> None:
    with planted(bug), pytest.raises(Finding):
        _run(range(3_000))


def _run(seeds: range) -> None:
    for seed in seeds:
        run_seed(seed)
