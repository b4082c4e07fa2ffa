"""A server on a simulated machine, and clients who talk to it; what must be so whatever is chosen."""

from __future__ import annotations

import contextlib
import gc
import logging
import random
import re
import select
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import framelet_server
from framelet import FrameType, encode
from framelet_server.connection import channel
from framelet_server.net import transport
from framelet_server.observe import liveness
from framelet_server.pool import acceptor, workers

from .machine import Executor, Finding, Halt, Lock, Machine, SeededChoice, Task, Thread, library
from .sockets import Net, SimulatedPoller, Socket, ioctl

if TYPE_CHECKING:
    from .machine import Choose, Script

_PAGE = (Path(__file__).parents[2] / "docs" / "locks.md").read_text(encoding="utf-8")
_ROWS = re.findall(r"^\| `([\w.]+)` \| [^|]+ \| ([^|]+) \|$", _PAGE, re.MULTILINE)
ALLOWED = {name: set(re.findall(r"`([^`]+)`", cell)) for name, cell in _ROWS if cell != "all below"}

_SOON = 0.9
"""Seconds of the machine's clock within which everything that is owed comes, and a drain ends."""

_BLOCKED = 0.05
"""Seconds for which the handler blocks at a text with an ``s``."""

KINDS = ("ping", "request", "block", "raise", "ill", "hello", "burst", "stop", "half-close", "reset", "pause")


class Client:
    """One client: what it sends, piece by piece, and whether each answer is the one that is due."""

    def __init__(self, net: Net, listener: Socket, plan: list[str], name: str) -> None:
        self.net, self.listener, self.plan, self.name = net, listener, plan, name
        self.due: list[tuple[FrameType, bytes | None]] = []
        self.stays = False  # until the server ends the connection
        self.patience = _SOON
        self.got = 0
        self.data = b""
        self.over = False
        self.left = False  # by its own will, without waiting for answers
        self.stopped: tuple[int, int] | None = None
        self.sock: Socket

    def script(self) -> Script:
        yield self._always, 0.0
        if self.listener.closed:  # refused
            return
        self.sock = self.net.connect(self.listener)
        yield self._always, 0.0
        number, pieces = 0, b""
        for kind in [*self.plan, "flush"]:
            number += 1
            text = f"{self.name}{number}".encode()
            if kind == "ping":
                pieces += self._frame(FrameType.PING, text, FrameType.PONG, text)
            elif kind in ("request", "block", "raise"):
                text += {"request": b"", "block": b"s", "raise": b"x"}[kind]
                answer = (FrameType.ERROR, None) if kind == "raise" else (FrameType.REPLY, text[::-1])
                pieces += self._frame(FrameType.REQUEST, text, *answer)
                if number % 3 == 0:
                    continue  # in one piece with the next
            elif kind == "burst":
                for more in range(20):
                    body = text + b"-%d" % more
                    pieces += self._frame(FrameType.REQUEST, body, FrameType.REPLY, body[::-1])
            elif kind == "ill":
                pieces += self._frame(FrameType.REQUEST, b"\xff", FrameType.ERROR, None)
            elif kind == "hello":
                pieces += self._frame(FrameType.HELLO, b"framelet/1", FrameType.HELLO, None)
            elif kind == "stop":
                pieces += self._frame(FrameType.STOP, b"", FrameType.STOPPED, None)
            elif kind == "reset":
                self.sock.abrupt = self.left = True
                break
            elif kind == "pause":
                yield (lambda: False), 0.3
            if pieces and not self._send(pieces):
                break
            pieces = b""
            if kind == "stop":
                break
            if kind == "half-close":
                if not self.sock.was_reset:
                    self.sock.other.ended = self.sock.shut = True  # type: ignore[union-attr]
                break
            if number % 2:
                yield self._always, 0.0
                self._read()
        began = self.net.machine.now
        stops = self.stays or FrameType.STOPPED in {kind for kind, _ in self.due}
        while not (self.left or self.over or (self.got == len(self.due) and not stops)):
            yield self._readable, _SOON
            self._read()
            if not self.over and self.net.machine.now - began > self.patience:
                message = f"{self.name} waits for answer {self.got + 1} of {len(self.due)}: {self.plan}"
                raise Finding(message)
        self._leave()

    def _always(self) -> bool:
        return True

    def _readable(self) -> bool:
        return bool(self.sock.state & select.EPOLLIN)

    def _frame(self, kind: FrameType, body: bytes, answer: FrameType, text: bytes | None) -> bytes:
        self.due.append((answer, text))
        return encode(kind, body)

    def _send(self, data: bytes) -> bool:
        """Without a decision in between: the machine decides before each step of the script."""
        other = self.sock.other
        assert other is not None
        if other.closed or self.sock.was_reset:
            return False
        other.inbox += data
        self.net.machine.moved()
        return True

    def _read(self) -> None:
        if self.sock.was_reset:
            self.over = True
            return
        if self.sock.inbox:
            self.net.machine.moved()
        self.data += self.sock.inbox
        self.sock.inbox = b""
        self.over = self.sock.ended
        while len(self.data) >= 5:
            end = 5 + int.from_bytes(self.data[1:5], "big")
            if len(self.data) < end:
                return
            kind, body = self.data[0], self.data[5:end]
            self.data = self.data[end:]
            if self.got == len(self.due):
                message = f"{self.name} got an answer to nothing: {kind} {body!r}"
                raise Finding(message)
            wanted, text = self.due[self.got]
            if kind != wanted or (text is not None and body != text):
                message = f"{self.name}: answer {self.got + 1} is {kind} {body!r}, due is {wanted} {text!r}"
                raise Finding(message)
            if kind == FrameType.STOPPED:
                self.stopped = tuple(map(int, re.findall(rb"\d+", body)))  # type: ignore[assignment]
            self.got += 1

    def _leave(self) -> None:
        sock, other = self.sock, self.sock.other
        assert other is not None
        sock.closed = True
        self.net.machine.moved()
        other.ended = True
        if sock.abrupt or sock.inbox:
            other.was_reset, other.inbox = True, b""


class Plan:
    """What one run is about, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.clients = [
            [draw.choice(KINDS) for _ in range(draw.randrange(1, 6))] for _ in range(draw.randrange(1, 4))
        ]
        if draw.random() < 0.3:
            self.clients = [["ping", "request", "request", "stop"] for _ in self.clients]
        self.threads = draw.choice((1, 2, 2, 3))
        self.gil = draw.random() < 0.7
        self.executor = draw.random() < 0.2
        self.early = draw.random() < 0.4
        self.stay = draw.random() < 0.5
        self.max_memory = draw.choice((1 << 20, 1 << 20, 200))
        self.room = draw.choice((65_536, 65_536, 40))


def simulate(plan: Plan, choose: Choose) -> Machine:
    """Run a server and its clients to the end; raises Finding."""
    machine = Machine(choose, ALLOWED)
    threads: list[Thread] = []
    net = Net(machine, plan.room)
    with ExitStack() as patches:
        lib = library(machine, threads)
        for name, module in list(sys.modules.items()):
            if name.startswith("framelet_server") and not re.search(
                r"\.(cli|process|log_queue|logs)\b", name
            ):
                for attribute, value in lib.items():
                    if attribute in vars(module):
                        patches.enter_context(mock.patch.object(module, attribute, value))
        locks = [Lock(machine, "Channel.lock") for _ in range(64)]
        patches.enter_context(mock.patch.object(channel, "LOCKS", locks))
        # A seed gives the same schedule again only where sets keep their order, and nothing is freed by chance.
        patches.enter_context(mock.patch.object(channel.Channel, "__hash__", _serial))
        gc.disable()
        patches.callback(gc.enable)
        patches.enter_context(mock.patch.object(transport, "fcntl", SimpleNamespace(ioctl=ioctl)))
        patches.enter_context(mock.patch.object(workers, "one_at_a_time", lambda: plan.gil))
        patches.enter_context(mock.patch.object(acceptor, "_open_reserve", lambda: None))
        patches.enter_context(
            mock.patch.object(liveness, "socket", SimpleNamespace(socketpair=net.pair, socket=socket.socket))
        )
        log, faults = logging.getLogger("framelet_server"), _Faults(machine)
        log.addHandler(faults)
        patches.callback(log.removeHandler, faults)
        patches.enter_context(mock.patch.object(log, "propagate", new=False))
        patches.enter_context(mock.patch.object(log, "level", logging.ERROR))
        log.manager._clear_cache()  # type: ignore[attr-defined]
        listener = net.new("listener")
        module = sys.modules["framelet_server.server"]
        patches.enter_context(mock.patch.object(module, "open_listeners", lambda *_: [listener]))
        try:
            with contextlib.suppress(Halt):
                _converse(plan, machine, net, listener, threads)
        finally:
            if machine.finding or len(machine.tasks) > 1:
                machine.halt()
            for thread in threads:
                thread.real.join()
    if machine.finding and machine.finding != "halted":
        raise Finding(machine.finding)
    return machine


def _serial(subject: Any) -> int:
    return int(subject.session.transport.sock.serial)


def _handler(machine: Machine) -> Any:
    def reverse(text: str) -> str:
        if text.endswith("s"):
            machine.wait(lambda: False, _BLOCKED)
        if text.endswith("x"):
            raise ValueError(text)
        return text[::-1]

    return reverse


class _Observer(framelet_server.DrainObserver):
    """Hears of each step of a drain once."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.drains = machine, 0

    def drained(self, closed: int, cut: int, conclude: Any) -> None:
        self.drains += 1
        if self.drains > 1:
            self.machine.fail("the drain was counted twice")
        conclude(closed, cut)


class _Faults(logging.Handler):
    """Makes each fault that the server logs of itself a finding."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(logging.ERROR)
        self.machine = machine

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, ValueError):  # which the handler raises
            self.machine.fail(f"the server failed: {error!r}")


def _converse(plan: Plan, machine: Machine, net: Net, listener: Socket, threads: list[Thread]) -> None:
    limits = framelet_server.ServerLimits(
        threads=plan.threads, drain_timeout=20.0, max_memory=plan.max_memory
    )
    observer = _Observer(machine)
    server = framelet_server.Server(
        ("127.0.0.1", 1),
        _handler(machine),
        limits=limits,
        poller=lambda: SimulatedPoller(machine),
        drain_observer=observer,
        executor=Executor(machine, threads) if plan.executor else None,  # type: ignore[arg-type]
    )
    clients = [Client(net, listener, kinds, "abc"[n]) for n, kinds in enumerate(plan.clients)]
    for client in clients:
        client.stays = plan.early and plan.stay
        client.patience += _BLOCKED * sum(map(len, plan.clients))
    scripts = [Task(client.name, client.script()) for client in clients]
    server.start()
    for script in scripts:
        machine.add(script)

    def done() -> bool:
        return not any(script in machine.tasks for script in scripts)

    if plan.early:
        machine.pause()
    else:
        machine.wait(done)
    server.begin_drain()
    machine.wait(done)
    began = machine.now
    server.wait()
    if machine.now - began > _SOON:
        machine.fail(f"the drain took {machine.now - began:.1f} s after the last client had left")
    _check_end(server, machine, net, clients)


def _check_end(server: Any, machine: Machine, net: Net, clients: list[Client]) -> None:
    machine.wait(lambda: len(machine.tasks) == 1, 5.0)
    metrics = server.metrics()
    for words, wrong in {
        "workers are stuck": server.stuck or len(machine.tasks) > 1,
        "sockets stay open": [sock.name for sock in net.open.values()],
        "memory stays accounted": metrics.memory_octets,
        "connections stay open": metrics.connections_open,
        "connections do not add up": metrics.connections - sum(metrics.connections_ended.values()),
        "STOPPED does not say what was": {c.stopped for c in clients if c.stopped}
        - {server._parts.drain.outcome},
    }.items():
        if wrong:
            machine.fail(f"{words}: {wrong}")


def run_seed(seed: int) -> Machine:
    """One run, plan and choices of a seed."""
    return simulate(Plan(seed), SeededChoice(seed))
