"""Signals: SIGTERM and SIGINT drain, a second one cuts the drain short, SIGHUP reloads."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from framelet_server.server import Server

ENDING = (signal.SIGTERM, signal.SIGINT)


def handle_signals(
    server: Server, reload: Callable[[], None] | None, *, may_force: bool
) -> Callable[[], None]:
    """Have signals drain a server, cut the drain short if ``may_force``, and reload.

    To be called before the server starts, so that no signal ends the process without a drain.  What is
    returned is to be called once it has started.
    """
    started = threading.Event()
    signals = itertools.count()

    def on_signal(number: int, frame: object) -> None:
        del frame
        # A signal handler interrupts the main thread anywhere, also while that holds a lock; so the work
        # is done on a thread of its own.
        force = next(signals) > 0  # in one step, as another signal can interrupt this function too
        _in_background(started, lambda: _drain(server, signal.Signals(number).name, force and may_force))

    for number in ENDING:
        signal.signal(number, on_signal)
    if reload is not None:
        signal.signal(signal.SIGHUP, lambda *_: _in_background(started, reload))
    return started.set


@contextlib.contextmanager
def signals_as_octets(numbers: Sequence[signal.Signals]) -> Iterator[socket.socket]:
    """A socket at which each signal arrives as one octet, its number, so that a selector can wait for it."""
    receiver, sender = socket.socketpair()
    with receiver, sender:
        receiver.settimeout(0)
        sender.settimeout(0)
        signal.set_wakeup_fd(sender.fileno())
        for number in numbers:
            signal.signal(number, lambda *_: None)
        try:
            yield receiver
        finally:
            signal.set_wakeup_fd(-1)


def _drain(server: Server, reason: str, force: bool) -> None:  # noqa: FBT001 - private, called once
    server.begin_drain(reason)
    if force:  # the thread of the first signal may not have begun the drain yet; now it has begun
        server.force()


def _in_background(started: threading.Event, work: Callable[[], None]) -> None:
    def run() -> None:
        started.wait()
        work()

    threading.Thread(target=run, name="framelet-signal", daemon=True).start()
