"""One connection of the load generator: requests out, answers in, nothing waited for."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from framelet import (
    ClientConnection,
    FrameletError,
    ReplyReceived,
)

from ._ending import error_of_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from framelet import ClientEvent

    from ._transport import Transport
    from .bench_plan import Request
    from .config import ClientLimits

_RECEIVE_SIZE = 262_144


class Flight(NamedTuple):
    """A request under way: when it was due and sent, in seconds, and whether it counts."""

    request: Request
    due: float
    sent: float
    counts: bool


class Conversation:
    """A ClientConnection on its socket, and the requests in flight on it, oldest first."""

    def __init__(self, transport: Transport, limits: ClientLimits, window: int, now: float) -> None:
        """Take over the socket."""
        self.socket, self._layer, early = transport
        self.flights: deque[Flight] = deque()
        self.is_free = True  # whether it is among those that wait for requests
        self.is_watched_for_room = False  # whether the selector looks for room in the socket
        self.error: FrameletError | None = None  # why it is over
        self._connection = ClientConnection(limits, now=now)
        self._window = window
        self._max_unsent = limits.max_unsent
        self._unsent = memoryview(b"")
        self._broken: OSError | None = None
        self._replies: list[str] = []  # the texts of those that came first
        if early:
            self._connection.receive_data(early, now)

    @property
    def has_room(self) -> bool:
        """Whether another request may be asked."""
        return (
            len(self.flights) < self._window
            and len(self._unsent) + self._connection.output_size < self._max_unsent
            and self.error is None
        )

    @property
    def is_blocked(self) -> bool:
        """Whether the socket did not take all there was to send."""
        return bool(self._unsent)

    def ask(self, flight: Flight) -> None:
        """Queue a request, for ``send`` to send."""
        self._connection.send_request(flight.request.text)
        self.flights.append(flight)

    def send(self, now: float) -> None:
        """Write as much as the socket takes."""
        try:
            while self._broken is None and (self._unsent or self._connection.output_size):
                if not self._unsent:
                    data = self._connection.data_to_send(now)
                    self._unsent = memoryview(b"".join(self._layer.send([data])) if self._layer else data)
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            # The server may have said why before it closed, so go on reading.
            self._broken = error
            self._unsent = memoryview(b"")

    def receive(self) -> float:
        """Take in what the socket holds; returns when that was, in seconds on the monotonic clock."""
        try:
            data = self.socket.recv(_RECEIVE_SIZE)
            now = time.monotonic()
            over = not data
            if self._layer is not None and data:
                data = self._layer.receive(data)
                over = self._layer.ended
        except BlockingIOError:
            return time.monotonic()
        except OSError as error:
            self._broken = error
            now, data, over = time.monotonic(), b"", True
        if data:
            self._replies += self._connection.receive_replies(data, now)
        if over:
            self._connection.receive_eof()
        return now

    def check(self, now: float) -> None:
        """Give the connection up where its next answer is overdue; ``answers`` says so."""
        self._connection.check_deadlines(now)

    def answers(self) -> Iterator[str | ClientEvent]:
        """The answers received, each to the oldest flight; ``error`` is set when the connection is over.

        A reply is its text, others are events.
        """
        replies, self._replies = self._replies, []
        yield from replies
        while (event := self._connection.next_event()) is not None:
            self.error = error_of_end(event, self._broken)
            if self.error is not None:
                return
            yield event.text if isinstance(event, ReplyReceived) else event

    def close(self) -> None:
        """Release the socket, with the layer's good-bye where there is room for it."""
        if self._layer is not None and not self._unsent and self._broken is None:
            with contextlib.suppress(OSError):  # it is only for the sake of politeness
                self.socket.send(self._layer.end())
        self.socket.close()
