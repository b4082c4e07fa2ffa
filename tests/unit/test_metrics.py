"""The numbers of several processes, as they are told and added up."""

from __future__ import annotations

import dataclasses
import itertools
import json

from framelet_server.observe.histogram import Histogram
from framelet_server.observe.metrics import Metrics, add_up


def told(seconds: float) -> Metrics:
    """The numbers of a process whose only call took so long, as they come from its line."""
    histogram = Histogram()
    histogram.note(seconds)
    counted = Metrics(handler_seconds=histogram.read(), errors={"450": 1}, frames=1, threads=8)
    return Metrics.from_json(json.loads(json.dumps(dataclasses.asdict(counted))))


def test_it_changes_no_sum_which_of_the_processes_have_ended() -> None:
    # As floats, 0.1 + 0.2 + 0.3 depends on the order.
    sums = set()
    for first, second, third in itertools.permutations((told(0.1), told(0.2), told(0.3))):
        ended = add_up([], [Metrics(), first])
        sums.add(add_up([second, third], [ended]).handler_seconds)
        total = add_up([third], [add_up([], [ended, second])])
        sums.add(total.handler_seconds)
        assert (total.frames, total.errors, total.threads) == (3, {"450": 3}, 8)
    (found,) = sums
    assert (found.count, round(found.seconds, 5)) == (3, 0.6)


def test_a_process_of_another_version_is_understood_as_far_as_both_know_the_numbers() -> None:
    # The supervisor may be older than a process that it has started after an upgrade.
    values = dataclasses.asdict(Metrics(frames=3))
    del values["shed"]
    assert Metrics.from_json({**values, "of_a_later_version": {"x": 1}}) == Metrics(frames=3)
