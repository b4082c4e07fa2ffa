"""The page of figures says what the file of results says, and targets are judged as they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from benchmarks.__main__ import FULL
from benchmarks.page import (
    PAGE,
    ROUNDS_PAGE,
    PageError,
    losing_rows,
    measured_part,
    own_section,
    regenerated,
    rounds_page,
    targets_section,
)
from benchmarks.peers import LIMIT
from benchmarks.results import Results, amount, times
from benchmarks.rows import QUICK, ROWS
from benchmarks.rows.servers import GROUP, SERVER_ROWS
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


def test_another_figure_makes_another_page() -> None:
    run = json.loads(FULL.read_text(encoding="utf-8"))
    before = measured_part(Results.from_json(run))
    rounds_before = rounds_page(Results.from_json(run))
    run["rows"][0]["entries"][0]["values"] = [123_456.0]
    assert "123,456" not in before + rounds_before
    assert "123,456" in measured_part(Results.from_json(run))
    assert "123,456" in rounds_page(Results.from_json(run))


def test_what_people_wrote_around_the_figures_stays() -> None:
    page = "# Title\n\n<!-- begin measured -->\nold\n<!-- end measured -->\n\n## Why\n"
    fresh = regenerated(page, results(row("churn", {"framelet": [2.0], "limit": [4.0]}, group=GROUP)))
    assert fresh.startswith("# Title\n\n<!-- begin measured -->\n\n## How it was measured")
    assert fresh.endswith("\n<!-- end measured -->\n\n## Why\n")
    assert "| The churn | requests/s | 2.00 (0.50) | 4.00  |" in fresh


@pytest.mark.parametrize("page", ["", "<!-- begin measured -->\n", "<!-- end measured -->"])
def test_a_page_without_its_marks_is_refused(page: str) -> None:
    with pytest.raises(PageError, match="expected one pair of marks"):
        regenerated(page, results())


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


def test_a_ratio_is_made_within_each_round() -> None:
    [verdict] = verdicts(results(row("ping-pong-64", {"framelet": [1, 10, 100], "limit": [1, 10, 100]})))
    assert verdict.value == "1.00 (1.00 to 1.00)"


def test_less_can_be_better_and_a_value_can_be_the_target() -> None:
    found = verdicts(
        results(
            row("ping-pong-1", {"framelet": [110], "limit": [100]}, less=True),
            row("idle-memory", {"framelet": [1501]}, less=True, reference=None),
        )
    )
    assert [(verdict.target.names[0], verdict.met) for verdict in found] == [
        ("idle-memory", False),
        ("ping-pong-1", True),
    ]


def test_every_peer_is_the_best_of_them_without_the_limit() -> None:
    values: dict[str, list[float]] = {"framelet": [50], "limit": [90], "zeromq": [40], "rpyc_pool": [45]}
    found = verdicts(results(row("clients-ping-pong", values, reference="framelet")))
    assert [(verdict.what, verdict.met) for verdict in found] == [("ratio to the best peer, Rpyc_Pool", True)]


def test_a_target_may_compare_two_rows() -> None:
    found = verdicts(results(row("ascii-1m", {"framelet": [400]}), row("ascii-64m", {"framelet": [90]})))
    assert [(verdict.what, verdict.met) for verdict in found] == [("ratio to its own The ascii-1m", False)]


def test_of_several_rows_the_one_furthest_from_the_target_counts() -> None:
    rows = [
        row("ascii-1m-own", {"framelet": [3], "asyncio_protocol": [2]}),
        row("churn-own", {"framelet": [1], "asyncio_protocol": [2]}),
        row("idle-memory", {"framelet": [1000]}, less=True),
        row("idle-memory-own", {"framelet": [2000]}, less=True),
    ]
    found = {verdict.title: (verdict.value, verdict.met) for verdict in verdicts(results(*rows))}
    assert found["all other rows with an own handler"] == ("0.50 (0.50 to 0.50) in The churn-own", False)
    assert found["memory of an idle connection, either handler"] == ("2,000 in The idle-memory-own", False)


def test_a_figure_without_a_bound_is_reported_and_not_counted() -> None:
    found = results(
        row("ping-pong-1-own", {"framelet": [3], "uvloop_protocol": [2], "asyncio_protocol": [3]})
    )
    text = targets_section(found)
    assert text.startswith("1 of 1 are met.")
    assert "|           | 1.50 (1.50 to 1.50)   | reported |" in text


def test_own_handlers_are_compared_so_that_more_is_better() -> None:
    text = own_section(
        results(
            row("a", {"framelet": [8.0, 9.0]}, group=GROUP),
            row("a-own", {"framelet": [4.0, 9.0], "asyncio_protocol": [8.0, 3.0]}, group=GROUP),
            row("b", {"framelet": [1.0]}, group=GROUP, less=True),
            row("b-own", {"framelet": [2.0], "epoll_loop": [1.0]}, group=GROUP, less=True),
        )
    )
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[-2:]]
    assert lines == [
        ["The a", "0.75 (0.50 to 1.00)", "", "1.75 (0.50 to 3.00)", ""],
        ["The b", "0.50 (0.50 to 0.50)", "0.50 (0.50 to 0.50)", "", ""],
    ]


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert verdicts(results(row("ping-pong-64", {"framelet": [], "limit": [1]}))) == []


def test_rows_in_which_a_peer_is_ahead_are_listed_and_the_limit_is_not() -> None:
    found = losing_rows(
        results(
            row("a", {"framelet": [2], "limit": [9], "zeromq": [1], "grpc_pool": [4], "rpyc_pool": [3]}),
            row("b", {"framelet": [2], "limit": [9], "zeromq": [1], "rev": [5]}),
            row("c", {"framelet": [2], "zeromq": [1]}, less=True),
        )
    )
    assert [(title, ahead) for title, _, _, ahead in found] == [
        ("The a", "Grpc_Pool 2.00, Rpyc_Pool 1.50"),
        ("The c", "Zeromq 0.50"),
    ]


def test_a_peer_that_failed_says_so_in_its_row() -> None:
    failed = row("churn", {"framelet": [1.0], "limit": []}, group=GROUP, failed={"limit": "it ended"})
    assert "| The churn | requests/s | 1.00     | failed |" in measured_part(results(failed))
    assert "| failed          | it ended     |" in rounds_page(results(failed))


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.5, "0.50"), (12.34, "12.3"), (123.4, "123"), (1e6, "1,000,000")]
)
def test_amounts_have_the_digits_that_matter(value: float, text: str) -> None:
    assert amount(value) == text
