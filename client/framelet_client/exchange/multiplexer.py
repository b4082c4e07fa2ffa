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

from framelet import ClientConnection, ConnectionStateError, FrameletError

from .driver import Answer, Driver
from .run import Part, Run
from .wake import answer_and_wake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framelet_client.config import ClientLimits
    from framelet_client.net.transport import OpenedConnection

_TICKS = 8  # looks at the clock in each answer timeout


class Multiplexer:
    """A connection, and which call waits for which answer; call its methods in its own loop only."""

    def __init__(self, opened: OpenedConnection, limits: ClientLimits) -> None:
        """Take over an opened connection, in the running loop."""
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._driver = Driver(opened, limits)
        self.connection: ClientConnection = self._driver.connection
        self._socket = opened.socket
        self._limits = limits
        self._places: deque[asyncio.Future[Answer] | Part] = deque()  # for each unanswered frame
        self._runs: set[Run] = set()  # the pipelines that were not left
        self._crowd: deque[tuple[asyncio.Future[None], int]] = deque()  # calls waiting for room, with sizes
        self._admitted = self._admitted_octets = 0  # calls that were let in and have not asked yet
        self._flushing = False  # whether a flush is due in this pass of the loop
        self._alone = False  # whether the last one was for one call, while no other was under way
        self._writing = False  # whether the loop watches for room in the socket
        self._timer: asyncio.TimerHandle | None = None  # looks at the next deadline
        self._tick_due = 0.0  # when, on the loop's clock
        self._idle: asyncio.Event | None = None  # in a drain: whether nothing is under way
        self.closed: str | None = None  # why
        self._untold: FrameletError | None = None  # the error of an end that no call has raised yet
        self.loop.add_reader(self._socket, self._read)
        if self._driver.end is not None:
            self._end(self._driver.end)

    @property
    def is_foreign(self) -> bool:
        """Whether another process, of which this one is a fork, made the connection."""
        return self._driver.is_foreign

    def require_own_loop(self) -> None:
        """Raise ConnectionStateError in a fork, and in another loop."""
        if asyncio.get_running_loop() is not self.loop:
            self._driver.require_own_process()
            message = "this connection belongs to another event loop: open another one in this loop"
            raise ConnectionStateError(message)

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

    @contextlib.contextmanager
    def room(self, most: int) -> Iterator[int]:
        """Keep room for up to ``most`` frames while they are made; for how many."""
        frames = min(most, self._limits.window - self.connection.unanswered - self._admitted)
        self._admitted += frames
        try:
            yield frames
        finally:
            self._admitted -= frames

    def require_open(self) -> None:
        """Raise what has ended the connection, if that is over."""
        if self.closed is not None:
            error, self._untold = self._untold, None
            raise self._is_closed() if error is None else error

    async def enter(self, text: str = "") -> None:
        """Wait for room for one frame, with about this text; raises as ``require_open``."""
        self.require_open()
        if not self.crowded:
            return
        size = len(text) if isinstance(text, str) else 0  # what is no text is told so when it is to be sent
        waiter: asyncio.Future[None] = self.loop.create_future()
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
            self.loop.call_soon(self._guarded, self._let_in)
        if self._socket.fileno() < 0:
            raise self._is_closed()

    def ask(self, queue: Callable[..., None], *arguments: object) -> asyncio.Future[Answer]:
        """The future answer to the one frame that ``queue`` queues on the connection; it is sent soon."""
        try:
            queue(self.connection, *arguments)
            future: asyncio.Future[Answer] = self.loop.create_future()
            self._places.append(future)
            self._flush_soon()
        except FrameletError:  # nothing was queued
            raise
        except BaseException as error:
            self._interrupted(error)
            raise
        return future

    def request(self, text: str) -> asyncio.Future[Answer]:
        """The future answer to a REQUEST, which is sent at once where one task asks again and again."""
        if self._places or not self._alone:
            return self.ask(ClientConnection.send_requests, (text,), 1)
        try:
            self._driver.send_request(text)
            future: asyncio.Future[Answer] = self.loop.create_future()
            self._places.append(future)
            if self._driver.unsent or self._timer is None:
                self._flush()
        except FrameletError:  # nothing was queued
            raise
        except BaseException as error:
            self._interrupted(error)
            raise
        return future

    def begin_run(self) -> Run:
        """A run that hears of the end of the connection until it is left; raises as ``require_open``."""
        self.require_open()
        run = Run()
        self._runs.add(run)
        return run

    def leave(self, run: Run) -> None:
        """Drop the answers that are still to come."""
        run.left = True
        self._runs.discard(run)

    def ask_for(self, run: Run, queue: Callable[[ClientConnection], None]) -> None:
        """Have the answers to the frames that ``queue`` queues added to a run."""
        before = self.connection.unanswered
        try:
            queue(self.connection)
            frames = self.connection.unanswered - before
            run.unanswered += frames
            last = self._places[-1] if self._places else None
            if isinstance(last, Part) and last.run is run:
                last.frames += frames
            elif frames:
                self._places.append(Part(run, frames))
            self._flush_soon()
        except FrameletError:  # nothing was queued
            raise
        except BaseException as error:
            self._interrupted(error)
            raise

    # The end.

    async def drained(self, why: str) -> None:
        """Let no further call begin, and wait until those under way have ended."""
        if self.closed is None:
            self.closed = why
            self._idle = asyncio.Event()
            self._settle()
        if self._idle is not None:
            await self._idle.wait()

    def close(self, why: str) -> None:
        """Close the connection; calls under way end with an error."""
        if self._driver.is_foreign:
            return
        if not self.loop.is_closed():
            self.require_own_loop()
        self.closed, self._untold = self.closed or why, None
        self._release(self._is_closed())

    def _end(self, error: FrameletError) -> None:
        """The connection has ended by itself."""
        waiters = (*self._places, *(waiter for waiter, _ in self._crowd))
        waited = self._runs or any(isinstance(one, asyncio.Future) and not one.done() for one in waiters)
        self._untold = None if waited else error
        self.closed = str(error)
        self._release(error)

    def _release(self, error: FrameletError) -> None:
        """Close the socket, and end all calls that wait with the error."""
        if self._socket.fileno() < 0:
            return
        if self.loop.is_closed():  # no call can be told any more
            self._driver.close()
            return
        self.loop.remove_reader(self._socket)
        self.loop.remove_writer(self._socket)
        self._driver.close()
        if self._timer is not None:
            self._timer.cancel()
        for waiter in (*self._places, *(waiter for waiter, _ in self._crowd)):
            if isinstance(waiter, asyncio.Future) and not waiter.done():
                waiter.set_exception(copy.copy(error))  # each its own: they get tracebacks
        for run in self._runs:  # also those that wait for further texts
            run.fail(copy.copy(error))
        self._places.clear()
        self._crowd.clear()
        self._settle()

    def _settle(self) -> None:
        """End the wait of ``drained`` once no call is under way."""
        if self._idle is not None and not (self._places or self._crowd or self._admitted):
            self._idle.set()

    def _is_closed(self) -> ConnectionStateError:
        return ConnectionStateError(f"this connection is closed: {self.closed}")

    def _interrupted(self, error: BaseException) -> None:
        """End the connection: an exception, as from a signal's handler, may have put it out of step."""
        self.close(f"a call was interrupted ({type(error).__name__})")

    # What the loop calls.

    def _guarded(self, step: Callable[[], None]) -> None:
        """Take one of the steps below; an exception in it may have lost octets, so it ends the connection."""
        try:
            step()
        except BaseException as error:
            self._interrupted(error)
            raise

    def _flush_soon(self) -> None:
        """Have what was asked for written at the end of this pass of the loop."""
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._guarded, self._flush)

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
                self.loop.add_writer(self._socket, self._guarded, self._flush)
            else:
                self.loop.remove_writer(self._socket)
        if self._timer is None:
            self._set_timer()
        if self._crowd:
            self._let_in()

    def _read(self) -> None:
        """Take in one read, and leave further ones to the next pass of the loop (REQ-FLOW-4)."""
        place = None
        try:  # as ``_guarded``, without its call
            answers = self._driver.receive()
            place = self._lone_place(answers)
            if place is None:
                self._deliver(answers)
            else:
                self._places.popleft()
                answer_and_wake(place, answers[0])
        except BaseException as error:
            if place is not None:
                if place.done():
                    raise  # of the task: its connection is in step
                self._places = deque((place,))
            self._interrupted(error)
            raise

    def _lone_place(self, answers: list[Answer]) -> asyncio.Future[Answer] | None:
        """The call for which a read brought its answer, where no other is under way and nothing has ended."""
        places = self._places
        if len(answers) == len(places) == 1 and not (self._crowd or self._idle or self._driver.end):
            place = places[0]
            if not isinstance(place, Part) and not place.done():
                return place
        return None

    def _tick(self) -> None:
        """See whether an answer is overdue (REQ-TIME-6)."""
        self._timer = None
        late = self.loop.time() - self._tick_due
        self.connection.resume(time.monotonic(), late)  # the program kept the loop busy (REQ-TIME-8)
        self._deliver(self._driver.check_deadline())
        if self._socket.fileno() >= 0:
            self._set_timer()

    def _set_timer(self) -> None:
        """Look at the deadline when it is due, and before, to learn how long the loop is kept busy."""
        due = self.connection.next_deadline()
        if due is not None:
            wait = min(max(due - time.monotonic(), 0.0), self._limits.answer_timeout / _TICKS)
            self._tick_due = self.loop.time() + wait
            self._timer = self.loop.call_at(self._tick_due, self._guarded, self._tick)

    def _deliver(self, answers: list[Answer]) -> None:
        """Give each answer to its call or run."""
        places, taken, count = self._places, 0, len(answers)
        while taken < count:
            place = places[0]
            if isinstance(place, Part):
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
