"""How many Python calls the server's workers make for a request: a bound that no noise moves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from benchmarks.calls import CASES, Case, calls_per_request
from benchmarks.certificates import Certificate
from benchmarks.peers.common import HANDLERS, OWN

if TYPE_CHECKING:
    from pathlib import Path


TRIES = 5
"""The system may take a worker's core away for longer than a turn: what is left then goes another way."""


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate.issue(tmp_path)


def assert_few_calls(case: Case, certificate: Certificate) -> None:
    calls = math.inf
    for _ in range(TRIES):
        calls = min(calls, calls_per_request(case, certificate))
        if calls <= case.at_most:
            break
    assert 0 < calls <= case.at_most, f"{case.title}: {calls:.2f} calls for each request"


@pytest.mark.parametrize("name", CASES)
def test_a_request_costs_few_python_calls(certificate: Certificate, name: str) -> None:
    assert_few_calls(CASES[name], certificate)


def test_answers_in_parts_cost_few_calls(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a slow machine 500 calls of any handler take more than the millisecond after which answers are sent.
    def slower(text: str) -> str:
        sum(range(300))
        return text[::-1]

    monkeypatch.setitem(HANDLERS, OWN, slower)
    assert_few_calls(Case("own handler, 1 connection, answers in parts", 3, OWN, 1, 500), certificate)


def test_the_calls_of_a_handler_are_counted(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the workers went by another name, no call would be counted, and every bound would hold.
    def nested(text: str, depth: int = 49) -> str:
        return nested(text, depth - 1) if depth else text

    case = CASES["own-pipelined"]
    monkeypatch.setitem(HANDLERS, case.handler, nested)
    assert calls_per_request(case, certificate) >= 50
