"""What a thousand clients that send one octet each cost ten honest ones: a server with two threads.

    python benchmarks/slow_clients.py [--rounds N] [--seconds S]

Rounds with and without the slow clients take turns in one run; the ratio of their latencies is what counts.
"""

import argparse
import contextlib
import select
import socket
import statistics
import subprocess
import sys
import time

from framelet import FrameType, encode

HONEST, SLOW = 10, 1_000
ASK, REPLY = encode(FrameType.REQUEST, b"a" * 64), encode(FrameType.REPLY, b"a" * 64)
TRICKLE = encode(FrameType.REQUEST, b"a" * 60_000)


def latencies(clients: list[socket.socket], seconds: float) -> list[float]:
    """Seconds for each answer, with every client asking anew as soon as it has one."""
    found: list[float] = []
    poller = select.epoll()
    by_number = {client.fileno(): client for client in clients}
    asked: dict[int, float] = {}
    for number, client in by_number.items():
        poller.register(number, select.EPOLLIN)
        asked[number] = time.perf_counter()
        client.sendall(ASK)
    end = time.perf_counter() + seconds
    while asked:
        for number, _ in poller.poll():
            client = by_number[number]
            reply = client.recv(len(REPLY), socket.MSG_WAITALL)
            now = time.perf_counter()
            if reply != REPLY:
                message = f"a wrong reply: {reply!r}"
                raise SystemExit(message)
            found.append(now - asked.pop(number))
            if now < end:
                asked[number] = time.perf_counter()
                client.sendall(ASK)
    poller.close()
    return found


def percentile(values: list[float], part: float) -> float:
    """The value below which that part of them lies."""
    return sorted(values)[int(len(values) * part)]


def main() -> None:
    """Run, and print a table."""
    parser = argparse.ArgumentParser(description="Ten honest clients among a thousand slow ones.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    command = [sys.executable, "-m", "framelet_server", "--port", "0", "--threads", "2"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(server.terminate)
        assert server.stdout is not None  # noqa: S101 - for the type checkers: it is a pipe
        port = int(server.stdout.readline().rpartition(":")[2])

        def connect() -> socket.socket:
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock

        honest = [stack.enter_context(connect()) for _ in range(HONEST)]
        latencies(honest, 0.5)  # to warm up
        alone: list[list[float]] = []
        among: list[list[float]] = []
        for _ in range(given.rounds):
            alone.append(latencies(honest, given.seconds))
            with contextlib.ExitStack() as slow:
                for _ in range(SLOW):
                    slow.enter_context(connect()).sendall(TRICKLE[:1])
                among.append(latencies(honest, given.seconds))
    print(f"{'':12}{'alone':>10}{'among slow':>12}{'ratio':>8}   spread of the ratio")
    for name, part in (("median", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
        before = [percentile(each, part) for each in alone]
        after = [percentile(each, part) for each in among]
        ratios = [b / a for a, b in zip(before, after, strict=True)]
        print(
            f"{name:12}{statistics.median(before) * 1e6:8.0f}us{statistics.median(after) * 1e6:10.0f}us"
            f"{statistics.median(ratios):8.2f}   {min(ratios):.2f} to {max(ratios):.2f}"
        )


if __name__ == "__main__":
    main()
