"""Several processes on the same sockets: started, watched, replaced when they crash, and drained together.

The supervisor serves no client and has one thread, which sleeps until a signal, a worker or a time wakes it.
It holds the listening sockets, so that clients who connect while a worker is replaced wait instead of being
refused.  A worker is the same command, started anew, so that nothing is shared that was not meant to be.
"""

from __future__ import annotations

import contextlib
import dataclasses
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

from .child import inheritance_of
from .control import ControlLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from framelet import Address
    from framelet_server.config import ServerLimits

    from .systemd import Notifier

_log = logging.getLogger("framelet_server")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a crashed worker is replaced; doubled each time."""

_SETTLED = 60.0
"""Seconds after which a worker that crashes is taken for one that served well until then."""

_SILENCE = 30.0
"""Seconds without a sign of progress after which a worker is ended; a service manager may name others."""

_TICKS = 4
"""Signs of life for the service manager in the time in which it expects one."""

_LAST = 5.0
"""Seconds, beyond all timeouts of a drain, before a worker that has not ended is made to."""

_EXPLAINED = (1, 2)
"""Statuses with which a worker ends after it has said why it cannot serve."""

_ENDING = (signal.SIGTERM, signal.SIGINT)
_HEEDED = (*_ENDING, signal.SIGHUP, signal.SIGCHLD)


@dataclasses.dataclass(eq=False)
class _Process:
    """A worker process; times are seconds on the monotonic clock."""

    popen: subprocess.Popen[bytes]
    line: ControlLine
    began: float
    heard: float = math.inf  # of a sign of progress; one that has yet to become ready owes none
    ready: bool = False
    drained: tuple[int, int] | None = None


@dataclasses.dataclass(eq=False)
class _Place:
    """The place of one worker: the process that holds it, or when there will be one again."""

    process: _Process | None = None
    crashes: int = 0  # in a row
    due: float = math.inf


class Supervisor:
    """Keeps a number of workers at work until it is told to end, or one of them is."""

    def __init__(  # noqa: PLR0913 - keywords
        self,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        *,
        owns_files: bool,
        workers: int,
        limits: ServerLimits,
        announce: Callable[[Sequence[Address]], None],
        notifier: Notifier,
    ) -> None:
        """Take over listening sockets, and with ``owns_files`` also the files of unix sockets among them.

        ``command`` starts a worker: behind it come ``--worker`` and what ``Child`` takes.  ``announce`` is
        called when all are ready.
        """
        self._command = command
        self._sockets = list(sockets)
        self._files = [SocketFile(sock) for sock in sockets if owns_files and sock.family == socket.AF_UNIX]
        self._limits = limits
        self._announce = announce
        self._notifier = notifier
        self._addresses = [address_of(sock) for sock in sockets]
        self._places = [_Place() for _ in range(workers)]
        self._selector = selectors.DefaultSelector()
        self._announced = False
        self._draining = False
        self._reloading: set[_Process] = set()
        self._concluded = False
        self._status = 0
        self._closed = self._cut = 0  # by workers that have ended in this drain
        self._give_up = math.inf  # when a drain is ended by force
        self._next_sign = 0.0 if notifier.watchdog < math.inf else math.inf
        self._silence = min(notifier.watchdog, _SILENCE)

    def run(self) -> int:
        """Serve until a drain has ended; the exit status.

        It is 0 behind a drain, and that of the first worker where that could not start: it has said why.
        """
        with self._heeding_signals():
            try:
                self._start(self._places[0])  # alone at first: what is wrong with all is said once
                while not self._draining or self._processes():
                    self._wait()
                    self._look()
            finally:
                self._stop_listening()
                self._abandon()
        return self._status

    def _processes(self) -> list[_Process]:
        return [place.process for place in self._places if place.process is not None]

    def _abandon(self) -> None:
        """See off workers that are left after a failure: they drain when their line ends."""
        self._limit(self._limits.drain_timeout)
        for process in self._processes():
            process.line.close()
        for process in self._processes():
            try:
                process.popen.wait(self._give_up - time.monotonic())
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()

    # What happens.

    @contextlib.contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        """Have signals wake the selector, as octets that are their numbers."""
        receiver, sender = socket.socketpair()
        with receiver, sender, self._selector:
            receiver.settimeout(0)
            sender.settimeout(0)
            signal.set_wakeup_fd(sender.fileno())
            for number in _HEEDED:
                signal.signal(number, lambda *_: None)
            self._selector.register(receiver, selectors.EVENT_READ, lambda: self._heed(receiver.recv(64)))
            try:
                yield
            finally:
                signal.set_wakeup_fd(-1)

    def _wait(self) -> None:
        """Sleep until something happens or is due, and see to what happened."""
        dues = [self._give_up, self._next_sign, *(place.due for place in self._places)]
        if not self._draining:
            dues += [process.heard + self._silence for process in self._processes()]
        pause = min(dues) - time.monotonic()
        for key, _ in self._selector.select(None if pause == math.inf else max(0.0, pause)):
            key.data()

    def _heed(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _ENDING and self._draining:
                self._force()
            elif number in _ENDING:
                self._begin_drain(signal.Signals(number).name)
            elif number == signal.SIGHUP:
                self._reload()

    def _hear(self, process: _Process) -> None:
        """Take what a worker says."""
        messages = process.line.receive()
        if messages is None:
            self._selector.unregister(process.line)  # it ends; how, its process will tell
            return
        for name, *values in messages:
            process.heard = time.monotonic()
            if name == "ready":
                process.ready = True
                _log.info("worker %d serves", process.popen.pid)
                self._advance()
            elif name == "stop":
                self._begin_drain(*values)
            elif name == "reloaded":
                self._reloaded(process)
            elif name == "drained":
                process.drained = (values[0], values[1])

    def _look(self) -> None:
        """See to what is due, and to workers that have ended."""
        now = time.monotonic()
        for place in self._places:
            if place.process is not None:
                self._look_at(place, place.process, now)
            elif place.due <= now:
                self._start(place)
        if now >= self._next_sign:
            self._notifier.alive()
            self._next_sign = now + self._notifier.watchdog / _TICKS
        if self._draining:
            self._conclude()
        if now >= self._give_up:
            self._give_up = math.inf
            for process in self._processes():
                _log.error("worker %d has not ended in time and is killed", process.popen.pid)
                process.popen.kill()

    def _look_at(self, place: _Place, process: _Process, now: float) -> None:
        if (status := process.popen.poll()) is not None:
            with contextlib.suppress(KeyError):
                self._hear(process)  # its last words
                self._selector.unregister(process.line)
            process.line.close()
            place.process = None
            self._ended(place, process, status)
        elif now >= process.heard + self._silence and not self._draining:
            _log.error("worker %d makes no progress and is killed", process.popen.pid)
            process.heard = math.inf
            process.popen.kill()

    # Workers.

    def _start(self, place: _Place) -> None:
        """Start a process: the same command, with the sockets and the line handed down."""
        ours, theirs = socket.socketpair()
        with theirs:
            inheritance, numbers = inheritance_of(theirs, self._sockets)
            try:
                popen = subprocess.Popen(  # noqa: S603 - our own command
                    [*self._command, "--worker", inheritance],
                    stdin=subprocess.DEVNULL,
                    pass_fds=numbers,
                    process_group=0,  # so that Ctrl-C reaches the supervisor alone
                )
            except OSError as error:
                ours.close()
                message = f"cannot start a worker: {error.strerror}"
                if not self._announced:
                    raise FrameletError(message) from error
                _log.error(message)
                self._put_off(place)
                return
        ours.settimeout(0)
        process = _Process(popen, ControlLine(ours), began=time.monotonic())
        process.line.send("watch", self._silence)
        self._selector.register(process.line, selectors.EVENT_READ, lambda: self._hear(process))
        place.process, place.due = process, math.inf

    def _ended(self, place: _Place, process: _Process, status: int) -> None:
        """A worker has ended: with all, or it is to be replaced, or there is no point in it."""
        self._reloaded(process)
        if self._draining:
            if process.drained is not None:
                self._closed += process.drained[0]
                self._cut += process.drained[1]
            elif process.ready:
                _log.error(
                    "worker %d ended in the drain, %s; its clients are not counted",
                    process.popen.pid,
                    _how(status),
                )
            return
        if process.drained is not None and status == 0:
            _log.info("worker %d has drained and is replaced", process.popen.pid)
            self._start(place)
        elif not self._announced:
            self._status = status if status in _EXPLAINED else 1
            if status not in _EXPLAINED:
                _log.error("a worker ended before all were ready: %s", _how(status))
            self._begin_drain("a worker could not start")
        else:
            if time.monotonic() - process.began >= _SETTLED:
                place.crashes = 0
            self._put_off(place)
            pause = place.due - time.monotonic()
            _log.error(
                "worker %d ended, %s; replaced in %.1f seconds", process.popen.pid, _how(status), pause
            )
        self._tell_status()

    def _put_off(self, place: _Place) -> None:
        pause = min(_FIRST_PAUSE * 2**place.crashes, _LONGEST_PAUSE)
        place.crashes += 1
        place.due = time.monotonic() + pause

    def _advance(self) -> None:
        """Another worker is ready: start the others behind the first, or say that all are there."""
        if self._draining:
            return
        if not self._announced:
            absent = [place for place in self._places if place.process is None]
            for place in absent:
                self._start(place)
            if absent or not all(process.ready for process in self._processes()):
                return
            self._announced = True
            self._announce(self._addresses)
            self._notifier.ready(self._describe())
        self._tell_status()

    # The end.

    def _begin_drain(self, reason: str) -> None:
        if self._draining:
            return
        self._draining = True
        _log.info("draining all workers: %s", reason)
        self._notifier.stopping(reason)
        self._stop_listening()
        self._limit(self._limits.drain_timeout)
        for place in self._places:
            place.due = math.inf
        for process in self._processes():
            process.line.send("drain", reason)
            if not process.ready:
                process.popen.terminate()  # it may be far from hearing

    def _stop_listening(self) -> None:
        while self._files:
            self._files.pop().remove()
        for sock in self._sockets:
            sock.close()

    def _force(self) -> None:
        self._limit(0.0)
        for process in self._processes():
            process.line.send("force")

    def _limit(self, timeout: float) -> None:
        """Bound the rest of the drain; each worker keeps to this by itself, unless it is stuck."""
        self._give_up = min(self._give_up, time.monotonic() + timeout + self._limits.linger_timeout + _LAST)

    def _conclude(self) -> None:
        """When no worker has clients left, have those told who asked for the stop (REQ-STOP-8)."""
        living = self._processes()
        counts = [process.drained for process in living if process.drained is not None]
        if not self._concluded and len(counts) == len(living):
            self._concluded = True
            closed = self._closed + sum(count[0] for count in counts)
            cut = self._cut + sum(count[1] for count in counts)
            _log.info("drained all workers: %d connections closed, %d cut off", closed, cut)
            for process in living:
                process.line.send("drained", closed, cut)

    # Words.

    def _reload(self) -> None:
        """Have all workers reload; those that start later read what is new anyway."""
        ready = {process for process in self._processes() if process.ready}
        if ready and self._announced and not self._draining:
            self._reloading = ready
            self._notifier.reloading()
            for process in ready:
                process.line.send("reload")

    def _reloaded(self, process: _Process) -> None:
        """When the last worker has reloaded, or has ended, say so."""
        if process in self._reloading:
            self._reloading.remove(process)
            if not self._reloading:
                self._notifier.ready(self._describe())

    def _tell_status(self) -> None:
        if self._announced and not self._draining:
            self._notifier.status(self._describe())

    def _describe(self) -> str:
        ready = sum(process.ready for process in self._processes())
        where = ", ".join(map(str, self._addresses))
        return f"{ready} of {len(self._places)} workers serve on {where}"


def _how(status: int) -> str:
    """How a process ended, in words."""
    return f"status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
