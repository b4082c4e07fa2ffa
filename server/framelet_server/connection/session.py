"""What is said with one client: its octets read, its frames served, its answers sent.

A session knows nothing of threads: its channel sees to it that one at a time is at work here.  A turn takes
one of two ways.  REQUESTs of a read are answered together, by ``read_and_serve`` and ``flush``, as long as
nothing else is under way (``batchable``).  All else goes event by event, by ``turn``.  ``wants`` and
``deadline`` say what to wait for afterwards.
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
    FrameletError,
    FrameRefused,
    InputEnded,
    RequestReceived,
    ServerConnection,
    ServerEvent,
    State,
    StopReceived,
)
from framelet_server.net.transport import Transport
from framelet_server.observe.counters import ConnectionStats
from framelet_server.service.handlers import LONG

from .close_reason import CloseReason, SessionEnded
from .replies import PendingReplies

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from framelet_server.net.peer import Peer
    from framelet_server.net.transport import Layer
    from framelet_server.service.calls import HandlerCalls

    from .context import Context, Holder

_log = logging.getLogger("framelet_server")

_FIRST_READ = 65_536
"""Octets asked for in the first read of a turn: answered while the client sends on."""

_NEXT_READ = 262_144
"""Octets asked for where that was not all: bodies of 16 KiB go 1.7 times as fast."""

_JITTER = 0.1
"""Part of the maximum age by which connections differ, so that those of one moment do not all end in one."""


class Session:
    """The server's side of a connection; every method belongs to whoever owns its channel."""

    __slots__ = (
        "_answers",
        "_budget",
        "_context",
        "_drain_left",
        "_eof",
        "_identified",
        "_more",
        "_outcome",
        "_paused",
        "_replies",
        "_rest",
        "_retire_at",
        "_retiring",
        "_starved",
        "_undelivered",
        "batchable",
        "began",
        "connection",
        "draining",
        "fin_sent",
        "over",
        "peer",
        "reason",
        "refused",
        "stopper",
        "transport",
    )

    def __init__(
        self, context: Context, sock: socket.socket, peer: Peer, layers: Sequence[Layer] = ()
    ) -> None:
        """Take over a connected, non-blocking socket."""
        self.began = now = time.monotonic()
        self.peer = peer
        self.transport = Transport(sock, layers)
        self.connection = ServerConnection(context.limits, now=now)
        self.reason = ""  # how it ends, once that is known: a CloseReason, or the title of a fatal error
        self.stopper = False  # its STOP was allowed: STOPPED is due
        self.draining = False  # the server, or the maximum age, ends it
        self.batchable = not layers and context.handlers.executor is None
        self._context = context
        self._replies: PendingReplies | None = None  # answers that come later
        self._identified = not layers  # whether ``peer`` is the client for good
        self._paused = False  # not read, because too much is unsent or pending
        self._starved = False  # not read, because all clients together hold too much
        self._eof = False  # the client has ended its stream
        self.fin_sent = False
        self.over = False  # both directions have ended: the socket can be closed
        self.refused = False  # for its relay's client, who has too many connections
        self._outcome: tuple[int, int] | None = None  # what STOPPED will say
        self._undelivered = 0  # octets that the system still had for the client when last asked
        self._drain_left: int | None = None  # octets still to be read in a drain
        self._retiring = False  # to be ended for its age
        self._retire_at = math.inf
        if context.limits.max_age:
            self._retire_at = now + context.limits.max_age * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load, keeps no secret
        # Between the halves of a turn:
        self._answers: list[str] | None = None  # to the first REQUESTs of what was read
        self._rest = False  # whether there is more to do than to send them
        self._more = False  # whether there may be more to read
        self._budget = 0  # octets that may still be read

    # A turn of REQUESTs.  Its two halves make no Python call that can be spared: each costs a large part of
    # what a quick handler takes.

    def read_and_serve(self, calls: HandlerCalls, most: int = _FIRST_READ) -> None:
        """Read once, and have the REQUESTs answered: the first half of a turn, only where ``batchable``.

        The answers are sent by ``send_and_go_on``, when all clients that are ready have been read: a client
        that is woken by one answer is then still awake for the next.  Raises SessionEnded, LayerError and
        OSError.
        """
        transport, connection = self.transport, self.connection
        if most == _FIRST_READ:
            self._budget = self._context.limits.turn_octets
        wanted = min(self._budget, most)
        self._more = self._rest = False
        try:
            data = transport.sock.recv(wanted)
        except BlockingIOError:
            return
        size = len(data)
        transport.received += size
        self._budget -= size
        self._more = size == wanted
        if transport.layers:
            data = transport.through_layers(data)
        if data:
            texts = connection.receive_requests(data, calls.now)
            self._rest = not connection.clean and connection.needs_events
            if texts:
                if len(texts) > self._context.handlers.request.at_once:
                    self._answer_in_parts(texts, calls)
                else:
                    self._answers = calls.answer(texts, self)
                    if calls.done < len(texts) or calls.failed:
                        self._go_on_after(texts, calls)
                    if calls.ended - calls.now > LONG:
                        connection.resume(calls.ended)  # the handler's time is not the client's
        if not size or (transport.layers and transport.ended):
            self._eof = self._rest = True
            connection.receive_eof()

    def send_and_go_on(self, calls: HandlerCalls, holder: Holder) -> bool:
        """Send the answers, and go on where that was not all; raises as ``read_and_serve`` does.

        Whether the session is at rest: nothing is held, owed or unsent, and it is still ``batchable``.
        """
        connection, transport = self.connection, self.transport
        while True:
            answers = self._answers
            if answers is not None:
                self._answers = None
                try:
                    pieces = connection.replies_to_send(answers, calls.ended)
                except FrameletError:
                    self._queue_each(answers)
                    pieces = connection.pieces_to_send(calls.ended)
                if len(pieces) == 1 and not (transport.layers or transport.unsent):  # as nearly always
                    piece = pieces[0]
                    try:
                        sent = transport.sock.send(piece)
                    except BlockingIOError:
                        sent = 0
                    transport.sent += sent
                    if sent < len(piece):
                        transport.keep([piece[sent:]])
                else:
                    transport.write(pieces)
            if self._rest or transport.unsent:
                self.turn(calls, holder)
                return False
            if not self._more:
                return connection.clean
            if self._budget <= 0 or self._context.memory.exceeded:
                return False
            self.read_and_serve(calls, _NEXT_READ)

    def send_early(self, answers: list[str], now: float) -> bool:
        """Send answers while a later one of the same read is being made: see ``HandlerCalls``."""
        try:
            self.transport.write(self.connection.replies_to_send(answers, now))
        except FrameletError:
            return False  # the owner sees to it, when the call has ended
        except OSError:
            pass  # the owner's next call will say so
        return True

    def _answer_in_parts(self, texts: list[str], calls: HandlerCalls) -> None:
        """Answer REQUESTs a few at a time, each part sent before the next, as their handler may take long."""
        request = self._context.handlers.request
        start = 0
        while start < len(texts):
            if self._held_up():
                self.connection.return_requests(texts[start:])
                self._rest = True
                return
            part = texts[start : start + request.at_once]
            self._queue_each(calls.answer(part, self))
            if calls.failed:
                self.connection.send_error(ErrorCode.HANDLER_FAILED)
            start += calls.done
            self.transport.flush(self.connection)
            self.connection.resume(calls.ended)  # the handler's time is not the client's

    def _go_on_after(self, texts: list[str], calls: HandlerCalls) -> None:
        """Go on after a call that failed, or after many octets of answers."""
        answers, self._answers = self._answers or [], None
        self._queue_each(answers)
        if calls.failed:
            self.connection.send_error(ErrorCode.HANDLER_FAILED)
        self._answer_in_parts(texts[calls.done :], calls)
        self._rest = self._rest or self.connection.output_size > 0

    def _queue_each(self, answers: list[str]) -> None:
        """Queue answers one by one, as one of them cannot be sent as it is."""
        handlers = self._context.handlers
        for answer in answers:
            handlers.send(self.connection, handlers.request, answer)

    def _held_up(self) -> bool:
        """Whether more answers wait than the client may have waiting (REQ-FLOW-1)."""
        return self._backlog() > self._context.limits.max_unsent

    # A turn of events.

    def turn(self, calls: HandlerCalls, holder: Holder) -> None:
        """Read, serve and answer, up to a bounded number of octets (REQ-FLOW-5).

        Raises SessionEnded, LayerError and OSError.
        """
        budget = self._context.limits.turn_octets
        if self._starved:
            self._starved = False
            self.connection.resume(time.monotonic())
        more = True  # whether another read may find something
        while self._answer_events(calls, holder):
            if self.connection.finished:
                if self._can_finish():
                    self._finish()
                    return
            elif self._drain_left == 0 and not self.connection.draining:
                self.connection.drain()  # all that had come before is read (REQ-STOP-7)
                continue
            if not more or budget <= 0 or not self.wants()[0] or self._is_starved():
                return
            wanted = min(_NEXT_READ, budget)
            if self._drain_left is not None:
                wanted = min(wanted, self._drain_left)
            received = self._receive(wanted)
            more = received == wanted
            budget -= received

    def wants(self) -> tuple[bool, bool]:
        """Whether to go on when there is something to read, and when there is room to write."""
        writing = self.transport.unsent > 0
        if self._eof or self._paused:
            return False, writing
        # Do not poll for input that will not be read: a level-triggered poller would spin.
        if self.connection.finished:
            return not writing, writing  # FIN goes out first; then what comes is discarded
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
            self._eof = True
            self.connection.receive_eof()
            if self._drain_left is not None:
                self._drain_left = 0
        return count

    def _identify(self) -> None:
        """Find out who this is, as far as the layers know by now."""
        peer = self.transport.identify(self.peer)
        if peer.host != self.peer.host and (refusal := self._context.admission.move(self.peer.host, peer)):
            self.refused = True
            self._ends(ErrorCode.TOO_MANY_CONNECTIONS.title)
            self.connection.fail(ErrorCode.TOO_MANY_CONNECTIONS, refusal)
        self.peer = peer
        if self.transport.established:
            self._identified = True
            self.connection.resume(time.monotonic())

    def _answer_events(self, calls: HandlerCalls, holder: Holder) -> bool:
        """Serve what was received; False where too many answers wait for more."""
        connection = self.connection
        while self._has_room():
            event = connection.next_event()
            if event is not None:
                self._serve_event(event, calls, holder)
                continue
            if self._outcome is not None and connection.owes == 1:
                connection.send_stopped(*self._outcome)  # REQ-STOP-8
                self._outcome = None
            self.transport.flush(connection)
            return True
        return False

    def _has_room(self) -> bool:
        """Whether more answers may be made: read no further above the bound (REQ-FLOW-1 to 3)."""
        if self._replies is not None and not self._collect(self._replies):
            self.transport.flush(self.connection)
            self._paused = True
            return False
        paused, self._paused = self._paused, self._backlog() > self._context.limits.max_unsent
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
        return replies.has_room

    def _serve_event(self, event: ServerEvent, calls: HandlerCalls, holder: Holder) -> None:
        if isinstance(event, (RequestReceived, ApplicationReceived)):
            self._call_handler(event, calls, holder)
        elif isinstance(event, StopReceived):
            self._decide_stop(event.token, holder)
        else:
            self._note(event)

    def _call_handler(
        self, event: RequestReceived | ApplicationReceived, calls: HandlerCalls, holder: Holder
    ) -> None:
        connection, handlers = self.connection, self._context.handlers
        if handlers.executor is not None:
            self._pending(holder).submit(handlers, event)
            return
        service = handlers.service_of(event)
        if service is None:
            connection.send_error(ErrorCode.NO_HANDLER)
            return
        if service.at_once == 1 and connection.output_size:
            self.transport.flush(connection)  # a call may take long
        try:
            answer = calls.answer_one(service, event.text, self if connection.output_size else None)
        except BaseException:  # noqa: BLE001 - even SystemExit in a handler must cost its caller alone
            handlers.failed(service)
            connection.send_error(ErrorCode.HANDLER_FAILED)
        else:
            handlers.send(connection, service, answer)
        if calls.ended - calls.now > LONG:
            connection.resume(calls.ended)  # the handler's time is not the client's

    def _decide_stop(self, token: str, holder: Holder) -> None:
        """Have a STOP decided on; where it is allowed the channel sees ``stopper`` after the turn."""
        self.transport.flush(self.connection)
        wait = self._context.stops.refusal(self.peer, token)
        if wait is None:
            self.connection.allow_stop()
            self.stopper = True
            self._drain_left = None  # what follows is read and discarded (REQ-STOP-10)
        elif wait or self.connection.owes > 1:
            self._pending(holder).refuse_stop(self._context.timers, wait)
        else:
            self.connection.send_error(ErrorCode.STOP_REFUSED)  # REQ-STOP-3

    def _pending(self, holder: Holder) -> PendingReplies:
        if self._replies is None:
            self._replies = PendingReplies(self._context.limits.max_in_flight, holder.wake)
        return self._replies

    def _note(self, event: ServerEvent) -> None:
        """Take down what a client did wrong, and whether that, or the end of its stream, ends it all."""
        error = event.error if isinstance(event, (FrameRefused, InputEnded)) else None
        if error is not None:
            _log.debug("%s: %s", self.peer.name, error, extra={"peer": self.peer.name})
        if isinstance(event, InputEnded) or (error is not None and error.code.fatal):
            self._ends(CloseReason.CLIENT if error is None else error.code.title)

    # The way to the end.

    def drain(self, *, age: bool = False) -> None:
        """Take what has been received by now, answer it, and end (REQ-STOP-7)."""
        self._retiring = self._retiring or age
        self.draining = self.draining or not age
        if self._drain_left is None and not self.stopper:
            # What the system holds now is what came before; the client may go on sending without end.
            self._drain_left = 0 if self._eof else self.transport.unread

    def stopped(self, closed: int, cut: int) -> None:
        """Have STOPPED sent, as soon as nothing else is owed (REQ-STOP-8)."""
        if self.stopper:
            self._outcome = (closed, cut)

    def refuse(self, code: ErrorCode, text: str = "") -> None:
        """End the connection with a fatal ERROR; what was owed is dropped."""
        self.release()
        self._ends(code.title)
        self.connection.fail(code, text)
        self._see_off()

    def give_up(self) -> None:
        """Free what this client holds: with an ERROR where one can reach it, by force where not."""
        if self.transport.unsent or self.connection.finished:
            raise SessionEnded(ErrorCode.OVERLOADED.title, "", cut=True)
        self.refuse(ErrorCode.OVERLOADED)

    def release(self) -> None:
        """Let go of answers that are still being made: have those cancelled that were not begun."""
        if self._replies is not None:
            self._replies.cancel()
            self._replies = None

    def _see_off(self) -> None:
        """End a connection that takes no further frames; may be called off the workers."""
        while (event := self.connection.next_event()) is not None:
            self._note(event)
        self.transport.flush(self.connection)
        if self.connection.finished and self._can_finish():
            self._finish()

    def _can_finish(self) -> bool:
        """Whether the end may come now: a client that is refused is told so after its handshake."""
        return self.transport.established or self._eof or self.draining

    def _finish(self) -> None:
        """After the last answer send FIN; then discard until the client closes too (REQ-ERROR-8)."""
        if not self.transport.established:
            raise SessionEnded(CloseReason.HANDSHAKE_FAILED, "it ended before the handshake was complete")
        if not self.fin_sent:
            if self.transport.unsent or not self.transport.end():
                return
            self.fin_sent = True
            self._ends(self.close_reason)  # whatever comes now, it has ended in order
            self.connection.resume(time.monotonic())
            self._undelivered = self.transport.undelivered
        budget = self._context.limits.turn_octets
        while self.connection.state is State.CLOSING and budget > 0:
            try:
                count = self.transport.discard(_FIRST_READ)
            except BlockingIOError:
                return
            budget -= count
            if not count:
                self._eof = True
                self.connection.receive_eof()
        self.over = self.connection.state is State.CLOSED

    def _ends(self, reason: str) -> None:
        """Take down how it ends; what comes first is the cause."""
        self.reason = self.reason or reason

    @property
    def close_reason(self) -> str:
        """How it ended: a CloseReason, or the title of a fatal error."""
        return self.reason or (CloseReason.AGE if self._retiring else CloseReason.DRAIN)

    # Deadlines.

    def deadline(self) -> float:
        """When ``enforce`` is due, in seconds on the monotonic clock; infinity for never."""
        if not self.transport.established:  # whatever it takes of the answers to its handshake
            return self.began + self._context.limits.handshake_timeout
        if self.transport.unsent:
            return self.transport.since + self._context.limits.write_timeout
        unread = self._starved or self._paused  # time that we do not read is not the client's
        due = math.inf if unread else self.connection.next_deadline()
        return min(math.inf if due is None else due, math.inf if self._retiring else self._retire_at)

    def enforce(self) -> bool:
        """Enforce what is overdue; whether a worker is to take a turn.  Raises SessionEnded and OSError."""
        now = time.monotonic()
        if not self.transport.established:
            raise SessionEnded(CloseReason.HANDSHAKE_TIMEOUT, "the handshake was not complete in time")
        if self.transport.unsent:  # REQ-TIME-5
            self.transport.flush(self.connection)  # it may have made room while the workers were busy
            if time.monotonic() < self.deadline():
                return True
            raise SessionEnded(
                CloseReason.WRITE_TIMEOUT, "the client took nothing of its answers in time", cut=True
            )
        if self.connection.state is State.CLOSING and self._delivers():
            self.connection.resume(now)
        elif now >= self._retire_at and not self._retiring:
            self.drain(age=True)
            return True
        else:
            self.connection.check_deadlines(now)
            self._see_off()
        return False

    def input_waits(self) -> bool:
        """Whether the client has sent something that bears on its deadline and was not read yet."""
        if self.transport.unsent or self._starved or self.connection.state is not State.OPEN:
            return False
        return self.transport.input_waits()

    def _delivers(self) -> bool:
        """Whether the last answers are on their way: the client has taken some since this was last asked."""
        before, self._undelivered = self._undelivered, self.transport.undelivered
        return 0 < self._undelivered < before

    # What others see.

    @property
    def held(self) -> int:
        """Octets that are in memory for this client: frames not served yet, and answers not taken."""
        later = 0 if self._replies is None else self._replies.held
        return self.connection.input_size + self.connection.output_size + self.transport.unsent + later

    @property
    def pending(self) -> int:
        """How many answers are being made elsewhere; may be asked from any thread."""
        replies = self._replies
        return 0 if replies is None else len(replies)

    def stats(self) -> ConnectionStats:
        """What was counted so far; may be asked from any thread."""
        return ConnectionStats.of(self.connection, self.transport)

    def settle(self) -> None:
        """See whether the next turn may be one of REQUESTs alone: nothing else is under way."""
        transport = self.transport
        self.batchable = (
            self._identified
            and self._context.handlers.executor is None
            and not (transport.unsent or self._paused or self._starved or self._eof or self._replies)
            and not (
                self.draining or self._retiring or self.stopper or (transport.layers and transport.ended)
            )
            and self.connection.batch_ready
        )

    def _is_starved(self) -> bool:
        """Whether to leave off reading, because this client and the others hold too much together."""
        self._starved = self._context.memory.exceeded and self.held > 0
        return self._starved
