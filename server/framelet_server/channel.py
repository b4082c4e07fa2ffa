"""One client: its socket, its connection, and whose turn it is.

A channel is *owned* by at most one thread at a time.  A worker that is woken for it claims it, serves a
turn, and releases it, which arms the poller again.  While it is owned, everything else that happens to it
(a deadline, a drain) is noted under the lock and seen to by the owner before it lets go.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import socket
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING

from framelet import (
    ApplicationReceived,
    ErrorCode,
    FrameRefused,
    InputEnded,
    RequestReceived,
    ServerConnection,
    ServerEvent,
    State,
    StopReceived,
)

from .outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from .deadlines import Timer
    from .house import House

_log = logging.getLogger("framelet_server")

_RECEIVE_SIZE = 65_536
"""Octets asked for in one read: as many as a fast sender of small frames usually has waiting."""

_RECEIVE_MOST = 262_144
"""Octets asked for where a large body is under way: a third more of them per second than in small reads."""

_RECHECK = 0.25
"""Seconds until a deadline is looked at again when a worker has the channel, or is due to."""

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once, with RST


class Channel:
    """A client's connection as the server's threads serve it."""

    __slots__ = (
        "_closed",
        "_connection",
        "_drain_left",
        "_eof",
        "_fin_sent",
        "_house",
        "_kicked",
        "_lock",
        "_outbox",
        "_owned",
        "_paused",
        "_sock",
        "_timer",
        "_undelivered",
        "cut",
        "local",
        "name",
        "stopper",
    )

    def __init__(self, house: House, sock: socket.socket, name: str, *, local: bool) -> None:
        """Take over a connected, non-blocking socket whose peer is called ``name`` in the log."""
        self._house = house
        self._sock = sock
        self._connection = ServerConnection(house.limits, now=time.monotonic())
        self._outbox = Outbox()
        self._paused = False  # not read, because too much is unsent
        self._eof = False  # the client has ended its stream
        self._fin_sent = False
        self._undelivered = 0  # octets that the system still had for the client when last asked
        self._drain_left: int | None = None  # octets still to be read in a drain
        self._lock = threading.Lock()  # guards the next four
        self._owned = True
        self._kicked = False  # asked for another look while owned
        self._closed = False
        self._timer: Timer | None = None
        self.name = name
        self.local = local
        self.stopper = False  # its STOP was allowed: STOPPED is due
        self.cut = False  # ended with answers unsent, or by force

    def begin(self, *, refusal: ErrorCode | None = None) -> None:
        """Let the poller watch the new channel, or refuse its client first."""
        try:
            self._house.poller.add(self._sock, self, read=False, write=False)
        except BaseException:
            self._closed = True
            self._house.channel_closed(self)
            raise
        if refusal is not None:
            self._connection.fail(refusal)
            self._guard(self._end_turn)
        self._release()

    # Ownership.

    def ready(self, *, hangup: bool) -> None:
        """Serve a turn, called by a worker that was woken for this channel."""
        if not self._claim():
            return
        if hangup and self._eof:
            self._abort("the client is gone")
        else:
            self._guard(self._turn)
        self._release()

    def kick(self) -> None:
        """Have a worker look at this channel soon."""
        with self._lock:
            if self._owned:
                self._kicked = True
            elif not self._closed:
                self._house.poller.arm(self._sock, read=True, write=True)

    def cut_off(self) -> None:
        """End the channel by force, from whichever thread; a thread that owns it finds it ended."""
        self.cut = True
        if self._claim():
            self._abort("the server ends")
            return
        with self._lock, contextlib.suppress(OSError):  # not connected any more
            if not self._closed:
                self._sock.shutdown(socket.SHUT_RDWR)
        self._house.channel_finished(self)

    def _claim(self) -> bool:
        with self._lock:
            if self._owned or self._closed:
                return False
            self._owned = True
            return True

    def _release(self) -> None:
        """Give the channel up, armed for what it waits for; end it where it was cut off meanwhile."""
        with self._lock:
            if not (self._closed or self.cut):
                self._owned = False
                self._set_timer()
                # Nothing is read behind the last answer before that is sent: it would wake us for ever.
                ending = self._connection.finished and self._outbox.size > 0
                read = self._kicked or not (self._paused or self._eof or ending)
                write = self._kicked or self._outbox.size > 0
                self._kicked = False
                self._house.poller.arm(self._sock, read=read, write=write)
                return
        self._abort("the server ends")

    def _guard(self, work: Callable[[], None]) -> None:
        """Do something that the client, or a fault of our own, may spoil; the channel ends then."""
        try:
            work()
        except OSError as error:
            self._abort(error.strerror or "the connection is lost")
        except Exception:  # noqa: BLE001 - a fault of our own ends this channel, not the worker
            _log.exception("%s: the server failed on this connection", self.name)
            self._fail()

    # Deadlines.

    def _deadline(self) -> float:
        if self._outbox.size:
            return self._outbox.since + self._house.limits.write_timeout
        due = self._connection.next_deadline()
        return math.inf if due is None else due

    def _set_timer(self) -> None:
        """See to it that a timer fires no later than the next deadline; the lock is held."""
        due = self._deadline()
        if self._timer is not None and due < self._timer.when:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due < math.inf:
            self._timer = self._house.deadlines.schedule(due, self._on_timer)

    def _on_timer(self) -> None:
        """Enforce what is overdue; called on the thread of the deadlines."""
        now = time.monotonic()
        with self._lock:
            self._timer = None
            if self._closed:
                return
            if self._owned or self._input_waits():
                # A worker has the channel, or has yet to read what came in time.
                self._timer = self._house.deadlines.schedule(now + _RECHECK, self._on_timer)
                return
            if now < self._deadline():
                self._set_timer()
                return
            self._owned = True
        self._guard(self._enforce)
        self._release()

    def _input_waits(self) -> bool:
        """Whether the client has sent something that bears on its deadline and was not read yet."""
        if self._outbox.size or self._connection.state is not State.OPEN:
            return False
        try:
            self._sock.recv(1, socket.MSG_PEEK)  # the end of the stream counts as well
        except OSError:
            return False
        return True

    def _enforce(self) -> None:
        if self._outbox.size:  # REQ-TIME-5
            self._flush()  # the client may have made room while the workers were busy
            if time.monotonic() < self._deadline():
                self.kick()
                return
            self.cut = True
            self._abort("the client took nothing of its answers within the write timeout")
        elif self._connection.state is State.CLOSING and self._delivers():
            self._connection.resume(time.monotonic())
        else:
            self._connection.check_deadlines(time.monotonic())
            self._end_turn()

    def _delivers(self) -> bool:
        """Whether the last answers are on their way: the client has taken some since this was last asked."""
        before, self._undelivered = self._undelivered, _octets(self._sock, termios.TIOCOUTQ)
        return 0 < self._undelivered < before

    # A turn.

    def _turn(self) -> None:
        """Read, serve and answer, up to a bounded number of octets (REQ-FLOW-5)."""
        budget = self._house.limits.turn_octets
        more = True  # whether another read may find something
        while self._answer():
            if self._connection.finished:
                self._finish()
                return
            if self._must_drain():
                self._connection.drain()
            elif budget <= 0 or not more:
                return
            else:
                wanted = min(max(_RECEIVE_SIZE, self._connection.missing), _RECEIVE_MOST, budget)
                if self._drain_left is not None:
                    wanted = min(wanted, self._drain_left)
                received = self._receive(wanted)
                more = received == wanted
                budget -= received

    def _receive(self, wanted: int) -> int:
        """Read once; the number of octets that came."""
        if self._eof:
            return 0
        try:
            data = self._sock.recv(wanted)
        except BlockingIOError:
            self._drain_left = None if self._drain_left is None else 0
            return 0
        if self._drain_left is not None:
            self._drain_left -= len(data)
        if data:
            self._connection.receive_data(data, time.monotonic())
        else:
            self._eof = True
            self._connection.receive_eof()
        return len(data)

    def _must_drain(self) -> bool:
        """Whether the server drains and everything that came before has been read (REQ-STOP-7)."""
        if not self._house.draining or self.stopper:
            return False
        if self._drain_left is None:
            # What the system holds now is what came before; the client may go on sending for ever.
            self._drain_left = _octets(self._sock, termios.FIONREAD)
        return self._drain_left == 0

    def _answer(self) -> bool:
        """Serve what was received; False where too much waits unsent for any more to be made."""
        while self._has_room():
            event = self._connection.next_event()
            if event is not None:
                self._serve(event)
                continue
            if self.stopper and self._house.drained is not None and self._connection.owes:
                self._connection.send_stopped(*self._house.drained)  # REQ-STOP-8
            self._flush()
            return True
        return False

    def _has_room(self) -> bool:
        """Whether more answers may be made: read no further above the bound (REQ-FLOW-1 to 3)."""
        bound = self._house.limits.max_unsent
        waiting = self._outbox.size + self._connection.output_size
        if waiting > bound:
            self._flush()
            waiting = self._outbox.size + self._connection.output_size
        paused, self._paused = self._paused, waiting > bound
        if paused and not self._paused:
            self._connection.resume(time.monotonic())
        return not self._paused

    def _serve(self, event: ServerEvent) -> None:
        if isinstance(event, (RequestReceived, ApplicationReceived)):
            if self._house.handlers.may_block and self._connection.output_size:
                self._flush()
            self._house.handlers.answer(self._connection, event)
            if self._house.handlers.may_block:
                self._connection.resume(time.monotonic())  # the handler's time is not the client's
        elif isinstance(event, StopReceived):
            self._decide_stop(event.token)
        else:
            self._note(event)

    def _decide_stop(self, token: str) -> None:
        self._flush()
        if self._house.stop_asked(self, token):
            self._connection.allow_stop()
        else:
            _log.warning("%s: STOP refused", self.name)
            self._connection.send_error(ErrorCode.STOP_REFUSED)  # REQ-STOP-3

    def _end_turn(self) -> None:
        """See a connection off that takes no further frames; may be called off the workers."""
        while (event := self._connection.next_event()) is not None:
            self._note(event)
        self._flush()
        if self._connection.finished:
            self._finish()

    def _note(self, event: ServerEvent) -> None:
        if isinstance(event, (FrameRefused, InputEnded)) and event.error is not None:
            _log.info("%s: %s", self.name, event.error)

    def _flush(self) -> None:
        self._outbox.flush(self._sock, self._connection)

    # The end.

    def _finish(self) -> None:
        """Behind the last answer send FIN; then discard until the client closes too (REQ-ERROR-8)."""
        if self._outbox.size:
            return
        if not self._fin_sent:
            self._fin_sent = True
            self._connection.resume(time.monotonic())
            self._sock.shutdown(socket.SHUT_WR)
            self._undelivered = _octets(self._sock, termios.TIOCOUTQ)
            self._house.channel_finished(self)
        budget = self._house.limits.turn_octets
        while self._connection.state is State.CLOSING and budget > 0:
            try:
                data = self._sock.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            budget -= len(data)
            if not data:
                self._eof = True
                self._connection.receive_eof()
        if self._connection.state is State.CLOSED:
            self._close()

    def _fail(self) -> None:
        """After a fault of our own: tell the client and see it off; the second time, close at once."""
        try:
            if not self._connection.finished:
                self._connection.fail(ErrorCode.INTERNAL_ERROR)
                self._end_turn()
                return
        except Exception:  # noqa: BLE001 - the channel is closed all the same
            _log.exception("%s: not even an ERROR could be sent", self.name)
        self._abort("the server failed")

    def _abort(self, reason: str) -> None:
        """Close at once, dropping what is unsent."""
        if self._closed:
            return
        if self.cut:
            _log.warning("%s: cut off: %s", self.name, reason)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        else:
            _log.info("%s: lost: %s", self.name, reason)
        self._close()

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._house.poller.discard(self._sock)
        self._house.channel_closed(self)


def _octets(sock: socket.socket, direction: int) -> int:
    """How many octets the system holds for us (FIONREAD) or for the client (TIOCOUTQ)."""
    (count,) = struct.unpack("i", fcntl.ioctl(sock, direction, bytes(4)))
    return int(count)
