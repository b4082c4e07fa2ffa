"""Ctrl-C ends a command and the shell's loop around it; no signal leaves the terminal changed."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import FrameletCommand

    from .peers import Serve


HIDDEN, ERASED = b"\x1b[?25l", b"\x1b[2K"
COMMANDS = {
    "ping": ("framelet_client ping {} --count 20", b"answer 1 "),
    "bench": ("framelet_client bench {} --duration 20", b" answered, "),
    "lines": ("framelet_client send {} -", b""),
    "conformance": ("framelet_conformance server {} --workers 2", b"cases"),
    "decode": ("framelet_client decode --binary", b"header"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_a_loop_of_the_shell(framelet: FrameletCommand, serve: Serve, name: str) -> None:
    arguments, begun = COMMANDS[name]
    line = f"{sys.executable} -m {arguments.format(serve().address)}"
    with framelet.terminal() as terminal:
        loop = f"for round in 1 2 3; do echo round $round; {line}; done; echo after"
        process = terminal.start(["env", "TERM=xterm", "bash", "-c", loop])
        terminal.read(b"round 1\n")
        if name == "lines":
            os.write(terminal.ours, b"hello\n")
            begun = b"olleh"
        shown = terminal.read(begun)
        os.write(terminal.ours, b"\x03")
        shown += terminal.read()
        assert process.wait(60) == -signal.SIGINT
    assert b"round 2" not in shown
    assert b"after" not in shown
    assert b"Traceback" not in shown
    assert HIDDEN not in shown


def test_the_status_in_a_shell_is_130(framelet: FrameletCommand, serve: Serve) -> None:
    line = shlex.join(framelet.command("ping", serve().address, "--count", 20))
    process = subprocess.Popen(
        ["/bin/bash", "-c", f"trap : INT; {line}; echo status $?"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert b"answer 1 " in framelet.read_line(process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[0].splitlines()[-1] == b"status 130"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_leaves_the_terminal_as_it_was(
    framelet: FrameletCommand, serve: Serve, number: signal.Signals
) -> None:
    command = framelet.command("bench", serve().address, "--duration", 20)
    with framelet.terminal() as terminal:
        process = terminal.start(["env", "TERM=xterm", *command], stdin=subprocess.DEVNULL)
        shown = terminal.read(b" answered, ")
        process.send_signal(number)
        shown += terminal.read()
        assert process.wait(60) == -number
    assert HIDDEN not in shown  # so nothing is to be shown again, by SIGCONT or at all
    if number is not signal.SIGKILL:
        rest = shown.rpartition(ERASED)[2]
        assert (b"\nlatency " in rest) if number is signal.SIGTERM else (rest == b"" and ERASED in shown)


def test_a_signal_leaves_no_raw_terminal(framelet: FrameletCommand, serve: Serve, tmp_path: Path) -> None:
    with framelet.terminal() as terminal:
        before = termios.tcgetattr(terminal.theirs)
        command = framelet.command("shell", serve().address)
        process = terminal.start(["env", "TERM=xterm", f"XDG_STATE_HOME={tmp_path}", *command])
        terminal.read(b">")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
        assert termios.tcgetattr(terminal.theirs) == before
