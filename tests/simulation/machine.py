"""One machine: its threads, of which one runs at a time, and its clock, which jumps when all of them wait.

Each lock, wait, poll and socket call of the server is a place where ``choose`` decides who goes on.  The
threads are real, so that the server's code runs as it is; each has a gate, and one gate is open.
"""

from __future__ import annotations

import math
import random
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Choose = Callable[["Machine", list["Task"]], int]
    Script = Generator[tuple[Callable[[], bool], float]]

_MOST_STEPS = 20_000
_WITHOUT_PROGRESS = 1_500
"""Decisions in which the clock stands and no octet moves, after which the server spins."""

_SAME = 1e-5


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
        self.look: Callable[[float], None] = lambda _: None  # at all, before the clock goes on to a time
        self.current = Task("main")
        self.tasks = [self.current]

    def moved(self) -> None:
        """Take down that something was done."""
        self.progress = self.steps

    def moves(self) -> Callable[[], bool]:
        """What says whether something was done since now."""
        before = self.progress
        return lambda: self.progress > before

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

    def add_script(self, name: str, script: Script) -> Task:
        """Have a script take its steps among the threads."""
        self.add(task := Task(name, script))
        return task

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
                self.look(until)
                # Those who wait for nearly the same moment meet in it.
                self.now = max(task.until for task in self.tasks if task.until < until + _SAME)
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
