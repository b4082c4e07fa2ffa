"""A worker process: one of several that serve the same sockets, started and ended by a supervisor."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

from framelet import ConfigurationError
from framelet_server.pool.drain import DrainObserver

from .control import ControlLine
from .run import handle_signals, reload_safely, wait
from .systemd import take_socket

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_server.server import Server

    from .run import Reload

_log = logging.getLogger("framelet_server")


class Child(DrainObserver):
    """The supervisor as seen from a worker: it hears of this server's drain, and sums up all of them."""

    def __init__(self, inheritance: str) -> None:
        """``inheritance`` is what the supervisor passed on: see ``inheritance_of``.

        Raises ConfigurationError where that is not what a supervisor would have passed on.
        """
        try:
            control, *listening = map(int, inheritance.split(","))
            sock = socket.socket(fileno=control)
            sock.set_inheritable(False)
        except (ValueError, OSError):
            message = f"{inheritance!r} was not passed on by a supervisor: --worker is for its use alone"
            raise ConfigurationError(message) from None
        self.sockets = [take_socket(number) for number in listening]
        self._line = ControlLine(sock)
        self._lock = threading.Lock()  # guards the next two
        self._alone = False  # the supervisor is gone
        self._finish: Callable[[], None] | None = None  # sends STOPPED with our own numbers
        self._conclude: Callable[[int, int], None] | None = None

    def serve(self, server: Server, on_reload: Reload | None = None) -> None:
        """Start a server that has this as its observer, and wait for its end.

        SIGTERM and SIGINT drain this worker alone; the supervisor will replace it.
        """
        # Without a supervisor any period does: the drain is about to begin.
        (_, period), *others = self._line.receive() or [["watch", 1.0]]
        started = handle_signals(server, None, may_force=False)
        with server:
            started()
            server.watch(period, lambda: self._line.send("alive"))
            self._line.send("ready")
            threading.Thread(
                target=self._listen, args=(server, others, on_reload), name="framelet-control", daemon=True
            ).start()
            wait(server)

    def stop_allowed(self, reason: str) -> None:
        """All workers are to end."""
        self._line.send("stop", reason)

    def drained(self, closed: int, cut: int, conclude: Callable[[int, int], None]) -> None:
        """Report; STOPPED waits until all workers have, or the supervisor is gone."""
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


def inheritance_of(control: socket.socket, listening: list[socket.socket]) -> tuple[str, list[int]]:
    """What a worker is told of its descriptors, and the descriptors."""
    numbers = [sock.fileno() for sock in (control, *listening)]
    return ",".join(map(str, numbers)), numbers
