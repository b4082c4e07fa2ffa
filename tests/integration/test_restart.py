"""Restart without loss: one server process ends under load and another begins, on the same socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet_client import Client, ClientError, ConnectError
from framelet_server.pool.admission import Admission

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .peers import Connect, Serve


class Load:
    """A client that asks one thing after the other, again where it got no answer, and is never refused."""

    def __init__(self, address: tuple[str, int], name: str) -> None:
        self.answered = 0
        self.again = 0
        self.fault: BaseException | None = None
        self.ended = threading.Event()
        self._address = address
        self._name = name
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self.ended.is_set():
                self._connected()
        except BaseException as fault:  # noqa: BLE001 - shown by the test
            self.fault = fault

    def _connected(self) -> None:
        with Client(*self._address) as client:  # a ConnectError is a fault
            while not self.ended.is_set():
                text = f"{self._name} asks {self.answered}"
                try:
                    answer = client.request(text)
                except ConnectError:
                    raise
                except ClientError:
                    self.again += 1
                    return
                assert answer == text[::-1]
                self.answered += 1


@pytest.fixture
def activate(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a server on a listening socket, as a service manager does that goes on holding it."""
    started: list[subprocess.Popen[str]] = []

    def start(sock: socket.socket, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                *("sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh"),
                *(sys.executable, "-m", "framelet_server", "--linger-timeout", "0.2", *arguments),
            ],
            env={**os.environ, "LISTEN_FDS": "1"},
            preexec_fn=lambda: os.dup2(sock.fileno(), 3),  # noqa: PLW1509 - the number matters; one call
            pass_fds=[3],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("framelet-server listening on "), line
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.req("REQ-STOP-6", "REQ-STOP-7")
@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_no_request_is_lost_and_no_client_refused(
    activate: Callable[..., subprocess.Popen[str]], workers: str
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
        first = activate(sock, "--workers", workers)
        loads = [Load(sock.getsockname(), f"client {number}") for number in range(8)]
        try:
            until(lambda: all(load.answered > 20 for load in loads))
            first.send_signal(signal.SIGTERM)
            assert first.wait(20) == 0
            # Nobody serves now; those who connect wait in the socket.
            second = activate(sock, "--workers", workers)
            before = [load.answered for load in loads]
            until(
                lambda: all(
                    load.answered > count + 20 or load.fault
                    for load, count in zip(loads, before, strict=True)
                )
            )
        finally:
            for load in loads:
                load.ended.set()
            for load in loads:
                load.join()
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0
    assert [load.fault for load in loads] == [None] * len(loads)
    # Each lost its connection in order, and had at most one thing to ask again: at a child that ended, and
    # perhaps once more at another that was about to.
    assert {load.again for load in loads} <= set(range(1, int(workers) + 1))


@pytest.mark.req("REQ-STOP-6", "REQ-STOP-7")
def test_a_client_that_comes_in_as_the_drain_begins_is_served(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter = Admission.enter
    drains: list[threading.Thread] = []

    def late(admission: Admission, peer: Any) -> Any:
        """Have the drain begin when a client has been accepted, but is not in yet."""
        drains.append(threading.Thread(target=server.begin_drain, args=("the test",)))
        drains[-1].start()
        drains[-1].join(0.2)  # it waits for us, or it is through
        return enter(admission, peer)

    server = serve(threads=2)
    monkeypatch.setattr(Admission, "enter", late)
    peer = connect(server)
    peer.request("ab")
    assert peer.replies(1) == ["ba"]
    assert peer.receive() is None
    for drain in drains:
        drain.join(20)
