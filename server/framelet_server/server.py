"""The server: a fixed number of threads, all waiting for all clients."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from typing import TYPE_CHECKING, Self

from framelet import Address, ConfigurationError, TlsAddress, UnixAddress, parse_address, reverse
from framelet_server.net.busy_poll import BusyPoll
from framelet_server.net.peer import is_local
from framelet_server.net.poller import Poller, Ready, default_poller
from framelet_server.net.sockets import ListenError, address_of, check_listening, open_listeners
from framelet_server.observe.liveness import Health
from framelet_server.observe.watchdog import Watch
from framelet_server.pool.acceptor import Listener
from framelet_server.pool.drain_observer import DrainObserver
from framelet_server.pool.house import House
from framelet_server.pool.stop_policy import StopKind, StopPolicy
from framelet_server.service.handlers import Handler, Handlers

from .config import ServerLimits

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from framelet_server.layers.proxy_policy import ProxyPolicy
    from framelet_server.layers.tls import ServerTls
    from framelet_server.net.peer import Peer
    from framelet_server.net.transport import Layer
    from framelet_server.observe.metrics import Metrics

_log = logging.getLogger("framelet_server")

_AT_ONCE = 64
"""Clients that a worker takes at a time where no handler can make it wait."""

_LAST_TURN = 1.0
"""Seconds that the workers get to finish their last turn before a handler counts as stuck."""


class Server:
    """A Framelet server with a pool of threads, for ``with`` or ``start`` and ``stop``.

    The threads take turns as leader: each waits for a client that is ready, reads what came, calls the
    handler and sends the answers, all by itself.  A client costs no thread, and one that stalls holds none.
    A handler that blocks holds its own thread and nothing else.
    """

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
        tls: ServerTls | None = None,
        proxy: ProxyPolicy | None = None,
        poller: Callable[[], Poller] = default_poller,
        drain_observer: DrainObserver | None = None,
    ) -> None:
        """Prepare a server; nothing is opened before ``start``.

        ``address`` is ``(host, port)`` with port 0 for any free one, ``"unix:PATH"``, or any other form that
        ``framelet.parse_address`` reads.  ``handler`` answers REQUEST frames, and ``handlers`` maps
        application types (0xC0 to 0xFF) to theirs; they are called from several threads at once, or by the
        ``executor``, which stays the caller's to shut down.  With ``tls`` every client has to speak TLS; with
        ``proxy`` every connection comes through a relay and begins with a PROXY header.

        ``sockets`` are listening sockets that are open already, in the place of an address; ``start`` takes
        them over, and the files of unix sockets among them stay when the server ends.  ``drain_observer``
        hears of the drain.  Raises AddressError or ConfigurationError.
        """
        if (address is None) == (not sockets):
            raise ConfigurationError("a server needs an address, or sockets: one of them, and not both")
        for sock in sockets:
            check_listening(sock)
            secured(address_of(sock), tls)
        self._given = list(sockets)
        self._wanted = (
            secured(address_of(self._given[0]), tls) if address is None else check_address(address, tls)
        )
        self._tls = tls
        self._observer = drain_observer or DrainObserver()
        self._handlers = Handlers(handler, handlers or {}, executor)
        self._limits = limits or ServerLimits()
        self._stop_policy = stop_policy or StopPolicy()
        if self._stop_policy.kind is StopKind.CERTIFICATE and not (tls and tls.knows_clients):
            raise ConfigurationError("the stop policy 'certificate' needs TLS with the CA of clients")
        self._proxy = proxy
        self._make_poller = poller
        self._state_lock = threading.Lock()
        self._house: House | None = None
        self._addresses: list[Address] = []
        self._workers: list[concurrent.futures.Future[None]] = []
        self._working = self._limits.threads
        self._tidied = False

    @property
    def address(self) -> Address:
        """Where the server listens, with the real port; the first one where there are several."""
        return self._addresses[0] if self._addresses else self._wanted

    @property
    def addresses(self) -> list[Address]:
        """All addresses that the server listens on; a host name can stand for several."""
        return list(self._addresses)

    def start(self) -> Self:
        """Listen and serve, on threads of its own; raises ListenError where that is not possible."""
        with self._state_lock:
            if self._house is not None:
                raise RuntimeError("a server can be started once")
            poller = self._make_poller()
            _have_memory_kept()
            try:
                sockets = self._given or open_listeners(self._wanted, self._limits.backlog)
            except ListenError:
                poller.release()
                raise
            self._addresses = [secured(address_of(sock), self._tls) for sock in sockets]
            local = all(is_local(sock.family, sock.getsockname()) for sock in sockets)
            house = House(
                self._handlers, self._limits, self._stop_policy, poller, self._observer, local=local
            )
            listeners = [Listener(house, sock, self._below, owns_file=not self._given) for sock in sockets]
            house.on_drain([listener.close for listener in listeners])
            self._house = house
            pool = concurrent.futures.ThreadPoolExecutor(self._limits.threads, "framelet-worker")
            self._workers = [pool.submit(_work, house) for _ in range(self._limits.threads)]
            pool.shutdown(wait=False)  # nothing further is submitted; the workers go on
        _log.info("listening on %s", ", ".join(map(str, self._addresses)))
        return self

    def begin_drain(self, reason: str = "the program asked for it") -> None:
        """Begin to end as after STOP, without waiting: see section 10 of the specification."""
        self._running().begin_drain(reason)

    def force(self) -> None:
        """Cut a drain short: what has not been sent by now is dropped."""
        self._running().force()

    def watch(self, period: float, beat: Callable[[], None]) -> None:
        """Have ``beat`` called several times in ``period`` seconds, until the server ends or is stuck.

        A server is stuck when a worker has been in the server's own code for half of that, or when none
        wakes though one is free; not when all are in handlers.  ``beat`` is called on another thread, and
        must not block.  To be called once, before ``wait``.
        """
        house = self._running()
        Watch(house.pulse, house.timers, house.progress, period, beat)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has ended, or ``timeout`` seconds; whether it has."""
        if not self._running().ended.wait(timeout):
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
        return self._house is not None

    def metrics(self) -> Metrics:
        """The numbers of this moment, also once it has ended; RuntimeError before it was started."""
        return self._running().metrics()

    @property
    def health(self) -> Health:
        """Whether it is alive, and whether new clients are welcome; may be asked at any time."""
        house = self._house
        if house is None:
            return Health(alive=False, ready=False, words="not started")
        if house.ended.is_set():
            return Health(alive=False, ready=False, words="ended")
        if not house.pulse.beats:
            return Health(alive=False, ready=False, words="the thread of the timers is stuck")
        if house.draining:
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

    def _running(self) -> House:
        if self._house is None:
            raise RuntimeError("the server has not been started")
        return self._house

    def _below(self, peer: Peer) -> tuple[Peer, Sequence[Layer]]:
        """Who a new client is for now, and what it speaks below its frames; raises LayerError."""
        layers: list[Layer] = []
        if self._proxy is not None:  # first, as a relay sends its header in front of all that it relays
            header = self._proxy.expect(peer)
            peer = header.relay
            layers.append(header)
        if self._tls is not None:
            layers.append(self._tls.layer())
        return peer, layers

    def _tidy_up(self) -> None:
        """See the threads off, once."""
        house = self._running()
        with self._state_lock:
            if self._tidied:
                return
            self._tidied = True
            house.timers.close()
            _, stuck = concurrent.futures.wait(self._workers, _LAST_TURN)
            if stuck:
                _log.warning("%d handlers have not returned; their threads are left behind", len(stuck))
        for worker in self._workers:
            worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: concurrent.futures.Future[None]) -> None:
        """Free the poller behind the last worker, however late that is."""
        del worker
        with self._state_lock:
            self._working -= 1
            last = self._working == 0
        if last:
            self._running().poller.release()


def _have_memory_kept() -> None:
    """Teach the C library, where it learns from what is freed, to keep buffers of this size for the next.

    The one of GNU otherwise hands those of each large body back to the system, which clears them anew: 1 MiB
    of mixed scripts took a fifth more time.
    """
    bytes(1 << 20)


def _work(house: House) -> None:
    """What each worker does, once it has a seat: wait for clients, serve a turn of each, and again."""
    clock = house.progress.join()
    clients = BusyPoll(
        house.poller,
        1 if house.handlers.may_wait else _AT_ONCE,
        house.limits.busy_poll if house.alone else 0.0,  # several would be in each other's way
    )
    with house.seats:
        while waked := clients.wait():
            clock.turn_began()
            _serve(waked)
            waked.clear()  # a client that goes meanwhile must not stay in memory while this thread waits
            clock.turn_ended()


def _serve(waked: list[Ready]) -> None:
    """Read and answer all, and send the answers only then.

    A client that is woken by one answer is still awake when the next one comes: waking it costs more than
    anything else.
    """
    left = []
    for owner, hangup in waked:
        try:
            left.append(owner.ready(hangup=hangup))
        except Exception:  # noqa: BLE001 - a fault of our own costs one turn, never a worker
            _log.exception("a worker failed in its turn")
    for finish in left:
        try:
            if finish is not None:
                finish()
        except Exception:  # noqa: BLE001 - a fault of our own costs one turn, never a worker
            _log.exception("a worker failed in its turn")


def check_address(address: Address | tuple[str, int] | str, tls: ServerTls | None = None) -> Address:
    """An address in any form, checked as those that people write; raises AddressError, or as ``secured``."""
    if not isinstance(address, (str, TlsAddress, UnixAddress)):
        address = parse_address(*address)
    address = parse_address(str(address))
    if isinstance(address, TlsAddress) and tls is None:
        message = f"{address} needs a certificate, and none is given"
        raise ConfigurationError(message)
    return secured(address, tls)


def secured(address: Address, tls: ServerTls | None) -> Address:
    """The address as one where TLS is spoken, if it is; raises ConfigurationError for a unix socket then."""
    if tls is None:
        return address
    if isinstance(address, UnixAddress):
        message = f"{address} cannot have TLS: expected a host and a port"
        raise ConfigurationError(message)
    return TlsAddress(address.host, address.port)
