"""Forks of the server's process: they do nothing to it, and it goes on as if they were not there."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.children import lives
from tests.integration.peers import sessions
from tests.integration.scripted import PATIENCE, fork

from framelet import FrameType, TcpAddress, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Peer

    from framelet_server import Server

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]

PROGRAM = """
import logging, os, sys, warnings
import framelet_server
from framelet_client import Client
warnings.simplefilter("ignore")
logging.basicConfig(format="%(message)s", stream=sys.stdout)
poller = getattr(framelet_server, sys.argv[2])
with framelet_server.Server(sys.argv[1], poller=poller) as server:
    with framelet_server.Endpoint(server), Client(server.address) as client:
        assert client.request("ab") == "ba"
        child = os.fork()
        if not child:
            assert not server.health.alive
            server.stop()
            sys.exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        assert client.request("cd") == "dc"
    with Client(server.address) as client:
        assert client.request("ef") == "fe"
print(server.health.words)
"""


def test_a_fork_that_stops_and_exits_does_nothing_to_the_server(
    listen_on: Any, poller: Any, tmp_path: Path
) -> None:
    where = listen_on if isinstance(listen_on, str) else str(TcpAddress(*listen_on))
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, where, poller.__name__],
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=tmp_path,
    )
    left, ended = found.stdout.splitlines()
    assert left.endswith("leaves the server to the process that it was forked from")
    assert (ended, found.stderr) == ("ended", "")


def test_a_fork_keeps_no_port_and_no_client(serve: Serve, connect: Connect, poller: Any) -> None:
    server = serve(poller=poller)
    peer = connect(server)
    assert peer.ask("ab") == "ba"
    reader, writer = os.pipe()

    def child() -> None:
        os.close(writer)
        os.read(reader, 1)  # until the test is over, or has failed

    process = fork(child)
    os.close(reader)
    try:
        server.begin_drain()
        assert peer.receive() is None
        peer.close()
        assert server.wait(PATIENCE)
        assert isinstance(server.address, TcpAddress)
        socket.create_server(server.address).close()
    finally:
        os.close(writer)
        assert os.waitpid(process, 0)[1] == 0


@pytest.mark.parametrize("end", ["return", "exit"])
@pytest.mark.parametrize("executor", [(), ("--executor", "thread:1"), ("--executor", "process:1")])
def test_a_handler_whose_fork_comes_back_answers_once(  # noqa: PLR0913, PLR0917 - fixtures and parameters
    command: Callable[..., Any],
    connect: Connect,
    tmp_path: Path,
    until: Any,
    executor: tuple[str, ...],
    end: str,
) -> None:
    (tmp_path / "forking.py").write_text(
        "import os, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "def handler(text):\n"
        "    child = os.fork()\n"
        f"    if not child and {end == 'exit'}:\n"
        "        sys.exit()\n"
        "    return str(child)\n"
    )
    server = command("--handler", "forking:handler", *executor)
    peer = connect(server.address())
    pids = [int(peer.ask("ab")) for _ in range(3)]
    assert all(pids)
    until(lambda: not any(map(lives, pids)))
    if "process:1" not in executor:  # where nobody has set up a log
        until(lambda: sum("was forked by a handler and returned" in line for line in server.errors) == 3)
    assert peer.ask("ab") != "0"
    server.process.terminate()
    assert server.finish()[0] == 0


IN_A_LOOP = """
import asyncio, os, sys, warnings
from framelet_server.asyncio import serve
warnings.simplefilter("ignore")
async def handler(text):
    child = os.fork()
    await asyncio.sleep(0)
    return str(child)
async def main():
    async with serve(handler, sys.argv[1]) as server:
        print("serves", flush=True)
        await server.wait()
    print("ended")
asyncio.run(main())
"""


def test_a_task_whose_fork_comes_back_answers_once(connect: Connect, until: Any, tmp_path: Path) -> None:
    where = f"unix:{tmp_path / 'socket'}"
    with subprocess.Popen([sys.executable, "-c", IN_A_LOOP, where], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"serves\n"
            peer = connect(where)
            pids = [int(peer.ask("ab")) for _ in range(3)]
            assert all(pids)
            until(lambda: not any(map(lives, pids)))
            peer.send(encode(FrameType.STOP))
            assert [frame.type for frame in peer.rest()] == [FrameType.STOPPED]
            peer.close()
            assert process.communicate(timeout=PATIENCE)[0] == b"ended\n"
        finally:
            process.kill()


@pytest.mark.parametrize("executor", [None, "thread"])
def test_a_lock_that_another_thread_held_does_not_keep_a_fork(
    serve: Serve, connect: Connect, until: Any, executor: str | None
) -> None:
    pids: list[int] = []

    def handler(text: str) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pids.append(os.fork())
        return text

    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1)) if executor else None
        server = serve(handler, executor=pool)
        peer = connect(server)
        for worker in server._running().workers.all:
            stack.enter_context(worker.calls.lock)
        peer.request("ab")
        until(lambda: pids)
        until(lambda: os.waitpid(pids[0], os.WNOHANG)[0])
        stack.close()
        assert peer.replies(1) == ["ab"]


HOLDING = """
import os, pathlib, time, warnings
warnings.simplefilter("ignore")
def handler(text):
    child = os.fork()
    if not child:
        while not pathlib.Path("over").exists():
            time.sleep(0.01)
        os._exit(0)
    return f"{os.getpid()} {child}"
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_fork_has_nothing_of_the_server_open(
    command: Callable[..., Any], connect: Connect, until: Any, tmp_path: Path, workers: str
) -> None:
    (tmp_path / "holding.py").write_text(HOLDING)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "manager"))
        server = command(
            *("--handler", "holding:handler", "--workers", workers, "--metrics", "0"),
            env={"NOTIFY_SOCKET": str(tmp_path / "manager")},
        )
        peer = connect(server.address())
        parent, child = map(int, peer.ask("ab").split())
        try:
            assert opened(parent)
            until(lambda: not opened(child))
        finally:
            (tmp_path / "over").touch()
        peer.close()
        server.process.terminate()
        assert server.finish()[0] == 0


def opened(pid: int) -> list[str]:
    """Sockets and pipes of a process, its standard streams apart."""
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            names += [str(link.readlink())] if int(link.name) > 2 else []
    return [name for name in names if name.startswith(("socket:", "pipe:", "anon_inode:[eventpoll]"))]


def test_a_socket_that_something_else_has_closed_costs_its_client_alone(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_fork(status: int) -> None:
        raise AssertionError(status)

    monkeypatch.setattr(os, "_exit", no_fork)

    def handler(text: str) -> str:
        if text == "close":
            for session in sessions(server):
                session.transport.sock.close()
        return text

    server = serve(handler)
    peer, other = connect(server), connect(server)
    assert other.ask("ab") == "ab"
    peer.request("close")
    with contextlib.suppress(ConnectionError):
        assert peer.receive() is None
    late = connect(server)
    assert late.ask("ab") == "ab"
    server.begin_drain()  # which tells the other one, too
    assert late.receive() is None
    late.close()
    assert server.wait(PATIENCE)
    assert server.metrics().connections_ended == {"lost": 1, "cut": 1, "drain": 1}


def test_a_registration_that_is_lost_is_no_error(serve: Serve, connect: Connect) -> None:
    server = serve(threads=1)
    peer = connect(server)
    assert peer.ask("ab") == "ba"
    poller = server._running().context.poller
    for number in poller.owners:
        poller._epoll.unregister(number)  # type: ignore[attr-defined]  # of Linux
    server.begin_drain()
    assert peer.receive() is None
    peer.close()
    assert server.wait(PATIENCE)
