"""Too few threads or descriptors: one line and status 1, and nothing is left half started."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.scripted import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STACK = 1 << 30
"""Octets of address space for each thread, so that their limit is one of threads, also for root."""


def allow(threads: float) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (STACK, STACK))
        size = int((0.7 + threads) * STACK)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    return limit


@pytest.mark.parametrize(
    "threads", [0, 2, 7, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 3, 4))]
)
@pytest.mark.parametrize("more", [("--metrics", "0"), ("--workers", "2")], ids=["one", "several"])
def test_too_few_threads(command: Callable[..., Any], threads: int, more: tuple[str, ...]) -> None:
    server = command("--threads", "8", *more, preexec_fn=allow(threads))
    status, log = server.finish()
    assert (status, log.count("\n")) == (1, 1), log
    assert log.startswith("framelet-server: error: cannot start a thread: ")


@pytest.mark.parametrize("descriptors", [6, 8, 10])
def test_too_few_descriptors(command: Callable[..., Any], descriptors: int) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    status, log = command("--threads", "2", preexec_fn=limit).finish()
    assert (status, log.count("error: ")) == (1, 1), log
    assert "Too many open files" in log
    assert "Traceback" not in log


PROGRAM = f"""
import os, resource, sys, threading
from framelet import FrameletError
from framelet_client import Client
from framelet_server import Server, ServerLimits
threading.stack_size({STACK})
server = Server(sys.argv[1], limits=ServerLimits(threads=8))
before = os.listdir("/proc/self/fd")
for allowed in (0.5, 3.5, 6.5):
    resource.setrlimit(resource.RLIMIT_AS, (int(allowed * {STACK}), resource.RLIM_INFINITY))
    try:
        server.start()
    except FrameletError as error:
        print(error)
    assert threading.active_count() == 1
    assert os.listdir("/proc/self/fd") == before
    assert not os.path.exists(sys.argv[1].removeprefix("unix:"))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with server, Client(server.address) as client:
    print(client.request("ab"))
"""


def test_a_server_that_could_not_start_leaves_nothing_and_starts_later(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"unix:{tmp_path / 'sock'}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    *failures, answer = found.stdout.splitlines()
    assert len(failures) == 3
    assert all("cannot start a thread" in line for line in failures)
    assert (answer, found.stderr) == ("ba", "")
