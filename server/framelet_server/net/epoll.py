"""On Linux: all threads wait on one epoll, and the kernel wakes one of them for each readiness."""

from __future__ import annotations

import select
import socket


class EpollPoller:
    """A Poller by epoll."""

    def __init__(self) -> None:
        """Open the epoll and the pair of sockets by which ``close`` wakes the threads."""
        self._epoll = select.epoll()
        self.poll = self._epoll.poll
        self.closed = False
        self.owners: dict[int, object] = {}
        self._wake_receiver, self._wake_sender = socket.socketpair()
        # Not one-shot, and never read: once it is readable it wakes every thread again and again.
        self._epoll.register(self._wake_receiver, select.EPOLLIN)

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
        self._epoll.modify(sock, _mask(read=read, write=write))

    def keep(self, sock: socket.socket) -> bool:
        """Watch a socket that was added for all further input, until ``arm``; True."""
        self._epoll.modify(sock, select.EPOLLIN)
        return True

    def discard(self, sock: socket.socket) -> None:
        """Stop watching a socket, and close it."""
        self.owners.pop(sock.fileno(), None)
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
