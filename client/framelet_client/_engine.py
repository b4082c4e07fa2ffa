"""The one loop behind every call: frames go out and answers come in at the same time, over one socket.

A client that writes without reading can end in a deadlock with a server that does not read on before its
answers are taken (REQ-FLOW-4).  So the socket never blocks: each round waits until the socket, or the
source of the frames, is ready for something, reads, takes more frames as far as there is room, and writes.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import TYPE_CHECKING, cast

from framelet import (
    ApplicationReceived,
    ClientConnection,
    ErrorReceived,
    FrameletError,
    HelloReceived,
    PongReceived,
    ReplyReceived,
    State,
    StoppedReceived,
)

from ._ending import error_of_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framelet.tls import Layer

    from .config import ClientLimits
    from .source import Source

Answer = str | ApplicationReceived | PongReceived | HelloReceived | StoppedReceived | ErrorReceived
"""What answers one frame: the text of a reply, or an event; an ErrorReceived here is recoverable."""

_RECEIVE_SIZE = 262_144
_EITHER = select.POLLIN | select.POLLOUT
_LONGEST_WAIT = 86_400.0  # poll counts milliseconds in an int; after this it is simply called again


class _Plain:
    """Nothing below the frames: a layer."""

    established = True
    ended = False

    def receive(self, data: bytes) -> bytes:
        return data

    def send(self, pieces: list[bytes]) -> list[bytes]:
        return pieces

    def end(self) -> bytes:
        return b""


def _is_news(event: int) -> bool:
    """Whether the socket may be read: for data, the end of the stream, or an error."""
    return event != select.POLLOUT


class Engine:
    """Drives one ClientConnection over one non-blocking socket."""

    def __init__(
        self, sock: socket.socket, limits: ClientLimits, layer: Layer | None = None, early: bytes = b""
    ) -> None:
        """Take over a connected, non-blocking socket, its layer, and what that has received early."""
        self._socket = sock
        self._layer = layer or _Plain()
        self._connection = ClientConnection(limits, now=time.monotonic())
        self._window = limits.window
        self._max_unsent = limits.max_unsent
        self._busy_poll = limits.busy_poll
        # Frames are taken in batches of this size: large enough to be worth a system call, small enough
        # that the server works on one batch while the next is made.
        self._batch = max(1, limits.window // 4)
        self._unsent = memoryview(b"")
        self._poll = select.poll()
        self._polled = 0  # what the socket is registered for
        self._ending = False  # nothing further is taken from the connection
        self._fin_sent = False
        self._broken: OSError | None = None  # what the system said when the socket failed
        self._end: FrameletError | None = None  # why the connection is over
        self._take_in(early, over=self._layer.ended)

    @property
    def out_of_step(self) -> str | None:
        """Why the next answer might not be the next frame's, if there is a reason."""
        connection = self._connection
        if self._end is not None:
            return str(self._end)
        if self._broken is not None:
            return f"the connection broke: {self._broken.strerror}"
        if connection.unanswered or connection.output_size or self._unsent:
            return "it was left with answers outstanding"
        return None if connection.state is State.OPEN else "its sending direction has been closed"

    def ask(self, ask: Callable[[ClientConnection], None]) -> Answer:
        """Send the one frame that ``ask`` queues, and return its answer; raises as ``exchange``."""
        if self._readable(0.0):
            self._receive()  # no answer can be due; what came before a frame was sent is none to it
        if self._end is not None:
            raise self._end
        ask(self._connection)
        while True:
            self._send()
            answers = self._receive() if self._readable(self._patience(None)) else self._take_answers()
            if answers:
                return answers[0]
            if self._end is not None:
                raise self._end

    def exchange(self, source: Source, *, half_close: bool = False) -> Iterator[list[Answer]]:
        """Send all frames of the source, and yield their answers in order, in lists of one or more.

        With ``half_close`` FIN follows the last frame.  Raises the error that ended the connection, or the
        source's, after the answers that came before it.
        """
        connection = self._connection
        # The first round only looks: what came before a frame was sent is no answer to it (REQ-ORDER-7).
        readable, source_ready = self._readable(0.0), False
        while True:
            answers = self._receive() if readable else self._take_answers()
            if answers:
                yield answers
                connection.resume(time.monotonic())  # the program's time is not the server's
            if source.exhausted and not connection.unanswered:
                break  # what came behind the last answer is no reason to lose it
            if self._end is not None:
                raise self._end
            if source_ready or source.fileno() is None:
                self._feed(source)
            if source.exhausted and half_close:
                connection.send_eof()
            self._send()
            if source.exhausted and not connection.unanswered:
                break  # there was nothing to send
            readable, source_ready = self._wait(source, self._patience(source))
        if source.error is not None:
            raise source.error

    def shut_down(self) -> None:
        """End the exchange under way in another thread; ``close`` is still due."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the server was quicker

    def close(self) -> None:
        """Release the socket; where nothing is under way, the layer says good-bye."""
        if not (self._ending or self._unsent or self._broken):
            with contextlib.suppress(OSError):  # it is only for the sake of politeness
                self._socket.send(self._layer.end())
        self._socket.close()

    def _has_room(self, source: Source) -> bool:
        """Whether another batch of frames may be taken from the source."""
        return (
            not source.exhausted
            and self._broken is None
            and self._window - self._connection.unanswered >= self._batch
            and len(self._unsent) + self._connection.output_size < self._max_unsent
        )

    def _feed(self, source: Source) -> None:
        if self._has_room(source):
            source.feed(self._connection, self._batch, self._max_unsent - len(self._unsent))

    def _patience(self, source: Source | None) -> float | None:
        """How long to wait for something to happen, in seconds; None for ever."""
        if source is not None and self._has_room(source) and source.fileno() is None:
            return 0.0
        deadline = self._connection.next_deadline()
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
        wanted = _EITHER if self._unsent else select.POLLIN
        if wanted != self._polled:
            self._polled = wanted
            self._poll.register(self._socket, wanted)
        if self._busy_poll and timeout:
            until = time.monotonic() + min(self._busy_poll, timeout)
            while time.monotonic() < until:
                if found := self._poll.poll(0):
                    return found
        return self._poll.poll(None if timeout is None else timeout * 1000)

    def _receive(self) -> list[Answer]:
        """Take in what the socket holds; the answers in it, as ``_take_answers``."""
        try:
            data = self._socket.recv(_RECEIVE_SIZE)
            return self._take_in(self._layer.receive(data), over=not data or self._layer.ended)
        except BlockingIOError:
            return self._take_answers()
        except OSError as error:
            self._broken = error
            return self._take_in(b"", over=True)

    def _take_in(self, data: bytes, *, over: bool) -> list[Answer]:
        """Hand on what came, and the end of the stream; the answers in it."""
        replies: list[Answer] = []
        if data:
            replies += self._connection.receive_replies(data, time.monotonic())
            if self._connection.at_rest and replies and not over:
                return replies  # as a rule
        if over:
            self._connection.receive_eof()
        return self._take_answers(replies)

    def _take_answers(self, replies: list[Answer] | None = None) -> list[Answer]:
        """All answers that are there, behind those given; after them, see whether the connection is over."""
        answers: list[Answer] = replies or []
        while True:
            answers += self._connection.take_replies()
            event = self._connection.next_event()
            if event is None and not answers:
                self._connection.check_deadlines(time.monotonic())
                event = self._connection.next_event()
            if event is None:
                return answers
            end = error_of_end(event, self._broken)
            if end is not None:
                self._end = self._end or end  # the first is the reason
                return answers
            answers.append(event.text if isinstance(event, ReplyReceived) else cast("Answer", event))

    def _send(self) -> None:
        """Write as much as the socket takes at once, and FIN where it is due."""
        if self._broken is not None:
            return
        try:
            if not self._unsent and not self._ending:
                data = b"".join(self._layer.send([self._connection.data_to_send(time.monotonic())]))
                self._ending = self._connection.finished
                self._unsent = memoryview(data + self._layer.end() if self._ending else data)
            if self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            if self._ending and not self._unsent and not self._fin_sent:
                self._socket.shutdown(socket.SHUT_WR)
                self._fin_sent = True
        except BlockingIOError:
            return
        except OSError as error:
            # The server may have said why before it closed, so go on reading.
            self._broken = error
            self._unsent = memoryview(b"")
