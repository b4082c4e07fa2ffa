"""What must be so on a simulated machine, whatever is chosen: while the server runs, and at its end."""

from __future__ import annotations

import dataclasses
import logging
import math
import re
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import framelet_server
from framelet_server.connection.channel import Channel
from framelet_server.observe.metrics import Metrics

if TYPE_CHECKING:
    from .conversations import Scene
    from .machine import Machine

_PAGE = (Path(__file__).parents[2] / "docs" / "locks.md").read_text(encoding="utf-8")
_ROWS = re.findall(r"^\| `([\w.]+)` \| [^|]+ \| ([^|]+) \|$", _PAGE, re.MULTILINE)
ALLOWED = {name: set(re.findall(r"`([^`]+)`", cell)) for name, cell in _ROWS if cell != "all below"}

_UNSEEN = 0.03
"""Seconds after which a worker that is held up has been seen to: its answers sent, or one more active."""

_TINY = 1e-6


class Observer(framelet_server.DrainObserver):
    """Hears of each step of a drain once."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.drains = machine, 0

    def drained(self, closed: int, cut: int, conclude: Any) -> None:
        self.drains += 1
        if self.drains > 1:
            self.machine.fail("the drain was counted twice")
        conclude(closed, cut)


class Faults(logging.Handler):
    """Makes each fault that the server logs of itself a finding."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(logging.ERROR)
        self.machine = machine

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if "cannot accept" in record.msg:  # nothing of the machine's runs out
            self.machine.fail(record.getMessage())
        if error is not None and not isinstance(error, ValueError):  # which the handler raises
            self.machine.fail(f"the server failed: {error!r}")


class Looks:
    """Looks at the server of threads whenever all wait, before the clock goes on."""

    def __init__(self, machine: Machine, parts: Any) -> None:
        self.machine, self.parts = machine, parts
        self._since: dict[object, float] = {}  # when something began that must not last

    def __call__(self, until: float) -> None:
        self._look_at_timers(until)
        if self.parts.context.poller.closed:
            return
        self._look_at_permits(until)
        for worker in self.parts.workers.all:
            self._look_at(worker, until)

    def lasts(self, what: object, until: float, *, so: bool) -> bool:
        """Whether something has been so for too long when the clock comes to ``until``."""
        if not so:
            self._since.pop(what, None)
            return False
        return until - self._since.setdefault(what, self.machine.now) > _UNSEEN

    def _look_at_timers(self, until: float) -> None:
        timers = self.parts.context.timers
        due = [timer for _, timer in timers._heap if not timer.cancelled]
        check_timers(self.machine, [*due, *timers._later])
        if due and not timers._closed and min(due, key=attrgetter("when")).when < until - _TINY:
            self.machine.fail("a timer is overdue")

    def _look_at_permits(self, until: float) -> None:
        """One permit for each worker that is active, and one worker alone where no handler blocks."""
        workers, detector = self.parts.workers, self.parts.workers.detector
        waiting = len(workers._permits._items)
        if workers.granted != workers.active + waiting or workers.granted > len(workers.all):
            self.machine.fail(
                f"{workers.granted} permits are counted, {workers.active} workers are active and {waiting} are to be"
            )
        quick = self.parts.context.request.at_once > 1 and detector._alone and detector.awake
        crowded = quick and not detector._held_up and workers.granted > 1
        if self.lasts("crowd", until, so=crowded):
            self.machine.fail("several workers serve where one would do")

    def _look_at(self, worker: Any, until: float) -> None:
        calls = worker.calls
        if worker.active and worker.turn_began == math.inf:
            if self.parts.workers._left:
                self.machine.fail("what is left waits although a worker is free")
            sessions = [channel.session for channel in self.parts.table._channels]
            unread = [s for s in sessions if s.stopper and s.transport.sock.inbox and not s.transport.unsent]
            if unread and not self.parts.memory.exceeded:
                self.machine.fail("what follows a STOP is not read")
        ready = calls._sender and len(calls._answers) > calls.sent and calls.began < math.inf
        if self.lasts((worker, calls.began), until, so=bool(ready)):
            self.machine.fail("answers that are ready wait for a call that takes long")
        taken = (worker.ready or worker.unsent) and calls.began < math.inf and len(self.parts.workers.all) > 1
        if self.lasts((worker, calls.began, "taken"), until, so=bool(taken)):
            self.machine.fail("clients that a worker has taken on wait for a call that takes long")


def check_counts(machine: Machine, before: Metrics, now: Metrics) -> None:
    """No count ever falls, and none has what another lacks."""
    for found in dataclasses.fields(Metrics):
        if found.metadata["kind"] != "counter":
            continue
        was, is_ = getattr(before, found.name), getattr(now, found.name)
        fell = any(is_.get(key, 0) < was[key] for key in was) if isinstance(was, Mapping) else is_ < was
        if fell:
            machine.fail(f"{found.name} fell from {was} to {is_}")
    if now.connections != now.connections_open + sum(now.connections_ended.values()):
        machine.fail("connections do not add up while the server runs")


def check_timers(machine: Machine, timers: list[Any]) -> None:
    for timer in timers:
        if isinstance(timer._subject, Channel) and timer._subject.closed:
            machine.fail("a timer is set for a closed channel")


def check_end(scene: Scene, metrics: Any, parts: Any) -> None:
    """What is left when the server has ended."""
    for words, wrong in {
        "sockets stay open": [sock.name for sock in scene.net.open.values()],
        "the poller keeps owners": list(scene.poller.owners.values()),
        "memory stays accounted": metrics.memory_bytes,
        "connections stay open": metrics.connections_open,
        "places stay taken": parts.admission._open or +parts.admission._hosts,
        "connections do not add up": metrics.connections - sum(metrics.connections_ended.values()),
        "answers stay owed": metrics.in_flight,
        "STOPPED does not say what was": {c.stopped for c in scene.clients if c.stopped}
        - {parts.drain.outcome},
    }.items():
        if wrong:
            scene.machine.fail(f"{words}: {wrong}")
