"""What ``framelet bench`` says, and how it ends, when not everything goes well."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, encode

from .scripted import PATIENCE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.integration.conftest import Command, FrameletCommand, Script

    from .peers import Serve


SIZE = len(encode(FrameType.REQUEST, b"x" * 64))


def ended(result: subprocess.CompletedProcess[bytes]) -> tuple[int, Any, list[str]]:
    """Exit code, report, and the lines on standard error."""
    return result.returncode, json.loads(result.stdout), result.stderr.decode().splitlines()


class Every:
    """A handler that does something else to every n-th request, and reverses the others."""

    def __init__(self, number: int, instead: Callable[[str], str]) -> None:
        self._number = number
        self._count = itertools.count(1)
        self._instead = instead

    def __call__(self, text: str) -> str:
        return text[::-1] if next(self._count) % self._number else self._instead(text)


def fail(text: str) -> str:
    raise ValueError(text)


def test_wrong_replies_are_counted(framelet: FrameletCommand, serve: Serve) -> None:
    handler = Every(10, lambda text: text[::-1][:-1] + "\x1b")
    server = serve(handler)
    code, report, lines = ended(
        framelet("bench", server.address, "--json", "--count", 200, "--connections", 2, "--processes", 2)
    )
    assert code == 7
    assert (report["requests"]["wrong"], report["requests"]["answered"]) == (20, 180)
    assert report["latency"]["count"] == 180
    assert len(lines) == 1
    assert lines[0].startswith("framelet: 20 replies were wrong: in the first, ")
    assert " from character 63 on; for a server " in lines[0]
    assert "\x1b" not in lines[0]
    assert lines[0].endswith("use --expect echo or --expect any")


def test_errors_are_counted(framelet: FrameletCommand, serve: Serve) -> None:
    server = serve(Every(10, fail))
    code, report, lines = ended(framelet("bench", server.address, "--json", "--count", 100, "--window", 8))
    assert code == 7
    assert (report["requests"]["errors"], report["requests"]["answered"]) == ({"450": 10}, 90)
    assert report["latency"]["count"] == 90
    assert len(lines) == 1
    assert lines[0].startswith("framelet: 10 requests were answered ERROR 450: ")


def test_an_answer_that_does_not_come(framelet: FrameletCommand, serve: Serve, gate: Any) -> None:
    handler = Every(20, lambda text: str(gate("block" + text)))
    server = serve(handler, threads=4)
    result = framelet("bench", server.address, "--json", "--count", 50, "--answer-timeout", 0.3)
    gate.open()
    code, report, lines = ended(result)
    assert code == 4
    assert (report["requests"]["answered"], report["requests"]["timed_out"]) == (19, 1)
    assert lines[0] == (
        "framelet: 1 connection of 1 timed out: no answer came within 0.3 seconds; 1 request has no answer"
    )
    assert lines[1].startswith("framelet: no connection was left after ")


def test_a_server_that_breaks_the_protocol(framelet: FrameletCommand, scripted_server: Script) -> None:
    server = scripted_server(SIZE, encode(FrameType.PONG, b"x"))
    code, report, lines = ended(framelet("bench", *server.arguments, "--json", "--count", 5))
    assert (code, report["requests"]["lost"], report["connections_ended"]) == (
        5,
        1,
        {"broke the protocol": 1},
    )
    assert lines[0].startswith("framelet: 1 connection of 1 broke the protocol: ")


def test_a_server_that_refuses_with_a_fatal_error(framelet: FrameletCommand, serve: Serve) -> None:
    server = serve(max_connections=3)
    code, report, lines = ended(
        framelet("bench", server.address, "--json", "--count", 400, "--connections", 5)
    )
    assert code == 7
    assert report["connections_ended"] == {"lost": 2}
    assert lines[0].startswith(
        "framelet: 2 connections of 5 lost: the server ended the connection with ERROR 507: "
    )


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_server_that_dies_half_way(
    framelet: FrameletCommand, command: Callable[..., Command], tmp_path: Path, processes: int
) -> None:
    (tmp_path / "dying.py").write_text(
        "import itertools, os, signal\n"
        "count = itertools.count(1)\n"
        "def answer(text):\n"
        "    if next(count) == 300:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return text[::-1]\n"
    )
    address = command("--handler", "dying:answer").address()
    code, report, lines = ended(
        framelet(
            *("bench", address, "--json", "--duration", 60, "--warmup", 0),
            *("--connections", 4, "--processes", processes),
        )
    )
    assert code == 7
    assert 200 <= report["requests"]["answered"] <= 300
    assert 1 <= report["requests"]["lost"] <= 4
    assert report["connections_ended"] == {"lost": 4}
    assert len(lines) == 2
    assert lines[0].startswith("framelet: 4 connections of 4 lost: the ")
    assert lines[1].startswith("framelet: no connection was left after ")
    assert report["seconds"] < 50


def test_no_server(framelet: FrameletCommand, scripted_server: Script) -> None:
    server = scripted_server()
    server.close()
    for options in ([], ["--connections", 4, "--processes", 2]):
        for command in ("bench", "send"):
            result = framelet(command, *server.arguments, *(options if command == "bench" else ()))
            assert result.returncode == 3
            assert result.stdout == b""
            assert result.stderr.startswith(b"Couldn't get connection to 127.0.0.1\nframelet://127.0.0.1:")
            assert b": Connection refused\n" in result.stderr
    scripted_server.servers.clear()


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("loop", [(), ("--rate", 500, "--window", 10)])
def test_an_interruption_reports_what_there_is(
    framelet: FrameletCommand, serve: Serve, processes: int, loop: tuple[object, ...]
) -> None:
    reached = threading.Event()

    def reach(text: str) -> str:
        reached.set()
        return text[::-1]

    server = serve(Every(100, reach))  # twenty of them are in flight at the most
    process = framelet.start(
        *("bench", server.address, "--json", "--duration", 60, "--warmup", 0),
        *("--connections", 2, "--processes", processes, *loop),
    )
    assert reached.wait(PATIENCE)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (-signal.SIGINT, b"")
    report = json.loads(stdout)
    assert report["interrupted"] is True
    assert report["requests"]["answered"] >= 79
    assert report["latency"]["count"] == report["requests"]["answered"]
    assert report["seconds"] < 50


def test_an_interruption_while_answers_are_overdue(
    framelet: FrameletCommand, serve: Serve, gate: Any
) -> None:
    process = framelet.start("bench", serve(lambda text: str(gate("block" + text))).address, "--count", 3)
    gate.await_entry()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (-signal.SIGINT, b"")
    assert stdout.endswith(b"interrupted, with 1 request in flight\n")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_a_process_of_the_load_generator_that_dies(framelet: FrameletCommand, serve: Serve) -> None:
    reached = threading.Event()

    def reach(text: str) -> str:
        reached.set()
        return text[::-1]

    process = framelet.start(
        "bench", serve(reach).address, "--duration", 60, "--connections", 2, "--processes", 2
    )
    assert reached.wait(PATIENCE)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    worker = next(child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes())
    os.kill(int(worker), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout) == (7, b"")
    assert stderr == b"framelet: error: a process of the load generator has died\n"
