"""Run one side of a peer::

python -m benchmarks.peers serve NAME [--handler reverse|own] [OPTIONS of the server]
python -m benchmarks.peers ask NAME PORT --work WORK --count N [--handler reverse|own] [--clients N]

WORK is one of ping-pong, pipelined, parallel.  The server prints ``listening PORT``; the client one line of
JSON, or why it failed on standard error.
"""  # noqa: D400, D415 - the first line introduces the usage

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import sys
import threading
import time
from typing import TYPE_CHECKING

from . import PEERS
from .common import HANDLERS, REVERSE, Exchange, Options, one_by_one

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


def main() -> None:
    """Serve, or ask."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers")
    sides = parser.add_subparsers(dest="side", required=True)
    serving = sides.add_parser("serve")
    serving.add_argument("name", choices=PEERS)
    serving.add_argument("--handler", choices=HANDLERS, default=REVERSE)
    serving.add_argument("--threads", type=int)
    serving.add_argument("--delay", type=float, default=0.0)
    serving.add_argument("--busy-poll", type=float)
    serving.add_argument("--tls")
    asking = sides.add_parser("ask")
    asking.add_argument("name", choices=PEERS)
    asking.add_argument("port", type=int)
    asking.add_argument("--work", choices=("ping-pong", "pipelined", "parallel"), required=True)
    asking.add_argument("--count", type=int, required=True)
    asking.add_argument("--handler", choices=HANDLERS, default=REVERSE)
    asking.add_argument("--clients", type=int, default=1)
    given = parser.parse_args()
    module = PEERS[given.name].load()
    if given.side == "serve":
        with contextlib.suppress(KeyboardInterrupt):
            module.serve(Options(given.handler, given.threads, given.delay, given.busy_poll, given.tls))
        return
    texts = [text_of(number) for number in range(given.count)]
    exchange = ask(module, given.port, texts, given.work, given.clients)
    check(list(map(HANDLERS[given.handler], texts)), exchange.replies)
    print(json.dumps({"seconds": exchange.seconds, "count": len(texts)}))


def text_of(number: int) -> str:
    """A text of 64 octets that no other number has, so that answers in a wrong order show."""
    return f"{number:09} reverse this line of sixty-four octets, and no other one"[:64].ljust(64, ".")


def ask(module: ModuleType, port: int, texts: Sequence[str], work: str, clients: int) -> Exchange:
    """All texts, by the peer's client."""
    exchange: Exchange
    if work == "pipelined":
        exchange = module.pipelined(port, texts)
        return exchange
    if work == "parallel":
        return in_parallel(module, port, texts, clients)
    if hasattr(module, "ping_pong"):
        exchange = module.ping_pong(port, texts)
        return exchange
    with module.connect(port) as request:
        return one_by_one(request, texts)


def in_parallel(module: ModuleType, port: int, texts: Sequence[str], clients: int) -> Exchange:
    """Each client in a thread of its own, with its share of the texts; they begin together."""
    begin = threading.Barrier(clients + 1)

    def run(share: Sequence[str]) -> list[str]:
        with module.connect(port) as request:
            begin.wait()
            return [request(text) for text in share]

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        shares = [pool.submit(run, texts[number::clients]) for number in range(clients)]
        begin.wait(30)
        started = time.perf_counter()
        replies = [""] * len(texts)
        for number, share in enumerate(shares):
            replies[number::clients] = share.result()
        return Exchange(time.perf_counter() - started, replies)


def check(expected: Sequence[str], replies: Sequence[str]) -> None:
    """Compare every reply with what it must be."""
    for number, (right, reply) in enumerate(zip(expected, replies, strict=False)):
        if reply != right:
            sys.exit(f"reply {number} is wrong: {reply!r} instead of {right!r}")
    if len(replies) != len(expected):
        sys.exit(f"{len(replies)} replies instead of {len(expected)}")


if __name__ == "__main__":
    main()
