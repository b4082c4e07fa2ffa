"""What is said with one client: its octets read, its frames served, its answers sent.

A conversation knows nothing of threads: its channel sees to it that one at a time is at work here.
"""

from __future__ import annotations

import logging
import math
import random
import time
from typing import TYPE_CHECKING

from framelet import (
    ApplicationReceived,
    ErrorCode,
    FrameRefused,
    InputEnded,
    RequestReceived,
    ReversingConnection,
    ServerEvent,
    State,
    StopReceived,
)
from framelet_server.net.transport import Transport
from framelet_server.observe.counters import ConnectionStats

from .close_reason import CloseReason, SessionEnded
from .replies import PendingReplies

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from framelet_server.net.peer import Peer
    from framelet_server.net.transport import Layer
    from framelet_server.pool.house import House

_log = logging.getLogger("framelet_server")

_RECEIVE_SIZE = 65_536
"""Octets asked for in the first read of a turn: answered while the client sends on."""

_RECEIVE_MOST = 262_144
"""Octets asked for where that was not all: bodies of 16 KiB go 1.7 times as fast."""

_JITTER = 0.1
"""Part of the maximum age by which connections differ, so that those of one moment do not all end in one."""


class Session:
    """The server's side of a connection; every method belongs to whoever owns its channel."""

    __slots__ = (
        "_began",
        "_connection",
        "_drain_left",
        "_ending",
        "_eof",
        "_fin_sent",
        "_house",
        "_in_flight",
        "_introduced",
        "_more",
        "_paused",
        "_retire_at",
        "_retiring",
        "_starved",
        "_transport",
        "_undelivered",
        "counted_host",
        "cut",
        "peer",
        "stopper",
    )

    def __init__(self, house: House, sock: socket.socket, peer: Peer, layers: Sequence[Layer] = ()) -> None:
        """Take over a connected, non-blocking socket."""
        now = time.monotonic()
        self._house = house
        self._began = now
        self._transport = Transport(sock, layers)
        self._connection = ReversingConnection(house.limits, now=now)
        self._in_flight: PendingReplies | None = None  # answers that come later
        self._introduced = not layers  # whether the house knows its peer for good
        self._paused = False  # not read, because too much is unsent or in flight
        self._starved = False  # not read, because all clients together hold too much
        self._eof = False  # the client has ended its stream
        self._ending = ""  # how it ends, once that is known: an CloseReason, or the title of a fatal error
        self._fin_sent = False
        self._more = False  # whether there may be more to read than ``take`` has read
        self._undelivered = 0  # octets that the system still had for the client when last asked
        self._drain_left: int | None = None  # octets still to be read in a drain
        self._retiring = False  # to be ended for its age
        self._retire_at = math.inf
        if house.limits.max_age:
            self._retire_at = now + house.limits.max_age * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load, keeps no secret
        self.peer = peer
        self.counted_host = ""  # the address whose limit it counts for; the house keeps it
        self.stopper = False  # its STOP was allowed: STOPPED is due
        self.cut = False  # ended with answers unsent, or by force

    @property
    def held(self) -> int:
        """Octets that are in memory for this client: frames not served yet, and answers not taken."""
        later = 0 if self._in_flight is None else self._in_flight.held
        return self._connection.input_size + self._connection.output_size + self._transport.unsent + later

    def wants(self) -> tuple[bool, bool]:
        """Whether to go on when there is something to read, and when there is room to write."""
        # What is not used would wake us for ever: behind the last answer before that is sent, and in a drain.
        connection = self._connection
        ending = self._transport.unsent > 0 if connection.finished else connection.draining
        starved = self._starved and self._house.budget.exceeded
        read = not (self._paused or starved or self._eof or ending)
        return read, self._transport.unsent > 0

    # A turn.

    def take(self) -> bool:
        """Read once, and answer in memory, as nearly always; False where only ``turn`` will do."""
        if not self._is_ordinary():
            return False
        wanted = min(_RECEIVE_SIZE, self._house.limits.turn_octets)
        self._more = self._receive(wanted) == wanted
        return True

    def give(self) -> bool:
        """Send what ``take`` has answered, and go on where that was not all.

        Returns whether the connection is at rest: nothing is held, owed or unsent, and all is as ever.
        """
        self._transport.flush(self._connection)
        if self._connection.at_rest and not (self._more or self._transport.unsent):
            return True
        self.turn()
        return False

    def _is_ordinary(self) -> bool:
        """Whether requests can be answered as they are read, as nearly always."""
        house = self._house
        return house.handlers.reverses and not (
            house.draining
            or house.budget.exceeded
            or self._transport.unsent
            or self._paused
            or self._starved
            or self._eof
            or self._retiring
            or not self._introduced
            or self.stopper
            or self._in_flight
        )

    def turn(self) -> None:
        """Read, serve and answer, up to a bounded number of octets (REQ-FLOW-5)."""
        budget = self._house.limits.turn_octets
        more = True  # whether another read may find something
        self._feed()
        while self._answer():
            if self._connection.finished and self._can_finish():
                self._finish()
                return
            if self._must_drain():
                if self._connection.draining:
                    return  # the answers owed are made elsewhere
                self._connection.drain()
            elif budget <= 0 or not more or self._is_starved():
                return
            else:
                wanted = min(_RECEIVE_MOST, budget)
                if self._drain_left is not None:
                    wanted = min(wanted, self._drain_left)
                received = self._receive(wanted)
                more = received == wanted
                budget -= received

    def end_turn(self) -> None:
        """See a connection off that takes no further frames; may be called off the workers."""
        while (event := self._connection.next_event()) is not None:
            self._note(event)
        self._transport.flush(self._connection)
        if self._connection.finished and self._can_finish():
            self._finish()

    def refuse(self, code: ErrorCode, text: str = "") -> None:
        """End the connection with a fatal ERROR; what was owed is dropped."""
        self._drop_in_flight()
        self._ends(code.title)
        self._connection.fail(code, text)
        self.end_turn()

    def give_up(self) -> None:
        """Free what this client holds: with an ERROR where one can reach it, by force where not."""
        if self._transport.unsent or self._connection.finished:
            self.cut = True
            raise SessionEnded(ErrorCode.OVERLOADED.title, "")
        self.refuse(ErrorCode.OVERLOADED)

    def _receive(self, wanted: int) -> int:
        """Read once; the number of octets that came."""
        if self._eof:
            return 0
        try:
            count, data = self._transport.receive(wanted)
        except BlockingIOError:
            self._drain_left = None if self._drain_left is None else 0
            return 0
        if self._drain_left is not None:
            self._drain_left -= count
        if not self._introduced:
            self._introduce()
        if data and self._house.handlers.reverses:
            bound = self._house.limits.max_unsent - self._transport.unsent
            self._connection.receive_and_reverse(data, time.monotonic(), bound)
        elif data:
            self._connection.receive_data(data, time.monotonic())
        if count == 0 or self._transport.ended:
            self._eof = True
            self._connection.receive_eof()
        return count

    def _introduce(self) -> None:
        """Tell the house who this is, as far as the layers know by now."""
        peer = self._transport.identify(self.peer)
        if peer.host != self.peer.host and (refusal := self._house.identify_peer(self, peer)):
            self._ends(ErrorCode.TOO_MANY_CONNECTIONS.title)
            self._connection.fail(ErrorCode.TOO_MANY_CONNECTIONS, refusal)
        self.peer = peer
        if self._transport.established:
            self._introduced = True
            self._connection.resume(time.monotonic())

    def _must_drain(self) -> bool:
        """Whether all that came before a drain, or the end of this client's time, was read (REQ-STOP-7)."""
        if self.stopper or not (self._house.draining or self._retiring):
            return False
        if self._drain_left is None:
            # What the system holds now is what came before; the client may go on sending for ever.
            self._drain_left = self._transport.unread
        return self._drain_left == 0

    def _is_starved(self) -> bool:
        """Whether to leave off reading, because this client and the others hold too much together."""
        self._starved = self._house.budget.exceeded and self.held > 0
        return self._starved

    def _feed(self) -> None:
        """Start the clocks afresh where this client was not read for a while."""
        if self._starved:
            self._starved = False
            self._connection.resume(time.monotonic())

    # Answers.

    def _answer(self) -> bool:
        """Serve what was received; False where too much waits unsent, or in flight, for more."""
        connection, bound = self._connection, self._house.limits.max_unsent
        while self._has_room():
            if self._house.handlers.reverses:
                connection.reverse_requests(bound - self._transport.unsent)
            event = connection.next_event()
            if event is not None:
                self._serve(event)
                continue
            if self.stopper and self._house.drained is not None and connection.owes == 1:
                connection.send_stopped(*self._house.drained)  # REQ-STOP-8
            self._transport.flush(connection)
            return True
        return False

    def _has_room(self) -> bool:
        """Whether more answers may be made: read no further above the bound (REQ-FLOW-1 to 3)."""
        bound = self._house.limits.max_unsent
        if self._in_flight is not None and not self._collect(self._in_flight, bound):
            self._transport.flush(self._connection)
            self._paused = True
            return False
        if (waiting := self._transport.unsent + self._connection.output_size) > bound:
            waiting = self._backlog(bound)
        paused, self._paused = self._paused, waiting > bound
        if paused and not self._paused:
            self._connection.resume(time.monotonic())
        return not self._paused

    def _backlog(self, bound: int) -> int:
        """Octets of answers that wait, behind a try to send them where there are too many."""
        if self._transport.unsent + self._connection.output_size > bound:
            self._transport.flush(self._connection)
        return self._transport.unsent + self._connection.output_size

    def _collect(self, in_flight: PendingReplies, bound: int) -> bool:
        """Send the answers that have come; False where too many are still out for more."""
        # What is left behind has not come yet, or does not fit yet: either wakes a worker when it does.
        while self._backlog(bound) <= bound and in_flight.deliver(self._connection, bound):
            self._connection.resume(time.monotonic())  # the handlers' time is not the client's
        return in_flight.has_room

    def _serve(self, event: ServerEvent) -> None:
        handlers = self._house.handlers
        if isinstance(event, (RequestReceived, ApplicationReceived)):
            if handlers.executor is not None:
                self._later().submit(handlers, event)
                return
            if handlers.may_block and self._connection.output_size:
                self._transport.flush(self._connection)
            handlers.answer(self._connection, event)
            if handlers.may_block:
                self._connection.resume(time.monotonic())  # the handler's time is not the client's
        elif isinstance(event, StopReceived):
            self._decide_stop(event.token)
        else:
            self._note(event)

    def _decide_stop(self, token: str) -> None:
        self._transport.flush(self._connection)
        if self._house.stop_asked(self, token):
            self._connection.allow_stop()
            return
        wait = self._house.stop_refused(self)
        if wait or self._connection.owes > 1:
            self._later().refuse_stop(self._house.timers, wait)
        else:
            self._connection.send_error(ErrorCode.STOP_REFUSED)  # REQ-STOP-3

    def _later(self) -> PendingReplies:
        if self._in_flight is None:
            self._in_flight = PendingReplies(self._house.limits.max_in_flight, self.wake)
        return self._in_flight

    def _drop_in_flight(self) -> None:
        """Nobody waits for the answers any more: have those cancelled that were not begun."""
        if self._in_flight is not None:
            self._in_flight.cancel()
            self._in_flight = None

    def _note(self, event: ServerEvent) -> None:
        """Take down what a client did wrong, and whether that, or the end of its stream, ends it all."""
        error = event.error if isinstance(event, (FrameRefused, InputEnded)) else None
        if error is not None:
            _log.debug("%s: %s", self.peer.name, error, extra={"peer": self.peer.name})
        if isinstance(event, InputEnded) or (error is not None and error.code.fatal):
            self._ends(CloseReason.CLIENT if error is None else error.code.title)

    def _ends(self, how: str) -> None:
        """Take down how it ends; what comes first is the cause."""
        self._ending = self._ending or how

    @property
    def ending(self) -> str:
        """How it ended: an CloseReason, or the title of a fatal error."""
        return self._ending or (CloseReason.AGE if self._retiring else CloseReason.DRAIN)

    @property
    def in_flight(self) -> int:
        """How many answers are being made elsewhere; may be asked from any thread."""
        in_flight = self._in_flight
        return 0 if in_flight is None else len(in_flight)

    def tally(self) -> ConnectionStats:
        """What was counted so far; may be asked from any thread."""
        return ConnectionStats.of(self._connection, self._transport)

    # Timers.

    def deadline(self) -> float:
        """When ``enforce`` is due, in seconds on the monotonic clock; infinity for never."""
        if not self._transport.established:  # whatever it takes of the answers to its handshake
            return self._began + self._house.limits.handshake_timeout
        if self._transport.unsent:
            return self._transport.since + self._house.limits.write_timeout
        unread = self._starved or self._paused  # time that we do not read is not the client's
        due = math.inf if unread else self._connection.next_deadline()
        return min(math.inf if due is None else due, math.inf if self._retiring else self._retire_at)

    def enforce(self) -> None:
        """Enforce what is overdue."""
        now = time.monotonic()
        if not self._transport.established:
            raise SessionEnded(CloseReason.HANDSHAKE_TIMEOUT, "the handshake was not complete in time")
        if self._transport.unsent:  # REQ-TIME-5
            self._transport.flush(self._connection)  # it may have made room while the workers were busy
            if time.monotonic() < self.deadline():
                self.wake()
                return
            self.cut = True
            raise SessionEnded(CloseReason.WRITE_TIMEOUT, "the client took nothing of its answers in time")
        if self._connection.state is State.CLOSING and self._delivers():
            self._connection.resume(now)
        elif now >= self._retire_at and not self._retiring:
            self._retiring = True
            self.wake()
        else:
            self._connection.check_deadlines(now)
            self.end_turn()

    def _delivers(self) -> bool:
        """Whether the last answers are on their way: the client has taken some since this was last asked."""
        before, self._undelivered = self._undelivered, self._transport.undelivered
        return 0 < self._undelivered < before

    # The end.

    def _can_finish(self) -> bool:
        """Whether the end may come now: a client that is refused is told so behind its handshake."""
        return self._transport.established or self._eof or self._house.draining

    def _finish(self) -> None:
        """Behind the last answer send FIN; then discard until the client closes too (REQ-ERROR-8)."""
        if not self._transport.established:
            raise SessionEnded(CloseReason.HANDSHAKE_FAILED, "it ended before the handshake was complete")
        if not self._fin_sent:
            if self._transport.unsent or not self._transport.end():
                return
            self._fin_sent = True
            self._ends(self.ending)  # whatever comes now, it has ended in order
            self._connection.resume(time.monotonic())
            self._undelivered = self._transport.undelivered
            self._house.channel_finished(self)
        budget = self._house.limits.turn_octets
        while self._connection.state is State.CLOSING and budget > 0:
            try:
                count = self._transport.discard(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            budget -= count
            if not count:
                self._eof = True
                self._connection.receive_eof()
        if self._connection.state is State.CLOSED:
            self._close()

    # What the channel adds.

    def wake(self) -> None:
        """Have a worker take a turn soon; may be called from any thread."""
        raise NotImplementedError

    def abort(self) -> None:
        """End by force; may be called from any thread."""
        raise NotImplementedError

    def _close(self) -> None:
        """Close the socket, and forget the client."""
        raise NotImplementedError
