"""The same Protocol on the loop of uvloop."""

# pyright: reportMissingImports=false
# (the package may be missing, or without types)
from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop

from .asyncio_protocol import exchange, run_server
from .common import WINDOW, Exchange, Options

if TYPE_CHECKING:
    from collections.abc import Sequence


def serve(options: Options) -> None:
    """Serve until terminated."""
    assert not options.delay  # noqa: S101 - a handler that blocks would stop the loop
    uvloop.run(run_server(options.handler()))


def ping_pong(port: int, texts: Sequence[str]) -> Exchange:
    """One request at a time."""
    result: Exchange = uvloop.run(exchange(port, texts, 1))
    return result


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """A window of requests."""
    result: Exchange = uvloop.run(exchange(port, texts, WINDOW))
    return result
