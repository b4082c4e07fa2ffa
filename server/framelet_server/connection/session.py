"""What is said with one client: its octets read, its frames served, its answers sent.

A session knows nothing of threads: its channel sees to it that one at a time is at work here.  A turn takes
one of two ways.  REQUESTs of a read are answered together, by ``read_and_serve`` and ``send_and_go_on``,
while nothing else is under way (``batchable``).  All else goes event by event, by ``turn``.  Afterwards
``wants`` and ``deadline`` say what to wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from framelet import FrameletError
from framelet_server.service.handlers import LONG

from .event_turn import LONGEST, EventTurn

if TYPE_CHECKING:
    from framelet_server.service.calls import HandlerCalls

    from .context import Holder

_NEXT_READ = 262_144
"""Octets asked for where that was not all: bodies of 16 KiB go 1.7 times as fast."""

_MANY = 1_024
"""Most requests of a read after which the next one is enlarged: small ones take twenty times their octets."""


class Session(EventTurn):
    """The server's side of a connection; its methods are for the channel's owner."""

    __slots__ = ()

    batchable: bool

    # A turn of REQUESTs.  Its two halves make no Python call that can be spared: each costs a large part of
    # what a quick handler takes.

    def read_and_serve(self, calls: HandlerCalls, most: int = 0) -> None:
        """Read once, and have the REQUESTs answered: the first half of a turn, only where ``batchable``.

        The answers are sent by ``send_and_go_on``, when all clients that are ready have been read: a client
        that is woken by one answer is then still awake for the next.  Raises SessionEnded, LayerError and
        OSError.
        """
        transport, connection, context = self.transport, self.connection, self._context
        wanted = most or context.first_read
        try:
            data = transport.sock.recv(wanted)
        except BlockingIOError:
            self._more = self._rest = False
            return
        size = len(data)
        transport.received += size
        self._more = size == wanted
        if transport.layers:
            data = transport.through_layers(data)
        if data:
            now = calls.ended  # when handlers, of whichever client, last let this worker read
            texts = connection.receive_requests(data, now)
            self._rest = not connection.clean and connection.needs_events
            if texts:
                count = len(texts)
                if count > 1 and count > context.request.at_once:
                    self._answer_in_parts(texts, calls)
                else:
                    self._answers = answers = calls.answer(texts, self)
                    if len(answers) < count:  # it failed, was stopped, or some were sent early
                        self._go_on_after(texts, calls)
                    if calls.ended - now > LONG:
                        connection.resume(calls.ended)  # the handler's time is not the client's
        if not size or (transport.layers and transport.ended):
            self._rest = True
            connection.receive_eof()

    def send_and_go_on(  # noqa: C901 - as above, one call
        self, calls: HandlerCalls, holder: Holder
    ) -> bool:
        """Send the answers, and go on where that was not all; raises as ``read_and_serve`` does.

        Whether the session is at rest: nothing is held, owed or unsent, and it is still ``batchable``.
        """
        connection, transport, context = self.connection, self.transport, self._context
        budget, wanted, began = -1, _NEXT_READ, calls.ended  # octets to be read, once that matters
        while True:
            answers = self._answers
            if answers is not None:
                if len(answers) > _MANY:
                    wanted = context.first_read
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
            if budget < 0:
                budget = context.limits.turn_octets - context.first_read
            if budget == 0 or context.memory.exceeded or calls.ended - began > LONGEST:
                return False
            wanted = min(wanted, budget)
            budget -= wanted
            self.read_and_serve(calls, wanted)

    def _answer_in_parts(self, texts: list[str], calls: HandlerCalls) -> None:
        """Answer REQUESTs a few at a time, each part sent before the next, as their handler may take long.

        After a while the rest is left to further turns: where this is the only worker, others wait.
        """
        request = self._context.handlers.request
        start, began = 0, calls.ended
        while start < len(texts):
            if self._held_up() or calls.ended - began > LONGEST:
                self.connection.return_requests(texts[start:])
                self._rest = True
                return
            part = texts[start : start + request.at_once]
            answers = calls.answer(part, self)
            if self.transport.unsent:
                self._queue_each(answers)
            else:
                self.transport.write(self._pieces_of(answers, calls.ended))
            if calls.failure is not None:
                self.connection.queue_replies([calls.failure])
            start += calls.done
            self.transport.flush(self.connection)
            if self.transport.unsent and not calls.watched:
                calls.watch()  # so that the rest is sent as there is room, however long the next call takes
            self.connection.resume(calls.ended)  # the handler's time is not the client's

    def _go_on_after(self, texts: list[str], calls: HandlerCalls) -> None:
        """Go on after a call that failed, or after many octets of answers."""
        answers, self._answers = self._answers or [], None
        self._queue_each(answers)
        if calls.failure is not None:
            self.connection.queue_replies([calls.failure])
        self._answer_in_parts(texts[calls.done :], calls)
        self._rest = self._rest or self.connection.output_size > 0

    def _held_up(self) -> bool:
        """Whether more answers wait than the client may have waiting (REQ-FLOW-1)."""
        return self._backlog() > self._context.limits.max_unsent

    def settle(self) -> None:
        """See whether the next turn may be one of REQUESTs alone: nothing else is under way."""
        transport = self.transport
        self.batchable = (
            self._identified
            and self._context.request.executor is None
            and not (transport.unsent or self._paused or self._starved or self._replies)
            and not (
                self.draining
                or self._retiring
                or self.stopper is not None
                or (transport.layers and transport.ended)
            )
            and self.connection.batch_ready
        )
