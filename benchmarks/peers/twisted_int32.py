"""Twisted's Int32StringReceiver on both sides."""

# pyright: reportMissingImports=false
# (the package may be missing, or without types)
from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver

from .common import WINDOW, Exchange, Options, announce

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_BODY = 64 << 20


class Answerer(Int32StringReceiver):
    """The server's side."""

    MAX_LENGTH = MAX_BODY
    transport: Any

    def __init__(self, handle: Callable[[str], str]) -> None:
        """Not connected yet."""
        self.handle = handle

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Send at once."""
        self.transport.setTcpNoDelay(True)

    def stringReceived(self, string: bytes) -> None:  # noqa: N802 - Twisted's name
        """Answer."""
        self.sendString(self.handle(string.decode()).encode())


def serve(options: Options) -> None:
    """Serve until terminated."""
    assert not options.delay  # noqa: S101 - a handler that blocks would stop the loop
    factory = Factory.forProtocol(partial(Answerer, options.handler()))
    loop: Any = reactor
    opened = TCP4ServerEndpoint(loop, 0, backlog=1024, interface="127.0.0.1").listen(factory)
    opened.addCallback(lambda port: announce(port.getHost().port))
    loop.run()


class Asker(Int32StringReceiver):
    """The client's side: keeps a window of requests under way."""

    MAX_LENGTH = MAX_BODY
    transport: Any
    window: ClassVar[int] = 1

    def __init__(self, texts: Sequence[str]) -> None:
        """Not connected yet."""
        self.texts = texts
        self.replies: list[str] = []
        self.sent = 0
        self.started = self.ended = 0.0

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Begin."""
        self.transport.setTcpNoDelay(True)
        self.started = time.perf_counter()
        for _ in range(self.window):
            self.ask()

    def ask(self) -> None:
        """Send the next text."""
        if self.sent < len(self.texts):
            self.sendString(self.texts[self.sent].encode())
            self.sent += 1

    def stringReceived(self, string: bytes) -> None:  # noqa: N802 - Twisted's name
        """Keep the reply."""
        self.replies.append(string.decode())
        if len(self.replies) == len(self.texts):
            self.ended = time.perf_counter()
            self.transport.loseConnection()
        else:
            self.ask()

    def connectionLost(self, reason: object = None) -> None:  # noqa: N802, ARG002 - Twisted's name and argument
        """The end, wanted or not."""
        loop: Any = reactor
        loop.stop()


class Pipeliner(Asker):
    """Many requests under way."""

    window = WINDOW


def _exchange(port: int, asker: Asker) -> Exchange:
    loop: Any = reactor
    connectProtocol(TCP4ClientEndpoint(loop, "127.0.0.1", port), asker)
    loop.run()
    return Exchange(asker.ended - asker.started, asker.replies)


def ping_pong(port: int, texts: Sequence[str]) -> Exchange:
    """One request at a time."""
    return _exchange(port, Asker(texts))


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """A window of requests."""
    return _exchange(port, Pipeliner(texts))
