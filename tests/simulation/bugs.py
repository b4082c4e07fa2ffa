"""Bugs of concurrency, planted in the server's source while a simulation runs.

Each is a change of a few words; what it was is found again after other changes of the module, or
``planted`` raises.  Functions get the changed code and keep their identity, so that nothing is imported anew.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Bug(NamedTuple):
    """One bug: what is wrong, the module below framelet_server, and the words before and after.

    ``shows`` is False where no check of the machine has seen the bug so far.
    """

    name: str
    module: str
    before: str
    after: str
    shows: bool = True


BUGS = [
    Bug(
        "a drain has the channel of a STOP read on, and its worker spins",
        "connection.lifetime",
        "if self._drain_left is None and not self.stopper:",
        "if self._drain_left is None:",
        shows=False,
    ),
    Bug(
        "input is polled for that a drain will not read",
        "connection.event_turn",
        "return not self.connection.draining, writing",
        "return True, writing",
    ),
    Bug(
        "the allowed STOP stays in the way of a drain under way",
        "pool.drain",
        "self._advance()  # it may have been the last one that a drain under way was waiting for",
        "pass",
    ),
    Bug(
        "a channel is armed before it is let go",
        "connection.channel",
        """                self.owned = False
                self.session.settle()
                self._set_timer()
                read, write = self.session.wants()
                self._arm(read=read or bool(self.notes), write=write or bool(self.notes))
                return
            notes""",
        """                self.session.settle()
                self._set_timer()
                read, write = self.session.wants()
                self._arm(read=read or bool(self.notes), write=write or bool(self.notes))
                self.lock.release()
                self.lock.acquire()
                self.owned = False
                return
            notes""",
    ),
    Bug(
        "a note left between the look and the re-arm is lost",
        "connection.channel",
        "if not (self.notes or self.timer is None or self.closed):",
        "if not (self.timer is None or self.closed):",
    ),
    Bug(
        "notes are not looked at when a channel is armed again",
        "connection.channel",
        "self._arm(read=read or bool(self.notes), write=write or bool(self.notes))",
        "self._arm(read=read, write=write)",
    ),
    Bug(
        "two workers own a channel at once",
        "pool.workers",
        """                        if channel.owned:
                            channel.disarm()
                            continue
""",
        "",
    ),
    Bug(
        "an owned channel stays armed",
        "pool.workers",
        """                            channel.disarm()
                            continue
""",
        "                            continue\n",
        shows=False,
    ),
    Bug(
        "a channel is closed twice",
        "connection.channel",
        "        if self.closed:\n            return\n        session = self.session",
        "        session = self.session",
        shows=False,
    ),
    Bug(
        "a timer fires on a closed channel",
        "connection.channel",
        "            self.timer = None\n            if self.closed:\n                return\n",
        "            self.timer = None\n",
        shows=False,
    ),
    Bug(
        "a note is left at a closed channel",
        "connection.channel",
        "            if self.closed:\n                return\n            self.notes |= note",
        "            self.notes |= note",
        shows=False,
    ),
    Bug(
        "the drain counts outside its lock who is waited for",
        "pool.drain",
        "            self._counted = self._counted or count\n            over",
        "            self._lock.release()\n            self._lock.acquire()\n"
        "            self._counted = self._counted or count\n            over",
    ),
    Bug(
        "the drain misses a client that is just being let in",
        "pool.drain",
        "                self._active.add(channel)\n        channel.drain()",
        "                self._active.add(channel)",
        shows=False,
    ),
    Bug(
        "the drain resets those who wait to be accepted",
        "pool.acceptor",
        "            if self._alone:\n                self._accept_waiting()\n",
        "",
    ),
    Bug(
        "a listener is closed while another thread accepts",
        "pool.acceptor",
        "if self._closed or self._resting:",
        "if self._resting:",
    ),
    Bug(
        "accepting is not armed again",
        "pool.acceptor",
        "                if not (self._kept and self._context.keep_armed):\n                    self._watch()",
        "                pass",
    ),
    Bug(
        "the order of two locks is turned round",
        "pool.connections",
        "            self._totals.add(channel.stats())",
        "            channel.lock.acquire()\n            channel.lock.release()\n"
        "            self._totals.add(channel.stats())",
    ),
    Bug(
        "a lock is held while channels are told to drain",
        "pool.drain",
        "        for channel in channels:\n            channel.drain()\n        self._advance()",
        "        with self._lock:\n            for channel in channels:\n                channel.drain()\n"
        "        self._advance()",
    ),
    Bug(
        "nobody is woken for what a worker that is held up leaves",
        "pool.workers",
        "        elif left:\n            self.wake_one()",
        "",
        shows=False,
    ),
    Bug(
        "what a worker that is held up had taken on is forgotten",
        "pool.workers",
        "                self._left.append(worker.ready.popleft())",
        "                worker.ready.popleft()",
    ),
    Bug(
        "a worker is to be active, and gets no permit",
        "pool.workers",
        "        self._permits.put(None)\n        return True",
        "        return True",
    ),
    Bug(
        "the workers that stand by are not told of the end",
        "pool.workers",
        "self._permits.put(None)  # so that the others see it too",
        "pass",
    ),
    Bug(
        "answers sent early are sent again by their worker",
        "service.calls",
        "return answers[sent:] if sent else answers",
        "return answers",
    ),
    Bug(
        "answers in the making are sent early a second time",
        "service.calls",
        "            self.sent += len(ready)\n",
        "",
    ),
    Bug(
        "an answer that ends while its channel is served wakes nobody",
        "connection.replies",
        "            on_done()",
        "            pass",
    ),
    Bug(
        "the timers' thread is not told of an earlier timer",
        "net.timers",
        "                self._condition.notify()\n        return timer",
        "                pass\n        return timer",
        shows=False,
    ),
    Bug(
        "the memory of a client that is gone stays accounted",
        "connection.channel",
        "        session.release()\n        self._account()",
        "        session.release()",
        shows=False,
    ),
    Bug(
        "clients who were not read for their memory are not woken",
        "pool.memory",
        "        for waiting in starved:\n            waiting.wake()",
        "",
        shows=False,
    ),
    Bug(
        "the memory is counted outside its lock",
        "pool.memory",
        "self._total += octets - self._held.pop(holder, 0)",
        "before = self._total + octets - self._held.pop(holder, 0)\n            self._lock.release()\n"
        "            self._lock.acquire()\n            self._total = before",
    ),
    Bug(
        "a stall detector that goes to sleep misses a turn that begins",
        "pool.stall_detector",
        "        if self._others_are_busy(None):\n            self.wake()",
        "        if False:\n            self.wake()",
        shows=False,
    ),
    Bug(
        "STOPPED is due but its channel is not told",
        "pool.drain",
        "        if self._concluded:\n            channel.send_stopped()",
        "",
        shows=False,
    ),
    Bug(
        "a client that is lost stays among those whom the drain waits for",
        "pool.drain",
        "            self._stoppers.discard(channel)\n            self._count(channel)",
        "            self._stoppers.discard(channel)",
    ),
    Bug(
        "a request to send what is left forgets it",
        "pool.workers",
        "                self._left.append(item)\n                put_back = True",
        "                put_back = True",
    ),
]


@contextlib.contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Have the server's functions run with a bug."""
    module = importlib.import_module(f"framelet_server.{bug.module}")
    file = Path(str(module.__file__))
    source = file.read_text(encoding="utf-8")
    if source.count(bug.before) != 1:
        message = f"{bug.name}: the words are {source.count(bug.before)} times in {file.name}"
        raise LookupError(message)
    changed = source.replace(bug.before, bug.after)
    codes = {code.co_qualname: code for code in _codes(compile(changed, str(file), "exec"))}
    was: list[tuple[FunctionType, CodeType]] = []
    for function in _functions(module):
        code = codes[function.__code__.co_qualname]
        was.append((function, function.__code__))
        function.__code__ = code
    try:
        yield
    finally:
        for function, code in was:
            function.__code__ = code


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _functions(module: object) -> Iterator[FunctionType]:
    """All functions and methods that a module defines."""
    name = vars(module)["__name__"]
    for thing in vars(module).values():
        if getattr(thing, "__module__", "") != name:
            continue
        for member in vars(thing).values() if inspect.isclass(thing) else [thing]:
            inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if isinstance(inner, FunctionType) and inner.__code__.co_filename == vars(module)["__file__"]:
                yield inner
