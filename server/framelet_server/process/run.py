"""One server in one process, from its start to its end."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
from typing import TYPE_CHECKING

from framelet.__main__ import end_by_interrupt
from framelet_server.net.threads import ThreadLimitError, begin_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framelet import Address
    from framelet_server.server import Server

    from .notify import Notifier
    from .signals import Signals

    Reload = Callable[[], None]

_SIGNAL_CHECK = 0.25
"""Seconds after which a signal is noticed at the latest.

Python calls the handlers of signals on the main thread.  The system may deliver a signal to another thread,
and then nothing wakes the main one.
"""

_LAST = 1.0
"""Seconds that the last output of handlers that do not return may take."""

_log = logging.getLogger("framelet_server")


def serve(
    server: Server,
    announce: Callable[[Sequence[Address]], None],
    notifier: Notifier,
    signals: Signals,
    on_reload: Reload | None = None,
) -> None:
    """Start a server, announce it, and wait for its end.

    ``signals`` are those caught since the command began; with ``on_reload``, SIGHUP calls that.
    Raises what ``Server.start`` and ``announce`` raise.
    """
    reload = on_reload and (lambda: _reload(on_reload, notifier, _status(server)))
    started = signals.obey(server, reload, may_force=True)
    with server:
        started()
        announce(server.addresses)
        notifier.ready(_status(server))
        if notifier.watchdog < math.inf:
            server.watch(notifier.watchdog, notifier.alive)
        wait(server)


def wait(server: Server) -> None:
    """Wait for the end of a server, and let signals be handled meanwhile."""
    while not server.wait(_SIGNAL_CHECK):
        pass


def reload_safely(reload: Reload) -> None:
    """Reload; where that fails, log why and go on as before."""
    try:
        reload()
    except Exception as error:  # noqa: BLE001 - whatever it is, the server serves on
        _log.error("cannot reload: %s", error)
    else:
        _log.info("reloaded")


def end_process(forced_by: int | None) -> None:
    """End although threads are still in handlers: with status 0, or by SIGINT if that was the second signal.

    The interpreter would wait for the threads.
    """
    # On a thread of its own: what reads the streams may have stopped, and a handler may hold their locks.
    with contextlib.suppress(ThreadLimitError):
        begin_thread("framelet-flush", _flush_streams).join(_LAST)
    logging.shutdown()
    if forced_by == signal.SIGINT:
        end_by_interrupt()
    os._exit(0)


def _flush_streams() -> None:
    """Write what handlers have printed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or never open
            stream.flush()


def _reload(reload: Reload, notifier: Notifier, status: str) -> None:
    notifier.reloading()
    reload_safely(reload)
    notifier.ready(status)


def _status(server: Server) -> str:
    return f"listening on {', '.join(map(str, server.addresses))}"
