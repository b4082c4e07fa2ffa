"""The loop of every blocking call: frames go out and answers come in at the same time, over one socket.

A client that writes without reading can deadlock with a server that stops reading until its answers are
taken (REQ-FLOW-4).  So the socket never blocks: each round waits until the socket, or the source of the
frames, is ready for something, reads, takes more frames as far as there is room, and writes.
"""

from __future__ import annotations

import math
import select
import time
from typing import TYPE_CHECKING

from framelet import State

from .driver import Answer, Driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framelet import ClientConnection, FrameletError
    from framelet_client.config import ClientLimits
    from framelet_client.net.transport import OpenedConnection

    from .source import Source

_EITHER = select.POLLIN | select.POLLOUT
_LONGEST_WAIT = 86_400.0  # poll counts milliseconds in an int; after this it is simply called again


def _is_news(event: int) -> bool:
    """Whether the socket may be read: for data, the end of the stream, or an error."""
    return event != select.POLLOUT


class Engine:
    """Waits for one connection, and keeps frames and answers moving."""

    def __init__(
        self, opened: OpenedConnection, limits: ClientLimits, connection: type[ClientConnection]
    ) -> None:
        """Take over an opened connection."""
        self._driver = Driver(opened, limits, connection)
        self._connection = self._driver.connection
        self._socket = opened.socket
        self._window = limits.window
        self._max_unsent = limits.max_unsent
        self._busy_poll = limits.busy_poll
        # Frames are taken in batches of this size: large enough to be worth a system call, small enough
        # that the server works on one batch while the next is made.
        self._batch = max(1, limits.window // 4)
        self._poll = select.poll()
        self._polled = 0  # what the socket is registered for

    @property
    def is_foreign(self) -> bool:
        """Whether another process, of which this one is a fork, made the connection."""
        return self._driver.is_foreign

    def require_own_process(self) -> None:
        """Raise ConnectionStateError in a fork."""
        self._driver.require_own_process()

    @property
    def end(self) -> FrameletError | None:
        """What the server did that ended the connection, if it has."""
        return self._driver.end

    @property
    def out_of_step(self) -> str | None:
        """Why the next answer might not be the next frame's, if there is a reason."""
        driver = self._driver
        if driver.is_foreign:
            return "it belongs to another process"
        if driver.end is not None:
            return str(driver.end)
        if driver.broken is not None:
            return f"the connection broke: {driver.broken.strerror}"
        if self._connection.unanswered or driver.waiting_octets:
            return "it was left with answers outstanding"
        return None if self._connection.state is State.OPEN else "its sending direction has been closed"

    def look(self) -> None:
        """Take in what has come while nothing was asked: no answer can be due."""
        if self._readable(0.0):
            self._driver.receive()

    def request(self, text: str) -> Answer:
        """Send a REQUEST, and return its answer; raises as ``exchange``."""
        self._begin()
        self._driver.send_request(text)
        return self._answer()

    def ask(self, ask: Callable[[ClientConnection], None]) -> Answer:
        """Send the one frame that ``ask`` queues, and return its answer; raises as ``exchange``."""
        self._begin()
        ask(self._connection)
        self._driver.send()
        return self._answer()

    def _begin(self) -> None:
        self.look()  # what came before the frame is not its answer
        if self._driver.end is not None:
            raise self._driver.end

    def _answer(self) -> Answer:
        """Send the rest, and wait for the one answer."""
        driver = self._driver
        while True:
            if driver.unsent:
                driver.send()
            answers = self._answers(readable=self._readable(self._patience(None)))
            if answers:
                return answers[0]
            if driver.end is not None:
                raise driver.end

    def exchange(
        self, source: Source, *, half_close: bool = False, keep_alive: float | None = None
    ) -> Iterator[list[Answer]]:
        """Send all frames of the source, and yield their answers in order, in lists of one or more.

        With ``half_close`` FIN follows the last frame; with ``keep_alive`` a PING goes out whenever nothing
        has come for so many seconds and nothing is unanswered.  Raises the error that ended the connection,
        after the answers that came before it; the source's own is left to the caller.
        """
        pinged = False
        driver, connection = self._driver, self._connection
        # The first round only looks: what came before a frame was sent is not its answer (REQ-ORDER-7).
        readable, source_ready = self._readable(0.0), False
        while True:
            answers = self._answers(readable=readable)
            if pinged and answers:
                pinged = False
                del answers[0]  # the PONG: nothing was unanswered before its PING
            if answers:
                yield answers
                driver.require_own_process()
                connection.resume(time.monotonic())  # time spent by the program is not the server's
            if source.exhausted and not connection.unanswered:
                break  # all is answered: an end of the connection after that loses nothing
            if driver.end is not None:
                raise driver.end
            if source_ready or source.fileno() is None:
                self._feed(source)
            if source.exhausted and half_close:
                connection.send_eof()
            elif keep_alive is not None and time.monotonic() >= self._idle_until(keep_alive):
                connection.send_ping()
                pinged = True
            driver.send()
            if source.exhausted and not connection.unanswered:
                break  # there was nothing to send
            readable, source_ready = self._wait(source, self._patience(source, keep_alive))

    def _answers(self, *, readable: bool) -> list[Answer]:
        """The answers that have come; if there are none, the next one may be overdue."""
        answers = self._driver.receive() if readable else self._driver.take_answers()
        return answers or self._driver.check_deadline()

    def shut_down(self) -> None:
        """End the exchange under way in another thread; ``close`` is still due."""
        self._driver.shut_down()

    def close(self) -> None:
        """Release the socket."""
        self._driver.close()

    def _has_room(self, source: Source) -> bool:
        """Whether another batch of frames may be taken from the source.

        Not before all taken earlier are written: the source may take its time, and the server waits meanwhile
        for the rest of a frame that has begun.
        """
        return (
            not source.exhausted
            and self._driver.broken is None
            and self._window - self._connection.unanswered >= self._batch
            and not self._driver.waiting_octets
        )

    def _feed(self, source: Source) -> None:
        if self._has_room(source):
            source.feed(self._connection, self._batch, self._max_unsent)

    def _idle_until(self, keep_alive: float) -> float:
        """When a PING is due, on the monotonic clock; never while an answer is awaited."""
        return math.inf if self._connection.unanswered else self._driver.received_at + keep_alive

    def _patience(self, source: Source | None, keep_alive: float | None = None) -> float | None:
        """How long to wait for something to happen, in seconds; None without limit."""
        if source is not None and self._has_room(source) and source.fileno() is None:
            return 0.0
        deadline = self._connection.next_deadline()
        if deadline is None and keep_alive is not None:
            deadline = self._idle_until(keep_alive)
        return None if deadline is None else min(max(0.0, deadline - time.monotonic()), _LONGEST_WAIT)

    def _wait(self, source: Source, timeout: float | None) -> tuple[bool, bool]:
        """Wait until the socket or the source is ready; say whether each may be read."""
        descriptor = source.fileno() if self._has_room(source) else None
        if descriptor is None:
            return self._readable(timeout), False
        self._poll.register(descriptor, select.POLLIN)
        try:
            found = dict(self._ready(timeout))
        finally:
            self._poll.unregister(descriptor)
        source_ready = descriptor in found
        found.pop(descriptor, None)
        return any(map(_is_news, found.values())), source_ready

    def _readable(self, timeout: float | None) -> bool:
        """Wait until the socket is ready; whether it may be read."""
        found = self._ready(timeout)
        return bool(found) and _is_news(found[0][1])

    def _ready(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait until the socket, or whatever else is registered, is ready."""
        wanted = _EITHER if self._driver.unsent else select.POLLIN
        if wanted != self._polled:
            self._polled = wanted
            self._poll.register(self._socket, wanted)
        if self._busy_poll and timeout:
            until = time.monotonic() + min(self._busy_poll, timeout)
            while time.monotonic() < until:
                if found := self._poll.poll(0):
                    return found
        return self._poll.poll(None if timeout is None else timeout * 1000)
