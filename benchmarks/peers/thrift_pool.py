"""Thrift's pool of threads with the framed transport, as the compiler of Thrift would write it."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false, reportIncompatibleMethodOverride=false, reportOptionalMemberAccess=false
# (the package may be missing, or without types)
from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from thrift.protocol.TBase import TBase
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAcceleratedFactory
from thrift.server.TServer import TThreadPoolServer
from thrift.Thrift import TMessageType, TProcessor, TType
from thrift.transport.TSocket import TServerSocket, TSocket
from thrift.transport.TTransport import TFramedTransport, TFramedTransportFactory

from .common import Exchange, Options, announce, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Arguments(TBase):
    """Of ``string reverse(1: string text)``."""

    __slots__ = ("text",)
    thrift_spec = (None, (1, TType.STRING, "text", "UTF8", None))

    def __init__(self, text: str | None = None) -> None:
        """Empty before it is read."""
        self.text = text


class Result(TBase):
    """Of the same."""

    __slots__ = ("success",)
    thrift_spec = ((0, TType.STRING, "success", "UTF8", None),)

    def __init__(self, success: str | None = None) -> None:
        """Empty before it is read."""
        self.success = success


class Processor(TProcessor):
    """The server's side of one method."""

    def __init__(self, handle: Callable[[str], str]) -> None:
        """Have a handler."""
        self._handle = handle

    def process(self, iprot: Any, oprot: Any) -> bool:  # noqa: ANN401 - Thrift's protocols
        """Answer one call."""
        name, _, number = iprot.readMessageBegin()
        arguments = Arguments()
        arguments.read(iprot)
        iprot.readMessageEnd()
        result = Result(self._handle(arguments.text or ""))
        oprot.writeMessageBegin(name, TMessageType.REPLY, number)
        result.write(oprot)
        oprot.writeMessageEnd()
        oprot.trans.flush()
        return True


class Announcing(TServerSocket):
    """Says its port as soon as it has one."""

    def listen(self) -> None:
        """Listen, and say so."""
        super().listen()
        announce(self.handle.getsockname()[1])


def serve(options: Options) -> None:
    """Serve until terminated."""
    server = TThreadPoolServer(
        Processor(options.handler()),
        Announcing("127.0.0.1", 0),
        TFramedTransportFactory(),
        TBinaryProtocolAcceleratedFactory(),
        daemon=True,
    )
    if options.threads:
        server.setNumThreads(options.threads)
    server.serve()


class Caller:
    """The client's side of one method."""

    def __init__(self, protocol: Any) -> None:  # noqa: ANN401 - Thrift's protocol
        """Have a connection."""
        self._protocol = protocol
        self._number = 0

    def send_reverse(self, text: str) -> None:
        """Call."""
        self._number += 1
        self._protocol.writeMessageBegin("reverse", TMessageType.CALL, self._number)
        Arguments(text).write(self._protocol)
        self._protocol.writeMessageEnd()
        self._protocol.trans.flush()

    def recv_reverse(self) -> str:
        """Wait for the result."""
        self._protocol.readMessageBegin()
        result = Result()
        result.read(self._protocol)
        self._protocol.readMessageEnd()
        return result.success or ""

    def reverse(self, text: str) -> str:
        """Both."""
        self.send_reverse(text)
        return self.recv_reverse()


@contextlib.contextmanager
def open_caller(port: int) -> Iterator[Caller]:
    """A connection."""
    transport = TFramedTransport(TSocket("127.0.0.1", port))
    transport.open()
    with contextlib.closing(transport):
        yield Caller(TBinaryProtocolAcceleratedFactory().getProtocol(transport))


@contextlib.contextmanager
def connect(port: int) -> Iterator[Callable[[str], str]]:
    """One request at a time."""
    with open_caller(port) as caller:
        yield caller.reverse


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """A window of calls, then their results."""
    with open_caller(port) as caller:
        replies: list[str] = []
        started = time.perf_counter()
        for window in windows(texts):
            for text in window:
                caller.send_reverse(text)
            replies += [caller.recv_reverse() for _ in window]
        return Exchange(time.perf_counter() - started, replies)
