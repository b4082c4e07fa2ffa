"""The clients of a soak test: honest ones, whose every reply is compared, and hostile ones of each kind.

Each is a function that goes on until it is told to stop.  Hostile clients never raise for what the server
does to them, as long as it is something that the specification allows.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from framelet import ErrorCode, FrameDecoder, FrameletError, FrameType, TcpAddress, encode
from framelet_client import Client, FatalAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 90.0
"""Seconds for an answer: the server may be stopped for most of a minute meanwhile."""

ERROR = int(FrameType.ERROR)
GARBAGE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nab=cd",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"EHLO localhost\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"\x00" * 500,
)


class Crowd:
    """All clients of one run, and what they found."""

    def __init__(self, address: TcpAddress, *, frame_timeout: float, seed: int) -> None:
        """Nobody connects before ``start``."""
        self.tally: Counter[str] = Counter()
        self.faults: list[str] = []
        self.began = time.monotonic()
        self.slowest = 0.0  # seconds for an honest round trip
        self._address = address
        self._frame_timeout = frame_timeout
        self._befell = "the start", self.began
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._going = threading.Event()
        self._going.set()
        kinds: tuple[Callable[[random.Random], None], ...] = (
            *(self.ping_pong, self.ping_pong, self.pipeline, self.large, self.slow_sender),
            *(self.staller, self.deaf, self.resetter, self.churn, self.garbage, self.stopper),
        )
        self._threads = [
            threading.Thread(target=self._run, args=(kind, random.Random(f"{seed} {number}")))  # noqa: S311 - repeatable, not secret
            for number, kind in enumerate(kinds)
        ]

    def start(self) -> None:
        """Let all of them loose."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Have all of them finish what they are doing, and disconnect."""
        self._stop.set()
        self._going.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            if thread.is_alive():
                self._fault("a client hangs")

    def hold(self) -> None:
        """Have nobody begin anything, as thousands would connect to a server that is stopped."""
        self._going.clear()

    def go_on(self) -> None:
        """Let all of them loose again."""
        self._going.set()

    def note(self, what: str) -> None:
        """Keep what befalls the server now: a fault is told with the last of it."""
        self._befell = what, time.monotonic()

    def _run(self, kind: Callable[[random.Random], None], chance: random.Random) -> None:
        while not self._stop.wait(0.005):
            self._going.wait()
            try:
                kind(chance)
            except (OSError, FrameletError, AssertionError, ValueError, StopIteration) as error:
                notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
                self._fault(f"{kind.__name__}: {type(error).__name__}: {error}{notes}")

    def _count(self, what: str, times: int = 1) -> None:
        with self._lock:
            self.tally[what] += times

    def _note_time(self, seconds: float) -> None:
        with self._lock:
            self.slowest = max(self.slowest, seconds)

    def _fault(self, what: str) -> None:
        now, (last, since) = time.monotonic(), self._befell
        with self._lock:
            self.faults.append(f"after {now - self.began:.1f} s, {now - since:.1f} s after {last}: {what}")

    # Honest clients.

    def ping_pong(self, chance: random.Random) -> None:
        """One request after the other."""
        with Client(*self._address) as client:
            for _ in range(chance.randrange(1, 60)):
                text = _text(chance, 100)
                began = time.monotonic()
                self._compare(client.request(text), text)
                self._note_time(time.monotonic() - began)
                if self._stop.is_set():
                    break

    def pipeline(self, chance: random.Random) -> None:
        """Many requests in flight."""
        texts = [_text(chance, 400) for _ in range(chance.randrange(1, 400))]
        with Client(*self._address) as client:
            for text, reply in zip(texts, client.pipeline(texts), strict=True):
                self._compare(reply, text)

    def large(self, chance: random.Random) -> None:
        """A text of up to four million octets now and then."""
        text = _text(chance, 20) * chance.randrange(1, 100_000)
        with Client(*self._address) as client:
            began = time.monotonic()
            try:
                self._compare(client.request(text), text)
            except FatalAnswerError as error:
                # On a machine that is busy with other things it takes its time.
                if error.code != ErrorCode.FRAME_TIMEOUT or time.monotonic() - began < self._frame_timeout:
                    raise
                self._count("timed out inside a frame")
        self._stop.wait(0.2)

    def slow_sender(self, chance: random.Random) -> None:
        """Twenty clients that send octet by octet; those that are not too slow get their reply."""
        with _sockets(self._address, 20) as socks:
            text = "x" * chance.randrange(1, 30)
            began = time.monotonic()
            gap = chance.choice([0.01, 0.01, self._frame_timeout / 20])
            with contextlib.suppress(ConnectionError):  # from the second octet behind the timeout
                for octet in encode(FrameType.REQUEST, text.encode()):
                    for sock in socks:
                        sock.sendall(bytes([octet]))
                    if self._stop.wait(gap):
                        return
            took = time.monotonic() - began
            for sock in socks:
                self._judge_slow(sock, text, took)

    def _judge_slow(self, sock: socket.socket, text: str, took: float) -> None:
        try:
            kind, body = next(_frames(sock))
        except (ConnectionError, StopIteration):
            kind, body = ERROR, b"reset"  # the ERROR was lost with what was sent behind it
        if kind == FrameType.REPLY:
            self._compare(body.decode(), text)
        elif took < self._frame_timeout / 2:
            self._fault(f"slow_sender: {body[:60]!r} after {took:.2f} seconds")
        else:
            self._count("timed out inside a frame")

    def _compare(self, reply: str, text: str) -> None:
        if reply == text[::-1]:
            self._count("honest replies")
        else:
            self._fault(f"a wrong reply to a text of {len(text)} characters")

    # Hostile clients.

    def staller(self, chance: random.Random) -> None:
        """Forty clients that announce 16 MiB, send some of it, and wait."""
        with _sockets(self._address, 40) as socks:
            for sock in socks:
                sock.sendall(b"\x01\x01\x00\x00\x00" + bytes(chance.choice([0, 1, 5_000])))
            if self._wait_for_all(socks):
                for sock in socks:
                    codes = [body[:3] for _, body in _frames(sock)]
                    assert codes == [b"504"], f"answers to a part of a frame: {codes}"
                self._count("timed out inside a frame", len(socks))

    def _wait_for_all(self, socks: list[socket.socket]) -> bool:
        """Wait until each has something to read, or until it is time to stop."""
        with selectors.DefaultSelector() as selector:
            for sock in socks:
                selector.register(sock, selectors.EVENT_READ)
            while selector.get_map() and not self._stop.is_set():
                for key, _ in selector.select(0.1):
                    selector.unregister(key.fileobj)
        return not self._stop.is_set()

    def deaf(self, chance: random.Random) -> None:
        """Ten clients that ask for much and read nothing, until they are cut off."""
        with _sockets(self._address, 10, small=True) as socks:
            request = encode(FrameType.REQUEST, bytes(chance.choice([100, 60_000])))
            for sock in socks:
                sock.settimeout(0)
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    while not self._stop.is_set():
                        sock.sendall(request * 5)
            self._count("never read", len(socks))
            self._stop.wait(chance.random() * 2 * self._frame_timeout)

    def resetter(self, chance: random.Random) -> None:
        """Resets in the middle of a frame, or with answers under way."""
        with _sockets(self._address, 3) as socks:
            for sock in socks:
                frames = encode(FrameType.REQUEST, b"x" * chance.choice([5, 50_000])) * chance.randrange(1, 5)
                sock.sendall(frames[: chance.randrange(1, len(frames) + 1)])
                _reset(sock)
            self._count("reset", len(socks))
        self._stop.wait(0.02)

    def churn(self, chance: random.Random) -> None:
        """Come and go, with or without a word."""
        with _sockets(self._address, 3) as socks:
            if chance.random() < 0.5:
                for sock in socks:  # before any answer: the server may stop for longer than its idle timeout
                    sock.sendall(encode(FrameType.PING, b"end"))
                for sock in socks:
                    answer = next(_frames(sock), "the end of the stream")
                    assert answer == (FrameType.PONG, b"end"), f"the answer to a PING: {answer}"
            for sock in socks:
                if chance.random() < 0.5:
                    _reset(sock)
            self._count("came and went", len(socks))
        self._stop.wait(0.01)

    def garbage(self, chance: random.Random) -> None:
        """Speak something else; whatever it is, the stream ends with at most one fatal ERROR."""
        with _sockets(self._address, 1) as (sock,):
            sock.sendall(chance.choice([*GARBAGE, chance.randbytes(chance.randrange(1, 3_000))]))
            sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                codes = [int(body[:3]) for kind, body in _frames(sock) if kind == ERROR]
                assert all(code < 500 for code in codes[:-1]), f"ERRORs: {codes}"
            self._count("spoke something else")
        self._stop.wait(0.01)

    def stopper(self, chance: random.Random) -> None:
        """Ask the server to stop, with a wrong token; it goes on."""
        with _sockets(self._address, 1) as (sock,):
            frames = _frames(sock)
            for _ in range(3):
                sock.sendall(encode(FrameType.STOP, chance.randbytes(8).hex().encode()))
                kind, body = next(frames, (0, b"the end of the stream"))
                assert (kind, body[:3]) == (ERROR, b"403"), f"the answer to a STOP: {body!r}"
                self._count("STOP refused")
                if self._stop.wait(0.1):
                    break


def _text(chance: random.Random, most: int) -> str:
    return "".join(chance.choices("ab \0é\u20ac\U0001f600", k=chance.randrange(most)))


@contextlib.contextmanager
def _sockets(address: TcpAddress, count: int, *, small: bool = False) -> Iterator[list[socket.socket]]:
    """So many connections, with small receive buffers if wanted."""
    with contextlib.ExitStack() as stack:
        socks = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(PATIENCE)
            if small:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.connect(tuple(address))
            socks.append(sock)
        names = ["{}:{}".format(*sock.getsockname()) for sock in socks]
        try:
            yield socks
        except Exception as error:
            error.add_note(f"of {', '.join(names)}")  # as the server's log calls them
            raise


def _frames(sock: socket.socket) -> Iterator[tuple[int, bytes]]:
    """The frames that come, until the stream ends; it must end at a boundary."""
    decoder = FrameDecoder()
    while data := sock.recv(65_536):
        decoder.receive_data(data)
        yield from decoder.take_frames()
    assert not decoder.inside_frame, "the stream ended inside a frame"


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
