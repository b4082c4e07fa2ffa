"""Servers, clients and the load generator: each a process, pinned to a core of its own."""

from __future__ import annotations

import contextlib
import json
import multiprocessing.connection
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .native import program
from .peers.common import REVERSE
from .work import exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .peers import Peer

ROOT = Path(__file__).parents[1]
START_TIMEOUT = 30.0
"""Seconds that a server has until it listens."""
RUN_TIMEOUT = 120.0
"""Seconds that one measurement may take."""


class BenchmarkError(Exception):
    """A measurement failed: a wrong reply, a server that ended, a program that did not finish."""


@dataclass(frozen=True)
class Cores:
    """Where the two sides run: on different cores where there are two."""

    server: int
    load: int

    @classmethod
    def available(cls) -> Cores:
        """The first and the last that this process may use."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[-1])


CORES = Cores.available()


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run on that core, and have the processes that are started run there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_descriptors() -> int:
    """Let this process, and what it starts, open as many files as the system allows; how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


class ServerProcess:
    """A server that serves until the context is left."""

    def __init__(self, command: Sequence[str | Path], name: str, environment: Mapping[str, str]) -> None:
        """Start it; raises BenchmarkError unless it listens in time."""
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        with pinned(CORES.server):
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                stdin=subprocess.DEVNULL,
            )
        try:
            self.port = self._announced()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def _announced(self) -> int:
        """The port, once clients can connect."""
        output = self._process.stdout
        assert output is not None  # noqa: S101 - for the type checkers: it is a pipe
        if not multiprocessing.connection.wait([output.fileno()], START_TIMEOUT):
            message = f"{self.name} does not listen after {START_TIMEOUT:g} seconds"
            raise BenchmarkError(message)
        line = output.readline().split()
        if line[:1] != [b"listening"]:
            message = f"{self.name} did not start: {self.last_words() or 'it said nothing'}"
            raise BenchmarkError(message)
        return int(line[1])

    def last_words(self) -> str:
        """The last line of its standard error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def memory(self) -> int:
        """Octets of memory that are resident."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        message = f"{self.name} has ended: {self.last_words()}"
        raise BenchmarkError(message)

    def cpu(self) -> float:
        """Seconds of processor time that it has used, to the nanosecond: /proc counts in ticks of 10 ms."""
        return time.clock_gettime(~self.pid << 3 | 2)  # what clock_getcpuclockid(3) makes of a process

    def close(self) -> None:
        """End it; one that does not want to is killed."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None  # noqa: S101 - for the type checkers: it is a pipe
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self.close()


def serve(peer: Peer, **options: object) -> ServerProcess:
    """A server of that kind."""
    command = [sys.executable, "-m", "benchmarks.peers", "serve", peer.module]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return ServerProcess(command, peer.title, peer.environment)


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """What a program on the core of the load prints; raises BenchmarkError with what it complains of."""
    try:
        with pinned(CORES.load):
            outcome = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=RUN_TIMEOUT,
            )
    except subprocess.TimeoutExpired:
        words = " ".join(map(str, command)).replace(sys.executable, "python")
        message = f"no end after {RUN_TIMEOUT:g} seconds: {words}"
        raise BenchmarkError(message) from None
    if outcome.returncode:
        complaint = outcome.stderr.strip().splitlines() or [f"exit status {outcome.returncode}"]
        raise BenchmarkError(complaint[-1])
    return outcome.stdout


@dataclass(frozen=True)
class Load:
    """What one run of the load generator found; times in seconds."""

    seconds: float
    count: int
    p50: float

    @property
    def rate(self) -> float:
        """Requests for each second."""
        return self.count / self.seconds


class WireFiles:
    """Requests and replies in files for the load generator, written when they are first needed."""

    def __init__(self, folder: Path) -> None:
        """None yet."""
        self._folder = folder
        self.of = cache(self._write)

    def _write(self, framing: str, text: str, handler: str = REVERSE) -> tuple[Path, Path]:
        files = []
        for octets in exchange(framing, text, handler):
            file = self._folder / str(len(list(self._folder.iterdir())))
            file.write_bytes(octets)
            files.append(file)
        return files[0], files[1]


@dataclass(frozen=True)
class Shape:
    """How the load generator asks."""

    connections: int = 1
    window: int = 1
    """Requests in flight on each connection."""
    churn: bool = False
    """Whether a connection carries one request."""
    count: int | None = None
    """Requests in all, where not the time decides."""
    patience: float = 20.0
    """Seconds without an octet after which it gives up."""


def load(files: tuple[Path, Path], port: int, shape: Shape, seconds: float) -> Load:
    """Drive a server by the load generator; raises BenchmarkError at a wrong reply."""
    command: list[str | Path] = [program("load"), "--port", str(port)]
    command += ["--request", files[0], "--reply", files[1]]
    command += ["--connections", str(shape.connections), "--window", str(shape.window)]
    command += ["--patience", str(shape.patience)]
    command += ["--count", str(shape.count)] if shape.count else ["--seconds", str(seconds)]
    if shape.churn:
        command.append("--churn")
    found: dict[str, Any] = json.loads(run(command))
    return Load(found["seconds"], found["count"], found["p50"])


def ask(peer: Peer, port: int, work: str, count: int, clients: int = 1, handler: str = REVERSE) -> float:  # noqa: PLR0913, PLR0917
    """Seconds that a peer's own client takes for so many requests; raises BenchmarkError at a wrong reply."""
    command = [sys.executable, "-m", "benchmarks.peers", "ask", peer.module, str(port)]
    command += ["--work", work, "--count", str(count), "--clients", str(clients), "--handler", handler]
    seconds: float = json.loads(run(command, peer.environment))["seconds"]
    return seconds


def calibrated(measure: Callable[[int], float], seconds: float, *, first: int, step: int) -> int:
    """How many requests take about so many seconds: ``first`` at least, and a multiple of ``step``."""
    count = first
    while (taken := measure(count)) < min(0.1, seconds / 3):
        count *= 10
    return max(first, round(count * seconds / taken / step) * step)
