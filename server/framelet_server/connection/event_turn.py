"""A turn of one client, event by event: whatever it sends, and whatever is under way."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING

from framelet import ApplicationReceived, ErrorCode, FrameletError, RequestReceived, StopReceived
from framelet_server.net.transport import LayerError
from framelet_server.service.handlers import LONG

from .close_reason import SessionEnded
from .lifetime import Lifetime
from .replies import PendingReplies

if TYPE_CHECKING:
    from framelet import ServerEvent
    from framelet_server.net.peer import Peer
    from framelet_server.service.calls import HandlerCalls

    from .context import Holder

_log = logging.getLogger("framelet_server")

_READ = 262_144
"""Octets read at a time, at the most."""

LONGEST = 0.01
"""Seconds after which a turn ends, whatever is left to serve: some frames cost far more than their octets.

What is left waits until others had their turn.
"""

_AT_ONCE = 64
"""Frames that need no program, as PINGs, taken before the clock is looked at."""


class EventTurn(Lifetime):
    """The half of ``Session`` that takes any frame."""

    __slots__ = ()

    peer: Peer
    stopper: StopReceived | None

    def turn(self, calls: HandlerCalls, holder: Holder) -> None:
        """Read, serve and answer, up to a bounded number of octets and for a bounded time (REQ-FLOW-5).

        Raises SessionEnded, LayerError and OSError.
        """
        budget = self._context.limits.turn_octets
        now = time.monotonic()
        if self._starved or self.unfinished:
            self._starved = self.unfinished = False
            self.connection.resume(now)
        more = True  # whether another read may find something
        while self._answer_events(calls, holder, now + LONGEST):
            if self.connection.finished:
                if self._can_finish():
                    self._finish()
                    return
            elif self._drain_left == 0 and not self.connection.draining:
                self.connection.drain()  # all that had come before is read (REQ-STOP-7)
                continue
            if not more or budget <= 0 or not self.wants()[0] or self._is_starved():
                return
            wanted = min(self._context.first_read if self._context.memory.exceeded else _READ, budget)
            if self._drain_left is not None:
                wanted = min(wanted, self._drain_left)
            received = self._receive(wanted)
            more = received == wanted
            budget -= received

    def wants(self) -> tuple[bool, bool]:
        """Whether to go on when there is something to read, and when there is room to write."""
        if self.unfinished:
            return True, True  # as soon as others had their turn
        writing = self.transport.unsent > 0
        if self.connection.input_ended:
            return False, writing
        # Do not poll for input that will not be read: a level-triggered poller would spin.
        if self.connection.finished:
            return not writing, writing  # FIN goes out first; then what comes is discarded
        if self._paused:
            return False, writing
        if self._starved and self._context.memory.exceeded:
            return False, writing
        return not self.connection.draining, writing

    def _receive(self, wanted: int) -> int:
        """Read once; the number of octets that came."""
        try:
            count, data = self.transport.receive(wanted)
        except BlockingIOError:
            self._drain_left = None if self._drain_left is None else 0
            return 0
        if self._drain_left is not None:
            self._drain_left -= count
        if not self._identified:
            self._identify()
        if data:
            self.connection.receive_data(data, time.monotonic())
        if count == 0 or self.transport.ended:
            self.connection.receive_eof()
            if self._drain_left is not None:
                self._drain_left = 0
        return count

    def _identify(self) -> None:
        """Find out who this is, as far as the layers know by now."""
        before, self.peer = self.peer, self.transport.identify(self.peer)
        moved = self.peer.host != before.host and not self.refused
        if moved and (refusal := self._context.admission.move(before.host, self.peer)):
            self.refused = True
            text, silent = refusal
            self._ends(ErrorCode.TOO_MANY_CONNECTIONS.title)
            if silent:
                raise SessionEnded(ErrorCode.TOO_MANY_CONNECTIONS.title, text)
            self.connection.fail(ErrorCode.TOO_MANY_CONNECTIONS, text)
        if self.transport.established:
            self._identified = True
            self.connection.resume(time.monotonic())

    def _answer_events(self, calls: HandlerCalls, holder: Holder, until: float) -> bool:
        """Serve what was received; False where too many answers wait for more, or the turn's time is up."""
        connection = self.connection
        while self._has_room():
            event = connection.next_event(_AT_ONCE)
            if event is not None:
                self._serve_event(event, calls, holder)
            if event is not None or connection.needs_events:
                if time.monotonic() < until or not connection.needs_events:
                    continue
                self.unfinished = True
                self.transport.flush(connection)
                return False
            if self._outcome is not None and self.stopper is not None:
                if not connection.finished:  # it was shed, or failed, since its STOP was allowed
                    connection.send_stopped(self.stopper, *self._outcome)  # REQ-STOP-8
                self._outcome = None
            unsent = self.transport.unsent or connection.output_size
            if unsent or self.transport.layers or not connection.input_ended:
                self.transport.flush(connection)
            return True
        return False

    def _has_room(self) -> bool:
        """Whether more answers may be made: read no further above the bound (REQ-FLOW-1 to 3)."""
        if self._replies is not None and not self._collect(self._replies):
            self.transport.flush(self.connection)
            self._paused = True
            return False
        waiting = self.transport.unsent + self.connection.output_size
        if waiting > self._context.limits.max_unsent:
            waiting = self._backlog()
        paused, self._paused = self._paused, waiting > self._context.limits.max_unsent
        if paused and not self._paused:
            self.connection.resume(time.monotonic())
        return not self._paused

    def _backlog(self) -> int:
        """Octets of answers that wait, after a try to send them where there are too many."""
        waiting = self.transport.unsent + self.connection.output_size
        if waiting > self._context.limits.max_unsent:
            self.transport.flush(self.connection)
            waiting = self.transport.unsent + self.connection.output_size
        return waiting

    def _collect(self, replies: PendingReplies) -> bool:
        """Send the answers that have come; False where too many are still out for more."""
        bound = self._context.limits.max_unsent
        # What is left has not come yet, or does not fit yet: either wakes a worker when it does.
        while self._backlog() <= bound and replies.deliver(self.connection, bound):
            self.connection.resume(time.monotonic())  # the handlers' time is not the client's
        # What needs no handler, as a PING, waits behind those that do, and takes memory.  Where that is short
        # a small frame waits as it is: submitted it takes a hundred times its octets.
        # A STOP that was allowed is owed STOPPED until the drain has ended, and no later frame is handled.
        short = len(replies) and self._context.memory.exceeded
        few = self.stopper is not None or self.connection.owes < self._context.limits.max_in_flight
        return replies.has_room and not short and few

    def send_made(self, now: float) -> None:
        """Send the answers of a turn that is half done, as it may be long before somebody goes on with it."""
        answers, self._answers = self._answers, None
        self.send_early(answers or [], now)

    def send_early(self, answers: list[str], now: float) -> None:
        """Send answers, and what was kept, while a later one is being made: see ``HandlerCalls``."""
        try:
            self.transport.write(self._pieces_of(answers, now))
            if self.transport.unsent or self.connection.output_size:
                self.transport.flush(self.connection)
        except Exception as error:  # noqa: BLE001 - the stall detector has others to look after
            if not isinstance(error, (OSError, LayerError)):
                _log.exception("%s: the server failed on this connection", self.peer.name)
            # What was to be sent is lost, and no later answer may take its place: the owner finds the stream
            # ended.
            with contextlib.suppress(OSError):
                self.transport.sock.shutdown(socket.SHUT_RDWR)

    def _pieces_of(self, answers: list[str], now: float) -> list[bytes]:
        """Everything to be written to the client, with the answers to its oldest REQUESTs."""
        try:
            return self.connection.replies_to_send(answers, now)
        except FrameletError:
            self._queue_each(answers)
            return self.connection.pieces_to_send(now)

    def _queue_each(self, answers: list[str]) -> None:
        """Queue answers one by one, as one of them cannot be sent as it is."""
        handlers = self._context.handlers
        for answer in answers:
            handlers.send(self.connection, handlers.request, answer)

    def _serve_event(self, event: ServerEvent, calls: HandlerCalls, holder: Holder) -> None:
        if isinstance(event, (RequestReceived, ApplicationReceived)):
            self._call_handler(event, calls, holder)
        elif isinstance(event, StopReceived):
            self._decide_stop(event, holder)
        else:
            self._note(event)

    def _call_handler(
        self, event: RequestReceived | ApplicationReceived, calls: HandlerCalls, holder: Holder
    ) -> None:
        connection, handlers = self.connection, self._context.handlers
        service = handlers.service_of(event)
        # Behind answers that are being made elsewhere its own has to wait, and is counted with them.
        executor = service.executor or (handlers.inline if self.pending else None)
        if executor is not None:
            self._pending(holder).submit(handlers, executor, event, self)
            return
        if service.at_once == 1 and connection.output_size:
            self.transport.flush(connection)  # a call may take long
        try:
            waiting = connection.output_size or self.transport.unsent
            answer = calls.answer_one(service, service.arguments(event, self), self if waiting else None)
        except BaseException:  # noqa: BLE001 - even SystemExit in a handler must cost its caller alone
            connection.send_error(event, *handlers.failure(service))
        else:
            handlers.send(connection, service, answer, event)
        if calls.ended - calls.now > LONG:
            connection.resume(calls.ended)  # the handler's time is not the client's

    def _decide_stop(self, event: StopReceived, holder: Holder) -> None:
        """Have a STOP decided on; where it is allowed the channel sees ``stopper`` after the turn."""
        wait = self._context.stops.refusal(self.peer, event.token)
        if wait is None:
            self.transport.flush(self.connection)
            self.connection.allow_stop(event)
            self.stopper = event
            self._drain_left = None  # what follows is read and discarded (REQ-STOP-10)
        elif wait or self.connection.owes > 1:
            self._pending(holder).refuse_stop(event, self._context.timers, wait)
        else:
            self.connection.send_error(event, ErrorCode.STOP_REFUSED)  # REQ-STOP-3

    def _pending(self, holder: Holder) -> PendingReplies:
        if self._replies is None:
            self._replies = PendingReplies(self._context.limits.max_in_flight, holder.wake)
        return self._replies

    def _is_starved(self) -> bool:
        """Whether to leave off reading, because this client and the others hold too much together."""
        self._starved = self._context.memory.exceeded and self.held > 0
        return self._starved
