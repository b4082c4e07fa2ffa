"""RPyC's pool of threads."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false
# (the package may be missing, or without types)
from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import rpyc
from rpyc.utils.server import ThreadPoolServer

from .common import Exchange, Options, announce, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def serve(options: Options) -> None:
    """Serve until terminated."""
    handle = options.handler()

    class Reverser(rpyc.Service):
        """One method."""

        def exposed_reverse(self, text: str) -> str:
            """The work."""
            return handle(text)

    pool = {"nbThreads": options.threads} if options.threads else {}
    server = ThreadPoolServer(Reverser(), hostname="127.0.0.1", port=0, backlog=1024, **pool)
    announce(server.port)
    server.start()


@contextlib.contextmanager
def connect(port: int) -> Iterator[Callable[[str], str]]:
    """One call at a time."""
    with rpyc.connect("127.0.0.1", port) as connection:
        yield connection.root.reverse


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """A window of calls without waiting, then their results."""
    with rpyc.connect("127.0.0.1", port) as connection:
        reverse = rpyc.async_(connection.root.reverse)
        replies: list[str] = []
        started = time.perf_counter()
        for window in windows(texts):
            calls = [reverse(text) for text in window]
            replies += [call.value for call in calls]
        return Exchange(time.perf_counter() - started, replies)
