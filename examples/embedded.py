"""What the servers on selectors, trio and Twisted have in common, without I/O: options, answers, and the end.

Options: [PORT] [--stop local|token|off] [--max-body OCTETS] [--idle-timeout SECONDS], and more by --help.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import termios
from typing import TYPE_CHECKING, Protocol

from framelet import (
    ApplicationReceived,
    ConfigurationError,
    ErrorCode,
    RequestReceived,
    ServerConnection,
    StopReceived,
    reverse,
)
from framelet.limits import ConnectionLimits
from framelet_server import ServerLimits, StopKind, StopPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = {info.name for info in ConnectionLimits.describe()} | {
    *("max_connections", "write_timeout", "drain_timeout")
}
"""The limits that these servers keep."""


class Client(Protocol):
    """What a server has for each client."""

    def fileno(self) -> int:
        """The descriptor of its socket."""
        ...

    def wake(self) -> object:
        """Have what it is owed sent soon, though nothing has come."""

    def abort(self) -> object:
        """Cut it off."""


def unread(client: Client) -> int:
    """Octets that the system holds from a client."""
    return int.from_bytes(fcntl.ioctl(client.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


class Service:
    """The connections of a server on 127.0.0.1: answers what they ask, and ends them (section 10)."""

    def __init__(self) -> None:
        """As the command line says."""
        parser = argparse.ArgumentParser()
        parser.add_argument("port", type=int, nargs="?", default=6666)
        parser.add_argument("--stop", type=StopKind, default=StopKind.LOCAL, metavar="local|token|off")
        parser.add_argument("--application", choices=["reverse"], help="serve application types, too")
        infos = [info for info in ServerLimits.describe() if info.name in KEPT]
        for info in infos:
            parser.add_argument(info.option, type=info.kind, default=info.default, help=info.purpose)
        given = vars(parser.parse_args())
        token = os.environ.get("FRAMELET_STOP_TOKEN", "") if given["stop"] is StopKind.TOKEN else ""
        try:
            self.limits = ServerLimits(**{info.name: given[info.name] for info in infos})
            self._policy = StopPolicy(given["stop"], token)
        except ConfigurationError as error:
            parser.error(str(error))
        self.port: int = given["port"]
        self.on_drain: Callable[[], object] = lambda: None
        """Has the server accept no more, and call ``force`` after the drain timeout."""
        self.draining = False
        self._types = range(0xC0, 0x100) if given["application"] else ()
        self._served: set[ServerConnection] = set()  # those that have not ended in both directions
        self._open: dict[ServerConnection, Client] = {}  # those of them that were not sent FIN
        self._left: dict[ServerConnection, int] = {}  # octets that the system held when the drain began
        self._stops: dict[ServerConnection, StopReceived] = {}  # those allowed: they wait for the others
        self._closed = self._cut = 0

    def connect(self, now: float, client: Client) -> ServerConnection:
        """The connection of a new client."""
        connection = ServerConnection(self.limits, now=now, application_types=self._types, takes_stop=True)
        if len(self._served) >= self.limits.max_connections:
            connection.fail(ErrorCode.TOO_MANY_CONNECTIONS)  # (REQ-FLOW-6)
        else:
            self._served.add(connection)
            self._open[connection] = client
        return connection

    def check_deadlines(self, connection: ServerConnection, client: Client, now: float) -> None:
        """Enforce what is overdue, unless something has come that is still to be read (REQ-TIME-8)."""
        if not unread(client):
            connection.check_deadlines(now)

    def receive(self, connection: ServerConnection, data: bytes, now: float) -> None:
        """Take in what was read; no octets are the end of the stream."""
        if data:
            connection.receive_data(data, now)
        else:
            connection.receive_eof()
        if connection in self._left:
            self._left[connection] -= len(data)
            if self._left[connection] <= 0 or not data:
                del self._left[connection]
                connection.drain()

    def answer(self, connection: ServerConnection) -> None:
        """Answer what was received."""
        while (event := connection.next_event()) is not None:
            if isinstance(event, RequestReceived | ApplicationReceived):
                connection.send_reply(event, reverse(event.text))
            elif isinstance(event, StopReceived) and self._policy.allows(event.token, local=True):
                connection.allow_stop(event)
                self._stops[connection] = event
                self.drain()
            elif isinstance(event, StopReceived):
                connection.send_error(event, ErrorCode.STOP_REFUSED)

    def drain(self) -> None:
        """Begin to end: what was received, by the system too, is answered (REQ-STOP-6, 7)."""
        if not self.draining:
            self.draining = True
            self.on_drain()
            for connection in self._open.keys() - self._stops.keys():
                client = self._open[connection]
                if octets := unread(client):
                    self._left[connection] = octets
                else:
                    connection.drain()
                    client.wake()
        self._conclude()

    def sent_fin(self, connection: ServerConnection, *, cut: bool = False) -> None:
        """Nothing more is sent to a client, or it was cut off (REQ-DRAIN-1)."""
        self._left.pop(connection, None)
        stopper = self._stops.pop(connection, None)
        if self._open.pop(connection, None) and self.draining:
            self._cut += stopper is None and cut
            self._closed += stopper is None and not cut
            self._conclude()

    def ended(self, connection: ServerConnection) -> None:
        """A client is gone."""
        self._served.discard(connection)
        self.sent_fin(connection)

    def force(self) -> None:
        """The drain timeout is over: cut off those who still have answers to take (REQ-STOP-12)."""
        for connection in self._open.keys() - self._stops.keys():
            self._cut += 1
            self._open.pop(connection).abort()
        self._conclude()

    def _conclude(self) -> None:
        """Once only those are left whose STOP was allowed, they get STOPPED (REQ-STOP-8)."""
        if self._open.keys() == self._stops.keys():
            while self._stops:
                connection, event = self._stops.popitem()
                connection.send_stopped(event, self._closed, self._cut)
                self._open.pop(connection).wake()
