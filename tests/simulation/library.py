"""What the server's modules import of the standard library, as a machine has it: locks, queues, threads."""

from __future__ import annotations

import collections
import linecache
import re
import sys
import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .machine import Halt, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from .machine import Machine

_NAMES: dict[tuple[str, int], str] = {}


def _attribute(depth: int) -> str:
    """The name of the lock that is made in a line of the server, as docs/locks.md has it."""
    frame = sys._getframe(depth)
    place = frame.f_code.co_filename, frame.f_lineno
    if place not in _NAMES:
        found = re.search(r"self\.(\w+) =", linecache.getline(*place))
        _NAMES[place] = found[1] if found else "lock"
    return f"{type(frame.f_locals.get('self')).__name__}.{_NAMES[place]}"


class Lock:
    """A lock; taken out of the order of docs/locks.md it is a finding."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine, self.name = machine, name
        self.owner: Task | None = None

    def acquire(self) -> bool:
        machine = self.machine
        me = machine.current
        for outer in me.held:
            if outer in machine.allowed and self.name not in machine.allowed[outer]:
                machine.fail(f"{self.name} is taken under {outer}")
        machine.wait(lambda: self.owner is None, lock=True)
        self.owner = me
        me.held.append(self.name)
        return True

    def release(self) -> None:
        if self.machine.finding:
            return
        me = self.machine.current
        if self.owner is not me:
            self.machine.fail(f"{self.name} is released by another")
        self.owner = None
        me.held.remove(self.name)
        self.machine.pause()

    def locked(self) -> bool:
        return self.owner is not None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class RLock(Lock):
    """A lock that its owner may take again."""

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__(machine, name)
        self._again = 0

    def acquire(self) -> bool:
        if self.machine.finding:  # its owner is freed, after the end
            return True
        if self.owner is self.machine.current:
            self._again += 1
            return True
        try:
            return super().acquire()
        except Halt:  # it is taken where Python frees something, and nothing may be raised
            return True

    def release(self) -> None:
        if self._again:
            self._again -= 1
        else:
            super().release()


class Condition(Lock):
    """A condition; nobody is woken who was not told."""

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__(machine, name)
        self._told = 0
        self._waiting = 0

    def wait(self, timeout: float | None = None) -> bool:
        assert self.owner is self.machine.current
        me, self._told, self._waiting = self.machine.current, 0, self._waiting + 1
        self.owner = None
        me.held.remove(self.name)
        told = self.machine.wait(lambda: self._told > 0, timeout)
        self._told, self._waiting = max(0, self._told - 1), self._waiting - 1
        self.acquire()
        return told

    def notify(self) -> None:
        assert self.owner is self.machine.current
        self._told = min(self._told + 1, self._waiting)


class Event:
    """An event."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._machine.pause()

    def wait(self, timeout: float | None = None) -> bool:
        return self._machine.wait(self.is_set, timeout)


class SimpleQueue:
    """A queue."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._items: list[Any] = []

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._machine.pause()

    def get(self) -> Any:
        self._machine.wait(lambda: bool(self._items))
        return self._items.pop(0)


class Deque(collections.deque[Any]):
    """A deque that threads share without a lock: each step of it is one, and others come in between."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def append(self, item: Any) -> None:
        self._machine.pause()
        super().append(item)

    def popleft(self) -> Any:
        self._machine.pause()
        return super().popleft()


class Thread:
    """A thread; the real one below it does nothing while its gate is closed."""

    def __init__(
        self, machine: Machine, target: Callable[[], object], name: str, *, daemon: bool = True
    ) -> None:
        self._machine, self._task = machine, Task(name)
        self._task.thread = self
        self.real = threading.Thread(target=machine.run, args=(self._task, target), daemon=daemon)

    def start(self) -> None:
        self._machine.add(self._task)
        self.real.start()
        self._machine.pause()

    def join(self) -> None:
        self._machine.wait(lambda: self._task not in self._machine.tasks)


class Executor:
    """As many threads as there are calls: what the order of their ends is, the machine decides."""

    def __init__(self, machine: Machine, threads: list[Thread], *_: object) -> None:
        self._machine, self._threads = machine, threads

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        calls = [(future, function)]

        def work() -> None:
            # Freed by the end of this: what the thread does then has no schedule.
            future, function = calls.pop()
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function(*args)
            except Exception as error:  # noqa: BLE001 - as every executor does
                future.set_exception(error)
            else:
                future.set_result(result)

        thread = Thread(self._machine, work, f"call {len(self._threads)}")
        self._threads.append(thread)
        thread.start()
        return future

    def shutdown(self, *, wait: bool) -> None:
        del wait


def library(machine: Machine, threads: list[Thread]) -> dict[str, Any]:
    """What the server's modules import, as this machine has it."""

    def start(**keywords: Any) -> Thread:
        thread = Thread(machine, **keywords)
        threads.append(thread)
        return thread

    def wait(futures: list[Future[Any]], timeout: float) -> tuple[set[Any], set[Any]]:
        machine.wait(lambda: all(future.done() for future in futures), timeout)
        return {f for f in futures if f.done()}, {f for f in futures if not f.done()}

    def now() -> float:
        return machine.now

    futures = SimpleNamespace(ThreadPoolExecutor=lambda *_: Executor(machine, threads), wait=wait)
    return {
        "threading": SimpleNamespace(
            Lock=lambda: Lock(machine, _attribute(2)),
            RLock=lambda: RLock(machine, _attribute(2)),
            Condition=lambda: Condition(machine, _attribute(2)),
            Event=lambda: Event(machine),
            Thread=start,
            current_thread=lambda: machine.current.thread,
            local=threading.local,
        ),
        "time": SimpleNamespace(monotonic=now, perf_counter=now),
        "monotonic": now,
        "deque": lambda: Deque(machine),
        "queue": SimpleNamespace(SimpleQueue=lambda: SimpleQueue(machine)),
        "concurrent": SimpleNamespace(futures=futures),
    }
