"""What an executor brings to a handler that computes, and what it costs: ratios within one run.

The same handler is called by the server's own threads, by a pool of threads, by a pool of processes, and by
a local cluster of dask where that is installed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib
import importlib.util
import multiprocessing
import os
import socket
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from framelet import FrameDecoder, FrameType, TcpAddress, encode
from framelet_server import Server, ServerLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

ROUNDS = 3
WORKERS = 2
WINDOW = 16


def compute(text: str) -> str:
    """Work that holds the interpreter, as many thousand steps as the text says."""
    value = 1
    for _ in range(int(text) * 1_000):
        value = value * 6_364_136_223_846_793_005 + 1 & 0xFFFF_FFFF_FFFF_FFFF
    return str(value)


@contextlib.contextmanager
def executor_of(kind: str) -> Iterator[concurrent.futures.Executor | None]:
    """The executor of a kind; none for the server's own threads."""
    if kind == "inline":
        yield None
    elif kind == "threads":
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as threads:
            yield threads
    elif kind == "processes":
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(WORKERS, spawn) as processes:
            yield processes
    else:
        distributed: Any = importlib.import_module("distributed")
        cluster = distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        )
        with cluster, distributed.Client(cluster) as client:
            yield client.get_executor(pure=False)


def serve(control: Connection, kind: str) -> None:
    """Serve until terminated."""
    limits = ServerLimits(threads=4)
    with (
        executor_of(kind) as executor,
        Server(("127.0.0.1", 0), compute, executor=executor, limits=limits) as server,
    ):
        assert isinstance(server.address, TcpAddress)  # noqa: S101 - as asked for
        control.send(server.address.port)
        control.recv()


def serve_inline(control: Connection) -> None:
    """The server's own threads."""
    serve(control, "inline")


def serve_threads(control: Connection) -> None:
    """A pool of threads."""
    serve(control, "threads")


def serve_processes(control: Connection) -> None:
    """A pool of processes."""
    serve(control, "processes")


def serve_dask(control: Connection) -> None:
    """A cluster on this machine."""
    serve(control, "dask")


class working:  # noqa: N801 - used like a function, in a with statement
    """A server in a process of its own, whose executor is ended behind it; its port."""

    def __init__(self, peer: Callable[[Connection], None]) -> None:
        """Not started yet."""
        context = multiprocessing.get_context("spawn")
        self._control, theirs = context.Pipe()
        self._process = context.Process(target=peer, args=(theirs,))

    def __enter__(self) -> int:
        """Start it, and wait until it listens."""
        self._process.start()
        port: int = self._control.recv()
        return port

    def __exit__(self, *error: object) -> None:
        """Ask it to end."""
        self._control.send(None)
        self._process.join()


KINDS = {
    "inline": serve_inline,
    "threads": serve_threads,
    "processes": serve_processes,
    "dask": serve_dask,
}


def connect(port: int) -> socket.socket:
    """A connection without delays."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def load(port: int, steps: int, count: int) -> float:
    """Seconds for so many requests on one connection, with a number of them under way."""
    request = encode(FrameType.REQUEST, str(steps).encode())
    expected = compute(str(steps)).encode()
    decoder = FrameDecoder()
    with connect(port) as sock:
        sock.settimeout(60)
        began = time.perf_counter()
        sock.sendall(request * WINDOW)
        sent, received = WINDOW, 0
        while received < count:
            decoder.receive_data(sock.recv(65_536))
            for frame in decoder.take_frames():
                if frame.body != expected:
                    raise SystemExit("a reply differs from what it must be")
                received += 1
                if sent < count:
                    sock.sendall(request)
                    sent += 1
        return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    kinds = [kind for kind in KINDS if kind != "dask" or importlib.util.find_spec("distributed")]
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors, {WORKERS} workers each,", end=" ")
    print(f"{WINDOW} requests under way, median of {ROUNDS} interleaved rounds\n")
    with contextlib.ExitStack() as stack:
        ports = {kind: stack.enter_context(working(KINDS[kind])) for kind in kinds}
        for steps, count in ((0, 300), (10, 200), (200, 24)):
            for port in ports.values():
                load(port, steps, WINDOW)  # processes are started when they are needed
            seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
            for _ in range(ROUNDS):
                for kind, port in ports.items():
                    seconds[kind].append(load(port, steps, count))
            rates = {kind: count / statistics.median(taken) for kind, taken in seconds.items()}
            each = statistics.median(seconds["inline"]) / count * 1_000
            print(f"handler of {each:6.2f} ms inline:", end="")
            for kind, rate in rates.items():
                print(f"  {kind} {rate:8.1f}/s ({rate / rates['inline']:.2f})", end="")
            print(flush=True)


if __name__ == "__main__":
    main()
