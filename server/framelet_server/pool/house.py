"""What the threads of one server share: its channels, and how they end together."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from framelet_server.connection.channel import Channel
from framelet_server.net.timers import Timers
from framelet_server.observe.counters import TotalStats
from framelet_server.observe.liveness import LivenessProbe
from framelet_server.observe.metrics import Metrics
from framelet_server.observe.watchdog import Progress

from .memory import MemoryBudget
from .stop_policy import StopKind, WrongTokens

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from framelet_server.config import ServerLimits
    from framelet_server.connection.session import Session
    from framelet_server.net.peer import Peer
    from framelet_server.net.poller import Poller
    from framelet_server.net.transport import Layer
    from framelet_server.service.handlers import Handlers

    from .drain_observer import DrainObserver
    from .stop_policy import StopPolicy

_log = logging.getLogger("framelet_server")

_REFUSALS = 64
"""Clients beyond the maximum that are told so at a time; further ones are closed without a word."""


def _one_at_a_time() -> bool:
    """Whether this interpreter runs one thread at a time (that is, has a GIL)."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


class House:
    """The channels of a server, admitted one by one and drained all together.

    All methods may be called from any thread.  A channel's lock is never held when one is called.
    """

    def __init__(  # noqa: PLR0913 - what the threads share
        self,
        handlers: Handlers,
        limits: ServerLimits,
        stop_policy: StopPolicy,
        poller: Poller,
        observer: DrainObserver,
        *,
        local: bool,
    ) -> None:
        """``local`` says whether every address that the server listens on is on this machine."""
        self.handlers = handlers
        self.limits = limits
        self.poller = poller
        self.timers = Timers()
        self.limited_log = handlers.limited_log
        self.budget = MemoryBudget(limits.max_memory, self.timers, self.limited_log)
        self.progress = Progress()
        # Where nothing makes a worker wait, and one at a time can run Python, two are in each other's way:
        # one serves all, and the others stand by in case that it is held up all the same.
        self.alone = not handlers.may_wait and _one_at_a_time()
        self.seats = threading.Semaphore(1 if self.alone else limits.threads)
        self.pulse = LivenessProbe(poller, self.timers, self.limited_log, when_late=self.seats.release)
        self.ended = threading.Event()
        self._stop_policy = stop_policy
        self._observer = observer
        self._local = local
        self._lock = threading.Lock()  # guards everything below
        self._wrong_tokens = WrongTokens()
        self._channels: set[Session] = set()
        self._active: set[Session] = set()  # those that have not sent their last octet
        self._refused: set[Session] = set()
        self._hosts: Counter[str] = Counter()  # how many come from each address
        self._admitted = 0
        self._refusals: Counter[str] = Counter()
        self._endings: Counter[str] = Counter()
        self._totals = TotalStats()  # of those that are gone
        self._stops_refused = 0
        self._draining = False
        self._forced = False
        self._told = False  # the observer knows that all are gone
        self._drained: tuple[int, int] | None = None
        self._closed = 0
        self._cut = 0
        self._over = False
        self._stop_listening: list[Callable[[], None]] = []

    @property
    def draining(self) -> bool:
        """Whether the server takes no frames beyond those received."""
        return self._draining

    @property
    def drained(self) -> tuple[int, int] | None:
        """How many channels were closed and how many cut off, once STOPPED may say so."""
        return self._drained

    def on_drain(self, stop_listening: list[Callable[[], None]]) -> None:
        """Have functions called when the drain begins (REQ-STOP-6)."""
        self._stop_listening = stop_listening

    def admit(self, sock: socket.socket, peer: Peer, layers: Sequence[Layer] = ()) -> None:
        """Take a new client in, or refuse it when there are too many (REQ-FLOW-6)."""
        channel = Channel(self, sock, peer, layers)
        with self._lock:
            if self._draining:
                sock.close()
                return
            reason, refusal = self._crowded()
            if not refusal:
                reason, refusal = self._host_crowded(peer.host)
            silently = bool(refusal) and len(self._refused) >= _REFUSALS
            if not silently:
                self._admitted += 1
                self._channels.add(channel)
                self._enter(channel, peer.host, refused=bool(refusal))
        if refusal:
            self.record_refusal(peer, reason, refusal)
        if silently:
            sock.close()
        else:
            channel.begin(refusal=refusal)

    def record_refusal(self, peer: Peer, reason: str, words: str) -> None:
        """Note that a client was refused."""
        with self._lock:
            self._refusals[reason] += 1
        self.limited_log.warning("refused clients", "%s: refused: %s", peer.name, words, peer=peer.name)

    def identify_peer(self, channel: Session, peer: Peer) -> str:
        """Take note that a client comes from another address; why it is refused for that, or nothing."""
        with self._lock:
            if channel in self._refused:
                return ""  # it is told already
            self._leave(channel)
            reason, refusal = self._host_crowded(peer.host)
            self._enter(channel, peer.host, refused=bool(refusal))
        if refusal:
            self.record_refusal(peer, reason, refusal)
        return refusal

    def _crowded(self) -> tuple[str, str]:
        """Why a new client finds no room, in a word and in many, or nothing; the lock is held."""
        # Those who were refused and have not left yet take no room from others.
        if len(self._channels) - len(self._refused) >= self.limits.max_connections:
            return "connections", f"there are {self.limits.max_connections} connections already"
        return "", ""

    def _host_crowded(self, host: str) -> tuple[str, str]:
        """Why one more client from this address finds no room, or nothing; the lock is held."""
        if host and self._hosts[host] >= self.limits.max_connections_per_address:
            most = self.limits.max_connections_per_address
            return "address", f"there are {most} connections from this address already"
        return "", ""

    def _enter(self, channel: Session, host: str, *, refused: bool) -> None:
        (self._refused if refused else self._active).add(channel)
        if host and not refused:
            self._hosts[host] += 1
            channel.counted_host = host

    def _leave(self, channel: Session) -> None:
        self._refused.discard(channel)
        self._active.discard(channel)
        host, channel.counted_host = channel.counted_host, ""
        if host:
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]

    def stop_asked(self, channel: Session, token: str) -> bool:
        """Decide on a STOP, and begin the drain where it is allowed (REQ-STOP-1)."""
        peer = channel.peer
        if not self._stop_policy.allows(token, local=peer.local and self._local, roles=peer.roles):
            return False
        with self._lock:
            channel.stopper = True
            self._active.discard(channel)
        reason = f"{channel.peer.name} sent STOP"
        self.begin_drain(reason)
        self._observer.stop_allowed(reason)
        self._advance()  # it may have been the last one that a drain under way was waiting for
        return True

    def stop_refused(self, channel: Session) -> float:
        """Note a refused STOP; the seconds for which its answer is to be kept back (REQ-STOP-15)."""
        name = channel.peer.name
        self.limited_log.warning("refused STOPs", "%s: STOP refused", name, peer=name)
        with self._lock:
            self._stops_refused += 1
            if self._stop_policy.kind is not StopKind.TOKEN:
                return 0.0
            return self._wrong_tokens.wait(channel.peer.host, time.monotonic())

    def begin_drain(self, reason: str) -> None:
        """Answer what was received, then end; returns at once, and does nothing the second time."""
        # This first: whoever has been accepted is let in, so that no client is closed without a word.
        for stop_listening in self._stop_listening:
            stop_listening()
        with self._lock:
            if self._draining:
                return
            self._draining = True
            channels = list(self._channels)
        _log.info("draining %d connections: %s", len(channels), reason)
        self._observer.drain_began(reason)
        self.timers.schedule(time.monotonic() + self.limits.drain_timeout, self.force)
        for channel in channels:
            channel.wake()
        self._advance()

    def force(self) -> None:
        """Cut off everything that still has answers to send (REQ-STOP-12)."""
        with self._lock:
            if not self._draining:
                return
            self._forced = True
            late = list(self._active)
        for channel in late:
            channel.abort()
        self._advance()
        self._limit_linger()

    def channel_finished(self, channel: Session) -> None:
        """Note that a channel has sent its last octet."""
        with self._lock:
            if channel not in self._active:
                return
            self._active.discard(channel)
            if self._draining:
                self._closed += not channel.cut
                self._cut += channel.cut
        self._advance()

    def channel_closed(self, channel: Session) -> None:
        """Forget a channel."""
        self.channel_finished(channel)
        with self._lock:
            if channel in self._channels:
                self._channels.remove(channel)
                self._totals.add(channel.tally())
                self._endings[channel.ending] += 1
            self._leave(channel)
        self._advance()

    def _advance(self) -> None:
        """Take the drain to its next step, if it is time for one."""
        with self._lock:
            if not self._draining:
                return
            tell = not (self._told or self._active)
            self._told = self._told or tell
            over = self._told and not self._channels
        if tell:
            self._observer.drained(self._closed, self._cut, self._conclude)
        if over:
            self._end()

    def _conclude(self, closed: int, cut: int) -> None:
        """Have STOPPED sent with these numbers (REQ-STOP-8)."""
        with self._lock:
            if self._drained is not None:
                return
            self._drained = (closed, cut)
            stoppers = [channel for channel in self._channels if channel.stopper]
        for channel in stoppers:
            channel.wake()
        self._limit_linger()

    def _limit_linger(self) -> None:
        """Behind a drain that was cut short, give the last clients the linger timeout to take STOPPED."""
        if self._forced and self._drained is not None:
            self.timers.schedule(time.monotonic() + self.limits.linger_timeout, self._end)

    def _end(self) -> None:
        """Let the workers go; clients that linger on are cut off."""
        with self._lock:
            if self._over:
                return
            self._over = True
            left = list(self._channels)
        for channel in left:
            channel.abort()
        _log.info("drained: %d connections closed, %d cut off", self._closed, self._cut)
        self.pulse.close()
        self.poller.close()
        self.ended.set()

    def metrics(self) -> Metrics:
        """The numbers of this moment.

        Those of clients that are here are read as they change: what is counted meanwhile may be in it or not,
        but nothing is counted twice, and no count ever falls.
        """
        with self._lock:
            channels = list(self._channels)
            totals = self._totals.copy()
            refusals, endings = dict(self._refusals), dict(self._endings)
            admitted, stops_refused = self._admitted, self._stops_refused
        for channel in channels:
            totals.add(channel.tally())
        return Metrics(
            connections=admitted,
            connections_open=len(channels),
            connections_ended=endings,
            refusals=refusals,
            frames=totals.frames,
            answers=totals.answers,
            octets_received=totals.octets_in,
            octets_sent=totals.octets_out,
            errors={f"{code:d}": count for code, count in sorted(totals.errors.items())},
            handler_seconds=self.handlers.seconds.read(),
            in_flight=sum(channel.in_flight for channel in channels),
            threads=self.limits.threads,
            threads_busy=self.progress.busy(),
            thread_wait_seconds=self.pulse.wait,
            memory_octets=self.budget.total,
            shed=self.budget.shed,
            stops_refused=stops_refused,
            draining=self._draining,
            log_lines_suppressed=self.limited_log.suppressed,
        )
