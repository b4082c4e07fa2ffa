"""How many Python calls the server's workers make for a request: a bound that no noise moves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from benchmarks.calls import CASES, calls_per_request
from benchmarks.certificates import Certificate
from benchmarks.peers.common import HANDLERS

if TYPE_CHECKING:
    from pathlib import Path


TRIES = 5
"""The system may take a worker's core away for longer than a turn: what is left then goes another way."""


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate.issue(tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_a_request_costs_few_python_calls(certificate: Certificate, name: str) -> None:
    case = CASES[name]
    calls = math.inf
    for _ in range(TRIES):
        calls = min(calls, calls_per_request(case, certificate))
        if calls <= case.at_most:
            break
    assert 0 < calls <= case.at_most, f"{case.title}: {calls:.2f} calls for each request"


def test_the_calls_of_a_handler_are_counted(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the workers went by another name, no call would be counted, and every bound would hold.
    def nested(text: str, depth: int = 49) -> str:
        return nested(text, depth - 1) if depth else text

    case = CASES["own-pipelined"]
    monkeypatch.setitem(HANDLERS, case.handler, nested)
    assert calls_per_request(case, certificate) >= 50
