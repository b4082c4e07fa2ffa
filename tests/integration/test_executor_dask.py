"""Handlers on a cluster: dask's executor, with a real one on this machine, a scheduler and two workers."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .peers import Connect, Serve


dask = pytest.importorskip("dask", reason="needs the extra: pip install 'framelet[dask]'")
distributed = pytest.importorskip("distributed", reason="needs the extra: pip install 'framelet[dask]'")

# A library of that size has warnings of its own, on every new Python.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


class Cluster(NamedTuple):
    """Processes, and a client of them."""

    client: Any
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]

    def executor(self) -> Any:
        return self.client.get_executor(pure=False)


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    # A result that is on its way when the scheduler dies is given up after this.
    given_up = dask.config.set({"distributed.comm.timeouts.connect": "3s"})
    with given_up, contextlib.ExitStack() as stack:

        def start(name: str, *options: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *options, "--no-dashboard"]
            process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        scheduler = start("scheduler", "--host", "127.0.0.1", "--port", str(port))
        address = f"tcp://127.0.0.1:{port}"
        workers = [start("worker", address, "--nthreads", "1", "--no-nanny") for _ in range(2)]
        with distributed.Client(address, timeout=PATIENCE) as client:
            client.wait_for_workers(2, timeout=PATIENCE)
            yield Cluster(client, scheduler, workers)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of a cluster that stays whole."""
    with running_cluster() as cluster:
        yield cluster.client


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster to break."""
    with running_cluster() as made:
        yield made


def where(text: str) -> str:
    return f"{text} {os.getpid()}"


def compute(text: str) -> str:
    if text == "raise":
        raise ValueError("secret")
    return str(sum(range(int(text))))


def test_a_cluster_answers_in_order(serve: Serve, connect: Connect, client: Any) -> None:
    peer = connect(serve(compute, executor=client.get_executor(pure=False), max_in_flight=8))
    numbers = [100_000 if number % 4 == 0 else number for number in range(40)]
    peer.request(*map(str, numbers))
    assert peer.replies(40) == [str(sum(range(number))) for number in numbers]


def test_equal_requests_are_both_served(serve: Serve, connect: Connect, client: Any) -> None:
    peer = connect(serve(where, executor=client.get_executor(pure=False)))
    peer.request(*["same"] * 20)
    pids = {int(text.split()[1]) for text in peer.replies(20)}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_a_handler_that_fails_elsewhere_costs_its_caller(serve: Serve, connect: Connect, client: Any) -> None:
    peer = connect(serve(compute, executor=client.get_executor(pure=False)))
    peer.request("raise", "3")
    assert peer.error() == 450
    assert peer.replies(1) == ["3"]


def test_what_a_lost_client_asked_for_is_cancelled(serve: Serve, connect: Connect, client: Any) -> None:
    server = serve(compute, executor=client.get_executor(pure=False))
    peer = connect(server)
    peer.request(*["30000000"] * 40)  # a minute of work
    until(lambda: server.metrics().in_flight == 40)
    peer.reset()
    until(lambda: server.metrics().connections_open == 0)
    assert connect(server).ask("3") == "3"  # long before that minute is over


def slowly(text: str) -> str:
    time.sleep(0.05)
    return text[::-1]


def test_a_worker_that_is_killed_costs_no_answer(serve: Serve, connect: Connect, cluster: Cluster) -> None:
    peer = connect(serve(slowly, executor=cluster.executor(), max_in_flight=16))
    texts = [f"request {number}" for number in range(60)]
    peer.request(*texts)
    assert peer.replies(5) == [text[::-1] for text in texts[:5]]
    cluster.workers[0].kill()
    assert peer.replies(55) == [text[::-1] for text in texts[5:]]


def for_a_minute(text: str) -> str:
    time.sleep(60)
    return text


def test_a_scheduler_that_goes_away_costs_what_was_in_flight_and_does_not_hold_up_the_drain(
    serve: Serve, connect: Connect, cluster: Cluster
) -> None:
    server = serve(for_a_minute, executor=cluster.executor(), max_in_flight=16, drain_timeout=1)
    peer = connect(server)
    peer.request(*["ab"] * 100)
    # Nothing is answered yet: a result that is under way as the scheduler ends is lost without a word.
    until(lambda: server.metrics().in_flight == 16)
    cluster.scheduler.kill()
    cluster.scheduler.wait()
    assert [peer.error() for _ in range(16)] == [450] * 16
    # What comes from now on waits for the scheduler; it is bounded all the same, and the drain ends in time.
    assert server.metrics().in_flight <= 16
    server.begin_drain()
    assert server.wait(PATIENCE)


def test_more_requests_than_the_cluster_takes_wait_in_the_clients(
    serve: Serve, connect: Connect, client: Any
) -> None:
    server = serve(slowly, executor=client.get_executor(pure=False), max_in_flight=8)
    peers = [connect(server) for _ in range(4)]
    for peer in peers:
        peer.request(*["ab"] * 40)
    until(lambda: server.metrics().in_flight > 8)
    most = 0
    for peer in peers:
        for _ in range(40):
            assert peer.replies(1) == ["ba"]
            most = max(most, server.metrics().in_flight)
    assert 8 < most <= 4 * 8
