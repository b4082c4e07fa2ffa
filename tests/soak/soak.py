"""Load a server with honest and hostile clients for a while, and see that it stays as it was: ``make soak``.

    python -m tests.soak.soak [--seconds N] [--margin MIB] [--seed N] [--handler MODULE:FUNCTION]

The server is a ``framelet-server`` of its own process with short deadlines.  Meanwhile its log is not read
for a while, its descriptors are used up, and it is stopped and goes on (for 40 seconds, in a run of 400).
Its memory, descriptors and threads are read from /proc each second.  At the end all clients leave, and it
must be back where it began:
descriptors and threads at their first values, memory no more than the margin above that after the warm-up,
every honest reply right, no error in its log, and status 0 for SIGTERM.  The exit status is 0 if all of this
holds, 1 if not, and each failure is a line on stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from framelet import TcpAddress, parse_address
from framelet_client import Client

from .crowd import Crowd

if TYPE_CHECKING:
    from collections.abc import Iterator

MEBI = 1 << 20
MARGIN = 16
"""MiB that memory may grow by after the warm-up: the allocator's, which large bodies fragment.

In less than a minute the allocator is not warm yet, and needs more.
"""

WARM_UP = 0.3
"""Share of the time after which memory should not grow any more."""

FRAME_TIMEOUT = 2.0
SETTLE = 20.0
"""Seconds for the server to notice that all clients have left: several of its deadlines."""

OPTIONS = {
    "--threads": 4,
    "--max-connections": 4_000,  # those who came while there were no descriptors among them
    "--frame-timeout": FRAME_TIMEOUT,
    "--idle-timeout": 10,
    "--write-timeout": 1,
    "--linger-timeout": 0.5,
    "--max-unsent": 65_536,
    "--turn-octets": 65_536,
    "--stop": "token",
    "--log-level": "info",
}


class Sample(NamedTuple):
    """What the server takes at one moment."""

    memory: int  # octets that are resident
    descriptors: int
    threads: int


def main() -> int:
    """Run, print the figures, and judge them."""
    options = _options()
    with _Server(options.handler) as server:
        crowd = Crowd(server.address, frame_timeout=FRAME_TIMEOUT, seed=options.seed)
        began = time.monotonic()
        first = server.sample()
        samples = [first]
        crowd.start()
        over = threading.Event()
        troubles = threading.Thread(target=trouble, args=(server, crowd, options.seconds, over))
        troubles.start()
        while time.monotonic() - began < options.seconds and server.is_alive():
            time.sleep(min(1.0, options.seconds / 20))
            samples.append(server.sample())
        over.set()
        troubles.join()
        crowd.end()
        last = server.settle(first)
        status = server.end()
        failures = [*judge(samples, last, status, server.log, options.margin * MEBI), *crowd.faults[:10]]
    show(samples, last, crowd, time.monotonic() - began)
    print(f"{'lines of the log':24}{server.log.lines:12,}")
    for failure in failures:
        print(f"soak: {failure}", file=sys.stderr)
        for line in server.log.lines_of(failure):
            print(f"soak:     {line}", file=sys.stderr)
    print("soak:", "failed" if failures else "passed")
    return bool(failures)


def trouble(server: _Server, crowd: Crowd, seconds: float, over: threading.Event) -> None:
    """What befalls a server whatever its clients do, one after the other."""
    over.wait(0.15 * seconds)
    crowd.note("the log was not read any more")
    server.log.reading.clear()
    crowd.tally["seconds unread log"] = round(min(20, 0.1 * seconds))
    over.wait(min(20, 0.1 * seconds))
    server.log.reading.set()
    over.wait(0.15 * seconds)
    crowd.note("descriptors were used up")
    with server.without_descriptors():
        crowd.tally["descriptors used up"] += 1
        over.wait(min(1.5, 0.05 * seconds))  # far less than until those who wait are turned away
    over.wait(0.15 * seconds)
    crowd.hold()
    crowd.note("the server was stopped")
    server.signal(signal.SIGSTOP)
    crowd.tally["seconds stopped"] = round(min(40, 0.1 * seconds))
    over.wait(min(40, 0.1 * seconds))
    server.signal(signal.SIGCONT)
    crowd.note("it went on")
    crowd.go_on()


def judge(samples: list[Sample], last: Sample, status: int, log: _Log, margin: float) -> list[str]:
    """What is not as it must be."""
    failures = []
    first, warm = samples[0], _warm(samples)
    late = statistics.median(sample.memory for sample in samples[-len(samples) // 5 :])
    for when, memory in (("at the end of the load", late), ("when all clients had left", last.memory)):
        if memory > warm + margin:
            failures.append(f"memory was {_mib(memory)} {when}, and {_mib(warm)} after the warm-up")
    if last.descriptors != first.descriptors:
        failures.append(
            f"{last.descriptors} descriptors are left, and {first.descriptors} were there at first"
        )
    if last.threads != first.threads:
        failures.append(f"{last.threads} threads are left, and {first.threads} were there at first")
    if status:
        failures.append(f"the server ended with status {status}")
    if log.bad:
        failures.append(f"the server logged {len(log.bad)} errors; the first is: {log.bad[0]}")
    return failures


def show(samples: list[Sample], last: Sample, crowd: Crowd, seconds: float) -> None:
    """Print the figures."""
    first = samples[0]
    warm, peak = _warm(samples), max(sample.memory for sample in samples)
    print(f"{seconds:.0f} seconds, {len(samples)} samples\n")
    print(f"{'':24}{'first':>12}{'warmed up':>12}{'highest':>12}{'at the end':>12}")
    print(f"{'memory':24}{_mib(first.memory):>12}{_mib(warm):>12}{_mib(peak):>12}{_mib(last.memory):>12}")
    for name in ("descriptors", "threads"):
        values = [getattr(sample, name) for sample in samples]
        print(f"{name:24}{values[0]:12}{'':12}{max(values):12}{getattr(last, name):12}")
    tenths = [samples[len(samples) * tenth // 10].memory for tenth in range(10)]
    print("memory in MiB, over time:", *(f"{memory / MEBI:.0f}" for memory in tenths), "\n")
    for what, times in sorted(crowd.tally.items()):
        print(f"{what:24}{times:12,}")
    print(f"{'slowest honest answer':24}{crowd.slowest:11.3f}s")


def _warm(samples: list[Sample]) -> int:
    """The most memory that was in use up to the end of the warm-up."""
    return max(sample.memory for sample in samples[: max(2, int(len(samples) * WARM_UP))])


def _mib(octets: float) -> str:
    return f"{octets / MEBI:.1f} MiB"


class _Log:
    """What the server writes on stderr, read while ``reading`` is set."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.lines = 0
        self.bad: list[str] = []
        self._last: deque[str] = deque(maxlen=100_000)
        self.reading = threading.Event()
        self.reading.set()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            self.lines += 1
            self._last.append(line)
            if "Traceback" in line or (" ERROR " in line and "Too many open files" not in line):
                self.bad.append(line.rstrip())
            self.reading.wait()

    def lines_of(self, failure: str) -> list[str]:
        """What the server logged of the clients that a failure names."""
        names = [f" {name}: " for name in re.findall(r"[0-9.]+:[0-9]+", failure)]
        return [line.rstrip() for line in self._last if any(name in line for name in names)][:20]

    def close(self) -> None:
        """Read the rest; the server has ended."""
        self.reading.set()
        self._thread.join()
        self._stream.close()


class _Server:
    """A framelet-server in a process of its own."""

    def __init__(self, handler: str | None) -> None:
        arguments = [str(part) for option in OPTIONS.items() for part in option]
        if handler:
            arguments += ["--handler", handler]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "framelet_server", "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"FRAMELET_STOP_TOKEN": "soak-token"},
        )
        self._proc = Path("/proc") / str(self._process.pid)
        assert self._process.stderr is not None
        self.log = _Log(self._process.stderr)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        address = parse_address(line.removeprefix("framelet-server listening on ").strip())
        assert isinstance(address, TcpAddress)
        self.address = address
        with Client(*address) as client:  # so that everything is loaded before the first sample
            client.request("warm")
        self.settle(None)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self.log.close()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    @contextlib.contextmanager
    def without_descriptors(self) -> Iterator[None]:
        """Have the server open nothing more for a while, as where its limit is reached."""
        soft, hard = resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, (3, hard))
        yield
        resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, (soft, hard))

    def sample(self) -> Sample:
        """Look into /proc; all zeros once the server has ended."""
        try:
            status = dict(
                line.split(":\t", 1)
                for line in (self._proc / "status").read_text().splitlines()
                if ":\t" in line
            )
            descriptors = len(list((self._proc / "fd").iterdir()))
            return Sample(int(status["VmRSS"].split()[0]) * 1024, descriptors, int(status["Threads"]))
        except (OSError, KeyError):
            return Sample(0, 0, 0)

    def settle(self, goal: Sample | None) -> Sample:
        """Wait until descriptors and threads are as in ``goal``, or have not changed for half a second."""
        deadline = time.monotonic() + SETTLE
        since, sample = time.monotonic(), self.sample()
        while time.monotonic() < deadline:
            time.sleep(0.05)
            before, sample = sample, self.sample()
            if goal is not None and sample[1:] == goal[1:]:
                break
            if before[1:] != sample[1:]:
                since = time.monotonic()
            if goal is None and time.monotonic() - since > 0.5:
                break
        return sample

    def end(self) -> int:
        """Ask the server to end; its status."""
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(SETTLE)
        except subprocess.TimeoutExpired:
            return -1
        finally:
            self._process.kill()
            self.log.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak.soak", description="Load a server and see that it stays as it was."
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="how long; 120 by default")
    parser.add_argument("--margin", type=float, default=MARGIN, help=f"MiB to grow by; {MARGIN} by default")
    parser.add_argument("--seed", type=int, default=0, help="for what the clients choose; 0 by default")
    parser.add_argument("--handler", metavar="MODULE:FUNCTION", help="the server's; reversal by default")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
