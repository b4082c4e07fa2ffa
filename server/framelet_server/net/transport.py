"""One client's socket, what it speaks below the frames, and the octets that it has yet to take."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import itertools
import select
import socket
import struct
import sys
import termios
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from framelet import ServerConnection

    from .peer import Peer

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once, with RST

_GATHER = 64
"""Pieces written in one call; the least that POSIX lets a system take is 16, and Linux takes 1,024."""

_QUEUE = sys.getsizeof(deque())
_PIECE = sum(map(sys.getsizeof, (memoryview(b""), *gc.get_referents(memoryview(b"")))))
"""Octets of memory that a piece takes beside what it holds."""

_UNREAD = 65_536
"""Octets read of a client that has failed before its end is sent."""


class LayerError(Exception):
    """The client broke the rules of a layer; the message is for the log."""


class Layer(Protocol):
    """What a client speaks below the frames, as TLS: octets in and out, and no I/O of its own."""

    @property
    def established(self) -> bool:
        """Whether frames can pass."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the layer has said that nothing further will come in."""
        ...

    def receive(self, data: bytes) -> bytes:
        """Take octets in, and return those of them that belong to the next layer; raises LayerError."""
        ...

    def send(self, pieces: list[bytes]) -> list[bytes]:
        """Octets to be written: the layer's own, and the pieces given, none of which it may hold back."""
        ...

    def end(self) -> bytes:
        """Octets to write after the last octet of the frames."""
        ...

    def identify(self, peer: Peer) -> Peer:
        """What the layer knows of the client, once it is established."""
        ...


class Transport:
    """Reads and writes without waiting, through the layers, and keeps what the system does not take."""

    __slots__ = ("_ended", "_pieces", "established", "layers", "received", "sent", "since", "sock", "unsent")

    def __init__(self, sock: socket.socket, layers: Sequence[Layer] = ()) -> None:
        """Use a connected, non-blocking socket; the first layer is the one next to it."""
        self.sock: socket.socket = sock
        self.layers: tuple[Layer, ...] = tuple(layers)
        self._pieces: deque[memoryview] | None = None
        self._ended = False  # nothing further is taken from the connection
        self.established: bool = not layers
        self.received: int = 0  # octets in all
        self.sent: int = 0
        self.unsent: int = 0  # octets kept
        self.since: float = 0.0  # when octets were last taken, or first waited

    @property
    def ended(self) -> bool:
        """Whether a layer has said that nothing further will come in."""
        return bool(self.layers) and any(layer.ended for layer in self.layers)

    @property
    def held(self) -> int:
        """Octets of memory that what is kept takes, with what was sent of its first piece."""
        if not self._pieces:
            return 0
        first = self._pieces[0]
        sent = len(first.obj) - len(first)  # type: ignore[arg-type]  # of bytes
        return self.unsent + sent + _QUEUE + len(self._pieces) * _PIECE

    @property
    def unread(self) -> int:
        """Octets that the system holds for us."""
        return self._octets(termios.FIONREAD)

    @property
    def undelivered(self) -> int:
        """Octets that the system still has for the client."""
        return self._octets(termios.TIOCOUTQ)

    def receive(self, wanted: int) -> tuple[int, bytes]:
        """Read once: how many octets came, 0 at the end of the stream, and what they mean to the connection.

        Raises OSError as the socket does, BlockingIOError among them, and LayerError.
        """
        data = self.sock.recv(wanted)
        count = len(data)
        self.received += count
        return count, self.through_layers(data) if self.layers else data

    def through_layers(self, data: bytes) -> bytes:
        """What octets that were read mean to the connection; raises LayerError."""
        try:
            for layer in self.layers:
                data = layer.receive(data)
        except LayerError:
            self._say_why()
            raise
        if not self.established:
            self.established = all(layer.established for layer in self.layers)
        return data

    def discard(self, most: int) -> int:
        """Read and drop octets; how many, 0 at the end of the stream."""
        count = len(self.sock.recv(most))
        self.received += count
        return count

    def input_waits(self) -> bool:
        """Whether octets, or the end of the stream, wait to be read."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except OSError:
            return False
        return True

    @property
    def gone(self) -> bool:
        """Whether both directions have ended, as after a reset; may be asked from any thread."""
        watched = select.poll()
        try:
            watched.register(self.sock, 0)
            return bool(watched.poll(0))
        except (OSError, ValueError):  # it was closed
            return True

    @property
    def writable(self) -> bool:
        """Whether the poller would say now that there is room to write, or that the socket is at its end.

        It says so only where a third of the system's buffer is free, though less takes octets, too.
        """
        watched = select.poll()
        try:
            watched.register(self.sock, select.POLLOUT)
            return bool(watched.poll(0))
        except (OSError, ValueError):  # it was closed
            return True

    def identify(self, peer: Peer) -> Peer:
        """What is known of the client by now."""
        for layer in self.layers:
            if layer.established:
                peer = layer.identify(peer)
        return peer

    def flush(self, connection: ServerConnection) -> None:
        """Write what is kept and what the connection has to send; raises OSError as the socket does.

        Answers that find others waiting stay in the connection until those are gone, so that a client that
        stalls gets them in large pieces, and small ones do not cost more memory than they hold.
        """
        now = time.monotonic()
        if not self.unsent:
            self._take(connection, now)
            return
        while self.unsent:
            self._write()
            if self.unsent:
                return
            self._take(connection, now)
        connection.resume(now)  # the client has its answers only now

    def end(self) -> bool:
        """Write the end of the stream (FIN) after all octets; False where some wait to be taken first."""
        if self.layers and not self._ended:
            self._ended = True
            self.keep([layer.end() for layer in reversed(self.layers)])
        self._write()
        if self.unsent:
            return False
        # To close the socket does not do it where a process that a handler has forked holds it too.
        self.sock.shutdown(socket.SHUT_WR)
        return True

    def reset(self) -> None:
        """Have the client told by RST, once the socket is closed, that this was no orderly end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _take(self, connection: ServerConnection, now: float) -> None:
        """Write all that the connection has to send; asked also where it is nothing, to time its end."""
        self.write(connection.pieces_to_send(now) if self.established else [])

    def write(self, pieces: list[bytes]) -> None:
        """Write octets through the layers, after what is kept; keep what the system does not take."""
        for layer in reversed(self.layers):
            pieces = layer.send(pieces)
        if len(pieces) == 1 and not self.unsent:  # as a rule, and as a rule the system takes it all
            sent = self._send(pieces)
            if sent < len(pieces[0]):
                self.keep([pieces[0][sent:]])
        elif pieces:
            self.keep(pieces)
            self._write()

    def _say_why(self) -> None:
        """Send what a layer has to say about a fault of the client's, as an alert of TLS, if it can go."""
        pieces: list[bytes] = []
        for layer in reversed(self.layers):
            pieces = layer.send(pieces)
        with contextlib.suppress(OSError):
            if pieces and not self.unsent:
                self.sock.send(b"".join(pieces))
                self.sock.shutdown(socket.SHUT_WR)
                self.sock.recv(_UNREAD)  # what is left unread would turn the end into a reset

    def keep(self, pieces: list[bytes]) -> None:
        """Keep octets until the system takes them."""
        if self._pieces is None:  # most clients never need it
            self._pieces = deque()
        if not self.unsent:
            self.since = time.monotonic()
        for piece in pieces:
            if piece:
                self._pieces.append(memoryview(piece))
                self.unsent += len(piece)

    def _write(self) -> None:
        """Write what is kept, as far as the system takes it."""
        while self._pieces:
            pieces = list(itertools.islice(self._pieces, _GATHER))
            sent = self._send(pieces)
            if not sent:
                return
            self.unsent -= sent
            self.since = time.monotonic()
            for piece in pieces:
                if sent < len(piece):
                    self._pieces[0] = piece[sent:]
                    return
                sent -= len(piece)
                self._pieces.popleft()
        self._pieces = None

    def _send(self, pieces: Sequence[Buffer]) -> int:
        """Write once; the number of octets that the system took."""
        try:
            sent = self.sock.send(pieces[0]) if len(pieces) == 1 else self.sock.sendmsg(pieces)
        except BlockingIOError:
            return 0
        self.sent += sent
        return sent

    def _octets(self, direction: int) -> int:
        (count,) = struct.unpack("i", fcntl.ioctl(self.sock, direction, bytes(4)))
        return int(count)
