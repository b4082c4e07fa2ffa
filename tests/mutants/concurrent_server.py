"""A second reference server, of another make: one thread, and answers that are made at the same time.

    python -m tests.mutants.concurrent_server --port 0 [--bug NAME] ...

Each frame has a task of its own.  The tasks finish in any order, some of them later than those behind, and
what they made is sent in the order of the frames.  It shares frames and bodies with the first one, and the
command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import struct
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from . import bugs
from .bugs import bug
from .reference_server import allows, options, read_options
from .server_answers import Answers, Options, RefusedError, error_body, read_text
from .server_connection import unread
from .server_frames import FaultError, FrameReader, asks_for_answer
from .wire import ERROR, STOP, STOPPED, pack

if TYPE_CHECKING:
    from collections.abc import Awaitable

READ = 65_536  # octets
BOUND = 262_144  # octets of frames and answers under way (REQ-FLOW-1)
MOST = 1_024  # answers under way
SLOW = 0.003  # seconds that one frame in eight takes


def settle(future: asyncio.Future[str], what: str) -> None:
    """Say what has happened, to whom still waits."""
    if not future.done():
        future.set_result(what)


class Connection:
    """One client: a task that reads and begins answers, and one that sends them."""

    def __init__(self, server: ConcurrentServer, sock: socket.socket, *, refused: bool) -> None:
        self.refused, self.stopper, self.fin_sent, self.drained = refused, False, False, False
        self.lost = False  # its client has reset it
        self._server, self._options, self._socket = server, server.options, sock
        self._reader, self._answers = FrameReader(server.options.max_body), Answers(server.options)
        self._queue: deque[asyncio.Future[bytes]] = deque()  # answers, in the order of their frames
        self._held = 0  # octets of these
        self._alarm: asyncio.Future[str] | None = None  # what the reader waits for
        self._waker = asyncio.Event()  # for the writer
        self._no_more = False  # no answer will be added
        self._end_of_stream = False
        self._left: int | None = None  # octets received before the drain that are still to be taken
        self._since = time.monotonic()  # when the frame, or the idle time, began
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """From the first octet to the last."""
        writer = asyncio.create_task(self._write())
        writer.add_done_callback(self._written)
        try:
            if self.refused:
                self._put(self._ready(ERROR, error_body(507)), 0)
            else:
                await self._read()
            self._no_more = True
            self._waker.set()
            await writer
            self._socket.shutdown(socket.SHUT_WR)
            self.fin_sent = True
            self._server.ended(self)
            async with asyncio.timeout(self._options.linger_timeout):
                await self._discard()
        except (TimeoutError, OSError, asyncio.CancelledError) as error:
            self._look_for_loss(error)
            if not self.fin_sent:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            writer.cancel()
            for each in self._queue:
                each.cancel()
            self._socket.close()
            self._server.gone(self)

    def _written(self, writer: asyncio.Task[None]) -> None:
        if not writer.cancelled() and (error := writer.exception()) is not None:
            self._look_for_loss(error)
            self.task.cancel()  # the client has gone, or takes nothing (REQ-TIME-5)

    def _look_for_loss(self, error: BaseException) -> None:
        self.lost = self.lost or (isinstance(error, OSError) and not isinstance(error, TimeoutError))

    async def _discard(self) -> None:
        while not self._end_of_stream:
            await self._wait_for_input(None, reads=True)
            self._end_of_stream = not self._socket.recv(READ)

    # Frames.

    async def _read(self) -> None:
        """Begin an answer to each frame, until no more can come."""
        try:
            while True:
                self._look_for_drain()
                if not self._is_full():
                    while not self._is_full() and (frame := self._reader.next_frame()) is not None:
                        self._since = time.monotonic()
                        if not self._take(*frame):
                            return
                    if not self._is_full() and (self._end_of_stream or self._left == 0):
                        self._cancel(bug("end-cancels-answers") and self._left is None)
                        return
                await self._read_more()
        except FaultError as fault:
            self._cancel(bug("fault-cancels-answers"))
            if fault.code is not None:
                self._put(self._ready(ERROR, error_body(fault.code)), 0)

    def _look_for_drain(self) -> None:
        if self._server.draining and self._left is None:
            self._left = 0 if self._end_of_stream else unread(self._socket)
            self._cancel(bug("drain-cancels-answers"))

    def _cancel(self, wrong: object) -> None:
        """Forget what is being made."""
        for each in list(self._queue):
            if wrong and not each.done():
                self._queue.remove(each)

    def _is_full(self) -> bool:
        full = self._held > BOUND or len(self._queue) > MOST
        return full and not bug("any-number-under-way")

    async def _read_more(self) -> None:
        """Octets, or the news that something has changed.  Raises FaultError where a deadline has passed."""
        now, full = time.monotonic(), self._is_full()
        inside, due = bool(self._reader.octets), None
        if full or (self._queue and not inside):
            self._since = now  # no clock runs (REQ-TIME-4, REQ-TIME-8)
        else:
            due = self._since + (self._options.frame_timeout if inside else self._options.idle_timeout) - now
        what = await self._wait_for_input(due, reads=not (full or self._end_of_stream))
        if full:
            self._since = time.monotonic()
        if what == "time":
            raise FaultError(504 if inside else 505)
        if what == "input":
            octets = self._socket.recv(READ if self._left is None else min(READ, self._left))
            self._end_of_stream = not octets
            if not inside:
                self._since = time.monotonic()
            if self._left is not None:
                self._left -= len(octets)
            self._reader.feed(octets)

    async def _wait_for_input(self, seconds: float | None, *, reads: bool) -> str:
        loop = asyncio.get_running_loop()
        alarm: asyncio.Future[str] = loop.create_future()
        self._alarm = alarm
        if reads:
            loop.add_reader(self._socket, settle, alarm, "input")
        try:
            async with asyncio.timeout(seconds):
                return await alarm
        except TimeoutError:
            return "time"
        finally:
            self._alarm = None
            if self._socket.fileno() >= 0:
                loop.remove_reader(self._socket)

    def wake(self) -> None:
        """Have the reader look again."""
        if self._alarm is not None:
            settle(self._alarm, "change")

    # Answers.

    def _take(self, kind: int, body: bytes) -> bool:
        """Begin the answer to one frame; False behind an allowed STOP."""
        if not asks_for_answer(kind):
            return True
        if kind == STOP:
            return self._stop(body)
        slow = random.random() < 1 / 8  # noqa: S311 - spreads the ends of tasks
        made = None if bug("answers-made-late") else self._make(kind, body)
        self._put(self._answer(kind, body, made, SLOW * random.random() if slow else 0.0), len(body))  # noqa: S311
        return True

    def _make(self, kind: int, body: bytes) -> bytes:
        try:
            return pack(*self._answers.answer(kind, body))
        except RefusedError as refused:
            return pack(ERROR, error_body(refused.code))

    async def _answer(self, kind: int, body: bytes, made: bytes | None, delay: float) -> bytes:
        """What a handler does: it takes its time."""
        await asyncio.sleep(delay)
        return self._make(kind, body) if made is None else made

    def _stop(self, token: bytes) -> bool:
        try:
            read_text(token)
            allowed, code = allows(self._options, token), 403
        except RefusedError as refused:
            allowed, code = False, refused.code
        if not allowed:
            self._put(self._ready(ERROR, error_body(code)), 0, first=bug("refusal-in-the-oldest-place"))
            return True
        self.stopper = True
        self._server.begin_drain()
        self._server.look()  # it was perhaps the last one to be waited for
        self._put(self._server.stopped(), 0)
        return False

    @staticmethod
    async def _ready(kind: int, body: bytes) -> bytes:
        return pack(kind, body)

    def _put(self, answer: Awaitable[bytes], octets: int, *, first: bool = False) -> None:
        task: asyncio.Future[bytes] = asyncio.ensure_future(answer)
        self._held += octets
        task.add_done_callback(lambda _: self._waker.set())
        if first:
            self._queue.appendleft(task)
        else:
            self._queue.append(task)

    async def _write(self) -> None:
        """Send answers in order, as they are ready."""
        while self._queue or not self._no_more:
            self._waker.clear()
            if bug("answers-as-they-finish"):
                self._queue = deque(sorted(self._queue, key=lambda each: not each.done()))
            pieces: list[bytes] = []
            while self._queue and self._queue[0].done() and len(pieces) < MOST:
                pieces.append(self._queue.popleft().result())
            if not pieces:
                await self._waker.wait()
                continue
            octets = b"".join(pieces)
            await self._send(octets)
            self._held = 0 if not self._queue else max(0, self._held - len(octets))
            self._since = time.monotonic() if not self._reader.octets else self._since
            self.wake()

    async def _send(self, octets: bytes) -> None:
        """All of them; raises TimeoutError where none is taken in time (REQ-TIME-5)."""
        loop, view = asyncio.get_running_loop(), memoryview(octets)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                room: asyncio.Future[str] = loop.create_future()
                loop.add_writer(self._socket, settle, room, "room")
                try:
                    async with asyncio.timeout(self._options.write_timeout):
                        await room
                finally:
                    loop.remove_writer(self._socket)


class ConcurrentServer:
    """Listens, counts, and drains."""

    def __init__(self, given: Options) -> None:
        self.options = given
        self.draining = False
        self._listener = socket.create_server(("127.0.0.1", given.port), backlog=512)
        self._listener.settimeout(0.0)
        self._connections: set[Connection] = set()
        self._counts = {"closed": 0, "cut": 0}
        self._concluded = asyncio.Event()
        self._over = asyncio.Event()
        self.port: int = self._listener.getsockname()[1]

    async def serve(self) -> None:
        """Until the drain is over."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.begin_drain)
        loop.add_reader(self._listener, self._accept)
        await self._over.wait()

    def _accept(self) -> bool:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return False
        sock.settimeout(0.0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        held = sum(not each.refused for each in self._connections)
        self._connections.add(Connection(self, sock, refused=held >= self.options.max_connections))
        return True

    def begin_drain(self) -> None:
        """Section 10."""
        if self.draining:
            return
        self.draining = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        while self._accept():
            pass
        self._listener.close()
        loop.call_later(self.options.drain_timeout, self._force)
        loop.call_later(self.options.drain_timeout + self.options.linger_timeout, self._force_all)
        for each in self._connections:
            each.drained = not (each.fin_sent or each.refused)
            each.wake()
        self.look()

    def _force(self) -> None:
        """Cut off those who still have answers to take (REQ-STOP-12)."""
        for each in list(self._connections):
            if not (each.fin_sent or each.stopper):
                each.task.cancel()

    def _force_all(self) -> None:
        for each in list(self._connections):
            each.task.cancel()

    def ended(self, connection: Connection) -> None:
        """FIN was sent."""
        if connection.drained and not connection.stopper:
            self._counts["closed"] += 1
        self.look()

    def gone(self, connection: Connection) -> None:
        """Both directions have ended."""
        self._connections.discard(connection)
        if not connection.fin_sent and self.draining and not (connection.stopper or connection.refused):
            self._counts["closed" if connection.lost else "cut"] += 1
        self.look()

    def look(self) -> None:
        """See whether STOPPED is due (REQ-STOP-8), and whether all is over."""
        waits = [each for each in self._connections if not (each.fin_sent or each.stopper)]
        if self.draining and (not waits or bug("stopped-before-answers")):
            self._concluded.set()
        if self.draining and not self._connections:
            self._over.set()

    async def stopped(self) -> bytes:
        """The frame STOPPED, when it is due."""
        await self._concluded.wait()
        return pack(STOPPED, " ".join(f"{key}={value}" for key, value in self._counts.items()).encode())


async def run(given: dict[str, Any]) -> None:
    """Serve as the command line says."""
    server = ConcurrentServer(Options(**given))
    sys.stdout.write(f"listening on 127.0.0.1:{server.port}\n")
    sys.stdout.flush()
    await server.serve()


def main() -> int:
    """Run the server that the command line describes."""
    given = vars(options().parse_args())
    if not bugs.use_options("concurrent", given):
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run(read_options(given)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
