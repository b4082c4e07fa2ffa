"""Many calls at once over one connection, in an asyncio loop.

Answers come in the order of the frames, so each frame has its place in a queue: a future, or a part of a
``Run``.  A call that is not waited for any more keeps its place, and its answer is dropped there: no other
call hears of it, and the connection stays in step (REQ-ORDER-6).

What is asked for in one pass of the loop leaves in one write.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections import deque
from typing import TYPE_CHECKING

from framelet import ConnectionStateError

from .driver import Answer, Driver

if TYPE_CHECKING:
    from framelet import ClientConnection, FrameletError
    from framelet_client.config import ClientLimits
    from framelet_client.net.transport import OpenedConnection


class Run:
    """The answers to many frames, as a pipeline takes them."""

    def __init__(self) -> None:
        """Begin with no frame."""
        self.unanswered: int = 0
        self.answers: list[Answer] = []  # those that have come and were not taken
        self._taken = 0  # how many were taken last: they may still be in use
        self.error: Exception | None = None  # why no further frames were sent, or the connection ended
        self.fed: bool = False  # whether there will be no further frames
        self.left = False  # whether the pipeline was left, so that its answers are dropped
        self._change = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def held(self) -> int:
        """How many frames were sent whose answers are to come, or in memory."""
        return self.unanswered + len(self.answers) + self._taken

    def take(self) -> list[Answer]:
        """The answers that have come; those before are done with."""
        answers, self.answers = self.answers, []
        self._taken = len(answers)
        self._change.clear()
        self._room.set()
        return answers

    def end(self, error: Exception | None) -> None:
        """No further frames are sent; the first error is the reason."""
        self.error = self.error or error
        self.fed = True
        self._change.set()

    def add(self, answers: list[Answer]) -> None:
        """Take in the next answers."""
        self.unanswered -= len(answers)
        if not self.left:
            self.answers += answers
            self._change.set()

    async def change(self) -> None:
        """Wait until something has come since answers were last taken."""
        await self._change.wait()

    async def room(self, most: int) -> None:
        """Wait until fewer than ``most`` are held."""
        while self.held >= most:
            self._room.clear()
            await self._room.wait()


class _Part:
    """The places of some frames of a run, one after the other."""

    __slots__ = ("frames", "run")

    def __init__(self, run: Run, frames: int) -> None:
        self.run = run
        self.frames = frames


class Multiplexer:
    """A connection, and which call waits for which answer; call its methods in the loop's thread only."""

    def __init__(self, opened: OpenedConnection, limits: ClientLimits) -> None:
        """Take over an opened connection, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._driver = Driver(opened, limits)
        self.connection: ClientConnection = self._driver.connection
        self._socket = opened.socket
        self._limits = limits
        self._places: deque[asyncio.Future[Answer] | _Part] = deque()  # for each unanswered frame
        self._crowd: deque[tuple[asyncio.Future[None], int]] = deque()  # calls waiting for room, with sizes
        self._admitted = self._admitted_octets = 0  # calls that were let in and have not asked yet
        self._flushing = False  # whether a flush is due in this pass of the loop
        self._alone = False  # whether the last one was for one call, while no other was under way
        self._writing = False  # whether the loop watches for room in the socket
        self._timer: asyncio.TimerHandle | None = None  # fires no later than the next deadline
        self._idle: asyncio.Future[None] | None = None  # done when nothing is under way
        self.closed: str | None = None  # why
        self._untold: FrameletError | None = None  # the error of an end that no call has raised yet
        self._loop.add_reader(self._socket, self._read)
        if self._driver.end is not None:
            self._end(self._driver.end)

    @property
    def is_foreign(self) -> bool:
        """Whether another process, of which this one is a fork, made the connection."""
        return self._driver.is_foreign

    # Asking.

    @property
    def crowded(self) -> bool:
        """Whether a call has to ``enter`` before it may ask: there is no room, or the connection is over."""
        if self.closed is not None:
            return True
        # Where no answer is awaited nothing is unsent either.
        return bool(self._crowd or self._admitted or self._places) and (
            bool(self._crowd) or not self._has_room()
        )

    async def enter(self, size: int = 0) -> None:
        """Wait for room for one frame, of about ``size`` octets.

        Raises what has ended the connection, if that is over.
        """
        self._driver.require_own_process()
        if self.closed is not None:
            error, self._untold = self._untold, None
            raise self._is_closed() if error is None else error
        if not self.crowded:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._crowd.append((waiter, size))
        try:
            await waiter
        finally:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):  # passed over already
                    self._crowd.remove((waiter, size))
            elif waiter.exception() is None:
                self._admitted -= 1
                self._admitted_octets -= size
            # This call may be cancelled, or unable to send: then its room goes to the next one.
            self._loop.call_soon(self._let_in)
        if self._socket.fileno() < 0:
            raise self._is_closed()

    def expect(self) -> asyncio.Future[Answer]:
        """The future answer to the frame that was just queued; it is sent soon."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._places.append(future)
        if not self._flushing:
            if self._alone and len(self._places) == 1:  # one task that asks again and again: do not wait
                self._flush()
            else:
                self._flushing = True
                self._loop.call_soon(self._flush)
        return future

    def expect_for(self, run: Run, frames: int) -> None:
        """Have the answers to the frames that were just queued added to a run."""
        run.unanswered += frames
        last = self._places[-1] if self._places else None
        if isinstance(last, _Part) and last.run is run:
            last.frames += frames
        elif frames:
            self._places.append(_Part(run, frames))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    # The end.

    async def drained(self, why: str) -> None:
        """Let no further call begin, and wait until those under way have ended."""
        if self.closed is None:
            self.closed = why
            self._idle = self._loop.create_future()
            self._settle()
            await self._idle

    def close(self, why: str) -> None:
        """Close the connection; calls under way end with an error."""
        self.closed, self._untold = self.closed or why, None
        if not self._driver.is_foreign:
            self._release(self._is_closed())

    def _end(self, error: FrameletError) -> None:
        """The connection has ended by itself."""
        waited = bool(self._places or self._crowd)
        self._untold = None if waited else error
        self.closed = str(error)
        self._release(error)

    def _release(self, error: FrameletError) -> None:
        """Close the socket, and end all calls that wait with the error."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._driver.close()
        if self._timer is not None:
            self._timer.cancel()
        for waiter in (*self._places, *(waiter for waiter, _ in self._crowd)):
            if isinstance(waiter, _Part):
                waiter.run.unanswered = 0
                waiter.run.end(copy.copy(error))
            elif not waiter.done():
                waiter.set_exception(copy.copy(error))  # each its own: they get tracebacks
        self._places.clear()
        self._crowd.clear()
        self._settle()

    def _settle(self) -> None:
        """End the wait of ``drained`` once no call is under way."""
        if self._idle is not None and not (
            self._places or self._crowd or self._admitted or self._idle.done()
        ):
            self._idle.set_result(None)

    def _is_closed(self) -> ConnectionStateError:
        return ConnectionStateError(f"this connection is closed: {self.closed}")

    # What the loop calls.

    def _flush(self) -> None:
        """Write what was asked for, as far as the socket takes it."""
        self._flushing = False
        if self._socket.fileno() < 0:
            return
        driver = self._driver
        self._alone = len(self._places) == 1
        driver.send()
        if bool(driver.unsent) is not self._writing:
            self._writing = not self._writing
            if self._writing:
                self._loop.add_writer(self._socket, self._flush)
            else:
                self._loop.remove_writer(self._socket)
        if self._timer is None:
            self._set_timer()
        if self._crowd:
            self._let_in()

    def _read(self) -> None:
        """Take in one read, and leave further ones to the next pass of the loop (REQ-FLOW-4)."""
        self._deliver(self._driver.receive())

    def _overdue(self) -> None:
        """See whether an answer is overdue (REQ-TIME-6), once what has come is taken in."""
        self._timer = None
        self._read()
        if self._socket.fileno() >= 0:
            self._set_timer()

    def _set_timer(self) -> None:
        due = self.connection.next_deadline()
        if due is not None:
            self._timer = self._loop.call_later(max(due - time.monotonic(), 0.0), self._overdue)

    def _deliver(self, answers: list[Answer]) -> None:
        """Give each answer to its call or run."""
        places, taken, count = self._places, 0, len(answers)
        while taken < count:
            place = places[0]
            if isinstance(place, _Part):
                frames = min(place.frames, count - taken)
                place.frames -= frames
                if not place.frames:
                    places.popleft()
                place.run.add(answers[taken : taken + frames])
                taken += frames
            else:
                places.popleft()
                if not place.done():  # else the call was cancelled
                    place.set_result(answers[taken])
                taken += 1
        if self._driver.end is not None:
            self._end(self._driver.end)
        elif self._crowd:
            self._let_in()
        if self._idle is not None:
            self._settle()

    def _let_in(self) -> None:
        """Let waiting calls ask, in their order, as far as there is room."""
        crowd = self._crowd
        while crowd and self._has_room():
            waiter, size = crowd.popleft()
            if not waiter.done():
                self._admitted += 1
                self._admitted_octets += size
                waiter.set_result(None)
        self._settle()

    def _has_room(self) -> bool:
        """Whether one more may ask."""
        return (
            self.connection.unanswered + self._admitted < self._limits.window
            and self._driver.waiting_octets + self._admitted_octets < self._limits.max_unsent
        )
