"""The page of figures says what the file of results says, and targets are judged as they are written."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.__main__ import FULL
from benchmarks.page import (
    PAGE,
    ROUNDS_PAGE,
    regenerated,
    rounds_page,
)
from benchmarks.peers import LIMIT
from benchmarks.results import Results, times
from benchmarks.rows import QUICK, ROWS
from benchmarks.rows.servers import SERVER_ROWS
from benchmarks.targets import TARGETS, verdicts


def row(name: str, values: dict[str, list[float]], **more: Any) -> dict[str, Any]:
    entries = [{"name": entry, "title": entry.title(), "values": found} for entry, found in values.items()]
    known = {"name": name, "group": "Group", "title": f"The {name}", "unit": "requests/s", "less": False}
    return {**known, "reference": "limit", "entries": entries, "failed": {}, **more}


def results(*rows: dict[str, Any]) -> Results:
    method = {"date": "2026-01-01", "minutes": 1, "rounds": 2, "seconds": 1, "server core": 0, "load core": 1}
    return Results.from_json({"machine": {}, "versions": {}, "method": method, "skipped": {}, "rows": rows})


def test_the_pages_say_what_the_results_say() -> None:
    page, found = PAGE.read_text(encoding="utf-8"), Results.read(FULL)
    assert regenerated(page, found) == page, "run: python -m benchmarks --page"
    assert rounds_page(found) == ROUNDS_PAGE.read_text(encoding="utf-8")


def test_every_target_is_of_a_row_that_is_measured() -> None:
    assert {name for target in TARGETS for name in target.names} <= set(ROWS)
    assert {target.of_row for target in TARGETS} - {None} <= set(ROWS)
    assert set(QUICK) <= set(ROWS)
    reported = [target for target in TARGETS if target.bound == ""]
    assert all((target.at_least is None) != (target.at_most is None) for target in TARGETS if target.bound)
    assert {target.against for target in reported} == {"uvloop_protocol", LIMIT}


def test_every_row_of_the_servers_is_there_with_an_own_handler_and_has_a_target() -> None:
    rows = [row for row in SERVER_ROWS if row.name == row.work]
    assert [row.name for row in SERVER_ROWS] == [
        name for row in rows for name in (row.name, f"{row.name}-own")
    ]
    held = {name for target in TARGETS if target.against == "asyncio_protocol" for name in target.names}
    assert held >= {f"{row.name}-own" for row in rows}


@pytest.mark.parametrize(("ours", "met"), [([0.5, 0.6, 0.9], True), ([0.5, 0.59, 0.9], False)])
def test_a_ratio_is_the_median_of_the_rounds(ours: list[float], met: bool) -> None:  # noqa: FBT001 - a parameter of the test
    [verdict] = verdicts(results(row("ping-pong-64", {"framelet": ours, "limit": [1, 1, 1]})))
    assert (verdict.met, verdict.what) == (met, "ratio to Limit")
    assert verdict.value == f"{times(ours[1])} (0.50 to 0.90)"
