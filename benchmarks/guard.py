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
from .peers.common import OWN, REVERSE
from .processes import BenchmarkError, ServerProcess, ask, calibrated, serve

PEER, CLIENT = "asyncio_streams", "threading_tcp"

TYPICAL = {
    (REVERSE, "ping-pong"): 1,
    (REVERSE, "pipelined"): 5,
    (OWN, "ping-pong"): 1,
    (OWN, "pipelined"): 3,
}
"""Framelet's speed over that of the peer, by handler and work, as it was when this was written."""

TITLES = {REVERSE: "reversal", OWN: "own handler"}
MARGIN = 10
FIRST = {"ping-pong": 20, "pipelined": 500}
"""Requests of a first try."""


def ratio(handler: str, work: str, given: argparse.Namespace) -> float:
    """The median of the ratios of speed, in turns; raises BenchmarkError at a wrong reply."""

    def taken(server: ServerProcess, count: int) -> float:
        return ask(PEERS[CLIENT], server.port, work, count, handler=handler)

    with (
        serve(PEERS[FRAMELET], handler=handler, delay=given.delay) as ours,
        serve(PEERS[PEER], handler=handler) as theirs,
    ):
        count = calibrated(lambda count: taken(theirs, count), given.seconds, first=FIRST[work], step=1)
        return statistics.median(taken(theirs, count) / taken(ours, count) for _ in range(given.rounds))


def main() -> int:
    """Check both kinds of work with both handlers; the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.guard", description="Has the server lost its speed?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each measurement")
    parser.add_argument("--delay", type=float, default=0, help="have the handler wait, to see the check fail")
    given = parser.parse_args()
    status = 0
    try:
        for (handler, work), typical in TYPICAL.items():
            found = ratio(handler, work, given)
            least = typical / MARGIN
            verdict = "ok" if found >= least else "TOO SLOW"
            print(
                f"{work}, {TITLES[handler]}: {found:.2f} times {PEERS[PEER].title}; "
                f"typical {typical:g}, at least {least:g}: {verdict}"
            )
            status = status or int(found < least)
    except BenchmarkError as error:
        print(f"benchmarks.guard: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
