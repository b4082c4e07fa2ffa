"""What one client's session is made of, by when what has to happen, and how it ends."""

from __future__ import annotations

import logging
import math
import random
import time
from typing import TYPE_CHECKING

from framelet import ErrorCode, FrameRefused, InputEnded, ServerConnection, State
from framelet_server.net.transport import Transport
from framelet_server.observe.counters import ConnectionStats

from .close_reason import CloseReason, SessionEnded

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from framelet import ServerEvent, StopReceived
    from framelet_server.net.peer import Peer
    from framelet_server.net.transport import Layer

    from .context import Context
    from .replies import PendingReplies

_log = logging.getLogger("framelet_server")

_DISCARDED = 65_536
"""Octets read at a time after the last answer, only to be dropped."""

_JITTER = 0.1
"""Part of the maximum age by which connections differ, so that those of one moment do not all end in one."""


class Lifetime:
    """The base of ``Session``; its methods are for the channel's owner, unless one says otherwise."""

    __slots__ = (
        "_answers",
        "_context",
        "_drain_left",
        "_identified",
        "_linger_until",
        "_more",
        "_outcome",
        "_paused",
        "_replies",
        "_rest",
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
        "retire_at",
        "stopper",
        "transport",
        "unfinished",
    )

    def __init__(
        self, context: Context, sock: socket.socket, peer: Peer, layers: Sequence[Layer] = ()
    ) -> None:
        """Take over a connected, non-blocking socket."""
        now = time.monotonic()
        self.began: float = now
        self.peer: Peer = peer
        self.transport: Transport = Transport(sock, layers)
        self.connection: ServerConnection = ServerConnection(
            context.limits,
            now=now,
            application_types=context.handlers.application_types,
            takes_stop=True,
        )
        self.reason: str = ""  # how it ends, once that is known: a CloseReason, or the title of a fatal error
        self.stopper: StopReceived | None = None  # its STOP that was allowed: STOPPED is due
        self.draining: bool = False  # the server, or the maximum age, ends it
        self.unfinished: bool = False  # the turn's time was up with frames left to serve
        self.batchable: bool = not layers and context.request.executor is None
        self._context = context
        self._replies: PendingReplies | None = None  # answers that come later
        self._identified = not layers  # whether ``peer`` is the client for good
        self._paused = False  # not read, because too much is unsent or pending
        self._starved = False  # not read, because all clients together hold too much
        self.fin_sent: bool = False
        self.over: bool = False  # both directions have ended: the socket can be closed
        self.refused: bool = False  # for its relay's client, who has too many connections
        self._outcome: tuple[int, int] | None = None  # what STOPPED will say
        self._undelivered = 0  # octets that the system still had for the client when last asked
        self._linger_until = math.inf  # the latest end, however slowly it takes the last answers
        self._drain_left: int | None = None  # octets still to be read in a drain
        self._retiring = False  # to be ended for its age
        self.retire_at: float = math.inf  # until that is left as a note
        if context.limits.max_age:
            self.retire_at = now + context.limits.max_age * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load, keeps no secret
        # Between the halves of a turn:
        self._answers: list[str] | None = None  # to the first REQUESTs of what was read
        self._rest = False  # whether there is more to do than to send them
        self._more = False  # whether there may be more to read

    # The way to the end.

    def drain(self, *, age: bool = False) -> None:
        """Take what has been received by now, answer it, and end (REQ-STOP-7)."""
        self._retiring = self._retiring or age
        self.draining = self.draining or not age
        if self._drain_left is None and self.stopper is None:
            # What the system holds now is what came before; the client may go on sending without end.
            self._drain_left = 0 if self.connection.input_ended else self.transport.unread

    def stopped(self, closed: int, cut: int) -> None:
        """Have STOPPED sent, as soon as nothing else is owed (REQ-STOP-8)."""
        if self.stopper is not None:
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
        return self.transport.established or self.connection.input_ended or self.draining

    def _finish(self) -> None:
        """After the last answer send FIN; then discard until the client closes too (REQ-ERROR-8)."""
        if not self.transport.established:
            raise SessionEnded(CloseReason.HANDSHAKE_FAILED, "it ended before the handshake was complete")
        if not self.fin_sent:
            if not self._send_fin():
                return
            self.fin_sent = True
            limits = self._context.limits
            self._linger_until = time.monotonic() + limits.linger_timeout + limits.write_timeout
            self._ends(self.close_reason)  # whatever comes now, it has ended in order
            if self.over:
                return
            self.connection.resume(time.monotonic())
            self._undelivered = self.transport.undelivered
        budget = self._context.limits.turn_octets
        while self.connection.state is State.CLOSING and budget > 0:
            try:
                count = self.transport.discard(_DISCARDED)
            except BlockingIOError:
                return
            except OSError:
                self.over = True  # it has ended in order: a reset loses nothing
                return
            budget -= count
            if not count:
                self.connection.receive_eof()
        self.over = self.connection.state is State.CLOSED

    def _send_fin(self) -> bool:
        """Say that nothing more comes, once all else is sent; False where that has to wait."""
        try:
            if self.transport.unsent or not self.transport.end():
                return False
        except OSError:
            if not (self.connection.input_ended or self.stopper):
                raise
            self.over = True  # it got all it was owed, has closed its socket, and needs no FIN of ours
        self.over = self.over or self.connection.input_ended
        return True

    def _note(self, event: ServerEvent) -> None:
        """Take down what a client did wrong, and whether that, or the end of its stream, ends it all."""
        error = event.error if isinstance(event, (FrameRefused, InputEnded)) else None
        if error is not None:
            # Not the error's own words: they may quote what the client sent.
            code = error.code
            _log.debug("%s: %d %s", self.peer.name, code, code.title, extra={"peer": self.peer.name})
        if isinstance(event, InputEnded) or (error is not None and error.code.fatal):
            ended = CloseReason.CLIENT if self.transport.established else CloseReason.HANDSHAKE_FAILED
            self._ends(ended if error is None else error.code.title)

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
            return min(self.transport.since + self._context.limits.write_timeout, self.retire_at)
        # Time that we do not read is not the client's, until only its end is waited for.
        unread = (self._starved or self._paused or self.unfinished) and not self.connection.finished
        due = math.inf if unread else self.connection.next_deadline()
        return min(math.inf if due is None else due, self.retire_at)

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
                CloseReason.WRITE_TIMEOUT, "the client did not read its answers in time", cut=True
            )
        if self.connection.state is State.CLOSING and now < self._linger_until and self._delivers():
            self.connection.resume(now)
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
    def gone(self) -> bool:
        """Whether no answer can reach the client any more; may be asked from any thread."""
        return self.transport.gone

    @property
    def cut_off_at(self) -> float:
        """When a drain cuts the client off, on the monotonic clock; may be asked from any thread."""
        return self._context.drain.ends_at

    @property
    def held(self) -> int:
        """Octets of memory for this client: frames not served yet, and answers not taken."""
        later = 0 if self._replies is None else self._replies.held
        return self.connection.held + self.transport.held + later

    @property
    def pending(self) -> int:
        """How many answers are being made elsewhere; may be asked from any thread."""
        replies = self._replies
        return 0 if replies is None else len(replies)

    def stats(self) -> ConnectionStats:
        """What was counted so far; may be asked from any thread."""
        return ConnectionStats.of(self.connection, self.transport)
