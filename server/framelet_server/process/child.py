"""A child process: one of several that serve the same sockets, started and ended by a supervisor."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from framelet_server.net.threads import begin_thread
from framelet_server.pool.drain import DrainObserver

from .control import ControlLine
from .inherited import take_inheritance
from .run import reload_safely, wait
from .signals import Signals, leave_hangup_to_supervisor

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from framelet_server.server import Server

    from .run import Reload

_log = logging.getLogger("framelet_server")


class Child(DrainObserver):
    """The process as a child of its supervisor, which adds up what all children count in a drain."""

    def __init__(self, inheritance: str) -> None:
        """``inheritance`` is what the supervisor passed on; raises as ``take_inheritance``."""
        leave_hangup_to_supervisor()
        control, sockets, self._files = take_inheritance(inheritance)
        self.sockets: list[socket.socket] = sockets
        self._line = ControlLine(control)
        self._lock = threading.Lock()  # guards the next two
        self._alone = False  # the supervisor is gone
        self._finish: Callable[[], None] | None = None  # sends STOPPED with our own numbers
        self._conclude: Callable[[int, int], None] | None = None
        self._sockets_end = False  # the listening sockets, with the drain of all children
        self._leaving = False  # this child alone ends
        self._telling = threading.Lock()  # so that older numbers do not come after newer ones
        self._measured = False  # somebody looks at the numbers

    def forget_files(self) -> None:
        """Close the files that were passed on, secrets among them, when they have been read."""
        while self._files:
            os.close(self._files.pop())

    def serve(self, server: Server, on_reload: Reload | None = None) -> None:
        """Start a server that has this as its observer, and wait for its end.

        SIGTERM and SIGINT drain this child alone; the supervisor will replace it.
        """
        # Without a supervisor the period does not matter: the drain is about to begin.
        (_, period, self._sockets_end), *others = self._line.receive() or [["watch", 1.0, False]]
        started = Signals().obey(server, None, may_force=False, on_ending=self._leave)
        serving = threading.Event()
        begin_thread("framelet-control", self._listen, serving, server, others, on_reload)
        with server:
            started()
            server.watch(period, lambda: self._beat(server))
            self._line.send("ready")
            serving.set()
            wait(server)
        self._tell_numbers(server)

    def _leave(self) -> None:
        self._leaving = True

    def ends_listening(self) -> bool:
        """Where this child alone ends, the others go on to accept."""
        return self._sockets_end and not self._leaving

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

    def _listen(
        self,
        serving: threading.Event,
        server: Server,
        messages: list[list[Any]] | None,
        on_reload: Reload | None,
    ) -> None:
        """Do as the supervisor says, until it is gone."""
        serving.wait()
        while messages is not None:
            for name, *values in messages:
                if name == "drain":
                    server.begin_drain(*values)
                elif name == "force":
                    server.force()
                elif name == "drained" and self._conclude is not None:
                    self._conclude(*values)
                elif name == "measure":
                    self._measured = True
                    self._tell_numbers(server)
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

    def _beat(self, server: Server) -> None:
        """Say that there is progress; and once somebody looks at the numbers, those: a crash loses few."""
        self._line.send("alive")
        if self._measured:
            self._tell_numbers(server)

    def _tell_numbers(self, server: Server) -> None:
        with self._telling:
            self._line.send("numbers", dataclasses.asdict(server.metrics()))
