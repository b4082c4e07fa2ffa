"""Several processes on the same sockets: started, watched, replaced when they crash, and drained together.

The supervisor serves no client.  It has one thread, which sleeps until a signal, a child or a time wakes it.
It holds the listening sockets, so clients that connect while a child is replaced wait instead of being
refused.  A child is the same command, started anew, so nothing is shared by accident.
"""

from __future__ import annotations

import contextlib
import logging
import math
import selectors
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from framelet import FrameletError
from framelet_server.net.sockets import SocketFile, address_of

from .children import ChildProcess, how_ended
from .signals import ENDING, tell_who_is_there

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framelet import Address
    from framelet_server.config import ServerLimits

    from .children import Place
    from .notify import Notifier
    from .overview import Overview
    from .signals import Signals

_log = logging.getLogger("framelet_server")

_SILENCE = 30.0
"""Seconds without progress after which a child is killed; a service manager may expect it sooner."""

_LOOKS = 8
"""Looks at the children in that time; one that is late by a whole interval shows a pause of our own."""

_TICKS = 4
"""Signs of life for the service manager in the time in which it expects one."""

_LAST = 5.0
"""Seconds, beyond all timeouts of a drain, before a child that has not ended is killed."""

_EXPLAINED = (1, 2)
"""Statuses with which a child ends after it has said why it cannot serve."""


class Supervisor:
    """Keeps a number of children running until it is told to end, or one of them is."""

    def __init__(  # noqa: PLR0913 - keywords
        self,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        *,
        passed_on: Sequence[int],
        owns_files: bool,
        overview: Overview,
        limits: ServerLimits,
        announce: Callable[[Sequence[Address]], None],
        notifier: Notifier,
        signals: Signals,
    ) -> None:
        """Take over listening sockets, and with ``owns_files`` also the files of unix sockets among them.

        ``command`` starts a child: ``--worker`` and what ``Child`` takes are added to it; descriptors that it
        reads are ``passed_on``.  ``overview`` is of
        the children, none of them started, and goes on to show how they are.  ``announce`` is
        called when all are ready.  ``signals`` are those caught since the command began.
        """
        self._command = command
        self._sockets = list(sockets)
        self._passed_on = passed_on
        self._owns_sockets = owns_files
        self._files = [SocketFile(sock) for sock in sockets if owns_files and sock.family == socket.AF_UNIX]
        self._limits = limits
        self._announce = announce
        self._notifier = notifier
        self._signals = signals
        self._addresses = [address_of(sock) for sock in sockets]
        self._overview = overview
        self._children = overview.children
        self._selector = selectors.DefaultSelector()
        self._announced = False
        self._draining = False
        self._reloading: set[ChildProcess] = set()
        self._concluded = False
        self._status = 0
        self._give_up = math.inf  # when children that are left in a drain are killed
        self._next_sign = 0.0 if notifier.watchdog < math.inf else math.inf
        self._silence = min(notifier.watchdog, _SILENCE)

    def run(self) -> int:
        """Serve until a drain has ended; the exit status.

        It is 0 after a drain, and that of the first child where that could not start: it has said why.
        """
        self._signals.catch(*ENDING, signal.SIGHUP, signal.SIGCHLD)
        with self._selector:
            self._selector.register(self._signals, selectors.EVENT_READ, self._on_signals)
            try:
                self._start(self._children.places[0])  # alone at first: what is wrong with all is said once
                while not self._draining or self._children.running():
                    self._wait()
                    self._check()
            finally:
                self._stop_listening()
                self._abandon()
        return self._status

    def _abandon(self) -> None:
        """After a failure, end the children that are left: they drain when their line ends."""
        self._limit(self._limits.drain_timeout)
        for child in self._children.running():
            child.line.close()
        for child in self._children.running():
            try:
                child.popen.wait(self._give_up - time.monotonic())
            except subprocess.TimeoutExpired:
                child.popen.kill()
                child.popen.wait()

    # What happens.

    def _wait(self) -> None:
        """Sleep until something happens or is due, and handle what happened."""
        dues = [self._give_up, self._next_sign, *(place.due for place in self._children.places)]
        if not self._draining:
            dues += [child.heard + self._silence for child in self._children.running()]
        now, interval = time.monotonic(), self._silence / _LOOKS
        wake = min(*dues, now + interval)
        events = self._selector.select(max(0.0, wake - now))
        late = time.monotonic() - max(wake, now)
        if late > interval:
            self._on_own_pause(late)
        for key, _ in events:
            key.data()

    def _on_own_pause(self, seconds: float) -> None:
        """We were stopped, and perhaps the children with us: give them that time again."""
        _log.warning("the supervisor itself was held up for %.1f seconds", seconds)
        self._give_up += seconds
        for child in self._children.running():
            child.heard += seconds

    def _on_signals(self) -> None:
        for number in self._signals.read():
            if number in ENDING and self._draining:
                self._signals.forced_by = number
                self._force()
            elif number in ENDING:
                tell_who_is_there(number)
                self._begin_drain(signal.Signals(number).name)
            elif number == signal.SIGHUP:
                self._reload()

    def _on_messages(self, child: ChildProcess) -> None:
        messages = child.line.receive()
        if messages is None:
            with contextlib.suppress(KeyError):  # seen before
                self._selector.unregister(child.line)  # it is ending; its status will tell how
            return
        for name, *values in messages:
            if (
                name == "numbers"
            ):  # no sign of progress: any child can tell them that has not lost its threads
                self._overview.take_numbers(child, *values)
                continue
            child.heard = time.monotonic()
            if name == "ready":
                child.ready = True
                if child.reload_due:
                    child.line.send("reload")
                _log.info("child %d serves", child.pid)
                self._on_ready()
            elif name == "stop":
                self._begin_drain(*values)
            elif name == "reloaded":
                self._on_reloaded(child)
            elif name == "drained":
                child.drained = (values[0], values[1])

    def _check(self) -> None:
        """Do what is due, and see which children have ended."""
        now = time.monotonic()
        for place in self._children.places:
            if place.child is not None:
                self._check_child(place, place.child, now)
            elif place.due <= now:
                self._start(place)
        if now >= self._next_sign:
            self._notifier.alive()
            self._next_sign = now + self._notifier.watchdog / _TICKS
        if self._draining:
            self._conclude()
        if now >= self._give_up:
            self._give_up = math.inf
            for child in self._children.running():
                _log.error("child %d has not ended in time and is killed", child.pid)
                child.popen.kill()

    def _check_child(self, place: Place, child: ChildProcess, now: float) -> None:
        if (status := child.popen.poll()) is not None:
            self._on_messages(child)  # the last ones
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.line)
            self._overview.remove(place, child)
            child.line.close()
            self._on_end(place, child, status)
        elif now >= child.heard + self._silence and not self._draining:
            self._on_messages(child)  # what it said may lie unread
            if child.heard >= now:
                return
            _log.error("child %d makes no progress and is killed", child.pid)
            child.heard = math.inf
            child.popen.kill()

    # Children.

    def _start(self, place: Place) -> None:
        """Start a child; where the system refuses, try again later, unless it is the very start."""
        try:
            child = ChildProcess.start(
                self._command, self._sockets, self._passed_on, self._silence, self._owns_sockets
            )
        except OSError as error:
            message = f"cannot start a child: {error.strerror}"
            if not self._announced:
                raise FrameletError(message) from error
            _log.error(message)
            place.crashed()
            return
        self._selector.register(child.line, selectors.EVENT_READ, lambda: self._on_messages(child))
        place.take(child)

    def _on_ready(self) -> None:
        """Another child is ready: start the others after the first, or say that all are ready."""
        if self._draining:
            return
        if not self._announced:
            absent = [place for place in self._children.places if place.child is None]
            for place in absent:
                self._start(place)
            if absent or not all(child.ready for child in self._children.running()):
                return
            self._announced = True
            self._overview.begin()
            self._announce(self._addresses)
            self._notifier.ready(self._describe())
        self._tell_status()

    def _on_end(self, place: Place, child: ChildProcess, status: int) -> None:
        """A child has ended: in the drain of all, or it is replaced, or none can start."""
        self._on_reloaded(child)
        if self._draining:
            if child.drained is not None:
                self._children.ended_in_drain(child.drained)
            elif child.ready:
                how = how_ended(status)
                _log.error("child %d ended in the drain, %s; its clients are not counted", child.pid, how)
            return
        if child.drained is not None and status == 0:
            _log.info("child %d has drained and is replaced", child.pid)
            self._start(place)
        elif not self._announced:
            self._status = status if status in _EXPLAINED else 1
            if status not in _EXPLAINED:
                _log.error("a child ended before all were ready: %s", how_ended(status))
            self._begin_drain("a child could not start")
        else:
            pause = place.crashed(child)
            _log.error("child %d ended, %s; replaced in %.1f seconds", child.pid, how_ended(status), pause)
        self._tell_status()

    # The end.

    def _begin_drain(self, reason: str) -> None:
        if self._draining:
            return
        self._draining = True
        self._overview.begin_drain()
        _log.info("draining all children: %s", reason)
        self._notifier.stopping(reason)
        self._stop_listening()
        self._limit(self._limits.drain_timeout)
        self._children.start_no_more()
        for child in self._children.running():
            child.line.send("drain", reason)
            if not child.ready:
                child.popen.terminate()  # it may be long before it reads its line

    def _stop_listening(self) -> None:
        while self._files:
            self._files.pop().remove()
        for sock in self._sockets:
            sock.close()

    def _force(self) -> None:
        self._limit(0.0)
        self._children.send("force")

    def _limit(self, timeout: float) -> None:
        """Bound the rest of the drain; each child keeps to this by itself, unless it is stuck."""
        self._give_up = min(self._give_up, time.monotonic() + timeout + self._limits.linger_timeout + _LAST)

    def _conclude(self) -> None:
        """When no child has clients left, have those told that asked for the stop (REQ-STOP-8)."""
        totals = self._children.totals()
        if totals is not None and not self._concluded:
            self._concluded = True
            _log.info("drained all children: %d connections closed, %d cut off", *totals)
            self._children.send("drained", *totals)

    # Reloading, and what the service manager hears.

    def _reload(self) -> None:
        """Have all children reload, those that still start when they are ready."""
        ready = set()
        for child in self._children.running():
            if child.ready:
                ready.add(child)
            else:  # it may have read its files already, and now import a handler
                child.reload_due = True
        if self._draining:
            return
        if ready and self._announced:
            self._reloading = set(ready)
            self._notifier.reloading()
        for child in ready:
            child.line.send("reload")

    def _on_reloaded(self, child: ChildProcess) -> None:
        """When the last child has reloaded, or has ended, say so."""
        if child in self._reloading:
            self._reloading.remove(child)
            if not self._reloading:
                self._notifier.ready(self._describe())

    def _tell_status(self) -> None:
        if self._announced and not self._draining:
            self._notifier.status(self._describe())

    def _describe(self) -> str:
        ready = sum(child.ready for child in self._children.running())
        where = ", ".join(map(str, self._addresses))
        return f"{ready} of {len(self._children.places)} children serve on {where}"
