"""``framelet completion``: what a real bash completes, at a terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import FrameletCommand

COMMANDS = ("framelet", "framelet-server", "framelet-conformance")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the commands under their names."""
    for name in COMMANDS:
        module = {"framelet": "framelet_client"}.get(name, name.replace("-", "_"))
        file = tmp_path / name
        file.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        file.chmod(0o755)
    return tmp_path


COMPLETED = [
    ("framelet sen", "framelet send "),
    ("framelet send --ca-f", "framelet send --ca-file "),
    ("framelet send --ca-file certificate-o", "framelet send --ca-file certificate-of-ours.pem "),
    ("framelet decode certificate-o", "framelet decode certificate-of-ours.pem "),
    ("framelet ping @li", "framelet ping @live "),
    ("framelet-server --log-level d", "framelet-server --log-level debug "),
    ("framelet-server --config certificate-o", "framelet-server --config certificate-of-ours.pem "),
    ("framelet-conformance server --report-ht", "framelet-conformance server --report-html "),
]


def test_bash_completes(framelet: FrameletCommand, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (programs / "certificate-of-ours.pem").touch()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(programs / "config"))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("PS1", "ready> ")
    monkeypatch.chdir(programs)
    assert framelet("profile", "add", "live", "127.0.0.1").returncode == 0
    with framelet.terminal() as terminal:
        process = terminal.start(["bash", "--norc", "--noprofile", "-i"])
        os.write(terminal.ours, b'eval "$(framelet completion bash)"; complete -p framelet; echo done\n')
        assert b"complete -o nosort -F _framelet_completion framelet" in terminal.read(b"\ndone\n")
        for typed, completed in COMPLETED:
            os.write(terminal.ours, f"{typed}\t".encode())
            terminal.read(completed.encode())
            os.write(terminal.ours, b"\x15")  # empties the line
        process.kill()
        process.wait(20)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_for_all_commands(framelet: FrameletCommand, shell: str) -> None:
    result = framelet("completion", shell)
    assert (result.returncode, result.stderr) == (0, b"")
    for name in COMMANDS:
        assert f"_{name.upper().replace('-', '_')}_COMPLETE={shell}_complete" in result.stdout.decode()
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=result.stdout, check=True, timeout=20)
