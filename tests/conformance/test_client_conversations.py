"""Generated conversations with clients: what they find, how small it gets, and how it is played again."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framelet_conformance.cases.client.generated import GeneratedExchange, size, smaller
from framelet_conformance.cases.search import Search
from framelet_conformance.expectations import type_octet
from framelet_conformance.options import RunOptions
from framelet_conformance.replay import Replay
from framelet_conformance.scenario import FIN, Scenario, asked
from framelet_conformance.verdicts import Failed, Verdict
from framelet_conformance.wire.frames import frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.conformance.conftest import Run

    Suite = Callable[..., Run]

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# Another place to run from shall do.
_CLIENT = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runpy; "
    "runpy.run_module('tests.mutants.reference_client', run_name='__main__')"
)


def client(bug: str = "") -> str:
    """The launch command of the reference client, with a bug."""
    return (
        f"{shlex.quote(sys.executable)} -c {shlex.quote(_CLIENT)} {{host}} {{port}}{bug and ' --bug ' + bug}"
    )


# What a client must make of it, and the smallest that shows what it does.
FOUND = {
    "empty-body-is-end": ("good", 1, 5),
    "strips-bom": ("good", 1, 8),
    "end-answers-rest": ("faults", 1, 0),
}


@pytest.mark.parametrize("bug", FOUND)
def test_what_fails_is_shrunk_and_can_be_played_again(suite: Suite, bug: str) -> None:
    kind, most_asked, most_sent = FOUND[bug]
    name = f"conversations.{kind}"
    run = suite("client", "--launch", client(bug), "--only", name, "--time-scale", "0.5")
    assert run.verdicts == {name: "fail"}
    (case,) = run.report["cases"]
    assert "the smallest conversation that fails: asked for " in case["reason"]
    scenario = replayed(Path(case["replay"]))
    assert len(scenario.ask) <= most_asked
    assert sum(len(step.value) for step in scenario.steps if step.do == "send") <= most_sent
    again = ("--replay", case["replay"])
    assert suite("client", "--launch", client(bug), *again).status == 1
    assert suite("client", "--launch", client(), *again).status == 0


def replayed(path: Path) -> Scenario:
    """The scenario of a replay file."""
    [replay] = Replay.load(path)
    return Scenario.of(replay.setup, replay.steps, replay.expect or [], replay.then or "")


def test_a_client_that_conforms_passes_with_any_seed(suite: Suite) -> None:
    run = suite(
        *("client", "--launch", client(), "--only", "conversations.*"),
        *("--seed", "7", "--examples", "12", "--time-scale", "3"),
    )
    assert set(run.verdicts.values()) == {"pass"}
    assert len(run.verdicts) == 4


# The search by itself.


class FailsFrom:
    """Fails at numbers from a bound on; ``times`` says how often it still does when it is asked again."""

    def __init__(self, bound: int, times: int = 1_000) -> None:
        self.bound = bound
        self.times = times
        self.held: list[int] = []

    def hold(self, conversations: Sequence[int], *, shrinking: bool = False) -> Failed | None:
        del shrinking
        for place, number in enumerate(conversations):
            self.held.append(number)
            if number >= self.bound and self.times > 0:
                self.times -= 1
                error = Failed(f"{number} is too large")
                error.place = place
                return error
        return None


def fewer(number: int) -> Iterator[list[int]]:
    yield [number // 2, number * 3 // 4]
    yield [number - 1]


def search(peer: FailsFrom, smaller: Any = fewer, **options: Any) -> Failed | None:
    numbers = st.lists(st.integers(0, 1_000), min_size=1, max_size=5 if smaller else 1)
    try:
        Search(RunOptions("client", **options), peer.hold, lambda number: (number,), smaller).run(numbers, 50)
    except Failed as error:
        return error
    return None


@pytest.mark.parametrize("smaller", [fewer, None])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_search_finds_the_smallest_and_sees_it_fail_again(smaller: Any, seed: int | None) -> None:
    peer = FailsFrom(100)
    error = search(peer, smaller, seed=seed)
    assert error is not None
    assert error.verdict is Verdict.FAIL
    assert error.reason == "100 is too large\nthe smallest conversation that fails: 100"
    assert peer.held[-3:] == [100] * 3


def test_a_search_that_finds_nothing_holds_each_conversation_once() -> None:
    peer = FailsFrom(2_000)
    assert search(peer) is None
    assert peer.held
    assert len(set(peer.held)) == len(peer.held)


def test_what_does_not_fail_again_is_flaky() -> None:
    error = search(FailsFrom(100, times=1))
    assert error is not None
    assert error.verdict is Verdict.FLAKY
    assert "it failed 0 of 3 times" in error.reason


# What is asked and said.

_bodies = st.binary(max_size=6) | st.text(max_size=4).map(str.encode)
_turns = st.tuples(
    st.sampled_from(["REQUEST", "PING", "HELLO", "STOP", "C0"]).flatmap(
        lambda name: st.builds(asked, st.just(name), st.just(b"") if name == "HELLO" else st.just(b"ab"))
    ),
    st.builds(frame, st.sampled_from([2, 4, 5, 7, 8, 0x80, 0xC0]), _bodies) | _bodies,
)
_exchanges = st.builds(
    lambda turns, cuts, fin, pipeline: GeneratedExchange(
        tuple(item for item, _ in turns), tuple(says for _, says in turns), tuple(cuts), fin, pipeline
    ),
    st.lists(_turns, min_size=1, max_size=4),
    st.lists(st.integers(1, 50), max_size=3),
    st.booleans(),
    st.booleans(),
)


@given(_exchanges)
def test_smaller_conversations_are_smaller_and_those_held_together_ask_for_the_same(
    sample: GeneratedExchange,
) -> None:
    for some in smaller(sample):
        assert all(size(each) < size(sample) for each in some)
        assert len({each.asked for each in some}) == 1
        assert all(len(each.asked) == len(each.says) > 0 for each in some)


@given(_exchanges)
def test_a_scenario_asks_nothing_of_a_client_that_it_cannot_know(sample: GeneratedExchange) -> None:
    scenario = sample.scenario()
    said = b"".join(step.value for step in scenario.steps if step.do == "send")
    assert b"".join(sample.says).startswith(said) or not sample.pipeline
    assert len(scenario.expect) == len(scenario.ask) == len(sample.asked)
    missing = [item for item in scenario.expect if item == {"type": "FAILED"}]
    assert scenario.then == ("open" if not missing and FIN not in scenario.steps else "closed")
    assert scenario.pipeline or sum(step.do == "read" for step in scenario.steps) <= len(sample.asked)
    assert all(type_octet(item.type) for item in scenario.ask)
