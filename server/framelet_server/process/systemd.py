"""What a service manager hands to a service, and what it wants to hear: sd_listen_fds(3) and sd_notify(3).

Both are a few environment variables and one datagram, kept stable for programs that do without the library.
Each reader takes its variables out of the environment, so that no process started later takes them for its
own.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import time
from typing import TYPE_CHECKING, Self

from framelet import ConfigurationError
from framelet_server.net.sockets import check_listening
from framelet_server.pool.drain_observer import DrainObserver

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_log = logging.getLogger("framelet_server")

_FIRST = 3
"""The first descriptor that is handed over (SD_LISTEN_FDS_START)."""

_PATIENCE = 1.0
"""Seconds for the manager to take a message."""


def inherited_sockets(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that were handed to this process; none, where they were meant for another.

    Raises ConfigurationError that names the descriptor that is no listening stream socket.
    """
    for_process = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if not count:
        return []
    if for_process != str(os.getpid()):
        _log.info("LISTEN_FDS is ignored: it is meant for process %s", for_process or "of no number")
        return []
    if not (count.isascii() and count.isdigit()):
        message = f"LISTEN_FDS is {count!r}: expected a number of descriptors"
        raise ConfigurationError(message)
    sockets: list[socket.socket] = []
    try:
        for index in range(int(count)):
            name = names[index] if index < len(names) else ""
            sockets.append(take_socket(_FIRST + index, f" ({name})" if name else ""))
    except ConfigurationError:
        for sock in sockets:
            sock.close()
        raise
    _log.info("%d sockets were handed over by LISTEN_FDS", len(sockets))
    return sockets


def take_socket(number: int, called: str = "") -> socket.socket:
    """The listening socket of a descriptor, not to be inherited further; raises ConfigurationError."""
    try:
        os.set_inheritable(number, False)  # noqa: FBT003 - the function takes nothing else
        sock = socket.socket(fileno=number)
    except OSError as error:
        message = f"file descriptor {number}{called} was handed over, but is no socket: {error.strerror}"
        raise ConfigurationError(message) from None
    try:
        check_listening(sock)
    except ConfigurationError:
        sock.detach()  # not ours to close
        raise
    return sock


class Notifier:
    """Tells the service manager how things stand; where there is none, nobody."""

    def __init__(self, address: str = "", watchdog: float = math.inf) -> None:
        """``address`` is that of a unix datagram socket, a path or ``@`` with a name of Linux's.

        ``watchdog`` is the number of seconds in which the manager expects a sign of life.
        """
        self.watchdog = watchdog
        self._address = address
        self._failed = False

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """As NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID say; raises ConfigurationError."""
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        for_process = environment.pop("WATCHDOG_PID", str(os.getpid()))
        if address and address[0] not in "/@":
            message = f"NOTIFY_SOCKET is {address!r}: expected a path from the root, or @NAME"
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
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        try:
            with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
                sock.settimeout(_PATIENCE)
                sock.sendto("\n".join(assignments).encode(), address)
        except OSError as error:  # no reason to end: the manager decides what its silence means
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
        """Say so."""
        self._notifier.stopping(reason)
