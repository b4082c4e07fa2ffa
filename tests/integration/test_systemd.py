"""As a systemd service: sockets that are handed over, and what the manager is told."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.test_observability import endpoint_of, get, series

from framelet import ConfigurationError, FrameType, UnixAddress, encode
from framelet_client import Client
from framelet_server import EpollPoller, Server

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.integration.conftest import Command, Gate

    from .peers import Connect, Serve

    Start = Callable[..., Command]

DEPLOY = Path(__file__).parents[2] / "deploy"
STOP = encode(FrameType.STOP)
ACTIVATE = shutil.which("systemd-socket-activate")
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(
    ACTIVATE is None, reason="systemd-socket-activate is missing: install Debian's package systemd"
)

SHOW = """
import os, socket
def variables(text):
    return " ".join(name for name in os.environ if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_")))
def inheritable(text):
    return " ".join(name for name in os.listdir("/proc/self/fd") if int(name) > 2 and passes_on(int(name)))
def passes_on(number):
    try:
        return os.get_inheritable(number)
    except OSError:
        return False
"""


@contextlib.contextmanager
def started(arguments: list[str], **keywords: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive its test."""
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, **keywords) as process:
        try:
            yield process
        finally:
            process.kill()


class Manager:
    """The end of NOTIFY_SOCKET that a service manager holds."""

    def __init__(self, address: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.sock.settimeout(20)
        self.environment = {"NOTIFY_SOCKET": address}

    def hear(self, wanted: str) -> dict[str, str]:
        """The next message that holds an assignment; those before it are passed over."""
        while True:
            message = dict(line.split("=", 1) for line in self.sock.recv(65_536).decode().split("\n"))
            if wanted.split("=", maxsplit=1)[0] in message:
                assert "=" not in wanted or wanted in {f"{name}={value}" for name, value in message.items()}
                return message


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify"))
    yield found
    found.sock.close()


@pytest.fixture
def abstract_manager() -> Iterator[Manager]:
    """One at a name of Linux's that is no path, as systemd's own is in a container."""
    found = Manager(f"@framelet-test-{os.getpid()}")
    yield found
    found.sock.close()


class TestNotifying:
    """READY, STOPPING, RELOADING and WATCHDOG, on a socket as the manager's."""

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_ready_alive_and_stopping(self, command: Start, manager: Manager, workers: str) -> None:
        server = command("--workers", workers, env={**manager.environment, "WATCHDOG_USEC": "4000000"})
        ready = manager.hear("READY=1")
        address = server.address()
        assert ready["MAINPID"] == str(server.process.pid)
        assert address in ready["STATUS"]
        manager.hear("WATCHDOG=1")
        manager.hear("WATCHDOG=1")
        with Client(address) as client:
            client.stop()
        assert "sent STOP" in manager.hear("STOPPING=1")["STATUS"]
        status, log = server.finish()
        # A busy machine may hold the supervisor up for a quarter of so short a time, and it says so.
        assert (status, [line for line in log.splitlines() if "itself was held up" not in line]) == (0, [])

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_a_signal_is_told_as_well(self, command: Start, abstract_manager: Manager, workers: str) -> None:
        server = command("--workers", workers, env=abstract_manager.environment)
        abstract_manager.hear("READY=1")
        server.process.send_signal(signal.SIGTERM)
        assert "SIGTERM" in abstract_manager.hear("STOPPING=1")["STATUS"]
        assert server.finish() == (0, "")

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_a_reload_is_told_and_reaches_every_process(
        self, tmp_path: Path, manager: Manager, workers: str
    ) -> None:
        # There is nothing to reload by default; the program says what is.
        program = (
            "import os, sys, pathlib, framelet_server.cli.command as cli\n"
            "cli._ON_RELOAD = lambda: pathlib.Path(f'reloaded-{os.getpid()}').touch() or 1 / 0\n"
            "sys.exit(cli.main())"
        )
        with started(
            [sys.executable, "-c", program, "--workers", workers, "--unix", "server.sock"],
            cwd=tmp_path,
            env={**os.environ, **manager.environment},
        ) as process:
            manager.hear("READY=1")
            process.send_signal(signal.SIGHUP)
            assert manager.hear("RELOADING=1")["MONOTONIC_USEC"].isdigit()
            assert manager.hear("READY=1")
            assert len(list(tmp_path.glob("reloaded-*"))) == int(workers)
            with Client(f"unix:{tmp_path / 'server.sock'}") as client:
                assert client.request("serves on") == "no sevres"
                client.stop()
            _, log = process.communicate(timeout=20)
        assert process.returncode == 0
        assert log.count("cannot reload: division by zero") == int(workers)
        assert "Traceback" not in log


class Beats:
    """When a server was seen to make progress."""

    PERIOD = 0.25

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.count = 0

    def __call__(self) -> None:
        self.last = time.monotonic()
        self.count += 1

    def silent(self) -> bool:
        """Whether nothing has been heard for two periods."""
        return time.monotonic() - self.last > 2 * self.PERIOD

    def goes_on(self) -> None:
        """Wait for several signs more."""
        before = self.count
        until(lambda: self.count > before + 6)


class TestWatchdog:
    """A server that is stuck falls silent, and one that is busy does not."""

    def test_all_workers_in_slow_handlers_are_progress(
        self, serve: Serve, connect: Connect, gate: Gate, poller: Any
    ) -> None:
        server, beats = serve(gate, threads=2, poller=poller), Beats()
        server.watch(beats.PERIOD, beats)
        for _ in range(2):
            connect(server).request("block")
            gate.await_entry()
        beats.goes_on()
        gate.open()
        beats.goes_on()

    def test_a_worker_stuck_in_the_server_is_none(self, serve: Serve, connect: Connect, poller: Any) -> None:
        server, beats = serve(threads=2, poller=poller), Beats()
        server.watch(beats.PERIOD, beats)
        beats.goes_on()
        with server._running().admission._lock:  # for which the worker that accepts waits now
            peer = connect(server)
            until(beats.silent)
        assert peer.ask("ab") == "ba"
        beats.goes_on()

    def test_deadlines_that_are_stuck_are_none(self, serve: Serve) -> None:
        server, beats, release = serve(), Beats(), threading.Event()
        server.watch(beats.PERIOD, beats)

        def block() -> None:
            release.wait(20)

        server._running().context.timers.schedule(0.0, block)
        until(beats.silent)
        release.set()
        beats.goes_on()

    def test_a_poller_that_wakes_nobody_is_none(self, serve: Serve) -> None:
        class Deaf(EpollPoller):
            """Loses every readiness."""

            def __init__(self) -> None:
                super().__init__()
                self.ended = threading.Event()
                del self.poll  # that of epoll: the one below takes its place

            def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
                del timeout, most
                self.ended.wait()
                return []

            def close(self) -> None:
                self.closed = True
                self.ended.set()

        server, beats = serve(poller=Deaf), Beats()
        server.watch(beats.PERIOD, beats)
        until(beats.silent)
        assert beats.count < 5


class TestGivenSockets:
    """``Server(sockets=...)``."""

    def test_a_server_serves_them_all_and_closes_them(self, connect: Connect, tmp_path: Path) -> None:
        path = str(tmp_path / "given.sock")
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(path)
        unix.listen()
        tcp = socket.create_server(("127.0.0.1", 0))
        server = Server(sockets=[tcp, unix])
        with server:
            assert server.addresses[1] == UnixAddress(path)
            for address in server.addresses:
                peer = connect(address)
                assert peer.ask("ab") == "ba"
                peer.close()
        assert (tcp.fileno(), unix.fileno()) == (-1, -1)
        assert Path(path).exists()  # whoever made it may go on to use it

    @pytest.mark.req("REQ-STOP-1")
    def test_the_local_policy_goes_by_their_real_addresses(self, connect: Connect) -> None:
        local = socket.create_server(("127.0.0.1", 0))
        open_to_all = socket.create_server(("0.0.0.0", 0))  # noqa: S104 - what the policy must refuse
        with Server(sockets=[local, open_to_all]) as server:
            peer = connect(server.addresses[0])
            peer.send(STOP)
            assert peer.error() == 403
            peer.close()

    def test_sockets_that_cannot_be_served_are_refused(self) -> None:
        with (
            socket.socket(socket.AF_INET) as not_listening,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        ):
            for sock in (not_listening, datagrams):
                with pytest.raises(ConfigurationError, match="is not a listening TCP or unix stream socket"):
                    Server(sockets=[sock])
        with pytest.raises(ConfigurationError, match="either an address or sockets"):
            Server()
        with (
            socket.create_server(("127.0.0.1", 0)) as sock,
            pytest.raises(ConfigurationError, match="either an address or sockets"),
        ):
            Server(("127.0.0.1", 0), sockets=[sock])


def start_with(
    descriptor: Any, tmp_path: Path, *arguments: str, pid: str = "$$", **variables: str
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start the command with a descriptor as number 3, as a service manager does."""
    return started(
        [
            *("sh", "-c", f'export LISTEN_PID={pid}; exec "$@"', "sh"),
            *(sys.executable, "-m", "framelet_server", *arguments),
        ],
        env={**os.environ, "LISTEN_FDS": "1", **variables},
        preexec_fn=lambda: os.dup2(descriptor.fileno(), 3),
        pass_fds=[3],
        cwd=tmp_path,
    )


class TestActivation:
    """LISTEN_FDS, from systemd itself and from others who do not do it well."""

    @needs_systemd
    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_systemd_socket_activate(self, tmp_path: Path, workers: str) -> None:
        (tmp_path / "show.py").write_text(SHOW)
        path = tmp_path / "activated.sock"
        with started(
            [
                *(str(ACTIVATE), "--listen", str(path), "--fdname", "main"),
                *(sys.executable, "-m", "framelet_server", "--workers", workers, "--log-level", "info"),
                *("--handler", "show:variables", "--handle", "0xC0=show:inheritable"),
            ],
            cwd=tmp_path,
        ) as process:
            assert process.stderr is not None
            assert "Listening on" in process.stderr.readline()
            with Client(f"unix:{path}") as client:  # which starts the server
                assert client.request("") == ""
                assert client.send(0xC0, "") == ""
                assert process.stdout is not None
                assert process.stdout.readline() == f"framelet-server listening on unix:{path}\n"
                client.stop()
            _, log = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "1 sockets were handed over by LISTEN_FDS" in log
        assert path.exists()  # it is systemd's, and there may be another start

    def test_sockets_for_another_process_are_not_taken(self, tmp_path: Path) -> None:
        path = tmp_path / "own.sock"
        with (
            socket.create_server(("127.0.0.1", 0)) as sock,
            start_with(sock, tmp_path, "--unix", str(path), pid="1") as process,
        ):
            assert process.stdout is not None
            assert process.stdout.readline() == f"framelet-server listening on unix:{path}\n"
            with Client(f"unix:{path}") as client:
                client.stop()
            assert process.wait(20) == 0

    @pytest.mark.parametrize(
        ("kind", "arguments", "words"),
        [
            ("listening", ("--port", "0"), "cannot be combined with the sockets of LISTEN_FDS"),
            ("listening", ("--unix", "x", "--workers", "2"), "cannot be combined"),
            ("file", (), "file descriptor 3 (web) was handed over, but is not a socket: Socket operation on"),
            ("datagram", (), "file descriptor 3 is not a listening TCP or unix stream"),
            (
                "datagram",
                ("--workers", "2"),
                "file descriptor 3 is not a listening TCP or unix stream",
            ),
            ("connected", (), "file descriptor 3 is not a listening TCP or unix stream"),
        ],
    )
    def test_what_cannot_be_served_costs_one_line_and_status_2(
        self, tmp_path: Path, kind: str, arguments: tuple[str, ...], words: str
    ) -> None:
        ours, theirs = socket.socketpair()
        make: dict[str, Callable[[], Any]] = {
            "listening": lambda: socket.create_server(("127.0.0.1", 0)),
            "file": lambda: (tmp_path / "file").open("w"),
            "datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "connected": lambda: theirs,
        }
        with (
            ours,
            theirs,
            make[kind]() as descriptor,
            start_with(descriptor, tmp_path, *arguments, LISTEN_FDNAMES="web") as process,
        ):
            output, log = process.communicate(timeout=20)
        assert (process.returncode, output) == (2, "")
        assert words in log
        assert log.count("\n") == 1


def test_the_unit_starts_several_processes_with_one_endpoint(command: Start) -> None:
    unit = (DEPLOY / "framelet.service").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    _, *arguments = shlex.split(line)
    assert int(arguments[arguments.index("--workers") + 1]) > 1
    arguments[arguments.index("--metrics") + 1] = "0"
    server = command(*arguments)
    with Client(server.address()) as client:
        assert client.request("ab") == "ba"
    page = series(get(endpoint_of(server), "/metrics")[1])
    assert page["framelet_frames_total"] == 1
    assert page["framelet_worker_up[1]"] == page["framelet_worker_up[2]"] == 1
    server.process.terminate()
    assert server.finish()[0] == 0


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is missing: install Debian's package systemd")
def test_systemd_finds_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    for name in ("framelet.socket", "framelet.service"):
        text = (DEPLOY / name).read_text(encoding="utf-8")
        # What the unit starts is not installed where the tests run.
        (tmp_path / name).write_text(text.replace("/usr/local/bin/framelet-server", sys.executable))
    checked = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", *map(str, tmp_path.iterdir())],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
