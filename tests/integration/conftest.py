"""Fixtures for tests with real sockets and processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

import pytest

from framelet import (
    Address,
    Frame,
    FrameDecoder,
    FrameType,
    RequestReceived,
    ServerConnection,
    ServerLimits,
    UnixAddress,
    decode_text,
    encode,
    encode_text,
    parse_address,
    reverse,
)
from framelet.limits import MAX_LENGTH
from framelet_server import EpollPoller, SelectorPoller, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 20.0
"""Seconds after which a test that waits for something has failed."""

Step = bytes | int | threading.Event | Callable[[socket.socket], object]


# A scripted server: what no real server would do.


class ScriptedServer:
    """Listens, and plays the same script to every client, one after the other.

    The steps of a script: octets are sent; a number of octets is received; an event is set; a function is
    called with the socket.  After the last step the server reads until the client closes.
    """

    def __init__(self, listener: socket.socket, steps: tuple[Step, ...]) -> None:
        self.address = listener.getsockname()
        self.received = bytearray()
        self.faults: list[BaseException] = []
        self._listener = listener
        self._steps = steps
        self._thread = threading.Thread(target=self._serve, name="scripted-server")
        self._thread.start()

    @property
    def host(self) -> str:
        return str(UnixAddress(self.address)) if isinstance(self.address, str) else str(self.address[0])

    @property
    def port(self) -> int | None:
        return None if isinstance(self.address, str) else int(self.address[1])

    @property
    def arguments(self) -> tuple[str, ...]:
        """Host and port for the command line."""
        return (self.host,) if self.port is None else (self.host, str(self.port))

    def close(self) -> None:
        """Stop listening, and see that the script went as it should."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()
        assert not self._thread.is_alive(), "the script does not end"
        for fault in self.faults:
            raise fault

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(PATIENCE)
                try:
                    self._play(client)
                except BaseException as fault:  # noqa: BLE001 - raised again by close
                    self.faults.append(fault)

    def _play(self, client: socket.socket) -> None:
        for step in self._steps:
            if isinstance(step, bytes):
                client.sendall(step)
            elif isinstance(step, int):
                self.received += receive(client, step)
            elif isinstance(step, threading.Event):
                step.set()
            elif callable(step):
                step(client)
        if client.fileno() >= 0:
            self._read_to_the_end(client)

    def _read_to_the_end(self, client: socket.socket) -> None:
        try:
            while data := client.recv(65_536):
                self.received += data
        except ConnectionError:
            return  # the client did not want what was left


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly so many octets."""
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"the stream ended after {len(data)} of {size} octets: {bytes(data)!r}"
        data += piece
    return bytes(data)


def fin(sock: socket.socket) -> None:
    """A step: close the sending direction."""
    sock.shutdown(socket.SHUT_WR)


def rst(sock: socket.socket) -> None:
    """A step: reset the connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def close(sock: socket.socket) -> None:
    """A step: close at once; a reset, where something is unread."""
    sock.close()


def taken(sock: socket.socket) -> None:
    """A step for unix sockets: wait until the client has taken everything that was sent."""

    def unread() -> int:
        return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0])

    wait_until(lambda: unread() == 0)


def reverse_all(sock: socket.socket) -> None:
    """A step: reverse every REQUEST until the client closes, then close too."""
    connection = ServerConnection(now=0.0)
    with contextlib.suppress(ConnectionError):  # the client may leave without its answers
        while not connection.finished:
            data = sock.recv(262_144)
            if data:
                connection.receive_data(data, 0.0)
            else:
                connection.receive_eof()
            while (event := connection.next_event()) is not None:
                if isinstance(event, RequestReceived):
                    connection.send_reply(reverse(event.text))
            sock.sendall(connection.data_to_send(0.0))
        sock.shutdown(socket.SHUT_WR)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for a condition, but not for ever."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.0005)


class Script:
    """Starts scripted servers; carries the steps that tests name, as they cannot import them."""

    fin = staticmethod(fin)
    rst = staticmethod(rst)
    close = staticmethod(close)
    taken = staticmethod(taken)
    reverse_all = staticmethod(reverse_all)
    wait_until = staticmethod(wait_until)

    def __init__(self, folder: Path) -> None:
        self.servers: list[ScriptedServer] = []
        self._folder = folder

    def __call__(self, *steps: Step, unix: bool = False) -> ScriptedServer:
        if unix:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self._folder / f"{len(self.servers)}.sock"))
            listener.listen()
        else:
            listener = socket.create_server(("127.0.0.1", 0))
        self.servers.append(ScriptedServer(listener, steps))
        return self.servers[-1]


@pytest.fixture
def scripted_server(tmp_path: Path) -> Iterator[Script]:
    """``scripted_server(step, ..., unix=False)`` starts a server that plays a script to each client."""
    script = Script(tmp_path)
    yield script
    for server in script.servers:
        server.close()


# The command line, as people start it.


class FrameletCommand:
    """Runs ``framelet`` with arguments, to its end or in the background."""

    def __call__(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run to the end; ``input`` is its standard input, empty by default; ``env`` adds variables."""
        options.setdefault("input", b"")
        environment = os.environ | options.pop("env", {})
        return subprocess.run(
            self.command(*arguments),
            check=False,
            capture_output=True,
            timeout=PATIENCE * 2,
            env=environment,
            **options,
        )

    def start(
        self,
        *arguments: object,
        stdin: int = subprocess.PIPE,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start it, and let it run."""
        return subprocess.Popen(
            self.command(*arguments), bufsize=0, stdin=stdin, stdout=stdout, stderr=stderr
        )

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "framelet_client", *map(str, arguments)]


@pytest.fixture
def framelet() -> FrameletCommand:
    """``framelet(argument, ..., input=b"...")`` runs the command line and returns how it ended."""
    return FrameletCommand()


# --------------------------------------------------------------------------------------------------------
# A server in this process or another, and plain sockets that talk to it: the tests of the server.
# --------------------------------------------------------------------------------------------------------


class Peer:
    """A plain socket that sends octets and takes frames."""

    def __init__(self, sock: Any) -> None:
        sock.settimeout(PATIENCE)
        self.sock = sock
        self._decoder = FrameDecoder(MAX_LENGTH)

    def send(self, *pieces: bytes) -> None:
        self.sock.sendall(b"".join(pieces))

    def request(self, *texts: str) -> None:
        self.send(*(encode(FrameType.REQUEST, encode_text(text)) for text in texts))

    def end(self) -> None:
        """Half-close."""
        self.sock.shutdown(socket.SHUT_WR)

    def receive(self) -> Frame | None:
        """The next frame; None at the end of the stream, which must be at a boundary (REQ-CLOSE-5)."""
        while (frame := self._decoder.next_frame()) is None:
            data = self.sock.recv(65_536)
            if not data:
                assert not self._decoder.inside_frame, "the stream ended inside a frame"
                return None
            self._decoder.receive_data(data)
        return frame

    def take(self, count: int) -> list[Frame]:
        """As many frames."""
        frames: list[Frame] = []
        while len(frames) < count:
            frame = self.receive()
            assert frame is not None, f"the stream ended after {len(frames)} of {count} frames"
            frames.append(frame)
        return frames

    def rest(self) -> list[Frame]:
        """All frames up to the end of the stream."""
        return list(iter(self.receive, None))

    def replies(self, count: int) -> list[str]:
        """As many texts, all of them of REPLY frames."""
        frames = self.take(count)
        assert {frame.type for frame in frames} <= {FrameType.REPLY}
        return [decode_text(frame.body) for frame in frames]

    def ask(self, text: str) -> str:
        """One round trip."""
        self.request(text)
        return self.replies(1)[0]

    def served(self) -> bool:
        """Whether a round trip succeeds; a server that is short of something may refuse it, or reset."""
        try:
            self.request("ab")
            return self.receive() == (FrameType.REPLY, b"ba")
        except ConnectionError:
            return False

    def error(self) -> int:
        """The code of the next frame, which must be an ERROR."""
        (frame,) = self.take(1)
        assert frame.type == FrameType.ERROR, frame
        return int(frame.body[:3])

    def await_receipt(self) -> None:
        """Wait until the server's system has acknowledged every octet that was sent."""
        taken(self.sock)

    def reset(self) -> None:
        """Close with RST, as a process that dies with unread input does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class Gate:
    """A handler that reverses, and blocks on texts that begin with "block" until it is opened."""

    def __init__(self) -> None:
        self._entered = threading.Semaphore(0)
        self._opened = threading.Event()
        self.seen: list[str] = []

    def __call__(self, text: str) -> str:
        self.seen.append(text)
        if text.startswith("block"):
            self._entered.release()
            assert self._opened.wait(2 * PATIENCE)
        return text[::-1]

    def await_entry(self) -> None:
        """Wait until one more thread has been blocked."""
        assert self._entered.acquire(timeout=PATIENCE), "the handler was not called"

    def open(self) -> None:
        self._opened.set()


class Command:
    """A framelet-server in a process of its own; what it writes is read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, self._lines.put), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, self.errors.append), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: IO[str] | None, take: Callable[[str], None]) -> None:
        for line in stream or ():
            take(line)
        take("")

    def line(self) -> str:
        """The next line of stdout, or the empty string at its end."""
        return self._lines.get(timeout=PATIENCE)

    def address(self) -> str:
        """What the line on stdout names once the server is ready."""
        line = self.line()
        assert line.startswith("framelet-server listening on "), line or self.finish()
        return line.removeprefix("framelet-server listening on ").rstrip("\n")

    def finish(self) -> tuple[int, str]:
        """Wait for the process; its status, and what it wrote on stderr."""
        status = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return status, "".join(self.errors)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.finish()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def poller(request: pytest.FixtureRequest) -> Any:
    """Each kind of poller."""
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
    return wait_until


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers: on a free port of 127.0.0.1 unless told otherwise; keywords of ServerLimits are taken.

    Clients that a test leaves open would cost it the linger timeout of 2 seconds, so that is shorter here.
    """
    started: list[Server] = []

    def start(*args: Any, address: Any = ("127.0.0.1", 0), **keywords: Any) -> Server:
        names = {info.name for info in ServerLimits.describe()}
        chosen = {name: keywords.pop(name) for name in names & keywords.keys()}
        limits = ServerLimits(**{"linger_timeout": 0.2, **chosen})
        server = Server(address, *args, limits=limits, **keywords)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.begin_drain()
        server.hasten()
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
        address = where.address if isinstance(where, Server) else where
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
    """Start ``python -m framelet_server`` in an empty directory, by default with ``--port 0``."""
    commands: list[Command] = []

    def start(*args: str, env: dict[str, str | bytes] | None = None, **keywords: Any) -> Command:
        addressed = {"--host", "--port", "--unix"} & set(args)
        process = subprocess.Popen(
            [sys.executable, "-m", "framelet_server", *args, *([] if addressed else ["--port", "0"])],
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
