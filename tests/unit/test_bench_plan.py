"""What ``framelet bench`` sends, and when."""

from __future__ import annotations

import math
import random

import pytest
from tests.each import each

from framelet import encode_text, reverse
from framelet_client import ClientLimits
from framelet_client.bench.plan import ALPHABETS, Plan, Schedule, make_texts, parse_sizes

DICE = random.Random(1)  # noqa: S311 - the same texts in each run


def plan(**changes: object) -> Plan:
    chosen: dict[str, object] = {
        "host": "a",
        "port": 1,
        "limits": ClientLimits(),
        "tls": None,
        "connections": 4,
        "window": 1,
        "rate": None,
        "sizes": (64,),
        "text": "ascii",
        "expect": "reverse",
        "duration": None,
        "count": 100,
        "warmup": 0.0,
        "processes": 1,
    }
    return Plan(**(chosen | changes))  # type: ignore[arg-type] # of any fields


def all_due(schedule: Schedule) -> list[tuple[float, bool]]:
    """When each request is due, and whether it counts."""
    due = []
    while schedule.next_due < math.inf:
        due.append((schedule.next_due, schedule.counts))
        schedule.advance()
    return due


# The schedule of an open loop.


def test_requests_are_due_at_a_constant_rate() -> None:
    schedule = Schedule(1000.0, 4.0, range(5))
    assert all_due(schedule) == [(1000.0 + n / 4, True) for n in range(5)]
    assert schedule.overdue(2000.0) == 0


def test_the_warmup_is_due_before_the_beginning_and_does_not_count() -> None:
    due = all_due(Schedule(10.0, 4.0, plan(rate=4.0, warmup=0.5, count=3).numbers_of(0)))
    assert due == [(9.5, False), (9.75, False), (10.0, True), (10.25, True), (10.5, True)]


def test_overdue_counts_what_is_due_and_not_done() -> None:
    schedule = Schedule(0.0, 10.0, range(-5, 100))
    assert [schedule.overdue(now) for now in (-0.2, 0.0, 0.05, 0.95, 50.0)] == [0, 1, 1, 10, 100]
    for _ in range(8):
        schedule.advance()
    assert [schedule.overdue(now) for now in (0.0, 0.25, 0.3, 50.0)] == [0, 0, 1, 97]


@each("processes", [1, 2, 3, 7])
@each("rate warmup count", [(10.0, 0.0, 23), (7.0, 1.9, 5), (1000.0, 0.01, 1)])
def test_processes_share_all_requests(processes: int, rate: float, warmup: float, count: int) -> None:
    whole = plan(rate=rate, warmup=warmup, count=count).numbers_of(0)
    shared = plan(rate=rate, warmup=warmup, count=count, processes=processes)
    parts = [number for process in range(processes) for number in shared.numbers_of(process)]
    assert sorted(parts) == list(whole)
    overdue = sum(
        Schedule(0.0, rate, shared.numbers_of(process)).overdue(1e6) for process in range(processes)
    )
    assert overdue == count


def test_a_duration_has_as_many_requests_as_are_due_in_it() -> None:
    for rate, duration, total in ((10.0, 2.0, 20), (3.0, 0.5, 2), (0.5, 1.0, 1)):
        numbers = plan(rate=rate, duration=duration, count=None).numbers_of(0)
        assert numbers == range(total)
        assert all_due(Schedule(0.0, rate, numbers))[-1][0] < duration


# The texts.


@each("alphabet", ALPHABETS)
@each("size", [0, 1, 2, 3, 5, 64, 1009, 1010, 100_000, 5_000_000])
def test_texts_have_exactly_the_size(alphabet: str, size: int) -> None:
    texts = make_texts(size, ALPHABETS[alphabet], DICE)
    assert {len(encode_text(text)) for text in texts} == {size}
    assert len(texts) == (16 if size <= 100_000 else 1)
    if 64 <= size <= 100_000:
        assert len({*texts}) == 16
        assert all(text != reverse(text) for text in texts)


def test_all_sizes_come_equally_often_with_the_reply_that_is_expected() -> None:
    for expect, answer in (("reverse", reverse), ("echo", str)):
        requests = plan(sizes=(3, 70, 3_000_000), expect=expect).requests()
        assert [request.octets for request in requests] == [3, 70, 3_000_000] * 16
        assert all(request.reply == answer(request.text) for request in requests)
    assert {request.reply for request in plan(expect="any").requests()} == {None}


def test_sizes() -> None:
    assert parse_sizes("64") == (64,)
    assert parse_sizes("0,16,1024") == (0, 16, 1024)
    for text in ("", "a", "1,", "-1", "1-5", "1.5", "²", "1, 2"):
        with pytest.raises(ValueError, match="is not a size: expected octets"):
            parse_sizes(text)
