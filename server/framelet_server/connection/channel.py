"""Whose turn it is with one client, and what others want of it meanwhile.

A channel has a session, and is *owned* by at most one thread at a time: by a worker for a turn, or by the
thread of the timers to enforce a deadline.  The owner alone touches the session.  What others want (a drain,
the end by force) is noted, and heeded by the owner before it lets go or by the next one, who is called.

``lock`` guards ``owned``, ``closed``, ``kept``, ``notes`` and ``timer``.  Under it the poller, the timers and
``Context.call_worker`` may be called, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import threading
from time import monotonic
from typing import TYPE_CHECKING

from framelet import ErrorCode
from framelet_server.net.forks import end_fork_of
from framelet_server.net.transport import LayerError

from .close_reason import CloseReason, SessionEnded, log_end
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framelet_server.net.peer import Peer
    from framelet_server.net.timers import Timer
    from framelet_server.net.transport import Layer
    from framelet_server.observe.counters import ConnectionStats
    from framelet_server.service.calls import HandlerCalls

    from .context import Context

_log = logging.getLogger("framelet_server")

_RECHECK = 0.25
"""Seconds until a deadline is looked at again when a worker has the channel, or is due to."""

LOCKS = [threading.Lock() for _ in range(64)]
"""Shared by all channels, as one for each would take 88 octets: so no thread may take two."""

# What others may want of a channel: bits of ``notes``.
_LOOK, _DRAIN, _STOPPED, _SHED, _ABORT, _AGE = 1, 2, 4, 8, 16, 32


class Channel:
    """A client's connection as the server's threads share it."""

    __slots__ = (
        "_context",
        "accounted",
        "closed",
        "cut",
        "kept",
        "lock",
        "notes",
        "owned",
        "session",
        "timer",
    )

    def __init__(
        self, context: Context, sock: socket.socket, peer: Peer, layers: Sequence[Layer] = ()
    ) -> None:
        """Take over a connected, non-blocking socket; the caller owns the channel until ``begin``."""
        self.session: Session = Session(context, sock, peer, layers)
        self._context = context
        self.accounted: int = 0  # octets that the memory budget knows of
        self.cut: bool = False  # ended with answers unsent, or by force
        self.lock: threading.Lock = LOCKS[sock.fileno() % len(LOCKS)]
        self.owned: bool = True
        self.kept: bool = False  # whether the poller goes on to watch for input
        self.notes: int = 0
        self.closed: bool = False
        self.timer: Timer | None = None

    @property
    def peer(self) -> Peer:
        """Who the client is."""
        return self.session.peer

    @property
    def refused(self) -> bool:
        """Whether it is told to go, and does not count as a client."""
        return self.session.refused

    @property
    def close_reason(self) -> str:
        """How it has ended."""
        return self.session.close_reason

    def begin(self, *, refusal: str = "") -> None:
        """Let the poller watch the new channel, or refuse its client first."""
        poller, sock = self._context.poller, self.session.transport.sock
        try:
            with self.lock:
                if not (refusal or self.notes):  # as nearly always
                    self.kept = poller.add(sock, self, read=True, write=False, keep=self._context.keep_armed)
                    self._set_timer()
                    self.owned = False
                    return
            poller.add(sock, self, read=False, write=False)
        except BaseException:
            self.closed = True
            self._context.drain.closed(self)
            raise
        if refusal:
            self._guard(lambda: self.session.refuse(ErrorCode.TOO_MANY_CONNECTIONS, refusal))
        self.release()

    # Turns.

    def disarm(self) -> None:
        """Do not wake others while the owner is at work; ``lock`` is held."""
        if self.kept:  # a level-triggered poller would report it again at once
            self._arm(read=False, write=False)

    def take_turn(self, calls: HandlerCalls, *, gone: bool = False) -> None:
        """Take a turn of any kind, and let go; called by a worker that owns the channel."""
        with self.lock:
            notes, self.notes = self.notes, self.notes & (_SHED | _ABORT)
        self._guard(lambda: self._turn(calls, notes, gone=gone))
        self.release()

    def fail(self, error: Exception) -> None:
        """End for what has gone wrong in a turn, and let go."""

        def again() -> None:
            raise error

        self._guard(again)
        self.release()

    def release_at_rest(self) -> None:
        """Let go with nothing to wait for but the next frame; or as ``release`` does, with more to do."""
        if self.accounted:
            self._account()
        with self.lock:
            if not (self.notes or self.timer is None or self.closed):
                self.owned = False
                if not self._context.keep_armed:
                    self._arm(read=True, write=False)
                elif not self.kept:
                    self.kept = self._context.poller.keep(self.session.transport.sock)
                return
        self.release()

    def release(self) -> None:
        """Let go, armed for what the session waits for; but first act on notes that others left meanwhile."""
        self._report()
        self._account()
        with self.lock:
            if self.closed:
                return
            if not self.notes & (_SHED | _ABORT):
                self.owned = False
                self.session.settle()
                self._set_timer()
                if self.notes or self.session.unfinished:
                    self._call_worker()
                else:
                    read, write = self.session.wants()
                    self._arm(read=read, write=write)
                return
            notes, self.notes = self.notes, self.notes & ~(_SHED | _ABORT)
        if notes & _ABORT:
            self._abort(CloseReason.CUT, cut=True)
        else:
            self._guard(self.session.give_up)
            self.release()

    # What others want.

    def wake(self) -> None:
        """Have a worker look at this channel soon."""
        self._note(_LOOK)

    def drain(self) -> None:
        """Have what was received answered, and then the connection ended."""
        self._note(_DRAIN)

    def send_stopped(self) -> None:
        """Have the STOP that was allowed answered (REQ-STOP-8)."""
        self._note(_STOPPED)

    def shed(self) -> None:
        """End the connection to free its memory; its owner does it before it lets go."""
        with self.lock:
            self.notes |= _SHED
            if self.owned:  # as it is also once it is closed
                return
            self.owned = True
        self.release()

    def abort(self) -> None:
        """End by force, from whichever thread; an owner that is held up finds it ended."""
        with self.lock:
            if self.closed:
                return
            self.notes |= _ABORT
            self.cut = True
            self.session.reason = self.session.reason or CloseReason.CUT  # whatever its owner meets now
            mine, self.owned = not self.owned, True
            if not mine:
                with contextlib.suppress(OSError):  # not connected any more
                    self.session.transport.sock.shutdown(socket.SHUT_RDWR)
        if mine:
            self.release()
        else:
            self._context.drain.finished(self)  # its owner may be held up for long

    def stats(self) -> ConnectionStats:
        """What was counted so far."""
        return self.session.stats()

    @property
    def pending(self) -> int:
        """How many answers are being made elsewhere."""
        return self.session.pending

    def _note(self, note: int) -> None:
        """Leave a note for the owner, or have a worker come for it."""
        with self.lock:
            self.notes |= note
            if not self.owned:
                self._call_worker()

    # The owner's part.

    def _turn(self, calls: HandlerCalls, notes: int, *, gone: bool) -> None:
        session = self.session
        if notes & _AGE:
            session.drain(age=True)
        if notes & _DRAIN:
            session.drain()
        if notes & _STOPPED:
            session.stopped(*self._context.drain.outcome)
        # Asked once more: the poller may have spoken of a client before, whose descriptor this one has now.
        if gone and not session.wants()[0] and session.transport.gone:
            # No read would find out that the client is gone, and the poller would report it again and again.
            raise SessionEnded(CloseReason.LOST, "the client is gone")
        session.turn(calls, self)

    def _report(self) -> None:
        """Tell the pool of what the session has come to."""
        if self.closed:  # the drain has forgotten it
            return
        session, drain = self.session, self._context.drain
        if session.stopper:
            drain.stop_allowed(self)
        if session.over:
            self._close()
        elif session.fin_sent:
            drain.finished(self)

    def _guard(self, work: Callable[[], bool | None]) -> bool | None:
        """Do what the client, or a fault of our own, may spoil; None where the channel has ended for it."""
        try:
            return work()
        except SessionEnded as end:
            self._abort(end.how, str(end), cut=end.cut)
        except LayerError as error:
            self._abort(CloseReason.LAYER_FAILED, str(error))
        except OSError as error:
            end_fork_of(self._context.process)  # where ``forked`` has closed the socket
            self._abort(CloseReason.LOST, error.strerror or "")
        except Exception:  # noqa: BLE001 - a fault of our own ends this channel, not the worker
            _log.exception("%s: the server failed on this connection", self.peer.name)
            self._fail()
        return None

    def _fail(self) -> None:
        """After a fault of our own: tell the client and see it off; the second time, close at once."""
        try:
            if not self.session.connection.finished:
                self.session.refuse(ErrorCode.INTERNAL_ERROR)
                return
        except Exception:  # noqa: BLE001 - the channel is closed all the same
            _log.exception("%s: cannot send an ERROR", self.peer.name)
        self._abort(ErrorCode.INTERNAL_ERROR.title)

    def _call_worker(self) -> None:
        """Have a worker take a turn soon, whatever the client does; ``lock`` is held."""
        transport = self.session.transport
        if transport.writable:
            self._arm(read=True, write=True)  # in its order among all that are ready
        else:  # the poller would be silent until the client reads
            self._context.call_worker(transport.sock.fileno())

    def _arm(self, *, read: bool, write: bool) -> None:
        """Have the poller wake a worker once; ``lock`` is held."""
        assert self.lock.locked()
        self.kept = False
        try:
            self._context.poller.arm(self.session.transport.sock, read=read, write=write)
        except (OSError, ValueError):  # something else has closed it, and no poller will name it
            end_fork_of(self._context.process)
            self._context.timers.schedule(0.0, Channel.abort, self)

    def _account(self) -> None:
        """Tell the memory budget what is held for this client now."""
        held = 0 if self.closed else self.session.held
        if held != self.accounted:
            self.accounted = held
            self._context.memory.note(self, held)

    # Deadlines.

    def _set_timer(self) -> None:
        """See to it that a timer fires no later than the next deadline; ``lock`` is held.

        Nor later than the idle timeout from now: so the timer of a frame, too, will do for the rest after it.
        """
        assert self.lock.locked()
        due = min(self.session.deadline(), monotonic() + self._context.limits.idle_timeout)
        if self.timer is not None and due < self.timer.when:
            self.timer.cancel()
            self.timer = None
        if self.timer is None:
            self.timer = self._context.timers.schedule(due, Channel._on_timer, self)

    def _on_timer(self) -> None:
        """Enforce what is overdue; called on the thread of the timers."""
        now = monotonic()
        with self.lock:
            self.timer = None
            if self.closed:
                return
            aged = now >= self.session.retire_at and self.session.transport.established
            if aged:  # by time alone: a client that is never at rest has an age, too
                self.session.retire_at = math.inf
                self.notes |= _AGE
                if not self.owned:
                    self._call_worker()
            if aged or self.owned or self.session.input_waits():
                # A worker has the channel, or has yet to read what came in time.
                self.timer = self._context.timers.schedule(now + _RECHECK, Channel._on_timer, self)
                return
            if now < self.session.deadline():
                self._set_timer()
                return
            self.owned = True
        if self._guard(self.session.enforce):
            with self.lock:
                self.notes |= _LOOK
        self.release()

    # The end.

    def _abort(self, how: str, reason: str = "", *, cut: bool = False) -> None:
        """Close at once, dropping what is unsent."""
        self.cut = self.cut or cut
        if self.cut:
            with contextlib.suppress(OSError):  # closed by something else
                self.session.transport.reset()
        self._close(how, reason)

    def forked(self) -> None:
        """Close the copy of a fork."""
        self.session.transport.sock.close()

    def _close(self, how: str = "", reason: str = "") -> None:
        """Close the socket, and have the client forgotten; only its owner may, and stays its owner."""
        session = self.session
        session.reason = session.reason or how
        if _log.isEnabledFor(logging.INFO):
            log_end(session.peer, session.close_reason, reason, session.stats(), monotonic() - session.began)
        with self.lock:
            self.closed = True
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None
            self._context.poller.discard(session.transport.sock)
        session.release()
        self._account()
        if session.stopper:  # maybe in the turn that ends it
            self._context.drain.stop_allowed(self)
        self._context.drain.closed(self)
