"""A server on a simulated machine, and clients who talk to it, from the first word to the last."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gc
import logging
import re
import select
import socket
import sys
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import framelet_server
from framelet import ErrorCode
from framelet_server.connection import channel
from framelet_server.net import timers, transport
from framelet_server.observe import liveness
from framelet_server.pool import acceptor, workers

from .checks import ALLOWED, Faults, Looks, Observer, check_counts, check_end
from .clients import AMPLE, REST, SECONDS, SOON, Client, Plan
from .handlers import blocking
from .library import Executor, Lock, Thread, library
from .loop import converse_in_loop
from .machine import Finding, Halt, Machine, SeededChoice, Task
from .sockets import Net, SimulatedPoller, Socket, ioctl

if TYPE_CHECKING:
    from collections.abc import Callable

    from .machine import Choose

_NOT_HERE = re.compile(r"\.(cli|process|log_queue|logs)\b")
"""Modules of the server that have no part in it."""

_SHARED = re.compile(r"\.(pool\.workers?|connection\.replies|net\.timers)$")
"""Modules whose deques threads share."""


@dataclasses.dataclass
class Scene:
    """What takes part in one run."""

    plan: Plan
    machine: Machine
    net: Net
    listener: Socket
    poller: SimulatedPoller
    threads: list[Thread] = dataclasses.field(default_factory=list)
    clients: list[Client] = dataclasses.field(default_factory=list)
    scripts: list[Task] = dataclasses.field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        """What the server is given beside its handler."""
        plan = self.plan
        limits = framelet_server.ServerLimits(
            threads=plan.threads,
            drain_timeout=20.0,
            max_memory=plan.max_memory,
            max_in_flight=plan.max_in_flight,
            frame_timeout=0.1 if plan.short else 30.0,
            idle_timeout=0.3 if plan.short else 300.0,
        )
        executor = Executor(self.machine, self.threads) if plan.executor else None
        return {"limits": limits, "executor": executor, "drain_observer": Observer(self.machine)}

    def let_in(self, drains: Callable[[], bool]) -> None:
        """Have the clients come; ``drains`` says whether the server takes nothing further."""
        plan = self.plan
        self.clients = [
            Client(self.net, self.listener, kinds, "abcdef"[n]) for n, kinds in enumerate(plan.clients)
        ]
        for number, client in enumerate(self.clients):
            client.comes = 0.013 * number * plan.late
            client.stays = plan.early and plan.stay
            client.patience += SECONDS["s"] * sum(map(len, plan.clients)) + REST * plan.rest
            if plan.short:
                client.fatal |= {ErrorCode.FRAME_TIMEOUT, ErrorCode.IDLE_TIMEOUT}
            if plan.max_memory < AMPLE:
                client.fatal.add(ErrorCode.OVERLOADED)
            client.drains = drains
        self.scripts = [self.machine.add_script(client.name, client.script()) for client in self.clients]

    def left(self) -> bool:
        """Whether all clients have gone."""
        return not any(script in self.machine.tasks for script in self.scripts)


def simulate(plan: Plan, choose: Choose) -> Machine:
    """Run a server and its clients to the end; raises Finding."""
    machine = Machine(choose, ALLOWED)
    net = Net(machine, plan.room)
    scene = Scene(plan, machine, net, net.new("listener"), SimulatedPoller(machine))
    with ExitStack() as patches:
        lib = library(machine, scene.threads)
        for name, module in list(sys.modules.items()):
            if name.startswith("framelet_server") and not _NOT_HERE.search(name):
                for attribute, value in lib.items():
                    if attribute in vars(module) and (attribute != "deque" or _SHARED.search(name)):
                        patches.enter_context(mock.patch.object(module, attribute, value))
        locks = [Lock(machine, "Channel.lock") for _ in range(64)]
        patches.enter_context(mock.patch.object(channel, "LOCKS", locks))
        # A seed gives the same schedule again only where sets keep their order, and nothing is freed by chance.
        patches.enter_context(mock.patch.object(channel.Channel, "__hash__", _serial))
        order: dict[timers.Timer, int] = {}
        patches.enter_context(mock.patch.object(timers.Timer, "__lt__", _by_number(order)))
        gc.disable()
        patches.callback(gc.enable)
        patches.enter_context(mock.patch.object(transport, "fcntl", SimpleNamespace(ioctl=ioctl)))
        patches.enter_context(mock.patch.object(transport.Transport, "gone", property(_is_gone)))
        patches.enter_context(mock.patch.object(transport.Transport, "writable", property(_is_writable)))
        patches.enter_context(mock.patch.object(channel, "end_fork_of", _closed_by_another(machine)))
        patches.enter_context(mock.patch.object(workers, "one_at_a_time", lambda: plan.gil))
        patches.enter_context(mock.patch.object(acceptor, "_open_reserve", lambda: None))
        patches.enter_context(
            mock.patch.object(liveness, "socket", SimpleNamespace(socketpair=net.pair, socket=socket.socket))
        )
        log, faults = logging.getLogger("framelet_server"), Faults(machine)
        log.addHandler(faults)
        patches.callback(log.removeHandler, faults)
        patches.enter_context(mock.patch.object(log, "propagate", new=False))
        patches.enter_context(mock.patch.object(log, "level", logging.ERROR))
        log.manager._clear_cache()  # type: ignore[attr-defined]
        module = sys.modules["framelet_server.server"]
        patches.enter_context(mock.patch.object(module, "open_listeners", lambda *_: [scene.listener]))
        defaults = framelet_server.Server.__init__.__kwdefaults__
        patches.enter_context(mock.patch.dict(defaults, poller=lambda: scene.poller))
        try:
            with contextlib.suppress(Halt):
                (converse_in_loop if plan.loop else _converse)(scene)
        finally:
            if machine.finding or len(machine.tasks) > 1:
                machine.halt()
            for thread in scene.threads:
                thread.real.join()
    if machine.finding and machine.finding != "halted":
        raise Finding(machine.finding)
    return machine


def _closed_by_another(machine: Machine) -> Callable[[int], None]:
    """What an owner calls where its socket fails: here nothing but another thread closes one."""

    def end_fork_of(_: int) -> None:
        if getattr(sys.exception(), "errno", None) in (errno.EBADF, errno.ENOENT):
            machine.fail("an owner finds its socket closed by another")

    return end_fork_of


def _is_gone(one: transport.Transport) -> bool:
    return bool(one.sock.state & (select.EPOLLERR | select.EPOLLHUP))  # type: ignore[attr-defined]


def _is_writable(one: transport.Transport) -> bool:
    return bool(one.sock.state & (select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP))  # type: ignore[attr-defined]


def _serial(subject: Any) -> int:
    return int(subject.session.transport.sock.serial)


def _by_number(order: dict[timers.Timer, int]) -> Callable[[timers.Timer, timers.Timer], bool]:
    """Compare timers of the same time by when they were first compared."""

    def less(one: timers.Timer, other: timers.Timer) -> bool:
        return order.setdefault(one, len(order)) < order.setdefault(other, len(order))

    return less


def _converse(scene: Scene) -> None:
    """With the server of threads."""
    plan, machine = scene.plan, scene.machine
    server = framelet_server.Server(("127.0.0.1", 1), blocking(machine), **scene.settings())
    server.start()
    parts: Any = server._parts
    machine.look = Looks(machine, parts)
    scene.let_in(lambda: bool(parts.drain.begun))
    if plan.asked:
        operator = Thread(machine, lambda: _ask(scene, server), "operator")
        scene.threads.append(operator)
        operator.start()
    machine.wait(scene.left, plan.after if plan.early else None)
    if plan.rest:
        machine.wait(lambda: False, REST)
        crowd = plan.gil and not plan.early and parts.workers.granted > 2
        if crowd and not scene.poller.closed:
            machine.fail("more workers wait for clients than are needed")
    server.begin_drain()
    if plan.force is not None:
        machine.wait(scene.left, plan.force)
        for client in scene.clients:
            client.cut = True
        server.force()
    machine.wait(scene.left)
    began = machine.now
    server.wait()
    if machine.now - began > SOON:
        machine.fail(f"the drain took {machine.now - began:.1f} s after the last client had left")
    machine.wait(lambda: len(machine.tasks) == 1, 5.0)
    if server.stuck or len(machine.tasks) > 1:
        machine.fail(f"workers are stuck: {[task.name for task in machine.tasks]}")
    check_end(scene, server.metrics(), parts)


def _any_of(*ready: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: any(one() for one in ready)


def _ask(scene: Scene, server: framelet_server.Server) -> None:
    """Ask for the counts whenever something has moved, until all clients have gone."""
    machine, before = scene.machine, server.metrics()
    while not scene.left():
        machine.wait(_any_of(machine.moves(), scene.left))
        check_counts(machine, before, now := server.metrics())
        before = now


def run_seed(seed: int, *, loop: bool = False) -> Machine:
    """One run, plan and choices of a seed."""
    return simulate(Plan(seed, loop=loop), SeededChoice(seed))
