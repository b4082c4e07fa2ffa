"""Framelet itself, as it comes, but for the limits that rows with many or large things need."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from framelet import TcpAddress, TlsAddress
from framelet_client import Client
from framelet_server import Server, ServerLimits, ServerTls

from .common import REVERSE, Exchange, Options, announce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MAX_BODY = 64 << 20
MAX_CONNECTIONS = 20_000


def serve(options: Options) -> None:
    """Serve until terminated."""
    limits = ServerLimits(
        threads=options.threads or ServerLimits().threads,
        busy_poll=ServerLimits().busy_poll if options.busy_poll is None else options.busy_poll,
        max_body=MAX_BODY,
        max_memory=16 * MAX_BODY,
        max_connections=MAX_CONNECTIONS,
        max_connections_per_address=MAX_CONNECTIONS,
    )
    handler = [] if options.handler_name == REVERSE and not options.delay else [options.handler()]
    tls = ServerTls(options.tls) if options.tls else None
    with Server(("127.0.0.1", 0), *handler, limits=limits, tls=tls) as server:
        assert isinstance(server.address, TcpAddress | TlsAddress)  # noqa: S101 - as asked for
        announce(server.address.port)
        server.wait()


@contextlib.contextmanager
def connect(port: int) -> Iterator[Callable[[str], str]]:
    """The blocking client."""
    with Client("127.0.0.1", port) as client:
        yield client.request


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """The blocking client's pipeline."""
    with Client("127.0.0.1", port) as client:
        started = time.perf_counter()
        replies = list(client.pipeline(texts))
        return Exchange(time.perf_counter() - started, replies)
