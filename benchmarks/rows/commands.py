"""What starts and ends: the import, ``framelet send``, and a file of a million lines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers import FRAMELET
from benchmarks.processes import CORES, BenchmarkError, pinned
from benchmarks.suite import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.suite import Bench

GROUP = "Commands"
LINES = 1_000_000
REV = "rev"


def seconds_of(command: Sequence[str | Path], source: Path | None = None, into: Path | None = None) -> float:
    """Seconds from start to exit; raises BenchmarkError when it fails."""
    with (
        (source or Path(os.devnull)).open("rb") as stdin,
        (into or Path(os.devnull)).open("wb") as stdout,
        pinned(CORES.load),
    ):
        started = time.perf_counter()
        outcome = subprocess.run(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        seconds = time.perf_counter() - started
    if outcome.returncode:
        complaint = outcome.stderr.decode(errors="replace").strip().splitlines()
        message = complaint[-1] if complaint else f"exit status {outcome.returncode}"
        raise BenchmarkError(message)
    return seconds


def framelet_command() -> list[str | Path]:
    """The command line, as it is installed beside this interpreter."""
    installed = Path(sys.executable).with_name("framelet")
    return [installed] if installed.exists() else [sys.executable, "-m", "framelet_client"]


def has_command_line(bench: Bench) -> bool:
    """Whether Framelet is asked for."""
    return any(peer.name == FRAMELET for peer in bench.peers)


def import_entries(bench: Bench) -> dict[str, str]:
    """One, where Framelet is asked for."""
    return {"framelet": "`import framelet`"} if has_command_line(bench) else {}


def send_entries(bench: Bench) -> dict[str, str]:
    """One, where Framelet is asked for."""
    return {"framelet": "`framelet send`"} if has_command_line(bench) else {}


def line_entries(bench: Bench) -> dict[str, str]:
    """Framelet, and the command of util-linux that does the same without a network."""
    entries = {"framelet": "`framelet send -`"} if has_command_line(bench) else {}
    if entries and shutil.which(REV):
        entries[REV] = "`rev`"
    return entries


def import_time(_: Bench, __: str) -> float:
    """Milliseconds beyond those of the interpreter that does nothing."""
    nothing = seconds_of([sys.executable, "-c", "pass"])
    return (seconds_of([sys.executable, "-c", "import framelet"]) - nothing) * 1000


def send_time(bench: Bench, _: str) -> float:
    """Milliseconds for one text."""
    port = str(bench.server(FRAMELET).port)
    into = bench.folder / "send.out"
    seconds = seconds_of([*framelet_command(), "send", "127.0.0.1", port, "hello"], into=into)
    if into.read_text() != "olleh\n":
        message = f"framelet send: a wrong reply: {into.read_text()!r}"
        raise BenchmarkError(message)
    return seconds * 1000


def lines_file(bench: Bench) -> Path:
    """A million lines, no two alike."""
    file = bench.folder / "lines"
    if not file.exists():
        with file.open("w") as lines:
            lines.writelines(f"line {number}: grüße, мир, 世界\n" for number in range(LINES))
    return file


def line_rate(bench: Bench, name: str) -> float:
    """Lines for each second; the output is compared with that of Python's own reversal."""
    source, into = lines_file(bench), bench.folder / f"lines.{name}"
    port = str(bench.server(FRAMELET).port)
    command = [REV] if name == REV else [*framelet_command(), "send", "127.0.0.1", port, "-"]
    seconds = seconds_of(command, source, into)
    with source.open(newline="\n") as given, into.open(newline="\n") as made:
        pairs = zip(given, made, strict=True)
        if not all(line[:-1][::-1] == reversed_line[:-1] for line, reversed_line in pairs):
            message = f"{name}: a wrong line among its output"
            raise BenchmarkError(message)
    return LINES / seconds


COMMAND_ROWS = (
    Row(
        "import",
        GROUP,
        "`import framelet`, beyond the start of the interpreter",
        "ms",
        import_entries,
        import_time,
        less=True,
    ),
    Row(
        "send", GROUP, "`framelet send` of one text, start to exit", "ms", send_entries, send_time, less=True
    ),
    Row(
        "lines",
        GROUP,
        f"a file of {LINES:,} lines",
        "lines/s",
        line_entries,
        line_rate,
        reference=REV,
        rounds=3,
        warm=False,
    ),
)
