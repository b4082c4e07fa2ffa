"""The limit: the server in C, asked by Framelet's client where a client in Python is measured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks.native import program

from .common import ECHO, OWN
from .framelet import connect, pipelined

if TYPE_CHECKING:
    from .common import Options

__all__ = ["connect", "pipelined", "serve"]


def serve(options: Options) -> None:
    """Become the server in C, which announces itself; it has no threads and no delay."""
    assert options.handler_name != OWN  # noqa: S101 - it calls no handler in Python
    assert not options.delay  # noqa: S101 - one thread cannot serve anybody while it waits
    server = str(program("limit_server"))
    os.execv(server, [server, *([ECHO] if options.handler_name == ECHO else [])])  # noqa: S606 - the program was just built
