"""What the tests talk with: plain sockets, commands in processes of their own, a handler that blocks."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import socket
import struct
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

from framelet import Address, Frame, FrameDecoder, FrameType, TcpAddress, decode_text, encode, encode_text
from framelet.limits import MAX_LENGTH

from .scripted import PATIENCE, taken

if TYPE_CHECKING:
    from collections.abc import Callable


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

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "framelet_client", *map(str, arguments)]


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
