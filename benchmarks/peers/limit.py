"""The limit: the server in C, asked by Framelet's client where a client in Python is measured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks.native import program

from .common import REVERSE
from .framelet import connect, pipelined

if TYPE_CHECKING:
    from .common import Options

__all__ = ["connect", "pipelined", "serve"]


def serve(options: Options) -> None:
    """Become the server in C, which announces itself; it has no threads, no delay and no handler in Python."""
    assert options.handler_name == REVERSE  # noqa: S101 - it cannot call another
    assert not options.delay  # noqa: S101 - one thread cannot serve anybody while it waits
    server = str(program("limit_server"))
    os.execv(server, [server])  # noqa: S606 - the program was just built
