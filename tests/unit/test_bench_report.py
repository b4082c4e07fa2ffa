"""What ``framelet bench`` makes of what it has found."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framelet_client import ClientLimits
from framelet_client.bench.plan import Plan
from framelet_client.bench.report import WRONG_HINT, complaints, exit_code_of, record, table
from framelet_client.bench.stats import Latencies, LoadStats
from framelet_client.exit_codes import ExitCode

PLAN = Plan(
    host="a",
    port=1,
    limits=ClientLimits(),
    tls=None,
    connections=2,
    window=1,
    rate=100.0,
    sizes=(64,),
    text="ascii",
    expect="reverse",
    duration=1.0,
    count=None,
    warmup=0.0,
    processes=1,
)


def latencies(*seconds: float) -> Latencies:
    made = Latencies()
    for one in seconds:
        made.record(one)
    return made


TIMES = st.integers(-1, 10**14) | st.integers(-1, 40).flatmap(lambda bits: st.just(round(2.0**bits)))


@given(st.lists(TIMES), st.lists(TIMES))
@example([1_000_000] * 98, [500_000_000, 1_234_567_800])
@example([5] * 999, [7])  # 99.9 / 100 * 1000 is more than 999
def test_latencies_of_two_processes_are_those_of_one_and_agree_with_the_exact_percentiles(
    here: list[int], there: list[int]
) -> None:
    found = latencies(*(time / 1e9 for time in here))
    found.add(pickle.loads(pickle.dumps(latencies(*(time / 1e9 for time in there)))))  # noqa: S301 - made here
    times = sorted(max(0, time) for time in here + there)
    assert found.count == len(times)
    assert found.max == max(times, default=0) / 1e9
    assert found.mean == pytest.approx(sum(times) / max(1, len(times)) / 1e9)
    for percent in ("0.01", "50", "90", "99", "99.9", "99.99", "100"):
        rank = math.ceil(Fraction(percent) * len(times) / 100)
        exact = times[rank - 1] / 1e9 if times else 0.0
        assert exact <= found.percentile(float(percent)) <= exact * 1.001
    assert [time for time, _ in found.cells()] == sorted({time for time, _ in found.cells()})


def test_tallies_add_up() -> None:
    one = LoadStats(
        answered=2, latency=latencies(0.1, 0.2), seconds=1.0, cpu=[0.5], first_words={"wrong": "a"}
    )
    two = LoadStats(
        answered=1, wrong=3, errors=Counter({450: 2}), latency=latencies(0.3), seconds=2.0, cpu=[0.1]
    )
    two.first_words = {"wrong": "b", "ERROR 450": "c"}
    two.interrupted = True
    whole = LoadStats()
    whole.add(one)
    whole.add(two)
    assert (whole.answered, whole.wrong, whole.errors, whole.latency.count) == (3, 3, {450: 2}, 3)
    assert (whole.seconds, whole.cpu, whole.interrupted) == (2.0, [0.5, 0.1], True)
    assert whole.first_words == {"wrong": "a", "ERROR 450": "c"}
    assert (whole.failed, whole.sent) == (5, 8)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ({"answered": 1}, ExitCode.SUCCESS),
        ({"answered": 1, "unsent": 5}, ExitCode.SUCCESS),
        ({"answered": 1, "wrong": 1}, ExitCode.PARTIAL),
        ({"errors": Counter({450: 1})}, ExitCode.PARTIAL),
        ({"answered": 1, "ends": Counter(lost=1)}, ExitCode.PARTIAL),
        ({"lost": 1, "ends": Counter(lost=1)}, ExitCode.NO_CONNECTION),
        ({"answered": 1, "ends": Counter({"timed out": 1, "lost": 1})}, ExitCode.TIMED_OUT),
        ({"answered": 1, "ends": Counter({"broke the protocol": 1, "lost": 1})}, ExitCode.PROTOCOL_ERROR),
        ({"answered": 1, "wrong": 1, "interrupted": True}, ExitCode.INTERRUPTED),
    ],
)
def test_exit_codes(found: dict[str, Any], code: ExitCode) -> None:
    assert exit_code_of(LoadStats(**found)) is code


def test_each_kind_of_failure_has_a_line() -> None:
    stats = LoadStats(
        answered=1,
        wrong=2,
        errors=Counter({450: 1}),
        timed_out=1,
        lost=1_000,
        ends=Counter({"lost": 1, "timed out": 1}),
        first_words={"wrong": "W", "ERROR 450": "E", "lost": "L", "timed out": "T"},
        seconds=0.5,
    )
    assert list(complaints(PLAN, stats)) == [
        f"2 replies were wrong: in the first, W; {WRONG_HINT}",
        "1 request was answered ERROR 450: E",
        "1 connection of 2 lost: L; 1,000 requests have no answer",
        "1 connection of 2 timed out: T; 1 request has no answer",
        "no connection was left after 0.500 seconds of the measurement",
    ]
    assert list(complaints(PLAN, LoadStats(answered=1))) == []


def test_the_remarks_are_those_that_apply() -> None:
    good = LoadStats(answered=100, seconds=1.0, late=1, cpu=[0.1], busy=[0.2])
    assert table("A", PLAN, good)[-1] == "1.0% of the requests (1) were sent more than 1 ms late"
    bad = LoadStats(answered=50, seconds=1.0, unsent=50, cpu=[0.2, 0.95], busy=[0.2, 0.97])
    *_, rate, limit = table("A", PLAN, bad)
    assert rate == "the rate of 100 requests/s was not reached: it was 50.0; 50 requests due and never sent"
    assert limit.startswith(
        "the load generator may be the bottleneck: busy 97% of the time, on 95% of a core"
    )
    assert record("A", PLAN, good)["rate_reached"] is True
    assert record("A", PLAN, good)["generator_is_a_limit"] is False
    assert record("A", PLAN, bad)["rate_reached"] is False
    assert record("A", PLAN, bad)["generator_is_a_limit"] is True
