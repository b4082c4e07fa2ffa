"""Fail when the server has become ten times slower, beside the peer of asyncio streams.

    python -m benchmarks.guard [--rounds N] [--seconds S] [--delay S]

Both are asked by the same client, a plain socket, so that neither a compiler nor a package is needed.  Noise
moves the ratio by half; tenfold is more than noise.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from .peers import FRAMELET, PEERS
from .processes import BenchmarkError, ServerProcess, ask, calibrated, serve

PEER, CLIENT = "asyncio_streams", "threading_tcp"

TYPICAL = {"ping-pong": 1, "pipelined": 5}
"""Framelet's speed over that of the peer, as it was when this was written."""

MARGIN = 10
FIRST = {"ping-pong": 20, "pipelined": 500}
"""Requests of a first try."""


def ratio(work: str, ours: ServerProcess, theirs: ServerProcess, rounds: int, seconds: float) -> float:
    """The median of the ratios of speed, in turns; raises BenchmarkError at a wrong reply."""

    def taken(server: ServerProcess, count: int) -> float:
        return ask(PEERS[CLIENT], server.port, work, count)

    count = calibrated(lambda count: taken(theirs, count), seconds, first=FIRST[work], step=1)
    return statistics.median(taken(theirs, count) / taken(ours, count) for _ in range(rounds))


def main() -> int:
    """Check both kinds of work; the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.guard", description="Has the server lost its speed?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each measurement")
    parser.add_argument("--delay", type=float, default=0, help="have the handler wait, to see the check fail")
    given = parser.parse_args()
    status = 0
    try:
        with serve(PEERS[FRAMELET], delay=given.delay) as ours, serve(PEERS[PEER]) as theirs:
            for work, typical in TYPICAL.items():
                found = ratio(work, ours, theirs, given.rounds, given.seconds)
                least = typical / MARGIN
                verdict = "ok" if found >= least else "TOO SLOW"
                print(
                    f"{work}: {found:.2f} times {PEERS[PEER].title}; "
                    f"typical {typical:g}, at least {least:g}: {verdict}"
                )
                status = status or int(found < least)
    except BenchmarkError as error:
        print(f"benchmarks.guard: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
