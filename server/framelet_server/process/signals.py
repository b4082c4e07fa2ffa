"""Signals: SIGTERM and SIGINT drain, a second one cuts the drain short, SIGHUP reloads.

A signal handler interrupts the main thread anywhere, also while that holds a lock, and may not be able to
start a thread.  So it only writes the signal's number into a pipe, where it waits until it can be acted on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from framelet_server.net.forks import tell_of_forks
from framelet_server.net.threads import begin_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_server.server import Server

_log = logging.getLogger("framelet_server")

ENDING = (signal.SIGTERM, signal.SIGINT)

_MOST = 4_096
"""Signals read at once."""


class Signals:
    """The signals that this process has caught and not yet acted on, for a selector or for ``obey``."""

    def __init__(self, *numbers: signal.Signals) -> None:
        """Catch these from now on."""
        self.forced_by: int | None = None  # the second one, which cut a drain short
        self._process = os.getpid()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        tell_of_forks(self)
        self.catch(*numbers)

    def fileno(self) -> int:
        """For selectors."""
        return self._reader

    def forked(self) -> None:
        """Close the copies of a fork, for which nothing is caught."""
        os.close(self._reader)
        os.close(self._writer)

    def catch(self, *numbers: signal.Signals) -> None:
        """Catch these too."""
        for number in numbers:
            signal.signal(number, self._caught)

    def read(self) -> bytes:
        """Wait for signals, and return the numbers of those that came."""
        return os.read(self._reader, _MOST)

    def obey(
        self,
        server: Server,
        reload: Callable[[], None] | None,
        *,
        may_force: bool,
        on_ending: Callable[[], None] = lambda: None,
    ) -> Callable[[], None]:
        """Have signals drain a server, cut the drain short if ``may_force``, and reload.

        ``on_ending`` is called before the drain.  To be called before the server starts, so that no signal
        ends the process without a drain.  What is returned is to be called once it has started.  Raises
        ThreadLimitError where no thread can be started.
        """
        started = threading.Event()
        draining = False

        def obey(number: int) -> None:
            nonlocal draining
            if number in ENDING:
                again, draining = draining, True
                on_ending()
                if may_force and not again:
                    tell_who_is_there(number)
                server.begin_drain(signal.Signals(number).name)
                if may_force and again:
                    self.forced_by = number
                    server.force()
            elif number == signal.SIGHUP and reload and not server.metrics().draining:
                reload()

        def act() -> None:
            started.wait()
            while True:
                for number in self.read():
                    try:
                        obey(number)
                    except Exception:  # noqa: BLE001 - the next signal must be obeyed all the same
                        _log.exception("%s could not be obeyed", signal.Signals(number).name)

        begin_thread("framelet-signals", act)
        self.catch(*ENDING)
        return started.set

    def _caught(self, number: int, frame: object) -> None:
        del frame
        if os.getpid() == self._process:
            with contextlib.suppress(BlockingIOError):  # 65,536 unread signals are enough
                os.write(self._writer, bytes([number]))
        else:  # a fork by a handler: the signal is meant for it, and not for the server
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def tell_who_is_there(number: int) -> None:
    """Say to who has pressed Ctrl-C at a terminal that a drain has begun, and how not to wait for it."""
    with contextlib.suppress(AttributeError, ValueError):  # stderr is closed
        if number == signal.SIGINT and sys.stderr.isatty():
            _log.warning("draining: received requests are answered first; press Ctrl-C again to end at once")


def leave_hangup_to_supervisor() -> None:
    """Ignore SIGHUP in a child, which was started with it blocked: its supervisor says when to reload."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
