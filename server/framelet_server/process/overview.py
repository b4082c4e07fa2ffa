"""What the HTTP endpoint of a supervisor shows: the numbers of all its worker processes, and their health.

The endpoint's threads ask the processes over their control lines, and wait for the answers for a bounded
time.  The supervisor's thread receives the answers.  The counts of processes that have ended stay in the
sums, so that these never fall.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Any

from framelet_server.observe.liveness import SILENCE, Health
from framelet_server.observe.log_queue import DROPPED
from framelet_server.observe.metrics import Metrics, add_up

if TYPE_CHECKING:
    from .children import ChildProcess, Children, Place

_PATIENCE = 0.5
"""Seconds to wait for the answers of all processes; each has a thread for it that does little else."""


class Overview:
    """Of all children of a supervisor.

    ``_changed`` guards their numbers and questions, and that a child whose counts were taken over is gone.
    """

    def __init__(self, children: Children) -> None:
        """Begin with a server that has not started."""
        self.children = children
        self._changed = threading.Condition()
        self._ended = Metrics()  # the counts of children that have ended
        self._started = self._draining = False

    # Called by the supervisor's thread.

    def begin(self) -> None:
        """All children are ready, for the first time."""
        self._started = True

    def begin_drain(self) -> None:
        """All children are to end."""
        self._draining = True

    def take_numbers(self, child: ChildProcess, values: dict[str, Any]) -> None:
        """A child has told its numbers."""
        with self._changed:
            child.numbers, child.asked = Metrics.from_json(values), None
            self._changed.notify_all()

    def remove(self, place: Place, child: ChildProcess) -> None:
        """The child at a place has ended, and what it said last has been read."""
        with self._changed:
            if child.numbers is not None:
                self._ended = add_up([], [self._ended, child.numbers])
            place.child = None
            self._changed.notify_all()

    # Called by the endpoint's threads.

    @property
    def started(self) -> bool:
        """Whether all children have been ready once."""
        return self._started

    def metrics(self) -> Metrics:
        """The sums; of a child that does not answer in time the last numbers stand."""
        with self._changed:
            self._ask()
            began = time.monotonic()
            self._changed.wait_for(lambda: self._has_answers(began), _PATIENCE)
            told = [child.numbers for child in self.children.running() if child.numbers is not None]
            sums = add_up(told, [self._ended])
            places = {str(number): place for number, place in enumerate(self.children.places, 1)}
            return dataclasses.replace(
                sums,
                draining=self._draining,
                log_lines_dropped=sums.log_lines_dropped + DROPPED.count,
                worker_up={name: int(not _trouble(place)) for name, place in places.items()},
                worker_stale={name: int(_waited(place) >= _PATIENCE) for name, place in places.items()},
                worker_connections_open={name: _connections(place) for name, place in places.items()},
                worker_restarts={name: max(0, place.starts - 1) for name, place in places.items()},
            )

    @property
    def health(self) -> Health:
        """Alive while all children are there and answer, ready while one serves."""
        if not self._started:
            return Health(alive=False, ready=False, words="not started")
        if self._draining:
            return Health(alive=True, ready=False, words="draining")
        with self._changed:
            self._ask()
            troubles = [_trouble(place) for place in self.children.places]
        words = [f"worker {number} {trouble}" for number, trouble in enumerate(troubles, 1) if trouble]
        return Health(
            alive=all(trouble in ("", _STARTS) for trouble in troubles),
            ready="" in troubles,
            words="; ".join(words) or "ready",
        )

    def _ask(self) -> None:
        """Ask all that serve; none twice, or the questions would fill the line of one that is stopped."""
        for child in self.children.running():
            if child.ready and child.asked is None:
                child.asked = time.monotonic()
                child.line.send("measure")

    def _has_answers(self, moment: float) -> bool:
        """Whether all have answered since a moment, but for those that have owed it too long."""
        waited = time.monotonic() - moment
        return not any(waited <= _waited(place) < _PATIENCE for place in self.children.places)


_STARTS, _ENDED, _SILENT = "is starting", "has ended and is to be replaced", "does not answer"


def _waited(place: Place) -> float:
    """Seconds for which the child has owed its numbers; less than nothing where it does not."""
    return -1.0 if place.child is None or place.child.asked is None else time.monotonic() - place.child.asked


def _trouble(place: Place) -> str:
    if place.child is None:
        return _ENDED
    if not place.child.ready:
        return _STARTS
    return _SILENT if _waited(place) >= SILENCE else ""


def _connections(place: Place) -> int:
    return place.child.numbers.connections_open if place.child and place.child.numbers else 0
