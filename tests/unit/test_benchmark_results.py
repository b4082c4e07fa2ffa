"""The page of figures says what the file of results says, and targets are judged as they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from benchmarks.__main__ import FULL
from benchmarks.page import PAGE, PageError, losing_rows, measured_part, regenerated
from benchmarks.results import Results, amount, times
from benchmarks.rows import QUICK, ROWS
from benchmarks.targets import TARGETS, verdicts


def row(name: str, values: dict[str, list[float]], **more: Any) -> dict[str, Any]:
    entries = [{"name": entry, "title": entry.title(), "values": found} for entry, found in values.items()]
    known = {"name": name, "group": "Group", "title": f"The {name}", "unit": "requests/s", "less": False}
    return {**known, "reference": "limit", "entries": entries, "failed": {}, **more}


def results(*rows: dict[str, Any]) -> Results:
    method = {"date": "2026-01-01", "minutes": 1, "rounds": 2, "seconds": 1, "server core": 0, "load core": 1}
    return Results.from_json({"machine": {}, "versions": {}, "method": method, "skipped": {}, "rows": rows})


def test_the_page_says_what_the_results_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert regenerated(page, Results.read(FULL)) == page, "run: python -m benchmarks --page"


def test_another_figure_makes_another_page() -> None:
    run = json.loads(FULL.read_text(encoding="utf-8"))
    before = measured_part(Results.from_json(run))
    run["rows"][0]["entries"][0]["values"] = [123_456.0]
    assert "123,456" not in before
    assert "123,456" in measured_part(Results.from_json(run))


def test_what_people_wrote_around_the_figures_stays() -> None:
    page = "# Title\n\n<!-- begin measured -->\nold\n<!-- end measured -->\n\n## Why\n"
    fresh = regenerated(page, results(row("churn", {"framelet": [2.0], "limit": [4.0]})))
    assert fresh.startswith("# Title\n\n<!-- begin measured -->\n\n## Targets")
    assert fresh.endswith("\n<!-- end measured -->\n\n## Why\n")
    assert "| The churn | requests/s | 2.00 (0.50) | 4.00  |" in fresh


@pytest.mark.parametrize("page", ["", "<!-- begin measured -->\n", "<!-- end measured -->"])
def test_a_page_without_its_marks_is_refused(page: str) -> None:
    with pytest.raises(PageError, match="expected one pair of marks"):
        regenerated(page, results())


def test_every_target_is_of_a_row_that_is_measured() -> None:
    assert {target.row for target in TARGETS} <= set(ROWS)
    assert {target.of_row for target in TARGETS} - {None} <= set(ROWS)
    assert set(QUICK) <= set(ROWS)
    assert all((target.at_least is None) != (target.at_most is None) for target in TARGETS)


@pytest.mark.parametrize(("ours", "met"), [([0.7, 0.8, 0.9], True), ([0.7, 0.79, 0.9], False)])
def test_a_ratio_is_the_median_of_the_rounds(ours: list[float], met: bool) -> None:  # noqa: FBT001 - a parameter of the test
    [verdict] = verdicts(results(row("ping-pong-64", {"framelet": ours, "limit": [1, 1, 1]})))
    assert (verdict.met, verdict.what) == (met, "ratio to Limit")
    assert verdict.value == f"{times(ours[1])} (0.70 to 0.90)"


def test_a_ratio_is_made_within_each_round() -> None:
    [verdict] = verdicts(results(row("ping-pong-64", {"framelet": [1, 10, 100], "limit": [1, 10, 100]})))
    assert verdict.value == "1.00 (1.00 to 1.00)"


def test_less_can_be_better_and_a_value_can_be_the_target() -> None:
    found = verdicts(
        results(
            row("ping-pong-1", {"framelet": [110], "limit": [100]}, less=True),
            row("idle-memory", {"framelet": [4097]}, less=True, reference=None),
        )
    )
    assert [(verdict.target.row, verdict.met) for verdict in found] == [
        ("ping-pong-1", True),
        ("idle-memory", False),
    ]


def test_every_peer_is_the_best_of_them_without_the_limit() -> None:
    values: dict[str, list[float]] = {"framelet": [50], "limit": [90], "zeromq": [40], "rpyc_pool": [45]}
    found = verdicts(results(row("clients-ping-pong", values, reference="framelet")))
    assert [(verdict.what, verdict.met) for verdict in found] == [("ratio to the best peer, Rpyc_Pool", True)]


def test_a_target_may_compare_two_rows() -> None:
    found = verdicts(results(row("ascii-1m", {"framelet": [400]}), row("ascii-64m", {"framelet": [90]})))
    assert [(verdict.what, verdict.met) for verdict in found] == [("ratio to its own The ascii-1m", False)]


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
    failed = row("churn", {"framelet": [1.0], "limit": []}, failed={"limit": "it ended"})
    text = measured_part(results(failed))
    assert "| The churn | requests/s | 1.00     | failed |" in text
    assert "| failed          | it ended     |" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.5, "0.50"), (12.34, "12.3"), (123.4, "123"), (1e6, "1,000,000")]
)
def test_amounts_have_the_digits_that_matter(value: float, text: str) -> None:
    assert amount(value) == text
