"""Answers on their way to one client: taken from its connection, and not yet by the system."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from framelet import ServerConnection


class Outbox:
    """Writes what the system takes, without waiting, and keeps the rest."""

    __slots__ = ("_pieces", "since", "size")

    def __init__(self) -> None:
        """Begin empty."""
        self._pieces: deque[memoryview] = deque()
        self.size = 0  # octets kept
        self.since = 0.0  # when octets were last taken, or first waited

    def flush(self, sock: socket.socket, connection: ServerConnection) -> None:
        """Write what is kept and what the connection has to send; raises OSError as the socket does.

        Answers that find others waiting stay in the connection until those are gone, so that a client that
        stalls gets them in large pieces, and small ones do not cost more memory than they hold.
        """
        now = time.monotonic()
        waited = self.size > 0
        if not waited:
            self.since = now
            self._take(connection, now)
        while self.size:
            first = self._pieces[0]
            try:
                sent = sock.send(first)
            except BlockingIOError:
                return
            self.size -= sent
            self.since = now
            if sent == len(first):
                self._pieces.popleft()
            else:
                self._pieces[0] = first[sent:]
            if waited and not self.size:
                self._take(connection, now)
        if waited:
            connection.resume(now)  # the client has its answers only now

    def _take(self, connection: ServerConnection, now: float) -> None:
        """Take all that the connection has to send; asked also where it is nothing, to time its end."""
        self.size = connection.output_size
        self._pieces.extend(map(memoryview, connection.pieces_to_send(now)))
