"""Fixtures for tests with real sockets and processes."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from framelet import Address, UnixAddress, parse_address
from framelet_server import EpollPoller, SelectorPoller, Server, ServerLimits

from . import scripted
from .peers import Command, FrameletCommand, Gate, LoopServer, Peer
from .scripted import PATIENCE, Script, ScriptedServer, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPARE_DESCRIPTORS = 200
"""For everything but the connections of a test."""

__all__ = ["Command", "FrameletCommand", "Gate", "Peer", "Script", "ScriptedServer", "Step"]


@pytest.fixture
def scripted_server(tmp_path: Path) -> Iterator[Script]:
    """``scripted_server(step, ..., unix=False)`` starts a server that plays a script to each client."""
    script = Script(tmp_path)
    yield script
    for server in script.servers:
        server.close()


@pytest.fixture
def address() -> Iterator[Address]:
    """Where a real server reverses texts."""
    with Server(("127.0.0.1", 0)) as server:
        yield server.address


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that is taken, but on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def framelet() -> FrameletCommand:
    """``framelet(argument, ..., input=b"...")`` runs the command line and returns how it ended."""
    return FrameletCommand()


@pytest.fixture
def room() -> Iterator[Callable[[int], int]]:
    """Raise the limit of descriptors for as many connections, both ends of them, as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def make(connections: int) -> int:
        wanted = 2 * connections + SPARE_DESCRIPTORS
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
        possible = min(connections, (allowed - SPARE_DESCRIPTORS) // 2)
        if possible < connections:
            print(f"{possible} connections instead of {connections}: the limit is {allowed} descriptors")  # noqa: T201 - says what was tested
        return possible

    yield make
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(params=[EpollPoller, pytest.param(SelectorPoller, marks=pytest.mark.slow)])
def poller(request: pytest.FixtureRequest) -> Any:
    """Each kind of poller; that they do the same is what test_poller shows."""
    return request.param


@pytest.fixture(params=["tcp4", "tcp6", "unix"])
def listen_on(request: pytest.FixtureRequest, tmp_path: Path) -> str | tuple[str, int]:
    """An address of each kind, as a program gives it to a server."""
    if request.param == "unix":
        return f"unix:{tmp_path / 'server.sock'}"
    return ("127.0.0.1" if request.param == "tcp4" else "::1", 0)


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], None]:
    """Wait until a condition holds."""
    return scripted.until


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Start servers: on a free port of 127.0.0.1 unless told otherwise; keywords of ServerLimits are taken.

    With ``in_loop``, or the option ``--in-loop``, the server runs inside an asyncio loop.
    Clients that a test leaves open would cost it the linger timeout of 2 seconds, so that is shorter here.
    """
    started: list[Any] = []
    always: Any = request.config.getoption("--in-loop")

    def start(*args: Any, address: Any = ("127.0.0.1", 0), in_loop: bool = always, **keywords: Any) -> Any:
        kind: Any = LoopServer if in_loop else Server
        names = {info.name for info in ServerLimits.describe()}
        chosen = {name: keywords.pop(name) for name in names & keywords.keys()}
        limits = ServerLimits(**{"linger_timeout": 0.2, **chosen})
        server = kind(address, *args, limits=limits, **keywords)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.begin_drain()
        server.force()
    for server in started:
        assert server.wait(PATIENCE), "the server did not end"
        assert server.stuck == 0


@pytest.fixture
def connect(serve: object) -> Iterator[Callable[..., Peer]]:
    """Connect to a server, an address, or an address as printed, with socket options set before.

    ``source`` is the address to come from: any of 127.0.0.0/8 is this machine's.
    """
    del serve  # asked for so that the clients are gone before the servers are stopped
    peers: list[Peer] = []

    def open_peer(where: Server | Address | str, *options: tuple[int, int, int], source: str = "") -> Peer:
        address = where.address if isinstance(where, (Server, LoopServer)) else where
        address = parse_address(address) if isinstance(address, str) else address
        if isinstance(address, UnixAddress):
            target: Any = address.path
            sock = socket.socket(socket.AF_UNIX)
        else:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            target = (address.host, address.port)
            sock = socket.socket(family)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(sock)
        peers.append(peer)
        for option in options:
            sock.setsockopt(*option)
        if source:
            sock.bind((source, 0))
        sock.connect(target)
        return peer

    yield open_peer
    for peer in peers:
        peer.close()


@pytest.fixture
def connect_tls(connect: Callable[..., Peer], certificates: Any, tls_socket: Any) -> Callable[..., Peer]:
    """Connect to a server, speak TLS, and trust the authority; takes attributes of the ``ssl.SSLContext``."""

    def open_peer(where: Server | Address | str, *, step: int = 65_536, **settings: Any) -> Peer:
        sock = tls_socket(connect(where).sock, certificates.context(**settings), step=step)
        sock.do_handshake()
        return Peer(sock)

    return open_peer


@pytest.fixture
def gate(serve: object) -> Iterator[Gate]:
    """A handler that blocks; opened at the latest before its server is stopped."""
    del serve
    handler = Gate()
    yield handler
    handler.open()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Start ``python -m framelet_server`` in an empty directory, by default with ``--port 0``.

    ``program`` is Python that goes before it, in the supervisor and in each child.
    """
    commands: list[Command] = []

    def start(
        *args: str, env: dict[str, str | bytes] | None = None, program: str = "", **keywords: Any
    ) -> Command:
        addressed = {"--host", "--port", "--unix"} & set(args)
        main = f"{program}\nimport sys\nfrom framelet_server.cli import command\nsys.exit(command.main())"
        process = subprocess.Popen(
            [
                *(sys.executable, *(("-c", main) if program else ("-m", "framelet_server"))),
                *(*args, *([] if addressed else ["--port", "0"])),
            ],
            stdin=subprocess.DEVNULL,
            stdout=keywords.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            **keywords,
        )
        commands.append(Command(process))
        return commands[-1]

    yield start
    for started in commands:
        started.kill()
