"""Hypothesis for all tests: ``default`` is quick and always the same, ``thorough`` is long and random.

Choose with the environment variable HYPOTHESIS_PROFILE.  A failure prints a blob that reproduces it.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")

settings.register_profile("default", derandomize=True, deadline=None, max_examples=100, print_blob=True)
settings.register_profile(
    "thorough",
    deadline=None,
    max_examples=3_000,
    print_blob=True,
    # Long runs on a busy machine are slow now and then; that says nothing about the code.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(PROFILE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A thorough run takes the time that it takes."""
    if PROFILE == "thorough":
        for item in items:
            item.add_marker(pytest.mark.timeout(0))
