"""Errors that do not pass: whatever meets one tries again after a pause, says so, and goes on once it can."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.test_observability import get
from tests.integration.test_systemd import Manager

from framelet import parse_address
from framelet_server import EpollPoller, Server, ServerLimits
from framelet_server.pool.memory import MemoryBudget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Command, Peer

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]
    Start = Callable[..., Command]
    Until = Callable[[Callable[[], object]], None]

FEW = 40
"""Descriptors that the server may have; its own are about a dozen of them."""

SECONDS = 1.0
"""Of watching, in which what spins comes round ten thousand times, or uses all of a core."""

SOME = 100
"""Rounds in that time, at the most, of what pauses."""


def allow_few() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW))


def rounds_of(count: Callable[[], int]) -> int:
    before = count()
    threading.Event().wait(SECONDS)  # what happens in this time is what is measured
    return count() - before


def cpu_ticks(pid: int) -> int:
    """Processor time that a process has used, in hundredths of a second."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - of the system's own
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 100 // os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("threads", [1, 4])
def test_a_listening_socket_that_another_holder_shuts_down(
    connect: Connect,
    until: Until,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
) -> None:
    tries = 0
    accept = socket.socket.accept

    def counted(self: socket.socket) -> Any:
        nonlocal tries
        tries += 1
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", counted)
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    with (
        listening[0].dup() as held,
        Server(sockets=listening, limits=ServerLimits(threads=threads)) as server,
    ):
        first = connect(server.addresses[0])
        assert first.ask("ab") == "ba"
        held.shutdown(socket.SHUT_RDWR)
        until(lambda: "cannot accept: Invalid argument" in caplog.text)
        assert rounds_of(lambda: tries) < SOME
        assert [first.ask("ab"), connect(server.addresses[1]).ask("ab")] == ["ba", "ba"]
        held.listen()
        again = parse_address(*held.getsockname())  # the system may choose another port
        until(lambda: connect(again).ask("ab") == "ba")
        assert caplog.text.count("cannot accept") == 1


def test_an_error_of_one_client_that_never_ends(
    serve: Serve,
    connect: Connect,
    until: Until,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accept, failing, tries = socket.socket.accept, False, 0
    deciding = threading.Lock()  # a worker that is about to look for more clients must not take the next one

    def refused(self: socket.socket) -> Any:
        nonlocal tries
        with deciding:
            if not failing:
                return accept(self)
            tries += 1
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(socket.socket, "accept", refused)
    server = serve()
    assert connect(server).ask("ab") == "ba"
    with deciding:
        failing = True
    waiting = connect(server)
    waiting.request("ab")
    until(lambda: "cannot accept: Operation not permitted" in caplog.text)
    assert rounds_of(lambda: tries) < SOME
    failing = False
    assert waiting.take(1)[0].body == b"ba"


def test_a_poller_that_cannot_wait(
    serve: Serve, connect: Connect, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    broken, tries = False, 0

    class Breaking(EpollPoller):
        def __init__(self) -> None:
            super().__init__()
            poll = self.poll

            def breaking(timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
                nonlocal tries
                if broken:
                    tries += 1
                    raise OSError(errno.EINVAL, "broken")
                return poll(timeout, maxevents)

            self.poll = breaking

    server = serve(poller=Breaking)
    peer = connect(server)
    assert peer.ask("ab") == "ba"
    broken = True
    peer.request("ab")
    until(lambda: tries > 10)
    assert rounds_of(lambda: tries) < SOME
    assert 1 <= caplog.text.count("a worker failed in its turn") <= 20
    broken = False
    assert peer.take(1)[0].body == b"ba"
    assert connect(server).ask("ab") == "ba"


def test_metrics_and_signs_of_life_without_descriptors(
    command: Start, connect: Connect, until: Until, tmp_path: Path
) -> None:
    manager = Manager(str(tmp_path / "notify"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = f"127.0.0.1:{port}"
    server = command(
        *("--max-connections", "1000", "--metrics", str(port)),
        env={**manager.environment, "WATCHDOG_USEC": "2000000"},
        preexec_fn=allow_few,
    )
    address = parse_address(server.address())
    crowd = [connect(address) for _ in range(100)]
    until(lambda: any("cannot accept" in line for line in server.errors))
    with socket.create_connection(("127.0.0.1", port)) as asking:
        asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        until(lambda: any("metrics: cannot accept: Too many open files" in line for line in server.errors))
        assert rounds_of(lambda: cpu_ticks(server.process.pid)) < 50

        manager.sock.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                manager.sock.recv(65_536)  # from before
        manager.sock.settimeout(20)
        for _ in range(3):
            manager.hear("WATCHDOG=1")
        for peer in crowd:
            peer.close()
        asking.settimeout(20)
        assert asking.recv(12) == b"HTTP/1.0 200"
    assert get(where, "/healthz") == (200, "ready\n")
    manager.sock.close()


def test_a_budget_that_is_crossed_again_and_again_has_one_timer() -> None:
    class Timers:
        def __init__(self) -> None:
            self.due: list[Any] = []

        def schedule(self, when: float, callback: Any) -> None:
            assert callback.__name__ != "_relieve" or when > time.monotonic()
            self.due.append(callback)

    class Log:
        def warning(self, *told: object) -> None: ...

    timers: Any = Timers()
    log: Any = Log()
    budget, holder = MemoryBudget(1_000, timers, log), Any
    for _ in range(1_000):
        budget.note(holder, 1_200)  # type: ignore[arg-type]  # nobody is called
        budget.note(holder, 0)  # type: ignore[arg-type]
    kinds = {"_relieve", "_shed_largest", "_tell_heap"}
    assert sorted(callback.__name__ for callback in timers.due) == sorted(kinds)
    due, timers.due = timers.due, []
    for callback in due:
        callback()
    budget.note(holder, 1_100)  # type: ignore[arg-type]
    assert {callback.__name__ for callback in timers.due} == kinds - {"_shed_largest"}


def test_a_socket_that_cannot_be_watched_leaves_nothing_in_the_poller(tmp_path: Path) -> None:
    poller = EpollPoller()
    with (tmp_path / "file").open("wb") as file, pytest.raises(PermissionError):
        poller.add(file, object(), read=True, write=False)  # type: ignore[arg-type]  # epoll takes no files
    assert not poller.owners
    poller.release()
