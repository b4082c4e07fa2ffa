"""Simulated sockets and their poller, as the server uses them; test_sockets.py compares the real ones."""

from __future__ import annotations

import errno
import select
import socket
import struct
import termios
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .machine import Machine, Task


_POLL = 0.00001
"""Seconds that a poll takes that does not wait: who polls busily does so for a time."""


class Net:
    """All sockets of one machine."""

    def __init__(self, machine: Machine, room: int = 65_536) -> None:
        self.machine = machine
        self.room = room  # octets that wait for one end at the most
        self.open: dict[int, Socket] = {}
        self.made = 0

    def new(self, name: str) -> Socket:
        number = next(n for n in range(100, 10_000) if n not in self.open)  # the lowest, as systems do
        self.open[number] = sock = Socket(self, number, name)
        return sock

    def pair(self) -> tuple[Socket, Socket]:
        one, two = self.new("pair"), self.new("pair")
        one.other, two.other = two, one
        return one, two

    def connect(self, listener: Socket) -> Socket:
        """A new client's end; the other waits to be accepted."""
        server, client = self.pair()
        del self.open[client.number]  # a client's descriptor is another process's
        listener.waiting.append(server)
        return client


class Socket:
    """A stream socket that never waits."""

    family = socket.AF_INET

    def __init__(self, net: Net, number: int, name: str) -> None:
        self.net, self.number, self.name = net, number, name
        net.made += 1
        self.serial = net.made
        self.other: Socket | None = None
        self.waiting: list[Socket] = []  # those who wait to be accepted
        self.accepted = False
        self.inbox = b""
        self.ended = False  # nothing further will come
        self.was_reset = False
        self.shut = False  # for writing
        self.closed = False
        self.abrupt = False
        self.looked: Task | None = None  # who found last that nobody waits to be accepted

    def _use(self) -> None:
        self.net.machine.pause()
        if self.closed:
            raise OSError(errno.EBADF, "closed")

    def fileno(self) -> int:
        return -1 if self.closed else self.number

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def settimeout(self, seconds: float) -> None:
        assert seconds == 0

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        del value
        self.abrupt = self.abrupt or (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)

    def accept(self) -> tuple[Socket, tuple[str, int]]:
        self._use()
        if not self.waiting:
            self.looked = self.net.machine.current
            raise BlockingIOError(errno.EAGAIN, "nobody")
        self.net.machine.moved()
        sock = self.waiting.pop(0)
        sock.accepted = True
        return sock, ("127.0.0.1", 2)

    def recv(self, size: int, flags: int = 0) -> bytes:
        self._use()
        if size == 0:  # Python does not ask the system then
            return b""
        if self.was_reset:
            self.was_reset, self.ended = False, True
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        if not self.inbox:
            if self.ended:
                return b""
            raise BlockingIOError(errno.EAGAIN, "nothing")
        data = self.inbox[:size]
        if not flags & socket.MSG_PEEK:
            self.inbox = self.inbox[size:]
            self.net.machine.moved()
        return data

    def send(self, data: Any) -> int:
        self._use()
        other = self.other
        if self.shut or other is None or self.was_reset:
            raise BrokenPipeError(errno.EPIPE, "gone")
        if other.closed:  # its system takes the octets, and says that nobody is there for them
            self.was_reset = True
            return len(data)
        piece = bytes(data)[: max(0, self.net.room - len(other.inbox))]
        if data and not piece:
            raise BlockingIOError(errno.EAGAIN, "full")
        other.inbox += piece
        self.net.machine.moved()
        return len(piece)

    def sendmsg(self, pieces: Any) -> int:
        return self.send(b"".join(pieces))

    def shutdown(self, how: int) -> None:
        self._use()
        if self.other is None or self.was_reset:
            raise OSError(errno.ENOTCONN, "not connected")
        self.shut = self.other.ended = True
        self.ended = self.ended or how == socket.SHUT_RDWR

    def close(self) -> None:
        self.net.machine.pause()
        if self.closed:
            return
        self.closed = True
        self.net.machine.moved()
        self.net.open.pop(self.number, None) if self.net.open.get(self.number) is self else None
        if self.other is not None:
            self.other.ended = True
            if self.abrupt or self.inbox:
                self.other.was_reset = True
                self.other.inbox = b""
        # Who comes between the last look and the close is reset by any system.
        if self.waiting and self.looked is not self.net.machine.current:
            self.net.machine.fail("clients who wait to be accepted are reset")
        for waits in self.waiting:
            waits.abrupt = True
            waits.close()

    @property
    def state(self) -> int:
        """What epoll would say."""
        other = self.other
        mask = select.EPOLLIN if self.inbox or self.ended or self.waiting or self.was_reset else 0
        if other is not None:
            if len(other.inbox) < self.net.room or other.closed or self.shut:
                mask |= select.EPOLLOUT
            if self.was_reset:
                mask |= select.EPOLLERR
            if self.was_reset or (self.ended and self.shut):
                mask |= select.EPOLLHUP
        return mask


def ioctl(sock: Socket, request: int, _: bytes) -> bytes:
    """How many octets wait, for this end or for the other."""
    other = sock.other
    assert other is not None
    return struct.pack("i", len((sock if request == termios.FIONREAD else other).inbox))


class SimulatedPoller:
    """A poller as ``EpollPoller``."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._watched: dict[Socket, tuple[int, bool]] = {}
        self.owners: dict[int, object] = {}
        self.closed = False
        self._released = False

    def fileno(self) -> int:
        return 99

    @property
    def readable(self) -> bool:
        """Whether its descriptor is."""
        return self.closed or bool(self._ready())

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        if timeout == 0:
            self._machine.now += _POLL
        self._machine.wait(lambda: self.readable, None if timeout < 0 else timeout)
        found = self._ready()[:most]
        for sock, _ in found:
            mask, once = self._watched.pop(sock)
            self._watched[sock] = (-1 if once else mask, once)  # those that were named go to the end
        return [(sock.number, mask) for sock, mask in found] or ([(-1, 1)] if self.closed else [])

    def _use(self) -> None:
        self._machine.pause()
        if self._released:
            self._machine.fail("a poller is used after its release")

    def _ready(self) -> list[tuple[Socket, int]]:
        always = select.EPOLLERR | select.EPOLLHUP
        masks = ((s, s.state & (m | always)) for s, (m, _) in self._watched.items() if m >= 0)
        return [(sock, mask) for sock, mask in masks if mask]

    def add(self, sock: Any, owner: object, *, read: bool, write: bool, keep: bool = False) -> bool:
        self._use()
        self.owners[sock.fileno()] = owner
        self._watched[sock] = (select.EPOLLIN, False) if keep else (_mask(read=read, write=write), True)
        return keep

    def arm(self, sock: Any, *, read: bool, write: bool) -> None:
        self._use()
        self._change(sock, _mask(read=read, write=write), once=True)

    def keep(self, sock: Any) -> bool:
        self._use()
        self._change(sock, select.EPOLLIN, once=False)
        return True

    def _change(self, sock: Any, mask: int, *, once: bool) -> None:
        if sock.closed or sock not in self._watched:
            raise FileNotFoundError(errno.ENOENT, "not watched")
        self._watched.pop(sock)
        self._watched[sock] = mask, once

    def discard(self, sock: Any) -> None:
        self._use()
        self.owners.pop(sock.fileno(), None)
        if sock not in self._watched:
            self._machine.fail("a socket is closed twice")
        del self._watched[sock]
        sock.close()

    def close(self) -> None:
        self._use()
        self.closed = True

    def release(self) -> None:
        self._released = True


def _mask(*, read: bool, write: bool) -> int:
    return (select.EPOLLIN if read else 0) | (select.EPOLLOUT if write else 0)
