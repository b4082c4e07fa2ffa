"""Handlers on a cluster: dask's executor, with a real one of two processes on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Peer

    from framelet_server import Server

distributed = pytest.importorskip("distributed", reason="needs the extra: pip install 'framelet[dask]'")

# A library of that size has warnings of its own, on every new Python.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of a cluster."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as found,
    ):
        yield found


def where(text: str) -> str:
    return f"{text} {os.getpid()}"


def compute(text: str) -> str:
    if text == "raise":
        raise ValueError("secret")
    return str(sum(range(int(text))))


def test_a_cluster_answers_in_order(
    serve: Callable[..., Server], connect: Callable[..., Peer], client: Any
) -> None:
    peer = connect(serve(compute, executor=client.get_executor(pure=False), max_in_flight=8))
    numbers = [100_000 if number % 4 == 0 else number for number in range(40)]
    peer.request(*map(str, numbers))
    assert peer.replies(40) == [str(sum(range(number))) for number in numbers]


def test_equal_requests_are_both_served(
    serve: Callable[..., Server], connect: Callable[..., Peer], client: Any
) -> None:
    peer = connect(serve(where, executor=client.get_executor(pure=False)))
    peer.request(*["same"] * 20)
    pids = {int(text.split()[1]) for text in peer.replies(20)}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_a_handler_that_fails_elsewhere_costs_its_caller(
    serve: Callable[..., Server], connect: Callable[..., Peer], client: Any
) -> None:
    peer = connect(serve(compute, executor=client.get_executor(pure=False)))
    peer.request("raise", "3")
    assert peer.error() == 450
    assert peer.replies(1) == ["3"]


def test_what_a_lost_client_asked_for_is_cancelled(
    serve: Callable[..., Server], connect: Callable[..., Peer], client: Any, until: Callable[..., None]
) -> None:
    server = serve(compute, executor=client.get_executor(pure=False))
    peer = connect(server)
    peer.request(*["30000000"] * 40)  # a minute of work
    until(lambda: server.metrics().in_flight == 40)
    peer.reset()
    until(lambda: server.metrics().connections_open == 0)
    assert connect(server).ask("3") == "3"  # long before that minute is over
