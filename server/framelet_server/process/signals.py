"""Signals: SIGTERM and SIGINT drain, a second one cuts the drain short, SIGHUP reloads.

A signal handler interrupts the main thread anywhere, also while that holds a lock, and may not be able to
start a thread.  So it only writes the signal's number into a pipe, where it waits until it can be acted on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_server.server import Server

ENDING = (signal.SIGTERM, signal.SIGINT)

_MOST = 4_096
"""Signals read at once."""


class Signals:
    """The signals that this process has caught and not yet acted on, for a selector or for ``obey``."""

    def __init__(self, *numbers: signal.Signals) -> None:
        """Catch these from now on."""
        self._process = os.getpid()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self.catch(*numbers)

    def fileno(self) -> int:
        """For selectors."""
        return self._reader

    def catch(self, *numbers: signal.Signals) -> None:
        """Catch these too."""
        for number in numbers:
            signal.signal(number, self._caught)

    def read(self) -> bytes:
        """Wait for signals, and return the numbers of those that came."""
        return os.read(self._reader, _MOST)

    def obey(
        self, server: Server, reload: Callable[[], None] | None, *, may_force: bool
    ) -> Callable[[], None]:
        """Have signals drain a server, cut the drain short if ``may_force``, and reload.

        To be called before the server starts, so that no signal ends the process without a drain.  What is
        returned is to be called once it has started.  Raises RuntimeError where no thread can be started.
        """
        started = threading.Event()

        def act() -> None:
            started.wait()
            draining = False
            while True:
                for number in self.read():
                    if number in ENDING:
                        server.begin_drain(signal.Signals(number).name)
                        if draining and may_force:
                            server.force()
                        draining = True
                    elif number == signal.SIGHUP and reload and not server.metrics().draining:
                        reload()

        threading.Thread(target=act, name="framelet-signals", daemon=True).start()
        self.catch(*ENDING)
        return started.set

    def _caught(self, number: int, frame: object) -> None:
        del frame
        if os.getpid() == self._process:
            with contextlib.suppress(BlockingIOError):  # 65,536 signals that nobody has read say enough
                os.write(self._writer, bytes([number]))
        else:  # a fork by a handler: the signal is meant for it, and not for the server
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def leave_hangup_to_supervisor() -> None:
    """Ignore SIGHUP in a child, which was started with it blocked: its supervisor says when to reload."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
