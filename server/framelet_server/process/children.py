"""The supervisor's children: what it knows of each process, how it starts one, and when it replaces one."""

from __future__ import annotations

import dataclasses
import math
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from .control import ControlLine
from .inherited import inheritance_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_server.observe.metrics import Metrics

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a crashed child is replaced; doubled with each crash."""

_SETTLED = 60.0
"""Seconds without a crash after which the pause is short again."""


@dataclasses.dataclass(eq=False)
class ChildProcess:
    """A child process; times are seconds on the monotonic clock."""

    popen: subprocess.Popen[bytes]
    line: ControlLine
    began: float
    heard: float = math.inf  # when it last made progress; until it is ready none is expected
    ready: bool = False
    reload_due: bool = False  # asked for before it was ready
    drained: tuple[int, int] | None = None  # its clients: how many were closed, and how many cut off
    numbers: Metrics | None = None  # the last that it told
    asked: float | None = None  # since when it owes new ones

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        files: Sequence[int],
        *watch: object,
    ) -> Self:
        """Run the command, with sockets, files and one end of a control line handed down; raises OSError.

        ``watch`` is what it is told first: see ``control``.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            inheritance, numbers = inheritance_of(theirs, sockets, files)
            # Blocked, a SIGHUP to the child waits until the child ignores it.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
            try:
                popen = subprocess.Popen(  # noqa: S603 - our own command
                    [*command, "--worker", inheritance],
                    stdin=subprocess.DEVNULL,
                    pass_fds=numbers,
                    process_group=0,  # so that Ctrl-C reaches the supervisor alone
                )
            except OSError:
                ours.close()
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        ours.settimeout(0)
        child = cls(popen, ControlLine(ours), began=time.monotonic())
        child.line.send("watch", *watch)
        return child

    @property
    def pid(self) -> int:
        """Its process identifier, for the log."""
        return self.popen.pid


@dataclasses.dataclass(eq=False)
class Place:
    """The place of one child: the process that holds it, or when the next one is to be started."""

    child: ChildProcess | None = None
    due: float = math.inf
    starts: int = 0
    _pause: float = _FIRST_PAUSE  # seconds, after the next crash

    def take(self, child: ChildProcess) -> None:
        """A child was started."""
        self.child, self.due = child, math.inf
        self.starts += 1

    def crashed(self, child: ChildProcess | None = None) -> float:
        """The child crashed, or none could be started: put off the next start by the seconds returned."""
        if child is not None and time.monotonic() - child.began >= _SETTLED:
            self._pause = _FIRST_PAUSE
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        self.due = time.monotonic() + pause
        return pause


class Children:
    """All places, and how many clients the children that ended in this drain had."""

    def __init__(self, number: int) -> None:
        """Begin with empty places."""
        self.places: list[Place] = [Place() for _ in range(number)]
        self._ended: list[tuple[int, int]] = []

    def running(self) -> list[ChildProcess]:
        """The processes that have not been seen to end."""
        return [place.child for place in self.places if place.child is not None]

    def send(self, *message: object) -> None:
        """Tell all of them something."""
        for child in self.running():
            child.line.send(*message)

    def start_no_more(self) -> None:
        """Leave empty places empty."""
        for place in self.places:
            place.due = math.inf

    def ended_in_drain(self, counts: tuple[int, int]) -> None:
        """Keep what a child has reported before it ended."""
        self._ended.append(counts)

    def totals(self) -> tuple[int, int] | None:
        """How many clients all have closed, and how many cut off; None while some have not reported."""
        counts = list(self._ended)
        for child in self.running():
            if child.drained is None:
                return None
            counts.append(child.drained)
        return sum(closed for closed, _ in counts), sum(cut for _, cut in counts)


def how_ended(status: int) -> str:
    """How a process ended, in words."""
    return f"status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
