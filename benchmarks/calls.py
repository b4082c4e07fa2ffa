"""Count the Python calls that a server's workers make for one request: a figure that no noise disturbs.

    python -m benchmarks.calls [NAME]

Prints one line of JSON.  The server runs in this process, with a profile function on its workers alone.
"""

from __future__ import annotations

import argparse
import collections
import json
import statistics
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from framelet import TcpAddress, TlsAddress
from framelet_server import Server, ServerLimits, ServerTls

from .certificates import Certificate
from .lockstep import Lockstep
from .peers.common import HANDLERS, OWN, REVERSE
from .work import ascii_text, exchange

if TYPE_CHECKING:
    from types import FrameType

WORKERS = "framelet-worker"
"""What the names of the server's workers begin with."""
WARM, COUNTED = 20, 1_500
"""Requests on each connection before the count, and requests in it, at least."""


@dataclass(frozen=True)
class Case:
    """A kind of traffic, and how many calls a request may cost."""

    title: str
    at_most: float
    handler: str
    connections: int = 8
    window: int = 1
    tls: bool = False


CASES = {
    "own-ping-pong": Case("own handler, 8 connections, ping-pong", 10, OWN),
    "own-pipelined": Case("own handler, 1 connection, 500 in flight", 1.5, OWN, 1, 500),
    "own-tls": Case("own handler over TLS, 8 connections, ping-pong", 25, OWN, tls=True),
    "reverse-ping-pong": Case("reversal, 8 connections, ping-pong", 6, REVERSE),
    "reverse-pipelined": Case("reversal, 1 connection, 500 in flight", 1.5, REVERSE, 1, 500),
}


class CallCounter:
    """Counts the calls of Python functions in the workers that are started within its context."""

    def __init__(self) -> None:
        """Nothing counted."""
        self._calls: collections.Counter[int] = collections.Counter()  # of each thread: no two share a number

    @property
    def calls(self) -> int:
        """So far, in all threads."""
        return self._calls.total()

    def __enter__(self) -> Self:
        """Count in threads that start from now on."""
        threading.setprofile(self._choose)
        return self

    def __exit__(self, *error: object) -> None:
        """New threads are not counted any more."""
        threading.setprofile(None)

    def _choose(self, _frame: FrameType, _event: str, _argument: object) -> None:
        """The first event of a thread: only a worker is counted from then on."""
        worker = threading.current_thread().name.startswith(WORKERS)
        sys.setprofile(self._count if worker else None)

    def _count(self, _frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            self._calls[threading.get_ident()] += 1


def calls_per_request(case: Case, certificate: Certificate) -> float:
    """The calls of one request.

    The workers sleep while they wait (no ``busy_poll``), so that waiting makes no calls.  What a worker
    does after the last reply of a round is missing in it; but what it did after the last reply before it is
    in it. It is the median of the rounds: the server looks at itself once a second, and a machine that is
    busy has it think that a handler is slow.
    """
    tls = ServerTls(certificate.server) if case.tls else None
    handler = () if case.handler == REVERSE else (HANDLERS[case.handler],)
    octets = exchange("framelet", ascii_text(64), case.handler)
    with (
        CallCounter() as counter,
        Server(("127.0.0.1", 0), *handler, limits=ServerLimits(busy_poll=0.0), tls=tls) as server,
    ):
        assert isinstance(server.address, TcpAddress | TlsAddress)  # noqa: S101 - as asked for
        authority = certificate.authority if case.tls else None
        with Lockstep(server.address.port, octets, case.connections, case.window, authority) as clients:
            for _ in range(WARM):
                clients.round()
            counts = []
            for _ in range(-(-COUNTED // clients.requests)):
                before = counter.calls
                clients.round()
                counts.append((counter.calls - before) / clients.requests)
            return statistics.median(counts)


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.calls", description="Python calls for one request.")
    parser.add_argument("name", nargs="?", choices=CASES, help="one case; all of them where it is left out")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="framelet-bench-") as folder:
        certificate = Certificate.issue(Path(folder))
        names = [given.name] if given.name else list(CASES)
        print(json.dumps({name: calls_per_request(CASES[name], certificate) for name in names}))


if __name__ == "__main__":
    main()
