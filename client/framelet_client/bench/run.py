"""A measurement as a whole: in this process, or shared out over several; ended early by SIGINT."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import signal
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from framelet import FrameletError
from framelet_client.errors import ClientError

from .load import generate_load
from .stats import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from types import FrameType

    from .plan import Plan

_HEAD_START = 0.02  # seconds for the start to reach all processes
_TICK = 0.1
_JOIN_TIMEOUT = 5.0


class Watch(Protocol):
    """Who is told how far a measurement has come."""

    def update(self, answered: int, failed: int) -> None:
        """So many requests that count have been answered, or have failed."""
        ...


class ProcessDiedError(ClientError):
    """A process of the load generator has ended without a result."""


class _Interruption:
    """Whether SIGINT has come; a second one interrupts as usual."""

    def __init__(self) -> None:
        self.happened = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.happened = True
        signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def _interruptible() -> Iterator[_Interruption]:
    interruption = _Interruption()
    before = signal.signal(signal.SIGINT, interruption)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)


def measure(plan: Plan, watch: Watch) -> Tally:
    """Do what the plan says; raises ConnectError where not all connections can be made."""
    return _share_out(plan, watch) if plan.processes > 1 else _measure_here(plan, watch)


class _Here:
    """The control of a measurement in this process."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._undo = contextlib.ExitStack()

    def start(self) -> float:
        self._interruption = self._undo.enter_context(_interruptible())
        return time.monotonic()

    def tick(self, answered: int, failed: int) -> bool:
        self._watch.update(answered, failed)
        return not self._interruption.happened

    def close(self) -> None:
        self._undo.close()


def _measure_here(plan: Plan, watch: Watch) -> Tally:
    with contextlib.closing(_Here(watch)) as control:
        return generate_load(plan, 0, control)


# Several processes.  Each is told the start when all have their connections, and the end at an interruption;
# it tells how far it has come, and in the end its tally, or the error that kept it from one.


class _Progress(NamedTuple):
    answered: int
    failed: int


class _There:
    """The control of a measurement in a process of its own, at the end of a line to the first process."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def start(self) -> float:
        self._line.send(_Progress(0, 0))
        return float(self._line.recv())

    def tick(self, answered: int, failed: int) -> bool:
        self._line.send(_Progress(answered, failed))
        return not self._line.poll()  # whatever is there, the end of the line included, is the end


def _work(plan: Plan, process: int, line: Connection) -> None:
    """The main function of a further process."""
    with contextlib.suppress(EOFError, OSError):  # the first process is gone: nobody asks any more
        try:
            line.send(generate_load(plan, process, _There(line)))
        except FrameletError as error:
            line.send(error)


def _share_out(plan: Plan, watch: Watch) -> Tally:
    """Start the processes, and add up what they find."""
    context = multiprocessing.get_context("spawn")  # nothing of this process is in the others
    with contextlib.ExitStack() as undo:
        lines: list[Connection] = []
        # Ctrl-C at a terminal reaches all processes, but ends the measurement by way of this one.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for number in range(plan.processes):
                line, other = context.Pipe()
                process = context.Process(target=_work, args=(plan, number, other), daemon=True)
                process.start()
                other.close()
                undo.callback(_end, process)
                lines.append(undo.enter_context(line))
        finally:
            signal.signal(signal.SIGINT, before)
        for line in lines:
            _take(line)
        interruption = undo.enter_context(_interruptible())
        start = time.monotonic() + _HEAD_START
        for line in lines:
            line.send(start)
        return _gather(lines, watch, interruption)


def _gather(lines: list[Connection], watch: Watch, interruption: _Interruption) -> Tally:
    """Everything that the processes have to tell, up to the last tally."""
    whole, left, told = Tally(), list(lines), False
    progress = dict.fromkeys(lines, _Progress(0, 0))
    while left:
        for line in multiprocessing.connection.wait(left, _TICK):
            news = _take(line)  # type: ignore[arg-type] # wait gives back what it was given
            if isinstance(news, Tally):
                whole.add(news)
                left.remove(line)  # type: ignore[arg-type] # see above
            else:
                progress[line] = news  # type: ignore[index] # see above
        watch.update(*map(sum, zip(*progress.values(), strict=True)))
        if interruption.happened and not told:
            told = True
            for line in left:
                with contextlib.suppress(OSError):  # it has just ended
                    line.send(None)
    return whole


def _take(line: Connection) -> Tally | _Progress:
    """The next news; raises the error that it is."""
    try:
        news = line.recv()
    except (EOFError, OSError):
        raise ProcessDiedError("a process of the load generator has died") from None
    if isinstance(news, FrameletError):
        raise news
    if not isinstance(news, (Tally, _Progress)):
        raise TypeError(news)
    return news


def _end(process: BaseProcess) -> None:
    """See a process off: it has nothing more to tell."""
    process.terminate()
    process.join(_JOIN_TIMEOUT)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()
