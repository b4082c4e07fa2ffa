"""One machine: its threads, of which one runs at a time, and its clock, which jumps when all of them wait.

Each lock, wait, poll and socket call of the server is a place where ``choose`` decides who goes on.  The
threads are real, so that the server's code runs as it is; each has a gate, and one gate is open.
"""

from __future__ import annotations

import linecache
import math
import random
import re
import sys
import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Choose = Callable[["Machine", list["Task"]], int]
    Script = Generator[tuple[Callable[[], bool], float]]

_MOST_STEPS = 20_000
_WITHOUT_PROGRESS = 1_500
"""Decisions in which the clock stands and no octet moves, after which the server spins."""


class Halt(BaseException):
    """Ends a thread of a machine that has been halted."""


class Finding(AssertionError):
    """What is wrong with the server."""


class Task:
    """A thread, or the script of a client (which needs none: whoever decides runs its next step)."""

    def __init__(self, name: str, script: Script | None = None) -> None:
        self.name = name
        self.script = script
        self.gate = threading.Lock()
        self.gate.acquire()
        self.ready: Callable[[], bool] | None = None  # what it waits for
        self.until = math.inf
        self.held: list[str] = []  # names of the locks that it holds
        self.thread: Any = None

    def may_run(self, now: float) -> bool:
        return self.ready is None or self.until <= now or self.ready()


class Machine:
    """The threads, the clock, and the decisions."""

    def __init__(self, choose: Choose, allowed: dict[str, set[str]]) -> None:
        self.choose = choose
        self.allowed = allowed
        self.now = 1_000.0
        self.steps = 0
        self.progress = 0  # the step at which the clock or an octet last moved
        self.finding = ""
        self.current = Task("main")
        self.tasks = [self.current]

    def moved(self) -> None:
        """Take down that something was done."""
        self.progress = self.steps

    def fail(self, words: str) -> None:
        """Halt with a finding; the first one counts."""
        self.finding = self.finding or f"{words} (thread {self.current.name}, step {self.steps})"
        raise Halt

    def pause(self) -> None:
        """A place where another thread may go on."""
        self._switch()

    def wait(self, ready: Callable[[], bool], timeout: float | None = None, *, lock: bool = False) -> bool:
        """Wait until something is so; whether it is."""
        me = self.current
        if not lock and (held := [name for name in me.held if name != "Server._state_lock"]):
            self.fail(f"{me.name} waits while it holds {held}")
        me.until = math.inf if timeout is None or timeout < 0 else self.now + timeout
        me.ready = ready
        self._switch()
        me.ready, me.until = None, math.inf
        return ready()

    def add(self, task: Task) -> None:
        self.tasks.append(task)

    def run(self, task: Task, work: Callable[[], object]) -> None:
        """The whole life of a thread."""
        task.gate.acquire()
        try:
            if not self.finding:
                work()
            self.tasks.remove(task)
            self.moved()
            if not self.finding:
                self._next().gate.release()
        except Halt:
            self.halt()
        except BaseException as error:  # noqa: BLE001 - a thread of the server must not die of anything
            self.finding = self.finding or f"{task.name} died of {error!r}"
            self.halt()

    def halt(self) -> None:
        """Let all threads go, for their end."""
        self.finding = self.finding or "halted"
        for task in list(self.tasks):
            if task.gate.locked():
                task.gate.release()

    def _switch(self) -> None:
        if self.finding:
            raise Halt
        me = self.current
        chosen = self._next()
        if chosen is not me:
            chosen.gate.release()
            me.gate.acquire()
            if self.finding:
                raise Halt

    def _next(self) -> Task:
        """Decide who goes on."""
        me = self.current
        while True:
            self.steps += 1
            if self.steps > _MOST_STEPS:
                self.fail("it does not come to its end")
            if self.steps - self.progress > _WITHOUT_PROGRESS:
                self.fail("it spins")
            able = [task for task in self.tasks if task.may_run(self.now)]
            if not able:
                until = min(task.until for task in self.tasks)
                if until == math.inf:
                    self.fail(f"all wait for ever: {[task.name for task in self.tasks]}")
                self.now = until
                self.moved()
                continue
            if me in able:
                able.remove(me)
                able.insert(0, me)
            chosen = able[self.choose(self, able) if len(able) > 1 else 0]
            if chosen.script is None:
                self.current = chosen
                return chosen
            try:
                chosen.ready, timeout = next(chosen.script)
                chosen.until = self.now + timeout
            except StopIteration:
                self.tasks.remove(chosen)
            except Finding as finding:
                self.fail(str(finding))


class SeededChoice:
    """Choices of a seed: stays with a thread for a while, and now and then holds one up for long."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._stay = self._random.choice((0.5, 0.8, 0.9, 0.97))
        self._holds = self._random.choice((0.0, 0.01, 0.03))
        self._held: dict[Task, int] = {}

    def __call__(self, machine: Machine, able: list[Task]) -> int:
        draw = self._random.random
        if draw() < self._holds:
            self._held[able[0]] = machine.steps + self._random.randrange(20, 300)
        free = [n for n, task in enumerate(able) if self._held.get(task, 0) <= machine.steps]
        if not free:
            return self._random.randrange(len(able))
        if free[0] == 0 and able[0] is machine.current and draw() < self._stay:
            return 0
        return self._random.choice(free)


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
        return super().acquire()

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

        def work() -> None:
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
        "queue": SimpleNamespace(SimpleQueue=lambda: SimpleQueue(machine)),
        "concurrent": SimpleNamespace(futures=futures),
    }
