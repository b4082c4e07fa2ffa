"""Every signal, in every state, to every kind of process: as the table of docs/restart.md says."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Command, Peer

    Start = Callable[..., Command]
    Connect = Callable[..., Peer]

DOCUMENT = Path(__file__).parents[2] / "docs" / "restart.md"
PROCESSES = ("one process", "supervisor", "child")
ROW = re.compile(
    r"^\| (SIG[^|]+) \| (starting|serving|draining) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE
)
ALIKE = {("SIGINT", "supervisor"), ("SIGINT", "child")}
"""There SIGINT does what SIGTERM does."""

CELLS = [
    pytest.param(
        *(sent, state, process, outcome),
        id=f"{sent}-{state}-{process}".replace(" ", "_"),
        marks=[pytest.mark.slow] if "SIGCONT" in sent or (sent, process) in ALIKE else [],
    )
    for sent, state, *outcomes in ROW.findall(DOCUMENT.read_text())
    for process, outcome in zip(PROCESSES, outcomes, strict=True)
]

HANDLER = """
import os, pathlib, time
importing = pathlib.Path(f"importing-{os.getpid()}")
if pathlib.Path("slow").exists():
    importing.touch()
    while pathlib.Path("slow").exists():
        time.sleep(0.01)
def handler(text):
    if text == "pid":
        return str(os.getpid())
    if text == "block":
        pathlib.Path(f"blocked-{os.getpid()}").touch()
        while not pathlib.Path("opened").exists():
            time.sleep(0.01)
    return text[::-1]
"""

SILENCE = 2.0
"""Seconds without progress after which a child is killed here."""


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Scene:
    """A server brought into a state, and the process among its own that gets the signal."""

    def __init__(self, folder: Path, start: Start, connect: Connect, until: Any, process: str) -> None:
        self.folder, self.connect, self.until = folder, connect, until
        self.several = process != "one process"
        self.is_child = process == "child"
        self._start = start
        self.target = 0
        self.asker: Peer | None = None

    def begin(self, state: str, cert: Path) -> None:
        slow = self.folder / "slow"
        (self.folder / "signalled.py").write_text(HANDLER)
        if state == "starting" and not self.is_child:
            slow.touch()
        self.server = self._start(
            *("--handler", "signalled:handler", "--log-level", "info", "--drain-timeout", "1000"),
            *("--linger-timeout", "0.2", "--workers", "2" if self.several else "1", "--tls-cert", str(cert)),
            env={"WATCHDOG_USEC": str(int(SILENCE * 1e6))},
        )
        self.target = self.server.process.pid
        if slow.exists():
            self.until(lambda: list(self.folder.glob("importing-*")))
            return
        self.address = self.server.address()
        asker = self.asker = self.connect(self.address)
        pid = int(asker.ask("pid"))
        if self.is_child:
            self.target = pid
        if state == "starting":  # the child that replaces one which was killed, as its import is slow
            slow.touch()
            os.kill(pid, signal.SIGKILL)
            self.until(lambda: list(self.folder.glob("importing-*")))
            self.target = int(next(self.folder.glob("importing-*")).name.partition("-")[2])
            self.asker = None
        if state == "draining":
            asker.request("block")
            self.until((self.folder / f"blocked-{pid}").exists)
            os.kill(self.target, signal.SIGTERM)
            self.until(lambda: self.logged("draining"))

    def send(self, sent: str) -> None:
        for part in sent.split(", then "):
            if part == "SIGCONT":
                # Nothing can be waited for: it is the time itself that matters.
                deadline = time.monotonic() + 2 * SILENCE
                while time.monotonic() < deadline and lives(self.target):
                    time.sleep(0.05)
            if lives(self.target):
                os.kill(self.target, signal.Signals[part])

    def logged(self, words: str) -> int:
        return sum(words in line for line in self.server.errors)

    def let_import(self) -> None:
        (self.folder / "slow").unlink(missing_ok=True)

    def serves(self) -> bool:
        return self.connect(self.address).ask("ab") == "ba"

    def still_drains(self) -> None:
        """What was asked before the drain is answered, and the end is in order."""
        assert lives(self.target)
        (self.folder / "opened").touch()
        assert self.asker is not None
        assert self.asker.replies(1) == ["kcolb"]
        assert self.asker.receive() is None
        self.asker.close()
        self.until(lambda: not lives(self.target))

    def is_replaced(self, words: str) -> None:
        self.until(lambda: not lives(self.target))
        self.let_import()
        # Both that were ready at first, and the one in place of the target.
        self.until(lambda: self.logged(" serves\n") >= 3)
        assert self.serves()
        assert self.logged(words)

    def finish(self) -> tuple[int, str]:
        if self.server.process.poll() is None:
            self.server.process.terminate()
        return self.server.finish()


@pytest.fixture
def scene(tmp_path: Path, command: Start, connect_tls: Connect, until: Any) -> Any:
    made: list[Scene] = []

    def make(process: str) -> Scene:
        made.append(Scene(tmp_path, command, connect_tls, until, process))
        return made[-1]

    yield make
    (tmp_path / "opened").touch()
    (tmp_path / "slow").unlink(missing_ok=True)


def test_the_table_has_every_cell() -> None:
    assert len(CELLS) == 4 * 3 * 3


@pytest.mark.parametrize(("sent", "state", "process", "outcome"), CELLS)
def test_signal(  # noqa: C901, PLR0912, PLR0913, PLR0917 - the cell, and one branch for each outcome
    scene: Callable[[str], Scene], certificates: Any, sent: str, state: str, process: str, outcome: str
) -> None:
    there = scene(process)
    there.begin(state, certificates.server)
    there.send(sent)
    children = 2 if there.several else 1

    if outcome.startswith("reloads"):
        if state == "starting":
            there.let_import()
            there.address = there.server.address()
        # Where children still start, each that had begun to by then reloads.
        there.until(lambda: there.logged(" reloaded\n") >= (1 if state == "starting" else children))
        assert there.serves()
    elif outcome == "ignored" or (outcome == "goes on" and state == "draining"):
        if state == "draining":
            there.still_drains()
        else:
            there.let_import()
            there.until(lambda: there.logged(f"child {there.target} serves"))
            assert lives(there.target)
            assert there.serves()
        assert not there.logged(" reloaded\n")
    elif outcome == "goes on":
        if state == "starting" and not there.is_child:
            there.let_import()
            there.address = there.server.address()
        there.let_import()
        assert there.serves()
        assert lives(there.target)
        if there.asker is not None:
            assert there.asker.ask("still here") == "ereh llits"
    elif outcome == "ends at once":
        status, log = there.server.finish()
        assert "Traceback" not in log
        assert status == (0 if there.several else -15 if sent == "SIGTERM" else -2)
        return
    elif outcome.startswith("cuts the drain short"):
        assert there.server.finish()[0] == (-signal.SIGINT if "ends by SIGINT" in outcome else 0)
        assert there.logged("handlers have not returned")
        return
    elif "drains" in outcome:
        assert there.asker is not None
        assert there.asker.receive() is None
        there.asker.close()
        there.until(lambda: not lives(there.target))
    if "replaced" in outcome:
        there.is_replaced("makes no progress and is killed" if "killed" in outcome else "replaced")
    elif there.several:
        assert not there.logged("makes no progress")
    status, log = there.finish()
    assert status == 0, log
