"""One server in one process, from the first signal that it may get to its end."""

from __future__ import annotations

import itertools
import logging
import math
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framelet import Address
    from framelet_server.server import Server

    from .systemd import Notifier

    Reload = Callable[[], None]

_SIGNAL_CHECK = 0.25
"""Seconds after which a signal is noticed at the latest.

Python calls the handlers of signals on the main thread, but where two signals come at once the system may
give both to another thread, and then nothing wakes the main one.
"""

_log = logging.getLogger("framelet_server")


def serve(
    server: Server,
    announce: Callable[[Sequence[Address]], None],
    notifier: Notifier,
    on_reload: Reload | None = None,
) -> None:
    """Start a server, say so, and wait for its end; SIGTERM and SIGINT drain it, a second one hastens that.

    With ``on_reload``, SIGHUP calls that.  Raises what ``Server.start`` and ``announce`` raise.
    """
    reload = on_reload and (lambda: _reload(on_reload, notifier, _status(server)))
    started = handle_signals(server, reload, may_force=True)
    with server:
        started()
        announce(server.addresses)
        notifier.ready(_status(server))
        if notifier.watchdog < math.inf:
            server.watch(notifier.watchdog, notifier.alive)
        wait(server)


def wait(server: Server) -> None:
    """Wait for the end of a server, so that signals are seen to meanwhile."""
    while not server.wait(_SIGNAL_CHECK):
        pass


def handle_signals(server: Server, reload: Reload | None, *, may_force: bool) -> Callable[[], None]:
    """Drain on SIGTERM and SIGINT, force on the second if that may be, and reload on SIGHUP.

    To be called before the server starts, so that no signal ends the process without a drain; what is
    returned, behind that.
    """
    started = threading.Event()
    signals = itertools.count()

    def on_signal(number: int, frame: object) -> None:
        del frame
        # A signal handler interrupts the main thread anywhere, also while it holds a lock; so the work
        # is done on a thread of its own.
        force = next(signals) > 0  # in one step, as another signal can interrupt this function too
        _in_background(started, lambda: _drain(server, signal.Signals(number).name, force and may_force))

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    if reload is not None:
        signal.signal(signal.SIGHUP, lambda *_: _in_background(started, reload))
    return started.set


def reload_safely(reload: Reload) -> bool:
    """Reload; where that fails, say so and go on as before.  Whether it worked."""
    try:
        reload()
    except Exception as error:  # noqa: BLE001 - whatever it is, the server serves on
        _log.error("cannot reload: %s", error)
        return False
    _log.info("reloaded")
    return True


def end_process() -> None:
    """End where threads are left that never return from a handler, and would keep the interpreter from it."""
    logging.shutdown()
    os._exit(0)


def _drain(server: Server, reason: str, force: bool) -> None:  # noqa: FBT001 - private, called once
    server.begin_drain(reason)
    if force:  # the thread that was to begin the drain may not have got so far; now it has begun
        server.force()


def _reload(reload: Reload, notifier: Notifier, status: str) -> None:
    notifier.reloading()
    reload_safely(reload)
    notifier.ready(status)


def _status(server: Server) -> str:
    return f"listening on {', '.join(map(str, server.addresses))}"


def _in_background(started: threading.Event, work: Callable[[], None]) -> None:
    def run() -> None:
        started.wait()
        work()

    threading.Thread(target=run, name="framelet-signal", daemon=True).start()
