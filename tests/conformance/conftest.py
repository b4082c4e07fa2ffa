"""Peers for the suite's own tests: small, and wrong in one way each."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LONGEST = 100.0  # seconds that a run of the suite may take in any test


class Run(NamedTuple):
    """What a run of the suite printed and how it ended."""

    status: int
    output: str
    errors: str
    seconds: float
    report: dict[str, Any]

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict of each case."""
        return {case["id"]: case["verdict"] for case in self.report["cases"]}


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., Run]:
    """Runs the suite's command with some arguments."""

    def run(*arguments: str) -> Run:
        report = tmp_path / "report.json"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "framelet_conformance", *arguments]
        if "--list" not in arguments and len(arguments) > 1:
            command += ["--report-json", str(report), "--replay-dir", str(tmp_path / "replays")]
        began = time.monotonic()
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST, check=False, env=dict(os.environ)
        )
        seconds = time.monotonic() - began
        assert "Traceback" not in done.stdout + done.stderr
        found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
        return Run(done.returncode, done.stdout, done.stderr, seconds, found)

    return run


class Fake:
    """A server that serves each connection as a function does; the function gets its number, from 0."""

    def __init__(self, serve: Callable[[socket.socket, int], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(sock, self._count), daemon=True).start()
            self._count += 1

    def _run(self, sock: socket.socket, number: int) -> None:
        with sock, contextlib.suppress(OSError):
            self._serve(sock, number)

    def close(self) -> None:
        # A blocked accept keeps a closed listener alive; shutting it down wakes it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def fake() -> Iterator[Callable[[Callable[[socket.socket, int], None]], Fake]]:
    """Makes fake servers, and closes them."""
    made: list[Fake] = []

    def make(serve: Callable[[socket.socket, int], None]) -> Fake:
        made.append(Fake(serve))
        return made[-1]

    yield make
    for server in made:
        server.close()


def frames(sock: socket.socket) -> Iterator[tuple[int, bytes]]:
    """The frames that come, until the stream ends."""
    data = b""
    while True:
        while len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5], "big"):
            end = 5 + int.from_bytes(data[1:5], "big")
            yield data[0], data[5:end]
            data = data[end:]
        piece = sock.recv(65_536)
        if not piece:
            return
        data += piece


def send(sock: socket.socket, frame_type: int, body: bytes) -> None:
    sock.sendall(bytes([frame_type]) + len(body).to_bytes(4, "big") + body)


class Manners(NamedTuple):
    """How a fake answers; each default is right."""

    reply: Callable[[str], str] = lambda text: text[::-1]
    pong: Callable[[bytes], bytes] = lambda body: body
    error: bytes = b"400 ill-formed"
    unknown: bytes | None = b"501 unknown"
    hello: bytes = b"framelet/1 max-body=65536"


@pytest.fixture
def polite() -> Callable[..., None]:  # noqa: C901 - a branch for each type
    """Serves a connection by hand, with the given manners: enough of the protocol for a few cases."""

    def serve(sock: socket.socket, **manners: Any) -> None:
        how = Manners(**manners)
        for frame_type, body in frames(sock):
            if frame_type == 1:
                try:
                    send(sock, 2, how.reply(body.decode()).encode())
                except UnicodeDecodeError:
                    send(sock, 5, how.error)
            elif frame_type == 6:
                send(sock, 7, how.pong(body))
            elif frame_type == 8:
                send(sock, 8, how.hello)
            elif frame_type >= 0xC0:
                send(sock, 5, b"404 no handler")
            elif frame_type < 0x80:
                if how.unknown is not None:
                    send(sock, 5, how.unknown)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65_536):
                    pass
                return

    return serve


@pytest.fixture(scope="session")
def server_address() -> Iterator[str]:
    """This project's server, as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "framelet_server", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    yield line.rsplit("/", 1)[1].strip()
    process.terminate()
    process.wait(20)
    process.stdout.close()
