"""Targets that cannot be tested: a clear word, status 3, and no waiting for ever."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from framelet_conformance.wire.log import Log

if TYPE_CHECKING:
    from pathlib import Path

Fixture = Any
SHORT = ("--time-scale", "0.3")

LONG = 100
"""Seconds in which a hopeless run has ended on the busiest machine; on a free one it takes one or two."""


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_unreachable(suite: Fixture) -> None:
    run = suite("server", f"127.0.0.1:{closed_port()}", *SHORT)
    assert run.status == 3
    assert "cannot connect" in run.output
    assert run.seconds < LONG


@pytest.mark.slow
def test_a_name_that_does_not_exist(suite: Fixture) -> None:
    run = suite("server", "no-such-host.invalid:1", *SHORT)
    assert run.status == 3
    assert run.seconds < LONG


def hang(sock: socket.socket, _: int) -> None:
    while sock.recv(65_536):
        pass


def close_at_once(sock: socket.socket, _: int) -> None:
    sock.close()


def flood(sock: socket.socket, _: int) -> None:
    while True:
        sock.sendall(b"\x02\xff\xff\xff\xff" + bytes(65_536))


def trickle(sock: socket.socket, _: int) -> None:
    stop = time.monotonic() + 60
    while time.monotonic() < stop:
        sock.sendall(b"\x02")
        if sock.fileno() < 0:
            return
        threading.Event().wait(0.05)


def test_one_that_begins_wrong_is_judged_by_the_cases(suite: Fixture, fake: Fixture, polite: Fixture) -> None:
    wrong = fake(lambda sock, _: polite(sock, reply=str.upper)).address
    run = suite("server", wrong, *SHORT, "--only", "vector.reversal-*.whole")
    assert run.status == 1
    assert "REQ-REV-1" in run.output
    assert "went wrong" in run.report["facts"]["the first plain conversation"]
    silent_on_it = suite("server", wrong, *SHORT, "--only", "order.first-ping")
    assert silent_on_it.verdicts == {"order.first-ping": "pass"}
    assert silent_on_it.status == 3
    assert "no case shows what is wrong" in silent_on_it.output


def speak_first(sock: socket.socket, number: int) -> None:
    sock.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
    hang(sock, number)


OTHERS = (hang, close_at_once, trickle, speak_first)


@pytest.mark.parametrize("serve", [flood, *(pytest.param(other, marks=pytest.mark.slow) for other in OTHERS)])
def test_no_sane_conversation(suite: Fixture, fake: Fixture, serve: Any) -> None:
    run = suite("server", fake(serve).address, *SHORT)
    assert run.status == 3
    assert "cannot be tested" in run.output
    assert run.seconds < LONG


@pytest.mark.slow
def test_what_is_sent_without_end_is_kept_in_part(suite: Fixture, fake: Fixture, tmp_path: Path) -> None:
    sent = []

    def talk(sock: socket.socket, _: int) -> None:
        sock.recv(65_536)
        while True:
            sock.sendall(b"\x02\0\0\0\3cba" * 8_192)
            sent.append(8 * 8_192)

    run = suite("server", fake(talk).address, *SHORT, "--only", "REQ-REV-2")
    assert run.status == 1
    assert sum(sent) > 1 << 24
    replays = [json.loads(file.read_text()) for file in (tmp_path / "replays").iterdir()]
    assert all(len(bytes.fromhex(replay["observed"])) <= 65_536 for replay in replays)
    assert max(replay["observed_octets"] for replay in replays) > 65_536
    log = Log()
    for _ in range(100):
        log.octets("received", b"x" * 65_536)
    assert (len(log.stream("received")), log.size("received")) == (1 << 18, 6_553_600)


@pytest.mark.slow
def test_one_that_dies_half_way(suite: Fixture, fake: Fixture, polite: Fixture) -> None:
    servers: list[Any] = []

    def serve(sock: socket.socket, number: int) -> None:
        if number > 30:
            servers[0].close()
            return
        polite(sock)

    servers.append(fake(serve))
    run = suite("server", servers[0].address, *SHORT, "--only", "vector.utf8-*")
    assert run.status == 3
    assert "sanity conversation" in run.output
    assert run.report["counts"]["setup-error"] > 500
    assert run.seconds < LONG


def test_one_that_hangs_half_way(suite: Fixture, fake: Fixture, polite: Fixture) -> None:
    def serve(sock: socket.socket, number: int) -> None:
        if number > 30:
            hang(sock, number)
        polite(sock)

    run = suite("server", fake(serve).address, *SHORT, "--only", "vector.utf8-*")
    assert run.status == 3
    assert "sanity conversation" in run.output
    assert run.seconds < LONG


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("no-such-program {port}", "cannot start"),
        pytest.param("sh -c 'echo broken >&2; exit 7' {port}", "ended with status 7", marks=pytest.mark.slow),
        pytest.param("sleep 1000 # {port}", "ended with status 1", marks=pytest.mark.slow),
        pytest.param("sh -c 'sleep 1000' {port}", "does not listen", marks=pytest.mark.slow),
    ],
)
def test_a_command_that_launches_nothing(suite: Fixture, command: str, words: str) -> None:
    run = suite("server", "--launch", command, *SHORT)
    assert run.status == 3
    assert words in run.output
    assert run.seconds < LONG
