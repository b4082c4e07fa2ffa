"""A child process: one of several that serve the same sockets, started and ended by a supervisor."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from framelet_server.pool.drain import DrainObserver

from .control import ControlLine
from .inherited import take_inheritance
from .run import reload_safely, wait
from .signals import Signals, leave_hangup_to_supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_server.server import Server

    from .run import Reload

_log = logging.getLogger("framelet_server")


class Child(DrainObserver):
    """The process as a child of its supervisor, which adds up what all children count in a drain."""

    def __init__(self, inheritance: str) -> None:
        """``inheritance`` is what the supervisor passed on; raises as ``take_inheritance``."""
        leave_hangup_to_supervisor()
        control, self.sockets = take_inheritance(inheritance)
        self._line = ControlLine(control)
        self._lock = threading.Lock()  # guards the next two
        self._alone = False  # the supervisor is gone
        self._finish: Callable[[], None] | None = None  # sends STOPPED with our own numbers
        self._conclude: Callable[[int, int], None] | None = None

    def serve(self, server: Server, on_reload: Reload | None = None) -> None:
        """Start a server that has this as its observer, and wait for its end.

        SIGTERM and SIGINT drain this child alone; the supervisor will replace it.
        """
        # Without a supervisor the period does not matter: the drain is about to begin.
        (_, period), *others = self._line.receive() or [["watch", 1.0]]
        started = Signals().obey(server, None, may_force=False)
        with server:
            started()
            server.watch(period, lambda: self._line.send("alive"))
            self._line.send("ready")
            threading.Thread(
                target=self._listen, args=(server, others, on_reload), name="framelet-control", daemon=True
            ).start()
            wait(server)

    def stop_allowed(self, reason: str) -> None:
        """All children are to end."""
        self._line.send("stop", reason)

    def drained(self, closed: int, cut: int, conclude: Callable[[int, int], None]) -> None:
        """Report; STOPPED waits until all children have, or the supervisor is gone."""
        with self._lock:
            alone = self._alone
            self._conclude = conclude
            self._finish = lambda: conclude(closed, cut)
        if alone:
            conclude(closed, cut)
        else:
            self._line.send("drained", closed, cut)

    def _listen(self, server: Server, messages: list[list[Any]] | None, on_reload: Reload | None) -> None:
        """Do as the supervisor says, until it is gone."""
        while messages is not None:
            for name, *values in messages:
                if name == "drain":
                    server.begin_drain(*values)
                elif name == "force":
                    server.force()
                elif name == "drained" and self._conclude is not None:
                    self._conclude(*values)
                elif name == "reload":
                    if on_reload is not None:
                        reload_safely(on_reload)
                    self._line.send("reloaded")
            messages = self._line.receive()
        _log.warning("the supervisor is gone")
        server.begin_drain("the supervisor is gone")
        with self._lock:
            self._alone = True
            finish = self._finish
        if finish is not None:
            finish()
