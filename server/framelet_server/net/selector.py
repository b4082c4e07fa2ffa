"""Where epoll is missing: one thread, the leader, waits for all sockets; the others wait to become leader."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections import deque


class SelectorPoller:
    """A Poller by the module ``selectors``.

    Selectors cannot be changed while a thread waits in them, so changes are queued and the leader is woken.
    """

    def __init__(self) -> None:
        """Open the selector and the pair of sockets that wakes the leader."""
        self._selector = selectors.DefaultSelector()
        self._leading = threading.Lock()
        self.owners: dict[int, object] = {}
        self._changes: deque[tuple[socket.socket, int, bool]] = deque()
        self._ready: deque[tuple[int, int]] = deque()
        self.closed: bool = False
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.settimeout(0)
        self._wake_sender.settimeout(0)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)

    def fileno(self) -> int:
        """A descriptor that is readable while sockets are ready, or the poller is closed."""
        return self._selector.fileno()

    def add(self, sock: socket.socket, owner: object, *, read: bool, write: bool, keep: bool = False) -> bool:
        """Watch a socket for ``owner``, armed at once; False, as ``keep`` is not possible."""
        self.owners[sock.fileno()] = owner
        self.arm(sock, read=read or keep, write=write)
        return False

    def arm(self, sock: socket.socket, *, read: bool, write: bool) -> None:
        """Watch a socket that was added for one further readiness."""
        mask = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        self._change(sock, mask, close=False)

    def keep(self, sock: socket.socket) -> bool:
        """Watch a socket that was added for the next input; False, as it has to be armed again after it."""
        self.arm(sock, read=True, write=False)
        return False

    def discard(self, sock: socket.socket) -> None:
        """Stop watching a socket; the leader closes it once it no longer waits for it."""
        self.owners.pop(sock.fileno(), None)
        self._change(sock, 0, close=True)

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """Descriptors that are ready; none where ``timeout`` is 0 and another thread is the leader."""
        if not self._leading.acquire(blocking=timeout != 0):
            return []
        try:
            while not (self.closed or self._ready):
                self._look(None if timeout < 0 else timeout)
                if timeout >= 0:
                    break
            if self.closed:
                self._apply_changes()
                return []
            return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
        finally:
            self._leading.release()

    def close(self) -> None:
        """Make every thread return from ``poll``."""
        self.closed = True
        self._wake()

    def release(self) -> None:
        """Free what the poller holds, once no thread waits any more."""
        for sock, _, close in self._changes:
            if close:
                sock.close()
        self._selector.close()
        self._wake_receiver.close()
        self._wake_sender.close()

    def _look(self, timeout: float | None) -> None:
        """Wait until sockets are ready, and take them down; ``_leading`` is held."""
        assert self._leading.locked()
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
            self._ready.append((key.fd, 0))  # a selector does not tell that a peer is gone altogether

    def _change(self, sock: socket.socket, mask: int, *, close: bool) -> None:
        self._changes.append((sock, mask, close))
        if self._leading.acquire(blocking=False):  # no thread waits, and all may stay busy for long
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
