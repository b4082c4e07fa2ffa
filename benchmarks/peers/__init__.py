"""The servers that are measured, each with a client of its own kind; every one does the same work.

A peer's module has ``serve(options)``, which announces its port and serves ``options.handler()`` until it is
terminated, and

- ``connect(port)``, a context that yields a function from text to reply, for blocking clients; or
- ``ping_pong(port, texts)``, for clients of another kind;
- ``pipelined(port, texts)``: many requests under way on one connection.

``python -m benchmarks.peers`` runs either side in a process of its own.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from framelet.errors import install_command

from .common import OWN, REVERSE

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@dataclass(frozen=True)
class Peer:
    """What the harness has to know of a peer."""

    name: str
    title: str
    pipelining: str
    """How its client keeps many requests under way."""
    framing: str | None = None
    """``framelet`` or ``int32`` where the load generator can drive it."""
    package: str | None = None
    """The distribution that it needs, beyond Framelet and the standard library."""
    imports: str | None = None
    """The module of that distribution."""
    blocks: bool = False
    """Whether its handlers may block side by side."""
    crowd: bool = False
    """Whether it can hold 10,000 connections: it needs no thread for each."""
    handlers: tuple[str, ...] = (REVERSE, OWN)
    """The handlers that it can call."""
    root: Path | None = None
    """The checkout that it is run from, where that is not this one."""
    note: str = ""
    """What explains its figures."""

    @property
    def missing(self) -> str | None:
        """Why it cannot run here."""
        if self.imports and importlib.util.find_spec(self.imports) is None:
            return f"{self.package} is not installed ({install_command('bench')})"
        return None

    @property
    def version(self) -> str | None:
        """Of its distribution, where it has one."""
        return importlib.metadata.version(self.package) if self.package else None

    @property
    def module(self) -> str:
        """The name of its module."""
        return FRAMELET if self.name == BEFORE else self.name

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its processes."""
        if self.root is None:
            return dict(os.environ)
        folders = (str(self.root / folder) for folder in ("protocol", "server", "client"))
        return os.environ | {"PYTHONPATH": os.pathsep.join(folders)}

    def load(self) -> ModuleType:
        """Its module."""
        return importlib.import_module(f"{__name__}.{self.module}")


FRAMELET, LIMIT, LOOP = "framelet", "limit", "epoll_loop"
IN_LOOP = "framelet_asyncio"
"""Framelet's server and client inside an asyncio loop."""
BEFORE = "before"
"""Framelet of another checkout, where one is given."""

_SEVERAL = "1,000 written at once, then as many read"
_SLIDING = "1,000 written at once, then one for each reply"

PEERS = {
    peer.name: peer
    for peer in (
        Peer(FRAMELET, "Framelet", "`Client.pipeline`", "framelet", blocks=True, crowd=True),
        Peer(
            LIMIT,
            "C limit",
            "Framelet's `Client.pipeline`: it has no client",
            "framelet",
            crowd=True,
            handlers=(REVERSE,),
            note="reverses octets; it cannot call a handler in Python",
        ),
        Peer(
            LOOP,
            "bare epoll loop",
            f"{_SEVERAL}, by a blocking socket: it has no client",
            "framelet",
            crowd=True,
            note="no deadlines, limits, counters or drain: the bound for a server in Python",
        ),
        Peer(
            "twisted_int32",
            "Twisted Int32StringReceiver",
            _SLIDING,
            "int32",
            package="twisted",
            imports="twisted",
            crowd=True,
            note="copies what it has of a frame with each segment, so that large ones take quadratic time",
        ),
        Peer(
            IN_LOOP,
            "Framelet in asyncio",
            "`framelet_client.asyncio`: its `pipeline`",
            "framelet",
            crowd=True,
        ),
        Peer("asyncio_streams", "asyncio streams", _SEVERAL, "framelet", crowd=True),
        Peer("asyncio_protocol", "asyncio Protocol", _SLIDING, "framelet", crowd=True),
        Peer(
            "uvloop_protocol",
            "uvloop Protocol",
            _SLIDING,
            "framelet",
            package="uvloop",
            imports="uvloop",
            crowd=True,
        ),
        Peer("threading_tcp", "ThreadingTCPServer", _SEVERAL, "framelet", blocks=True),
        Peer(
            "thrift_pool",
            "Thrift TThreadPoolServer",
            "`send_` 1,000 times, then `recv_` as often",
            package="thrift",
            imports="thrift",
            blocks=True,
            note="leaves Nagle's algorithm on, so that pipelined answers wait for acknowledgements",
        ),
        Peer(
            "grpc_pool",
            "gRPC",
            "one bidirectional stream",
            package="grpcio",
            imports="grpc",
            blocks=True,
            note="generic handlers, without messages of protobuf; a connection for each client",
        ),
        Peer(
            "zeromq",
            "ZeroMQ (pyzmq)",
            "DEALER, up to 1,000 unanswered",
            package="pyzmq",
            imports="zmq",
            note="REQ for ping-pong; a ROUTER answers both",
        ),
        Peer(
            "websockets_threading",
            "websockets (threading)",
            _SEVERAL,
            package="websockets",
            imports="websockets",
            blocks=True,
        ),
        Peer(
            "websockets_asyncio",
            "websockets (asyncio)",
            _SEVERAL,
            package="websockets",
            imports="websockets",
            crowd=True,
        ),
        Peer(
            "multiprocessing_connection",
            "multiprocessing.connection",
            _SEVERAL,
            blocks=True,
            note="leaves Nagle's algorithm on, so that pipelined answers wait for acknowledgements",
        ),
        Peer(
            "rpyc_pool",
            "RPyC ThreadPoolServer",
            "`async_` calls, 1,000 at a time",
            package="rpyc",
            imports="rpyc",
            blocks=True,
            note="its pool notices a connection that was idle up to 0.1 seconds late, which is its ping-pong",
        ),
    )
}


def before(root: Path) -> Peer:
    """Framelet as it is in another checkout."""
    return replace(PEERS[FRAMELET], name=BEFORE, title="Framelet before", root=root)
