"""The server inside a running asyncio loop: the loop is its only worker, and handlers may be ``async def``.

It is the server of threads but for what waits: the loop watches the poller of the server as one more
descriptor, has its clients served when some are ready, and keeps its timers.  So everything else, from
limits to drain, is the same code.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Self

from framelet import Address, reverse

from . import server as threaded
from .config import ServerLimits
from .layers.proxy_policy import ProxyPolicy
from .layers.tls import ServerTls
from .net.timers import Timer, Timers
from .observe.liveness import Health
from .observe.metrics import Metrics
from .pool.drain import DrainObserver
from .pool.stop_policy import StopPolicy
from .service.handlers import AsyncHandler, Handler

if TYPE_CHECKING:
    from types import TracebackType


__all__ = ["Server", "serve"]

_PAUSE = 0.1
"""Seconds without serving after a fault of our own, so that one that stays does not keep the loop busy."""


def serve(  # noqa: PLR0913 - all but the first two are optional keywords
    handler: Handler | AsyncHandler = reverse,
    address: Address | tuple[str, int] | str | None = None,
    *,
    sockets: Sequence[socket.socket] = (),
    handlers: Mapping[int, Handler | AsyncHandler] | None = None,
    limits: ServerLimits | None = None,
    stop_policy: StopPolicy | None = None,
    executor: Executor | None = None,
    tls: ServerTls | None = None,
    proxy: ProxyPolicy | None = None,
    drain_observer: DrainObserver | None = None,
) -> Server:
    """A server for ``async with``, or ``start`` and ``stop``, in the loop that runs then::

        async with serve(str.upper, ("127.0.0.1", 6666)) as server:
            await server.wait()

    The arguments are those of ``framelet_server.Server``, and so are the errors.  A handler that is an
    ``async def`` runs as a task: for each client up to ``limits.max_in_flight`` at once, whose answers are
    sent in the order of the frames; it is cancelled where its client is gone.  A plain function is called
    in the loop, and must be quick; with an ``executor`` that calls it.  Of the limits ``threads`` and
    ``busy_poll`` have no meaning here.
    """  # noqa: D400, D415 - the first line introduces the example
    limits = (limits or ServerLimits()).replace(threads=1, busy_poll=0.0)
    return Server(
        _InLoop(
            address,
            handler,
            sockets=sockets,
            handlers=handlers,
            limits=limits,
            stop_policy=stop_policy,
            executor=executor,
            tls=tls,
            proxy=proxy,
            drain_observer=drain_observer,
        )
    )


class Server:
    """A Framelet server in a loop; ``serve`` makes it.  Its methods are for the thread of the loop."""

    def __init__(self, inner: _InLoop) -> None:
        """See ``serve``."""
        self._inner = inner

    def __repr__(self) -> str:
        """Where it listens, and how it is."""
        return repr(self._inner)

    @property
    def address(self) -> Address:
        """Where the server listens, with the real port; the first one where there are several."""
        return self._inner.address

    @property
    def addresses(self) -> list[Address]:
        """All addresses that the server listens on; a host name can stand for several."""
        return self._inner.addresses

    @property
    def started(self) -> bool:
        """Whether it was started; also once it has ended."""
        return self._inner.started

    @property
    def health(self) -> Health:
        """Whether it is alive, and whether new clients are welcome; may be asked from any thread."""
        return self._inner.health

    def metrics(self) -> Metrics:
        """The numbers of this moment; may be asked from any thread.  RuntimeError before it was started."""
        return self._inner.metrics()

    async def start(self) -> Self:
        """Listen and serve, in the running loop; raises ListenError where that is not possible."""
        self._inner.start()
        return self

    def begin_drain(self, reason: str = "the program asked for it") -> None:
        """Begin to end as after STOP, without waiting: see section 10 of the specification."""
        self._inner.begin_drain(reason)

    def force(self) -> None:
        """Cut a drain short: what has not been sent by now is dropped."""
        self._inner.force()

    async def wait(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as the server of threads has it
        """Serve until the server has ended, or for ``timeout`` seconds; whether it has ended.

        Raises RuntimeError before it was started.
        """
        self._inner.require_started()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._inner.ended.wait()
        return self._inner.ended.is_set()

    async def stop(self) -> None:
        """Drain, and wait until the server has ended; at most the drain and linger timeouts.

        Cancelled, it cuts the drain short.
        """
        self.begin_drain()
        try:
            await self.wait()
        except asyncio.CancelledError:
            self.force()
            raise

    async def __aenter__(self) -> Self:
        """Start."""
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drain and stop."""
        await self.stop()


class _InLoop(threaded.Server):
    """The server of threads without threads.

    Whatever makes a client ready, a note or a future of an executor included, makes its poller so, and that
    is a descriptor of the loop's.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:  # noqa: ANN401 - as the base, for ``serve``
        """As the base, which knows the arguments; no loop need be running yet."""
        self._tasks = _Tasks()
        super().__init__(*arguments, **settings)
        self.ended: asyncio.Event = asyncio.Event()

    def _make_timers(self) -> Timers:
        return _LoopTimers(asyncio.get_running_loop())

    def _run(self, parts: threaded.Parts) -> None:
        self._loop = asyncio.get_running_loop()
        poller: Any = parts.context.poller  # both kinds have a descriptor
        self._descriptor: int = poller.fileno()
        workers, drain = parts.workers, parts.drain
        workers.detector.awake = True  # there is no other worker that could take over
        (worker,) = workers.all
        worker.calls.watched, worker.calls.let_others_in = True, _nobody
        on_end = drain.on_end

        def end() -> None:
            on_end()
            if self._parts is parts:
                self._loop.call_soon(self._release, parts)  # a turn may be under way
            else:  # it could not be started
                self._loop.remove_reader(self._descriptor)

        drain.on_end = end
        self._watch(parts)

    def require_started(self) -> None:
        """Raise RuntimeError before it was started."""
        if not self._is_elsewhere():
            self._running()

    def forked(self) -> None:
        """As the base; and who waits for the end in a fork waits no longer."""
        super().forked()
        self.ended.set()

    def _watch(self, parts: threaded.Parts) -> None:
        if not parts.context.poller.closed:
            self._loop.add_reader(self._descriptor, self._serve, parts)

    def _serve(self, parts: threaded.Parts) -> None:
        """Serve those that are ready; called by the loop."""
        if parts.context.poller.closed:
            return
        try:
            if parts.workers.serve_ready():
                self._loop.call_soon(self._serve, parts)  # others in the loop get their turn first
        except Exception:  # noqa: BLE001 - a fault of our own costs a turn, never the server
            self._handlers.limited_log.error("failed workers", "a worker failed in its turn", exc_info=True)
            self._loop.remove_reader(self._descriptor)
            self._loop.call_later(_PAUSE, self._watch, parts)

    def _release(self, parts: threaded.Parts) -> None:
        self._loop.remove_reader(self._descriptor)
        parts.context.poller.release()
        parts.context.timers.close()
        self.ended.set()


def _nobody() -> None:
    """Let nobody in: there is no other worker."""


class _Tasks:
    """Runs what a handler that is ``async def`` has returned as a task."""

    def submit(self, call: Callable[[], Any], /) -> Future[str]:
        """Begin at once where Python can: a handler that need not wait costs no turn of the loop then."""
        coroutine: Coroutine[Any, Any, str] = call()
        loop = asyncio.get_running_loop()
        start = getattr(asyncio, "eager_task_factory", None)  # from Python 3.12 on
        task: Any = loop.create_task(coroutine) if start is None else start(loop, coroutine)
        return task  # type: ignore[no-any-return]  # of a future's methods it has those that are called


class _LoopTimers(Timers):
    """Timers by the loop, which calls back like everything else."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Without the thread of the base."""
        self._loop = loop
        self._thread = threading.current_thread()
        self._handles: dict[Timer, asyncio.TimerHandle] = {}
        self._closed = False

    def schedule(self, when: float, callback: Callable[..., object], subject: object = None) -> Timer:
        """Call back at ``when`` seconds on the monotonic clock, with the subject if there is one."""
        timer = _LoopTimer(when, callback, subject)
        timer.handles = self._handles
        if threading.current_thread() is self._thread:
            self._begin(timer)
        else:  # as where a DrainObserver concludes a drain
            self._loop.call_soon_threadsafe(self._begin, timer)
        return timer

    def _begin(self, timer: _LoopTimer) -> None:
        if not (self._closed or timer.cancelled):  # a drain can be cut short also after its end
            due = max(timer.when - time.monotonic(), 0)
            self._handles[timer] = self._loop.call_later(due, timer.fire)

    def close(self) -> None:
        """Call nothing back any more."""
        self._closed = True
        while self._handles:
            self._handles.popitem()[1].cancel()


class _LoopTimer(Timer):
    """A timer of the loop's."""

    __slots__ = ("handles",)

    def __init__(self, when: float, callback: Callable[..., object], subject: object) -> None:
        """Due at ``when`` seconds on the monotonic clock."""
        super().__init__(when, callback, subject)
        self.handles: dict[Timer, asyncio.TimerHandle] = {}

    def cancel(self) -> None:
        """Do not call back, and let go of the callback."""
        super().cancel()
        if (handle := self.handles.pop(self, None)) is not None:
            handle.cancel()

    def fire(self) -> None:
        """Call back."""
        self.handles.pop(self, None)
        super().fire()
