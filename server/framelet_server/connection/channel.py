"""One client's conversation, and whose turn it is.

A channel is *owned* by at most one thread at a time.  A worker that is woken for it claims it, serves a
turn, and releases it, which arms the poller again.  While it is owned, everything else that happens to it
(a deadline, a drain) is noted under the lock and seen to by the owner before it lets go.
"""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import threading
import time
from typing import TYPE_CHECKING

from framelet import ErrorCode, State
from framelet_server.net.transport import LayerError

from .close_reason import CloseReason, SessionEnded, log_end
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framelet_server.net.peer import Peer
    from framelet_server.net.timers import Timer
    from framelet_server.net.transport import Layer
    from framelet_server.pool.house import House

_log = logging.getLogger("framelet_server")

_RECHECK = 0.25
"""Seconds until a deadline is looked at again when a worker has the channel, or is due to."""


class Channel(Session):
    """A client's connection as the server's threads share it."""

    __slots__ = ("_accounted", "_closed", "_kept", "_lock", "_owned", "_shed", "_timer", "_woken")

    def __init__(self, house: House, sock: socket.socket, peer: Peer, layers: Sequence[Layer] = ()) -> None:
        """Take over a connected, non-blocking socket."""
        super().__init__(house, sock, peer, layers)
        self._accounted = 0  # octets that the budget knows of
        self._lock = threading.Lock()  # guards the rest
        self._owned = True
        self._kept = False  # whether the poller goes on to watch for input
        self._woken = False  # asked for another look while owned
        self._shed = False  # to be given up for the memory it takes
        self._closed = False
        self._timer: Timer | None = None

    def begin(self, *, refusal: str = "") -> None:
        """Let the poller watch the new channel, or refuse its client first."""
        try:
            self._house.poller.add(self._transport.sock, self, read=False, write=False)
        except BaseException:
            self._closed = True
            self._house.channel_closed(self)
            raise
        if refusal:
            self._guard(lambda: self.refuse(ErrorCode.TOO_MANY_CONNECTIONS, refusal))
        self._release()

    def ready(self, *, hangup: bool) -> Callable[[], None] | None:
        """Serve a turn, or the first half of one; called by a worker that was woken for this channel."""
        if not self._claim():
            return None
        if hangup and not self.wants()[0]:
            # No read would find out that it is gone, and the poller would tell us for ever.
            self._abort(CloseReason.LOST, "the client is gone")
        elif taken := self._guard(self.take):
            return self._finish_turn
        elif taken is not None:
            self._guard(self.turn)
        self._release()
        return None

    def _finish_turn(self) -> None:
        if self._guard(self.give):
            self._release_at_rest()
        else:
            self._release()

    def wake(self) -> None:
        """Have a worker look at this channel soon."""
        with self._lock:
            if self._owned:
                self._woken = True
            elif not self._closed:
                self._arm(read=True, write=True)

    def abort(self) -> None:
        """End the channel by force, from whichever thread; a thread that owns it finds it ended."""
        self.cut = True
        self._ends(CloseReason.CUT)
        if self._claim():
            self._abort(CloseReason.CUT)
            return
        with self._lock, contextlib.suppress(OSError):  # not connected any more
            if not self._closed:
                self._transport.sock.shutdown(socket.SHUT_RDWR)
        self._house.channel_finished(self)

    def shed(self) -> None:
        """End the channel to free its memory, from whichever thread; its owner does it before it lets go."""
        with self._lock:
            if self._closed:
                return
            if self._owned:
                self._shed = True
                return
            self._owned = True
        self._guard(self.give_up)
        self._release()

    def _claim(self) -> bool:
        with self._lock:
            if self._closed:
                return False
            if self._owned:
                if self._kept:  # the poller would tell us for ever
                    self._arm(read=False, write=False)
                return False
            self._owned = True
            return True

    def _release(self) -> None:
        """Give the channel up, armed for what it waits for; end it where that was asked for meanwhile."""
        self._account()
        with self._lock:
            if not (self._closed or self.cut or self._shed):
                self._owned = False
                self._set_timer()
                read, write = self.wants()
                woken, self._woken = self._woken, False
                self._arm(read=read or woken, write=write or woken)
                return
            shed, self._shed = self._shed and not (self._closed or self.cut), False
        if shed:
            self._guard(self.give_up)
            self._release()
        else:
            self._abort(CloseReason.CUT)

    def _release_at_rest(self) -> None:
        """Give the channel up with nothing to wait for but the next frame, or else as ever."""
        if self._accounted:
            self._account()
        with self._lock:
            undisturbed = not (self._woken or self._shed or self.cut or self._closed)
            if undisturbed and self._timer is not None and self._timer.when <= self._connection.idle_deadline:
                self._owned = False
                if not self._house.alone:
                    self._arm(read=True, write=False)
                elif not self._kept:
                    self._kept = self._house.poller.keep(self._transport.sock)
                return
        self._release()

    def _arm(self, *, read: bool, write: bool) -> None:
        """Have the poller wake a worker once; the lock is held."""
        self._kept = False
        self._house.poller.arm(self._transport.sock, read=read, write=write)

    def _account(self) -> None:
        """Tell the budget what is held for this client now."""
        held = 0 if self._closed else self.held
        if held != self._accounted:
            self._accounted = held
            self._house.budget.note(self, held)

    def _guard(self, work: Callable[[], bool | None]) -> bool | None:
        """Do what the client, or a fault of our own, may spoil; None where the channel has ended for it."""
        try:
            return work()
        except SessionEnded as end:
            self._abort(end.how, str(end))
        except LayerError as error:
            self._abort(CloseReason.LAYER_FAILED, str(error))
        except OSError as error:
            self._abort(CloseReason.LOST, error.strerror or "")
        except Exception:  # noqa: BLE001 - a fault of our own ends this channel, not the worker
            _log.exception("%s: the server failed on this connection", self.peer.name)
            self._fail()
        return None

    # Timers.

    def _set_timer(self) -> None:
        """See to it that a timer fires no later than the next deadline; the lock is held."""
        due = self.deadline()
        if self._timer is not None and due < self._timer.when:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due < math.inf:
            self._timer = self._house.timers.schedule(due, self._on_timer)

    def _on_timer(self) -> None:
        """Enforce what is overdue; called on the thread of the timers."""
        now = time.monotonic()
        with self._lock:
            self._timer = None
            if self._closed:
                return
            if self._owned or self._input_waits():
                # A worker has the channel, or has yet to read what came in time.
                self._timer = self._house.timers.schedule(now + _RECHECK, self._on_timer)
                return
            if now < self.deadline():
                self._set_timer()
                return
            self._owned = True
        self._guard(self.enforce)
        self._release()

    def _input_waits(self) -> bool:
        """Whether the client has sent something that bears on its deadline and was not read yet."""
        if self._transport.unsent or self._starved or self._connection.state is not State.OPEN:
            return False
        return self._transport.input_waits()

    # The end.

    def _fail(self) -> None:
        """After a fault of our own: tell the client and see it off; the second time, close at once."""
        try:
            if not self._connection.finished:
                self.refuse(ErrorCode.INTERNAL_ERROR)
                return
        except Exception:  # noqa: BLE001 - the channel is closed all the same
            _log.exception("%s: not even an ERROR could be sent", self.peer.name)
        self._abort(ErrorCode.INTERNAL_ERROR.title)

    def _abort(self, how: str, reason: str = "") -> None:
        """Close at once, dropping what is unsent."""
        if self._closed:
            return
        self._ends(how)
        if self.cut:
            self._transport.reset()
        self._close(reason)

    def _close(self, reason: str = "") -> None:
        log_end(self.peer, self.ending, reason, self.tally(), time.monotonic() - self._began)
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._house.poller.discard(self._transport.sock)
        self._drop_in_flight()
        self._account()
        self._house.channel_closed(self)
