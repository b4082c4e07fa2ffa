"""A log that nobody reads, and one that clients would like to fill: neither stops the server."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.integration.scripted import PATIENCE

from framelet import FrameType, encode
from framelet_client import AnswerError, Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BIG = "\x01" * 100_000
"""What a handler quotes in its error, and would be ten times as long in the log."""

CLIENTS = 600
"""Of which each leaves a line; a pipe holds some 400 of them, and the queue a thousand."""

FEW_KIB = 16_384


class Unread:
    """A server whose standard error is a pipe that nobody reads until the end."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        (folder / "quoting.py").write_text("def handler(text):\n    return str(float(text))\n")
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "framelet_server",
                "--port",
                "0",
                "--handler",
                "quoting:handler",
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=folder,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        self.port = int(line.rpartition(":")[2])

    def fill(self, limit: int = 65_536) -> None:
        """Put so much into the pipe that it takes nothing more."""
        assert self.process.stderr is not None
        number = os.open(f"/proc/{self.process.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while limit:
                limit -= os.write(number, b"x" * 4_096)
        os.close(number)

    def log_at_end(self) -> str:
        """What it wrote, read when it has been told to end and while it ends."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return errors.decode()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[Callable[..., Unread]]:
    started: list[Unread] = []

    def start(*arguments: str) -> Unread:
        started.append(Unread(tmp_path, *arguments))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_log_that_nobody_reads_stops_nothing(unread: Callable[..., Unread], processes: int) -> None:
    server = unread("--log-level", "info", "--workers", str(processes))
    server.fill()
    for _ in range(CLIENTS):
        with Client("127.0.0.1", server.port) as client:
            assert client.request("1") == "1.0"
    with Client("127.0.0.1", server.port) as client:
        for text in (BIG, "many"):
            with pytest.raises(AnswerError, match="450"):
                client.request(text)
        assert client.request("2") == "2.0"
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE) == 0  # though the pipe is still full


def test_lines_that_were_dropped_are_counted(unread: Callable[..., Unread]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = unread("--log-level", "info", "--metrics", str(port))
    server.fill()
    with socket.create_connection(("127.0.0.1", server.port)) as busy:
        busy.settimeout(PATIENCE)
        for _ in range(2 * CLIENTS + 200):
            with Client("127.0.0.1", server.port) as client:
                client.ping()

        def counted() -> int:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
                found = re.search(
                    r"^framelet_log_lines_dropped_total (\d+)", answer.read().decode(), re.MULTILINE
                )
            assert found is not None
            return int(found[1])

        dropped = counted()
        assert dropped > 0
        server.process.send_signal(signal.SIGTERM)
    log = server.log_at_end()
    told = [int(count) for count in re.findall(r"(\d+) lines of the log were dropped", log)]
    assert sum(told) >= dropped


@pytest.mark.parametrize("arguments", [(), ("--executor", "thread:1"), ("--executor", "process:1")])
@pytest.mark.parametrize("form", ["human", pytest.param("json", marks=pytest.mark.slow)])
def test_what_a_client_sent_is_cut_in_the_log(
    unread: Callable[..., Unread], arguments: tuple[str, ...], form: str
) -> None:
    server = unread("--log-format", form, *arguments)
    with Client("127.0.0.1", server.port) as client:
        for _ in range(2):
            with pytest.raises(AnswerError, match="450"):
                client.request("\x01" * 4_000_000)
    server.process.send_signal(signal.SIGTERM)
    log = server.log_at_end()
    assert log.count("could not convert string to float") >= 2
    assert "more characters" in log
    assert len(log) < 8 * FEW_KIB


def test_a_log_that_fails_stops_nothing() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "framelet_server", "--port", "0", "--log-level", "debug"],
        stdout=subprocess.PIPE,
        stderr=os.open("/dev/full", os.O_WRONLY),
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().decode().rpartition(":")[2])
        with Client("127.0.0.1", port) as client:
            assert client.request("ab") == "ba"
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(encode(FrameType.PING))
            assert sock.recv(5) == encode(FrameType.PONG)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


WITHOUT_A_LOG = """
from framelet_client import AnswerError, Client
from framelet_server import Server
with Server("127.0.0.1:0", lambda text: str(float(text))) as server, Client(server.address) as client:
    try:
        client.request("x")
    except AnswerError as error:
        print(error.code)
"""


def test_a_program_that_configures_no_log_gets_no_lines() -> None:
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_LOG], check=True, capture_output=True, timeout=PATIENCE
    )
    assert (found.stdout, found.stderr) == (b"450\n", b"")
