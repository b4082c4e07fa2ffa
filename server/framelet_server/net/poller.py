"""Waiting for sockets, by many threads at once: each readiness goes to one thread, once.

Both pollers are one-shot: after ``wait`` has returned an owner, its socket stays silent until ``arm`` is
called again, unless ``keep`` was.  That is what makes leader/followers work: the thread that got the socket
keeps it for a turn, and no other thread is woken for it.  A wake-up may still be spurious (the socket's
number can have been reused since), so owners must not trust it.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Owner(Protocol):
    """What is woken when its socket is ready."""

    def ready(self, *, hangup: bool) -> Callable[[], None] | None:
        """Serve the socket; ``hangup`` says that the peer is gone altogether.

        Returns what is left to be done once the others that are ready have been served so far.
        """
        ...


class Ready(NamedTuple):
    """One readiness: whose socket, and whether the peer is gone altogether."""

    owner: Owner
    hangup: bool


class Poller(Protocol):
    """What a server needs of a poller; every method may be called from any thread."""

    def add(self, sock: socket.socket, owner: Owner, *, read: bool, write: bool) -> None:
        """Watch a socket for ``owner``, armed at once."""

    def arm(self, sock: socket.socket, *, read: bool, write: bool) -> None:
        """Watch a socket that was added for one further readiness."""

    def keep(self, sock: socket.socket) -> bool:
        """Watch a socket that was added for all further input, until ``arm``; False where it is for one only.

        It saves a call for each turn.  Whoever is woken while another thread has the socket should arm it
        for nothing, or it will be woken for ever.
        """
        ...

    def discard(self, sock: socket.socket) -> None:
        """Stop watching a socket, and close it when no thread can be woken for it any more."""

    def wait(self, most: int) -> list[Ready]:
        """Block until sockets are ready; up to ``most`` of them, and none once the poller has been closed."""
        ...

    def poll(self, most: int) -> list[Ready]:
        """The sockets that are ready now, up to ``most`` of them; none where another thread is at it."""
        ...

    def close(self) -> None:
        """Make every thread return from ``wait``."""

    def release(self) -> None:
        """Free what the poller holds, once no thread waits any more."""


_GONE = getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)


class EpollPoller:
    """On Linux: all threads wait on one epoll, and the kernel wakes one of them for each readiness."""

    def __init__(self) -> None:
        """Open the epoll and the pair of sockets by which ``close`` wakes the threads."""
        self._epoll = select.epoll()
        self._closed = False
        self._owners: dict[int, Owner] = {}
        self._wake_receiver, self._wake_sender = socket.socketpair()
        # Not one-shot, and never read: once it is readable it wakes every thread, for ever.
        self._epoll.register(self._wake_receiver, select.EPOLLIN)

    def add(self, sock: socket.socket, owner: Owner, *, read: bool, write: bool) -> None:
        """Watch a socket for ``owner``, armed at once."""
        self._owners[sock.fileno()] = owner
        self._epoll.register(sock, self._mask(read=read, write=write))

    def arm(self, sock: socket.socket, *, read: bool, write: bool) -> None:
        """Watch a socket that was added for one further readiness."""
        self._epoll.modify(sock, self._mask(read=read, write=write))

    def keep(self, sock: socket.socket) -> bool:
        """Watch a socket that was added for all further input, until ``arm``; True."""
        self._epoll.modify(sock, select.EPOLLIN)
        return True

    def discard(self, sock: socket.socket) -> None:
        """Stop watching a socket, and close it."""
        self._owners.pop(sock.fileno(), None)
        self._epoll.unregister(sock)
        sock.close()

    def wait(self, most: int) -> list[Ready]:
        """Block until sockets are ready; up to ``most`` of them, and none once the poller has been closed."""
        while not (ready := self._ready(self._epoll.poll(maxevents=most))):
            if self._closed:
                return []
        return ready

    def poll(self, most: int) -> list[Ready]:
        """The sockets that are ready now, up to ``most`` of them."""
        return self._ready(self._epoll.poll(0, most))

    def _ready(self, found: list[tuple[int, int]]) -> list[Ready]:
        """The owners of the sockets that were found ready."""
        ready = []
        for number, mask in found:
            owner = self._owners.get(number)
            if owner is not None:
                ready.append(Ready(owner, bool(mask & _GONE)))
        return ready

    def close(self) -> None:
        """Make every thread return from ``wait``."""
        self._closed = True
        self._wake_sender.send(b"\0")

    def release(self) -> None:
        """Free what the poller holds, once no thread waits any more."""
        self._epoll.close()
        self._wake_receiver.close()
        self._wake_sender.close()

    @staticmethod
    def _mask(*, read: bool, write: bool) -> int:
        return select.EPOLLONESHOT | (select.EPOLLIN if read else 0) | (select.EPOLLOUT if write else 0)


class SelectorPoller:
    """Elsewhere: one thread, the leader, waits for all sockets; the followers wait to become leader.

    Selectors cannot be changed while a thread waits in them, so changes are queued and the leader woken.
    """

    def __init__(self) -> None:
        """Open the selector and the pair of sockets that wakes the leader."""
        self._selector = selectors.DefaultSelector()
        self._leading = threading.Lock()
        self._owners: dict[int, Owner] = {}
        self._changes: deque[tuple[socket.socket, int, bool]] = deque()
        self._ready: deque[Owner] = deque()
        self._closed = False
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.settimeout(0)
        self._wake_sender.settimeout(0)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)

    def add(self, sock: socket.socket, owner: Owner, *, read: bool, write: bool) -> None:
        """Watch a socket for ``owner``, armed at once."""
        self._owners[sock.fileno()] = owner
        self.arm(sock, read=read, write=write)

    def arm(self, sock: socket.socket, *, read: bool, write: bool) -> None:
        """Watch a socket that was added for one further readiness."""
        mask = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        self._change(sock, mask, close=False)

    def keep(self, sock: socket.socket) -> bool:
        """Watch a socket that was added for the next input; False, as it has to be armed again behind it."""
        self.arm(sock, read=True, write=False)
        return False

    def discard(self, sock: socket.socket) -> None:
        """Stop watching a socket; the leader closes it once it no longer waits for it."""
        self._owners.pop(sock.fileno(), None)
        self._change(sock, 0, close=True)

    def wait(self, most: int) -> list[Ready]:
        """Block until sockets are ready; up to ``most`` of them, and none once the poller has been closed."""
        with self._leading:
            while not (self._closed or self._ready):
                self._look(None)
            if self._closed:
                self._apply_changes()
                return []
            return self._next(most)

    def poll(self, most: int) -> list[Ready]:
        """The sockets that are ready now, up to ``most`` of them; none while a leader waits."""
        if self._closed or not self._leading.acquire(blocking=False):
            return []
        try:
            if not self._ready:
                self._look(0)
            return self._next(most)
        finally:
            self._leading.release()

    def _next(self, most: int) -> list[Ready]:
        """The sockets that were ready first."""
        count = min(most, len(self._ready))
        return [Ready(self._ready.popleft(), hangup=False) for _ in range(count)]

    def _look(self, timeout: float | None) -> None:
        """Wait until sockets are ready, and take them down; the lock is held."""
        self._apply_changes()
        found = self._selector.select(timeout)
        self._apply_changes()  # what was asked for meanwhile has the last word
        for key, mask in found:
            if key.fileobj is self._wake_receiver:
                self._drain_wakes()
                continue
            watched = self._selector.get_map().get(key.fd)
            if watched is None or not watched.events & mask:
                continue
            self._selector.unregister(key.fd)  # one-shot
            owner = self._owners.get(key.fd)
            if owner is not None:
                self._ready.append(owner)

    def close(self) -> None:
        """Make every thread return from ``wait``."""
        self._closed = True
        self._wake()

    def release(self) -> None:
        """Free what the poller holds, once no thread waits any more."""
        self._apply_changes()
        self._selector.close()
        self._wake_receiver.close()
        self._wake_sender.close()

    def _change(self, sock: socket.socket, mask: int, *, close: bool) -> None:
        self._changes.append((sock, mask, close))
        if self._leading.acquire(blocking=False):  # nobody waits; all threads may be busy for long
            try:
                self._apply_changes()
            finally:
                self._leading.release()
        else:
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the leader has wake-ups enough to read
            self._wake_sender.send(b"\0")

    def _drain_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_receiver.recv(4096):
                pass

    def _apply_changes(self) -> None:
        while self._changes:
            sock, mask, close = self._changes.popleft()
            if sock.fileno() < 0:
                continue  # discarded since
            if sock in self._selector.get_map():
                self._selector.unregister(sock)
            if mask:
                self._selector.register(sock, mask)
            if close:
                sock.close()


def default_poller() -> Poller:
    """The best poller of this system."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
