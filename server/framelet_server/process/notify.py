"""What a service manager wants to hear of a service: sd_notify(3).

A few environment variables and a datagram; the manual page invites programs to write it themselves.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import struct
import time
import weakref
from typing import TYPE_CHECKING, Self

from framelet import ConfigurationError
from framelet_server.net.forks import tell_of_forks
from framelet_server.pool.drain import DrainObserver

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_log = logging.getLogger("framelet_server")

_PATIENCE = 1
"""Seconds for the manager to take a message; for signs of life none, as they come from the timers' thread."""


class Notifier:
    """Tells the service manager, if there is one, how the service is."""

    def __init__(self, address: str = "", watchdog: float = math.inf) -> None:
        """``address`` is of a unix datagram socket: a path, or ``@`` and an abstract name; empty for none.

        ``watchdog`` is the number of seconds in which the manager expects a sign of life.
        """
        self.watchdog = watchdog
        self._address = address
        self._failed = False
        # Opened now: a sign of life must not need a descriptor when there are none left.
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._sock is not None:
            # By the system: a timeout of Python's would ask again and again whether there is room.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _PATIENCE, 0))
            weakref.finalize(self, self._sock.close)
            tell_of_forks(self)

    def forked(self) -> None:
        """Tell nothing in a fork, and close its copy."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """As NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID say; raises ConfigurationError.

        They are taken out of the environment, so that no process started later takes them for its own.
        """
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        for_process = environment.pop("WATCHDOG_PID", str(os.getpid()))
        if address and address[0] not in "/@":
            message = f"NOTIFY_SOCKET is {address!r}: expected an absolute path, or @NAME"
            raise ConfigurationError(message)
        if not microseconds or for_process != str(os.getpid()):
            return cls(address)
        if not (microseconds.isascii() and microseconds.isdigit() and int(microseconds)):
            message = f"WATCHDOG_USEC is {microseconds!r}: expected a number of microseconds"
            raise ConfigurationError(message)
        return cls(address, int(microseconds) / 1_000_000)

    def ready(self, status: str) -> None:
        """The service serves, for the first time or after it has reloaded."""
        self._send("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def status(self, status: str) -> None:
        """How the service is, in words."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """The service reads its configuration again; ``ready`` follows."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}")

    def stopping(self, reason: str) -> None:
        """The service drains."""
        self._send("STOPPING=1", f"STATUS=draining: {reason}")

    def alive(self) -> None:
        """The service makes progress."""
        self._send("WATCHDOG=1", flags=socket.MSG_DONTWAIT)

    def _send(self, *assignments: str, flags: int = 0) -> None:
        if self._sock is None:
            return
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        try:
            self._sock.sendto("\n".join(assignments).encode(), flags, address)
        except OSError as error:  # not fatal: the manager decides what our silence means
            if not self._failed:
                _log.warning("cannot notify the service manager: %s", error.strerror or error)
            self._failed = True
        else:
            self._failed = False


class NotifyingObserver(DrainObserver):
    """Tells the service manager that the server drains."""

    def __init__(self, notifier: Notifier) -> None:
        """Tell ``notifier``."""
        self._notifier = notifier

    def drain_began(self, reason: str) -> None:
        """Tell it."""
        self._notifier.stopping(reason)
