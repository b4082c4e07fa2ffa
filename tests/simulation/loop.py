"""The server of asyncio on a simulated machine: its event loop has the machine's clock, and a simulated selector.

The loop is the machine's only thread, beside those of an executor.  The clients' steps come between any two
socket calls of the server, and whenever the loop selects.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
from typing import TYPE_CHECKING, Any

import framelet_server.asyncio

from .checks import check_end, check_timers
from .clients import REST, SOON
from .handlers import LoopHandlers, blocking
from .machine import Finding, Halt

if TYPE_CHECKING:
    from .conversations import Scene
    from .machine import Machine, Script
    from .sockets import SimulatedPoller

_TINY = 1e-6


class SimulatedSelector(selectors._BaseSelectorImpl):
    """Selects among the poller of a server, and what wakes the loop."""

    def __init__(self, machine: Machine, poller: SimulatedPoller) -> None:
        super().__init__()
        self._machine, self._poller = machine, poller
        self.woken = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._machine.wait(lambda: self.woken or self._readable(), timeout)
        self.woken = False
        return [(key, selectors.EVENT_READ) for key in self.get_map().values() if self._readable()]

    def _readable(self) -> bool:
        return self._poller.fileno() in self.get_map() and self._poller.readable


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop with the clock of a machine, and without the sockets by which threads wake it."""

    def __init__(self, machine: Machine, selector: SimulatedSelector) -> None:
        self._machine, self.selector = machine, selector
        super().__init__(selector)
        self.set_exception_handler(self._take_down)

    def time(self) -> float:
        return self._machine.now

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        self.selector.woken = True

    def _take_down(self, _: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Halt):
            self._machine.finding = self._machine.finding or f"{context['message']}: {error!r}"

    def abandon(self) -> None:
        """Close, with whatever a halt has left in it."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):
                task.get_coro().close()
        self.close()


def converse_in_loop(scene: Scene) -> None:
    """With the server of asyncio."""
    loop = SimulatedLoop(scene.machine, SimulatedSelector(scene.machine, scene.poller))
    try:
        loop.run_until_complete(_serve(scene, loop))
    finally:
        loop.abandon()


async def _serve(scene: Scene, loop: SimulatedLoop) -> None:
    plan, machine = scene.plan, scene.machine
    handlers = LoopHandlers(machine, plan.max_in_flight)
    handler: Any = handlers.reverse if plan.gil else handlers.quick
    if plan.executor:
        handler = blocking(machine)
    server = framelet_server.asyncio.serve(handler, ("127.0.0.1", 1), **scene.settings())
    await server.start()
    parts: Any = server._inner._parts
    timers = parts.context.timers._handles

    def look(until: float) -> None:
        check_timers(machine, list(timers))
        if any(timer.cancelled for timer in timers):
            machine.fail("a timer that is cancelled is kept")
        if not parts.context.poller.closed and min((t.when for t in timers), default=until) < until - _TINY:
            machine.fail("a timer is overdue")

    machine.look = look
    scene.let_in(lambda: bool(parts.drain.begun))
    stops: list[asyncio.Task[None]] = []
    machine.add_script("the program", _end(scene, loop, server, stops))
    await server.wait()
    await asyncio.gather(*stops, return_exceptions=True)
    while len(machine.tasks) > 1:  # noqa: ASYNC110 - they are none of the loop's
        await asyncio.sleep(0.01)
    check_end(scene, server.metrics(), parts)
    for words, wrong in {
        "handlers go on after the end": handlers.running.total(),
        "timers stay set after the end": timers,
        "the loop has timers after the end": [h for h in loop._scheduled if not h.cancelled()],  # type: ignore[attr-defined]
        "the loop watches a poller that is closed": list(loop.selector.get_map()),
        "tasks are left after the end": len(asyncio.all_tasks(loop)) - 1,
    }.items():
        if wrong:
            machine.fail(words)


def _end(scene: Scene, loop: SimulatedLoop, server: Any, stops: list[asyncio.Task[None]]) -> Script:
    """The program, which ends the server: by ``stop``, which it may cancel, or by ``begin_drain``."""
    plan = scene.plan
    yield scene.left, plan.after if plan.early else math.inf
    if plan.rest:
        yield (lambda: False), REST
    if plan.stay:
        loop.call_soon_threadsafe(lambda: stops.append(loop.create_task(server.stop())))
    else:
        loop.call_soon_threadsafe(server.begin_drain)
    if plan.force is not None:
        yield (lambda: server._inner._parts.drain.begun), math.inf
        yield scene.left, plan.force
        for client in scene.clients:
            client.cut = True
        loop.call_soon_threadsafe(lambda: stops[0].cancel() if stops else server.force())
    yield scene.left, math.inf
    yield server._inner.ended.is_set, SOON
    if not server._inner.ended.is_set():
        message = f"the drain takes more than {SOON} s after the last client had left"
        raise Finding(message)
