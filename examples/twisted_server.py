"""A server inside Twisted, with all deadlines, STOP and drain: one protocol object for each client.

python examples/twisted_server.py [PORT]; SIGTERM, SIGINT or `framelet stop` end it in order.
"""

# pyright: reportMissingImports=false
# What this example shows is no part of what checks it.
from __future__ import annotations

import contextlib
import signal
from typing import Any

from embedded import Service
from twisted.internet import error, interfaces, protocol, reactor
from zope.interface import implementer

from framelet import State

PIECE = 16_384  # octets given to the transport at a time: the client must take these in the write timeout
ENOUGH = 65_536  # octets that wait for a client before it is read no further
loop: Any = reactor
service = Service()
clients: set[Framelet] = set()


@implementer(interfaces.IHalfCloseableProtocol, interfaces.IPullProducer)
class Framelet(protocol.Protocol):
    """One client.  It is its own producer: the transport asks for a piece when it has sent the one before."""

    transport: Any

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Begin."""
        clients.add(self)
        self.out, self.timer = bytearray(), None
        self.writing = self.paused = self.shut = False
        self.connection = service.connect(loop.seconds(), self)
        self.transport.registerProducer(self, False)  # noqa: FBT003 - Twisted's interface
        self.turn()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take in what came."""
        service.receive(self.connection, data, loop.seconds())
        self.turn()

    def readConnectionLost(self) -> None:  # noqa: N802 - Twisted's name
        """Take in the end."""
        self.dataReceived(b"")

    def fileno(self) -> int:
        """The descriptor of its socket."""
        return int(self.transport.fileno())

    def wake(self) -> None:
        """Have a turn soon."""
        loop.callLater(0, self.turn)

    def too_slow(self) -> None:
        """Cut off a client that takes nothing."""
        service.sent_fin(self.connection, cut=True)
        self.abort()

    def abort(self) -> None:
        """Cut it off."""
        self.transport.abortConnection()

    def turn(self) -> None:
        """Answer, and write what there is unless a piece is on its way."""
        if self not in clients:
            return
        service.answer(self.connection)
        self.out += self.connection.data_to_send(loop.seconds())
        if not self.writing:
            self.resumeProducing()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Give the transport the next piece: it has sent what it had."""
        piece = bytes(self.out[:PIECE])
        del self.out[:PIECE]
        if piece:
            self.transport.write(piece)
        elif self.writing:
            self.connection.resume(loop.seconds())  # it has its answers only now (REQ-TIME-4)
        self.writing = bool(piece)
        if self.paused != (len(self.out) >= ENOUGH):
            self.paused = not self.paused
            if self.paused:
                self.transport.pauseProducing()
            else:
                self.connection.resume(loop.seconds())  # the time in between does not count (REQ-TIME-8)
                self.transport.resumeProducing()
        if self.connection.finished and not self.writing and not self.shut:
            self.shut = True
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()  # and read on, until the client closes (REQ-ERROR-8)
        if self.connection.state is State.CLOSED and not self.writing:
            self.transport.loseConnection()
        self.set_timer()

    def set_timer(self) -> None:
        """Look again at the next deadline; a piece on its way has one of its own (REQ-TIME-5)."""
        self.stop_timer()
        if self.writing:
            self.timer = loop.callLater(service.limits.write_timeout, self.too_slow)
        elif (due := self.connection.next_deadline()) is not None:
            self.timer = loop.callLater(max(0.0, due - loop.seconds()), self.overdue)

    def stop_timer(self) -> None:
        """Forget the clock."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()

    def overdue(self) -> None:
        """Enforce a deadline."""
        service.check_deadlines(self.connection, self, loop.seconds())
        self.turn()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Nothing: connectionLost follows."""

    def writeConnectionLost(self) -> None:  # noqa: N802 - Twisted's name
        """FIN was sent."""
        service.sent_fin(self.connection)

    def connectionLost(self, reason: object = None) -> None:  # noqa: ARG002, N802 - Twisted's name
        """Forget the client; the last one ends a drain."""
        self.stop_timer()
        clients.discard(self)
        service.ended(self.connection)
        stop_if_drained()


def stop_if_drained() -> None:
    """End the process once the drain has ended every client."""
    if service.draining and not clients:
        with contextlib.suppress(error.ReactorNotRunning):
            loop.stop()


if __name__ == "__main__":
    factory = protocol.Factory.forProtocol(Framelet)
    port = loop.listenTCP(service.port, factory, backlog=128, interface="127.0.0.1")

    def stop_accepting() -> None:
        """Begin the drain."""
        port.doRead()  # those who wait are let in first (REQ-DRAIN-2)
        port.stopListening()
        loop.callLater(service.limits.drain_timeout, service.force)
        loop.callLater(0, stop_if_drained)

    service.on_drain = stop_accepting
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.callFromThread(service.drain))
    print(f"listening on 127.0.0.1:{port.getHost().port}", flush=True)
    loop.run(installSignalHandlers=False)
