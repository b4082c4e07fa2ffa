"""The commands with descriptors above 1,023, which select() does not take."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import FrameletCommand

    from .peers import Serve


MANY = 1_100
PREPARED = f"""
import fcntl, os, resource, sys
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, {2 * MANY}), hard))
"""
"""What lets a program have so many descriptors."""


def test_an_open_loop_over_many_connections(
    framelet: FrameletCommand, serve: Serve, room: Callable[[int], int]
) -> None:
    connections = room(MANY)
    options = ("--rate", 500, "--connections", connections, "--duration", 0.5, "--warmup", 0, "--json")
    result = framelet("bench", serve().address, *options)
    assert (result.returncode, result.stderr) == (0, b"")
    requests = json.loads(result.stdout)["requests"]
    assert requests["answered"] + requests["unsent"] == 250


def test_an_open_loop_in_a_program_with_many_files(serve: Serve) -> None:
    program = f"""{PREPARED}
files = [os.open(os.devnull, os.O_RDONLY) for _ in range({MANY})]
from framelet_client.cli.command import run
sys.exit(run())
"""
    options = ["--rate", "500", "--duration", "0.2", "--warmup", "0", "--json"]
    command = [sys.executable, "-c", program, "bench", str(serve().address), *options]
    result = subprocess.run(command, check=False, capture_output=True)
    assert (result.returncode, result.stderr) == (0, b"")
    requests = json.loads(result.stdout)["requests"]
    assert requests["answered"] + requests["unsent"] == 100


def test_output_to_a_high_descriptor_that_does_not_take_everything_at_once() -> None:
    program = f"""{PREPARED}
from framelet_client.cli.terminal import Output
high = fcntl.fcntl(1, fcntl.F_DUPFD, {MANY})
os.set_blocking(high, False)
sys.stdout = open(high, "w")
Output().write_lines(["x" * 1_000_000])
"""
    result = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == b"x" * 1_000_000 + b"\n"
