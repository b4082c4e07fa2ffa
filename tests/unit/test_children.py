"""When a supervisor replaces a child that has crashed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import pytest

from framelet_server.process.children import ChildProcess, Place

if TYPE_CHECKING:
    import subprocess

    from framelet_server.process.control import ControlLine


def child(age: float) -> ChildProcess:
    """A child that began so many seconds ago; neither its process nor its line is asked."""
    popen, line = cast("subprocess.Popen[bytes]", None), cast("ControlLine", None)
    return ChildProcess(popen, line, began=time.monotonic() - age)


def test_the_pause_doubles_up_to_a_bound_however_often_a_child_crashes() -> None:
    place = Place()
    pauses = [place.crashed(child(0.0)) for _ in range(2_000)]
    assert pauses[:10] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0])
    assert set(pauses[9:]) == {30.0}
    assert place.due == pytest.approx(time.monotonic() + 30.0, abs=5.0)


def test_a_child_that_served_for_a_minute_is_replaced_soon_and_one_that_never_started_is_not() -> None:
    place = Place()
    for _ in range(5):
        place.crashed(child(59.0))
    assert place.crashed() == pytest.approx(3.2)
    assert place.crashed(child(61.0)) == pytest.approx(0.1)
    assert place.crashed(child(0.0)) == pytest.approx(0.2)
