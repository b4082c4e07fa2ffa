"""A measurement as a whole: in this process, or shared out over several; ended early by a signal."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from framelet import FrameletError
from framelet_client.errors import ClientError

from .load import generate_load
from .stats import LoadStats

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from types import FrameType

    from .plan import Plan

_SAFE_PATH = "PYTHONSAFEPATH"

_HEAD_START = 0.02  # seconds for the start to reach all processes
_TICK = 0.1


class ProgressObserver(Protocol):
    """Is told how far a measurement has come."""

    def update(self, answered: int, failed: int) -> None:
        """So many requests that count have been answered, or have failed."""
        ...


class ProcessDiedError(ClientError):
    """A process of the load generator ended without a result."""


_ENDING = (signal.SIGINT, signal.SIGTERM)


class _Interruption:
    """The number of the signal that has come, or 0; a second signal has its default effect."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.number = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _handled_by(handler: _Interruption | signal.Handlers) -> Iterator[None]:
    """Have a handler for the signals that end a measurement."""
    before = {number: signal.signal(number, handler) for number in _ENDING}
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)


@contextlib.contextmanager
def _interruptible() -> Iterator[_Interruption]:
    interruption = _Interruption()
    with _handled_by(interruption):
        yield interruption


def measure(plan: Plan, observer: ProgressObserver) -> LoadStats:
    """Carry out a plan; raises ConnectError if not all connections can be made."""
    return _share_out(plan, observer) if plan.processes > 1 else _measure_here(plan, observer)


class _Here:
    """The control of a measurement in this process."""

    def __init__(self, observer: ProgressObserver) -> None:
        self._observer = observer
        self._undo = contextlib.ExitStack()

    def start(self) -> float:
        self._interruption = self._undo.enter_context(_interruptible())
        return time.monotonic()

    def tick(self, answered: int, failed: int) -> int:
        self._observer.update(answered, failed)
        return self._interruption.number

    def close(self) -> None:
        self._undo.close()


def _measure_here(plan: Plan, observer: ProgressObserver) -> LoadStats:
    with contextlib.closing(_Here(observer)) as control:
        return generate_load(plan, 0, control)


# Several processes, each at the end of a pipe.  The first process sends them the time of the start, once all
# have their connections, and the signal's number at an interruption.  They send their progress, and at last
# their stats or the error that ended them.


class _Progress(NamedTuple):
    answered: int
    failed: int


class _There:
    """The control of a measurement in a further process, by a pipe to the first one."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def start(self) -> float:
        self._line.send(_Progress(0, 0))
        return float(self._line.recv())

    def tick(self, answered: int, failed: int) -> int:
        self._line.send(_Progress(answered, failed))
        return int(self._line.recv()) if self._line.poll() else 0


def _work(plan: Plan, process: int, line: Connection) -> None:
    """The main function of a further process."""
    with contextlib.suppress(EOFError, OSError):  # the first process has died: no one needs the result
        try:
            line.send(generate_load(plan, process, _There(line)))
        except FrameletError as error:
            line.send(error)


def _share_out(plan: Plan, observer: ProgressObserver) -> LoadStats:
    """Start the processes, and add up their stats."""
    context = multiprocessing.get_context("spawn")  # fork would copy this process's state and descriptors
    with contextlib.ExitStack() as undo:
        lines: list[Connection] = []
        safe = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"  # or they look for Python's own modules in the current folder first
        try:
            # A signal to a group reaches all processes, but ends the measurement by way of this one.
            with _handled_by(signal.SIG_IGN):
                for number in range(plan.processes):
                    line, other = context.Pipe()
                    process = context.Process(target=_work, args=(plan, number, other), daemon=True)
                    process.start()
                    other.close()
                    undo.callback(_end, process)
                    lines.append(undo.enter_context(line))
        finally:
            del os.environ[_SAFE_PATH]
            if safe is not None:
                os.environ[_SAFE_PATH] = safe
        for line in lines:
            _take(line)
        interruption = undo.enter_context(_interruptible())
        start = time.monotonic() + _HEAD_START
        for line in lines:
            line.send(start)
        return _gather(lines, observer, interruption)


def _gather(lines: list[Connection], observer: ProgressObserver, interruption: _Interruption) -> LoadStats:
    """The stats of all processes added up; shows their progress meanwhile."""
    whole, left, told = LoadStats(), list(lines), False
    progress = dict.fromkeys(lines, _Progress(0, 0))
    while left:
        for line in multiprocessing.connection.wait(left, _TICK):
            news = _take(line)  # type: ignore[arg-type] # wait returns some of the lines it was given
            if isinstance(news, LoadStats):
                whole.add(news)
                left.remove(line)  # type: ignore[arg-type] # see above
            else:
                progress[line] = news  # type: ignore[index] # see above
        observer.update(*map(sum, zip(*progress.values(), strict=True)))
        if interruption.number and not told:
            told = True
            for line in left:
                with contextlib.suppress(OSError):  # that process has just ended
                    line.send(interruption.number)
    return whole


def _take(line: Connection) -> LoadStats | _Progress:
    """The next message of a process; raises it if it is an error."""
    try:
        news = line.recv()
    except (EOFError, OSError):
        raise ProcessDiedError("a process of the load generator has died") from None
    if isinstance(news, FrameletError):
        raise news
    if not isinstance(news, (LoadStats, _Progress)):
        raise TypeError(news)
    return news


def _end(process: BaseProcess) -> None:
    """End a process that has sent its result, or is not needed any more; it ignores other signals."""
    process.kill()
    process.join()
    process.close()
