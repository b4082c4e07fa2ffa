"""Targets that cannot be tested: a clear word, status 3, and no waiting for ever."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

Fixture = Any
SHORT = ("--time-scale", "0.3")


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_unreachable(suite: Fixture) -> None:
    run = suite("server", f"127.0.0.1:{closed_port()}", *SHORT)
    assert run.status == 3
    assert "cannot connect" in run.output
    assert run.seconds < 10


def test_a_name_that_does_not_exist(suite: Fixture) -> None:
    run = suite("server", "no-such-host.invalid:1", *SHORT)
    assert run.status == 3
    assert run.seconds < 30


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


@pytest.mark.parametrize("serve", [hang, close_at_once, flood, trickle, speak_first])
def test_no_sane_conversation(suite: Fixture, fake: Fixture, serve: Any) -> None:
    run = suite("server", fake(serve).address, *SHORT)
    assert run.status == 3
    assert "cannot be tested" in run.output
    assert run.seconds < 40


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
    assert run.seconds < 40


def test_one_that_hangs_half_way(suite: Fixture, fake: Fixture, polite: Fixture) -> None:
    def serve(sock: socket.socket, number: int) -> None:
        if number > 30:
            hang(sock, number)
        polite(sock)

    run = suite("server", fake(serve).address, *SHORT, "--only", "vector.utf8-*")
    assert run.status == 3
    assert "sanity conversation" in run.output
    assert run.seconds < 40


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("no-such-program {port}", "cannot start"),
        ("sh -c 'echo broken >&2; exit 7' {port}", "ended with status 7"),
        ("sleep 1000 # {port}", "ended with status 1"),
        ("sh -c 'sleep 1000' {port}", "does not listen"),
    ],
)
def test_a_command_that_launches_nothing(suite: Fixture, command: str, words: str) -> None:
    run = suite("server", "--launch", command, *SHORT)
    assert run.status == 3
    assert words in run.output
    assert run.seconds < 20
