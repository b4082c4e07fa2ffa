"""The server: what it is made of, how it starts, stops, and what it tells of itself."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self, cast

from framelet import Address, ConfigurationError, reverse

from .config import ServerLimits
from .connection.context import Context
from .layers.proxy_policy import ProxyPolicy
from .layers.tls import ServerTls, check_address, secured
from .net.forks import Forked, tell_of_forks
from .net.peer import is_local
from .net.poller import Poller, default_poller
from .net.sockets import address_of, check_listening, close_listeners, open_listeners
from .net.threads import ThreadLimitError
from .net.timers import Timers
from .observe.liveness import Health, LivenessProbe
from .observe.log_queue import DROPPED
from .observe.metrics import Metrics
from .observe.watchdog import Watchdog
from .pool.acceptor import Acceptor
from .pool.admission import Admission
from .pool.connections import ConnectionTable
from .pool.drain import Drain, DrainObserver
from .pool.memory import MemoryBudget
from .pool.stop_policy import StopControl, StopKind, StopPolicy
from .pool.workers import Workers
from .service.handlers import Handler, Handlers, Submitter

if TYPE_CHECKING:
    from types import TracebackType

    from .net.peer import Peer
    from .net.transport import Layer

_log = logging.getLogger("framelet_server")

_LAST_TURN = 1.0
"""Seconds that the workers get to finish their last turn before a handler counts as stuck."""


class Parts(NamedTuple):
    """What a running server consists of."""

    context: Context
    table: ConnectionTable
    admission: Admission
    acceptors: list[Acceptor]
    stops: StopControl
    drain: Drain
    workers: Workers
    probe: LivenessProbe
    memory: MemoryBudget


class Server:
    """A Framelet server with a pool of threads, for ``with`` or ``start`` and ``stop``.

    The threads take turns as leader: each waits for a client that is ready, reads what came, calls the
    handler and sends the answers, all by itself.  A client costs no thread, and one that stalls holds none.
    A handler that blocks holds its own thread and nothing else.

    It belongs to the process that started it.  In a fork its methods do nothing, and one line says so; its
    sockets, also those given, are closed there.
    """

    _tasks: Submitter | None = None  # what calls handlers that are ``async def``

    def __init__(  # noqa: PLR0913 - all but the first two are optional keywords
        self,
        address: Address | tuple[str, int] | str | None = None,
        handler: Handler = reverse,
        *,
        sockets: Sequence[socket.socket] = (),
        handlers: Mapping[int, Handler] | None = None,
        limits: ServerLimits | None = None,
        stop_policy: StopPolicy | None = None,
        executor: concurrent.futures.Executor | None = None,
        blocking: bool | None = None,
        tls: ServerTls | None = None,
        proxy: ProxyPolicy | None = None,
        poller: Callable[[], Poller] = default_poller,
        drain_observer: DrainObserver | None = None,
    ) -> None:
        """Prepare a server; nothing is opened before ``start``.

        ``address`` is ``(host, port)`` with port 0 for any free one, ``"unix:PATH"``, or any other form that
        ``framelet.parse_address`` reads.  ``handler`` answers REQUEST frames, and ``handlers`` maps
        application types (0xC0 to 0xFF) to theirs; they are called from several threads at once, or by the
        ``executor``, which stays the caller's to shut down.  ``blocking`` says whether handlers may block for
        more than about a millisecond; None: the server learns it from each call.  With ``tls`` every client
        has to speak TLS; with ``proxy`` every connection comes through a relay and begins with a PROXY
        header.

        ``sockets`` are listening sockets that are open already, instead of an address; ``start`` takes
        them over, and the files of unix sockets among them stay when the server ends.  ``drain_observer``
        hears of the drain.  Raises AddressError or ConfigurationError.
        """
        if (address is None) == (not sockets):
            raise ConfigurationError("a server needs either an address or sockets")
        for sock in sockets:
            check_listening(sock)
            secured(address_of(sock), tls)
        self._given = list(sockets)
        self._wanted = (
            secured(address_of(self._given[0]), tls) if address is None else check_address(address, tls)
        )
        self._tls = tls
        self._observer = drain_observer or DrainObserver()
        self._handlers = Handlers(handler, handlers or {}, executor, tasks=self._tasks, blocking=blocking)
        self._limits = limits or ServerLimits()
        self._stop_policy = stop_policy or StopPolicy()
        if self._stop_policy.kind is StopKind.CERTIFICATE and not (tls and tls.knows_clients):
            raise ConfigurationError(
                "the stop policy 'certificate' needs TLS with client_ca_file (--tls-client-ca)"
            )
        self._proxy = proxy
        self._make_poller = poller
        self._state_lock = threading.Lock()
        self._parts: Parts | None = None
        self._addresses: list[Address] = []
        self._workers: list[concurrent.futures.Future[None]] = []
        self._working = self._limits.threads
        self._tidied = False
        self._elsewhere = False  # this is a fork of its process
        self._said = False

    def __repr__(self) -> str:
        """Where it listens, and how it is."""
        return f"<Server {self.address} {self.health.words}>"

    @property
    def address(self) -> Address:
        """Where the server listens, with the real port; the first one where there are several."""
        return self._addresses[0] if self._addresses else self._wanted

    @property
    def addresses(self) -> list[Address]:
        """All addresses that the server listens on; a host name can stand for several."""
        return list(self._addresses)

    def start(self) -> Self:
        """Listen and serve, on threads of its own.

        Raises ListenError where it cannot listen, and FrameletError or OSError where the system has no
        threads or descriptors for it; then nothing of it is left, and it may be started again.
        """
        with self._state_lock:
            if self._parts is not None:
                raise RuntimeError("Server already started: create a new one")
            with contextlib.ExitStack() as undo:
                self._parts = self._open(undo)
                undo.pop_all()
            tell_of_forks(self)
        _log.info("listening on %s", ", ".join(map(str, self._addresses)))
        return self

    def _open(self, undo: contextlib.ExitStack) -> Parts:
        """Open and start everything, clients last."""
        poller = self._make_poller()
        undo.callback(poller.release)
        _have_memory_kept()
        sockets = self._given
        if not sockets:
            sockets = open_listeners(self._wanted, self._limits.backlog)
            undo.callback(close_listeners, sockets)
        timers = self._make_timers()
        undo.callback(timers.close)
        parts = self._assemble(poller, timers, sockets)
        self._run(parts)
        undo.callback(parts.drain.on_end)
        self._addresses = [secured(address_of(sock), self._tls) for sock in sockets]
        context, alone = parts.context, not self._given
        parts.acceptors.extend(
            Acceptor(context, sock, parts.admission, parts.table, self._entrance, alone=alone)
            for sock in sockets
        )
        return parts

    def _run(self, parts: Parts) -> None:
        """Begin to serve; a server without threads of its own does that in another way."""
        pool = concurrent.futures.ThreadPoolExecutor(self._limits.threads, "framelet-worker")
        try:
            self._workers = parts.workers.start(pool)
        except ThreadLimitError:
            parts.drain.on_end()
            pool.shutdown(cancel_futures=True)
            raise
        pool.shutdown(wait=False)  # nothing further is submitted; the workers go on

    def _make_timers(self) -> Timers:
        return Timers()

    def _assemble(self, poller: Poller, timers: Timers, sockets: Sequence[socket.socket]) -> Parts:
        """Put the parts together."""
        limits, handlers, limited_log = self._limits, self._handlers, self._handlers.limited_log
        table = ConnectionTable()
        admission = Admission(limits, limited_log)
        memory = MemoryBudget(limits.max_memory, timers, limited_log)
        local = all(is_local(sock.family, sock.getsockname()) for sock in sockets)
        stops = StopControl(self._stop_policy, limited_log, local=local)
        drain = Drain(table, admission, timers, limits, self._observer)
        context = Context(limits, handlers, timers, poller, memory, admission, stops, drain)
        workers = Workers(context)
        probe = LivenessProbe(poller, timers, limited_log)
        workers.wake_one = probe.wake_worker
        acceptors: list[Acceptor] = []

        def stop_accepting() -> None:
            for acceptor in acceptors:
                acceptor.close(last=not self._given or self._observer.ends_listening())

        def end() -> None:
            probe.close()
            poller.close()
            workers.end()

        drain.stop_accepting, drain.on_end = stop_accepting, end
        return Parts(context, table, admission, acceptors, stops, drain, workers, probe, memory)

    def begin_drain(self, reason: str = "the program asked for it") -> None:
        """Begin to end as after STOP, without waiting: see section 10 of the specification."""
        if not self._is_elsewhere():
            self._running().drain.begin(reason)

    def force(self) -> None:
        """Cut a drain short: what has not been sent by now is dropped."""
        if not self._is_elsewhere():
            self._running().drain.force()

    def watch(self, period: float, beat: Callable[[], None]) -> None:
        """Have ``beat`` called several times in ``period`` seconds, until the server ends or is stuck.

        A server is stuck when a worker has been in the server's own code for half of that, or when none
        wakes though one is free; not when all are in handlers.  ``beat`` is called on another thread, and
        must not block.  To be called once, before ``wait``.
        """
        parts = self._running()
        Watchdog(parts.probe, parts.context.timers, parts.workers, period, beat)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has ended, or ``timeout`` seconds; whether it has (in a fork, at once)."""
        if self._is_elsewhere():
            return True
        if not self._running().drain.ended.wait(timeout):
            return False
        self._tidy_up()
        return True

    def stop(self) -> None:
        """Drain, and wait until the server has ended; at most the drain and linger timeouts."""
        self.begin_drain()
        self.wait()

    @property
    def started(self) -> bool:
        """Whether it was started; also once it has ended."""
        return self._parts is not None

    def metrics(self) -> Metrics:
        """The numbers of this moment, also once it has ended; RuntimeError before it was started."""
        parts = self._running()
        counts = parts.table.counts()
        totals = counts.totals
        return Metrics(
            connections=counts.taken,
            connections_open=counts.open,
            connections_ended=counts.close_reasons,
            refusals=parts.admission.refusals(),
            frames=totals.frames,
            answers=totals.answers,
            received_bytes=totals.octets_in,
            sent_bytes=totals.octets_out,
            errors={f"{code:d}": count for code, count in sorted(totals.errors.items())},
            handler_seconds=self._handlers.seconds.read(),
            handler_calls_at_once=self._handlers.request.at_once,
            in_flight=counts.pending,
            threads=self._limits.threads,
            threads_active=parts.workers.active,
            threads_busy=parts.workers.busy,
            threads_held_up=parts.workers.detector.stalls,
            thread_wait_seconds=parts.probe.wait,
            memory_bytes=parts.memory.total,
            shed=parts.memory.shed,
            stops_refused=parts.stops.refused,
            draining=parts.drain.begun,
            log_lines_suppressed=self._handlers.limited_log.suppressed,
            log_lines_dropped=DROPPED.count,
        )

    @property
    def health(self) -> Health:
        """Whether it is alive, and whether new clients are welcome; may be asked at any time."""
        parts = self._parts
        if parts is None:
            return Health(alive=False, ready=False, words="not started")
        if self._elsewhere:
            return Health(alive=False, ready=False, words="in another process")
        if parts.drain.ended.is_set():
            return Health(alive=False, ready=False, words="ended")
        if not parts.probe.beats:
            return Health(alive=False, ready=False, words="the thread of the timers is stuck")
        if parts.drain.begun:
            return Health(alive=True, ready=False, words="draining")
        return Health(alive=True, ready=True, words="ready")

    @property
    def stuck(self) -> int:
        """How many workers have not returned from a handler although the server has ended."""
        return sum(not worker.done() for worker in self._workers) if self._tidied else 0

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drain and stop."""
        self.stop()

    def _running(self) -> Parts:
        if self._parts is None:
            raise RuntimeError("the server has not been started")
        if self._elsewhere:
            raise RuntimeError("the server is in another process, of which this one is a fork")
        return self._parts

    def forked(self) -> None:
        """Leave the server to the process that started it: called in each fork."""
        parts = self._running()
        poller = parts.context.poller
        self._elsewhere = True
        poller.release()
        for owner in poller.owners.values():
            cast("Forked", owner).forked()
        for worker in parts.workers.all:  # a thread that this process has not may have taken the lock
            worker.calls.lock = threading.Lock()

    def _is_elsewhere(self) -> bool:
        """Whether this is a fork of the server's process; then say once that nothing is done."""
        if self._elsewhere and not self._said:
            self._said = True
            _log.warning("process %d leaves the server to the process that it was forked from", os.getpid())
        return self._elsewhere

    def _entrance(self, peer: Peer) -> tuple[Peer, Callable[[], Sequence[Layer]]]:
        """Who a new client is for now, and what makes its layers; raises LayerError."""
        tls = self._tls
        if self._proxy is None:
            return peer, tuple if tls is None else lambda: [tls.layer()]
        header = self._proxy.expect(peer)  # a relay sends its header in front of all that it relays
        return header.relay, lambda: [header] if tls is None else [header, tls.layer()]

    def _tidy_up(self) -> None:
        """Wait for the threads to end, once."""
        parts = self._running()
        with self._state_lock:
            if self._tidied:
                return
            self._tidied = True
            parts.context.timers.close()
            _, stuck = concurrent.futures.wait(self._workers, _LAST_TURN)
            if stuck:
                _log.warning("%d handlers have not returned; their threads are left behind", len(stuck))
        for worker in self._workers:
            worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: concurrent.futures.Future[None]) -> None:
        """Free the poller after the last worker has ended, however late."""
        del worker
        with self._state_lock:
            self._working -= 1
            last = self._working == 0
        if last:
            self._running().context.poller.release()


def _have_memory_kept() -> None:
    """Teach the C library, where it learns from what is freed, to keep buffers of this size for the next.

    The one of GNU otherwise hands those of each large body back to the system, which clears them anew: 1 MiB
    of mixed scripts took a fifth more time.
    """
    bytes(1 << 20)
