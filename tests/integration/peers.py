"""What the tests talk with: plain sockets, commands in processes of their own, a handler that blocks."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import multiprocessing.connection
import os
import pty
import queue
import socket
import struct
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any, Self

import framelet_server.asyncio
from framelet import (
    Address,
    Frame,
    FrameDecoder,
    FrameType,
    TcpAddress,
    decode_text,
    encode,
    encode_text,
    reverse,
)
from framelet.limits import MAX_LENGTH

from .scripted import PATIENCE, taken

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_server import Server

    Serve = Callable[..., Server]
    Connect = Callable[..., "Peer"]


def stopped(closed: int, cut: int = 0) -> Frame:
    """The STOPPED with these numbers."""
    return Frame(FrameType.STOPPED, f"closed={closed} cut={cut}".encode())


def sessions(server: Any) -> list[Any]:
    """What a server's connections are doing, for tests that look inside."""
    return [channel.session for channel in server._running().table.all()]


def refuses_connections(address: Address) -> bool:
    """Whether nobody listens there any more."""
    assert isinstance(address, TcpAddress)
    with socket.socket(socket.AF_INET) as probe:
        return probe.connect_ex(address) == errno.ECONNREFUSED


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

    @staticmethod
    def read_line(process: subprocess.Popen[bytes]) -> bytes:
        """One line of its output, which must come by itself."""
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            assert multiprocessing.connection.wait([process.stdout.fileno()], PATIENCE), (
                f"nothing behind {line!r}"
            )
            piece = process.stdout.read(1)
            assert piece, f"the output ended behind {line!r}"
            line += piece
        return line

    @staticmethod
    def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
        """Close its input, and see how it ends."""
        stdout, stderr = process.communicate(timeout=PATIENCE)
        return process.returncode, stdout, stderr

    @staticmethod
    def terminal() -> Terminal:
        """A terminal to start commands in."""
        return Terminal()

    @staticmethod
    def in_terminal(command: list[str], **streams: Any) -> tuple[int, bytes]:
        """Run with output on a terminal; its status, and what the terminal got.

        A stream that is named goes elsewhere, one that is None to the terminal.
        """
        with Terminal() as terminal:
            chosen = {"stdin": subprocess.DEVNULL, "stdout": None, "stderr": subprocess.DEVNULL, **streams}
            process = terminal.start(command, **chosen)
            shown = terminal.read()
        return process.wait(PATIENCE), shown

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "framelet_client", *map(str, arguments)]


class Terminal:
    """A terminal with nobody at it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()

    def start(
        self, command: list[str], *, stdin: Any = None, stdout: Any = None, stderr: Any = None
    ) -> subprocess.Popen[bytes]:
        """Start a command, with the terminal for each stream that is None; as input, Ctrl-C is a signal."""
        if stdin is None:
            command = ["setsid", "--ctty", *command]
        streams = [self.theirs if stream is None else stream for stream in (stdin, stdout, stderr)]
        return subprocess.Popen(command, stdin=streams[0], stdout=streams[1], stderr=streams[2])

    def read(self, until: bytes | None = None) -> bytes:
        """What comes up to these octets, or until no program has the terminal open any more."""
        if until is None:
            self._release()
        shown = bytearray()
        while until is None or until not in shown.replace(b"\r\n", b"\n"):
            ready = multiprocessing.connection.wait([self.ours], PATIENCE)
            assert ready, f"nothing behind {bytes(shown[-200:])!r}"
            try:
                shown += os.read(self.ours, 65_536)
            except OSError:  # Linux's way of saying that it is closed
                break
        return bytes(shown.replace(b"\r\n", b"\n"))

    def _release(self) -> None:
        if self.theirs >= 0:
            os.close(self.theirs)
        self.theirs = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self._release()
        os.close(self.ours)


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


class LoopServer:
    """A server inside an asyncio loop on a thread of its own, with the methods of the server of threads."""

    stuck = 0

    def __init__(self, address: Any, handler: Any = reverse, **settings: Any) -> None:
        poller, _ = settings.pop("poller", None), settings.pop("blocking", None)
        self._server = framelet_server.asyncio.serve(handler, address, **settings)
        if poller is not None:
            self._server._inner._make_poller = poller
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop")
        self._running = self._server._inner._running  # for ``sessions``

    def start(self) -> None:
        self._thread.start()
        self.do(self._server.start())

    def do(self, coroutine: Any) -> Any:
        """What a coroutine returns in the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(2 * PATIENCE)

    def wait(self, timeout: float | None = None) -> bool:
        if self._loop.is_closed():
            return True
        ended: bool = self.do(self._server.wait(timeout))
        if ended:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)
            self._loop.close()
        return ended

    def stop(self) -> None:
        self.begin_drain()
        self.wait()

    def begin_drain(self, reason: str = "") -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._server.begin_drain, reason)

    def force(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._server.force)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


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
