"""Waiting for sockets, by one thread or by many at once.

Sockets are watched one-shot: after ``poll`` has named a socket it stays silent until ``arm`` is called again,
unless ``keep`` was.  That is what makes leader/followers work: the thread that got the socket keeps it for a
turn, and no other thread is woken for it.  A wake-up may be spurious (the number of a closed socket is used
again), so owners must not trust it.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Protocol

from .epoll import EpollPoller
from .selector import SelectorPoller

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

GONE = 0x18
"""The bits of a mask (EPOLLERR and EPOLLHUP) that say that the peer is gone altogether."""


class Poller(Protocol):
    """What a server needs of a poller; every method may be called from any thread."""

    @property
    def owners(self) -> Mapping[int, object]:
        """Whose each socket is, by its descriptor."""
        ...

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        ...

    @property
    def poll(self) -> Callable[[float, int], list[tuple[int, int]]]:
        """Descriptors that are ready, each with a mask: ``poll(timeout, most)``.

        Blocks for up to ``timeout`` seconds, without limit if that is negative, and returns ``most`` at most;
        returns at once when the poller is closed.  (A property, so that it can be a built-in method: workers
        call it without a Python call in between.)
        """
        ...

    def add(self, sock: socket.socket, owner: object, *, read: bool, write: bool, keep: bool = False) -> bool:
        """Watch a socket for ``owner``, armed at once; with ``keep`` as ``keep`` does, and returns."""
        ...

    def arm(self, sock: socket.socket, *, read: bool, write: bool) -> None:
        """Watch a socket that was added for one further readiness."""

    def keep(self, sock: socket.socket) -> bool:
        """Watch a socket that was added for all further input, until ``arm``; False where it is for one only.

        It saves a call in each turn.  A thread that is woken for a socket which another thread serves must
        disarm it (``arm`` with neither direction), or the poller reports it again at once.
        """
        ...

    def discard(self, sock: socket.socket) -> None:
        """Stop watching a socket, and close it when no thread can be woken for it any more."""

    def close(self) -> None:
        """Make every thread return from ``poll``."""

    def release(self) -> None:
        """Free what the poller holds, once no thread waits any more."""


def default_poller() -> Poller:
    """The best poller of this system."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
