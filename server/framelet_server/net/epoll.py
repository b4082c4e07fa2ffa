"""On Linux: all threads wait on one epoll, and the kernel wakes one of them for each readiness."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable


class EpollPoller:
    """A Poller by epoll."""

    def __init__(self) -> None:
        """Open the epoll and the pair of sockets by which ``close`` wakes the threads."""
        self._epoll = select.epoll()
        self.poll: Callable[..., list[tuple[int, int]]] = self._epoll.poll
        self.closed: bool = False
        self.owners: dict[int, object] = {}
        self._wake_receiver, self._wake_sender = socket.socketpair()
        # Not one-shot, and never read: once it is readable it wakes every thread again and again.
        self._epoll.register(self._wake_receiver, select.EPOLLIN)

    def fileno(self) -> int:
        """A descriptor that is readable while sockets are ready, or the poller is closed."""
        return self._epoll.fileno()

    def add(self, sock: socket.socket, owner: object, *, read: bool, write: bool, keep: bool = False) -> bool:
        """Watch a socket for ``owner``, armed at once; with ``keep`` for all further input."""
        number = sock.fileno()
        self.owners[number] = owner  # first: another thread may be told of the socket at once
        try:
            self._epoll.register(number, select.EPOLLIN if keep else _mask(read=read, write=write))
        except BaseException:
            del self.owners[number]
            raise
        return keep

    def arm(self, sock: socket.socket, *, read: bool, write: bool) -> None:
        """Watch a socket that was added for one further readiness."""
        self._change(sock, _mask(read=read, write=write))

    def keep(self, sock: socket.socket) -> bool:
        """Watch a socket that was added for all further input, until ``arm``; True."""
        self._change(sock, select.EPOLLIN)
        return True

    def _change(self, sock: socket.socket, mask: int) -> None:
        try:
            self._epoll.modify(sock, mask)
        except FileNotFoundError:  # another process that has the same epoll took it out
            self._epoll.register(sock, mask)

    def discard(self, sock: socket.socket) -> None:
        """Stop watching a socket, and close it."""
        self.owners.pop(sock.fileno(), None)
        # Another process that has the same epoll took it out, or something else has closed it.
        with contextlib.suppress(OSError, ValueError):
            self._epoll.unregister(sock)
        sock.close()

    def close(self) -> None:
        """Make every thread return from ``poll``."""
        self.closed = True
        self._wake_sender.send(b"\0")

    def release(self) -> None:
        """Free what the poller holds, once no thread waits any more."""
        self._epoll.close()
        self._wake_receiver.close()
        self._wake_sender.close()


def _mask(*, read: bool, write: bool) -> int:
    return select.EPOLLONESHOT | (select.EPOLLIN if read else 0) | (select.EPOLLOUT if write else 0)
