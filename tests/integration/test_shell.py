"""``framelet shell`` in a real terminal: a conversation with a real server."""

from __future__ import annotations

import multiprocessing.connection
import os
import re
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.integration.peers import Terminal

from framelet_server import Server, ServerLimits

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


CONTROL = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[>=]|[\r\b]")
PROMPT = "(prompt)"
"""Stands for the sequence that a prompt begins with: from there on it takes pasted texts."""


class Shell:
    """A shell in a terminal, and what stands on its lines."""

    def __init__(self, *arguments: str, state: Path) -> None:
        self.terminal = Terminal()
        os.environ["XDG_STATE_HOME"] = str(state)
        self.process = self.terminal.start([sys.executable, "-m", "framelet_client", *arguments])
        self.greeting = self.shown("connected to")

    def shown(self, words: str) -> str:
        """What comes until the words are there and, after them, the next prompt."""
        raw, text = b"", ""
        while PROMPT not in text.partition(words)[2] or words not in text:
            assert multiprocessing.connection.wait([self.terminal.ours], 20), f"not '{words}' but {text!r}"
            raw += os.read(self.terminal.ours, 65_536)
            text = CONTROL.sub(b"", raw.replace(b"\x1b[?2004h", PROMPT.encode())).decode(errors="replace")
        return text

    def type(self, keys: bytes, shows: str) -> str:
        os.write(self.terminal.ours, keys)
        return self.shown(shows)

    def leave(self) -> int:
        os.write(self.terminal.ours, b"\x04")
        return self.process.wait(20)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Shell]]:
    shells: list[Shell] = []
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("PROMPT_TOOLKIT_NO_CPR", "1")

    def begin(*arguments: str) -> Shell:
        shells.append(Shell(*arguments, state=tmp_path))
        return shells[-1]

    yield begin
    for shell in shells:
        shell.process.kill()
        shell.process.wait(20)
        with shell.terminal:
            pass


def test_lines_are_requests_and_commands_are_not(start: Callable[..., Shell], tmp_path: Path) -> None:
    handlers = {0xC0: str.upper}
    with Server(("127.0.0.1", 0), lambda text: text[::-1] + "\x1b[2J", handlers=handlers) as server:
        host, _, port = str(server.address).removeprefix("framelet://").partition(":")
        shell = start("shell", host, port)
        assert f"connected to {server.address}" in shell.greeting
        shell.type(b"hello\r", "olleh\\x1b[2J\n")
        shell.type(b"\x1b[200~one\ntwo\x1b[201~\r", "eno\\x1b[2J\nowt\\x1b[2J\n")
        shell.type(b"//ping\r", "gnip/")
        shell.type(b"/ping\r", "answered in ")
        shell.type(b"/hello\r", "max-body: 16777216\n")
        shell.type(b"/send 0xC0 abc\r", "ABC\n")
        shell.type(b"/send 0xC1 abc\r", "ERROR 404: ")
        shell.type(b"/send 7 abc\r", "'7' is not an application type: use 0xC0 to 0xFF")
        shell.type(b"/nothing\r", "unknown command /nothing: expected one of /ping, ")
        shell.type(b"/bench --count nine\r", "'nine' is not a valid integer")
        shell.type(b"/help\r", "/quit")
        shell.type(b"not sent\x03", "not sent")
        shell.type(b"/stop\r", "stopped: 0 other connections closed in order, 0 cut off\n")
        assert server.wait(20)
        shell.type(b"late\r", f"Couldn't get connection to {host}")
        assert shell.leave() == 0
    history = tmp_path / "framelet" / "history"
    assert "+hello\n" in history.read_text(encoding="utf-8")
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_it_stays_connected_while_nobody_types_and_connects_again(start: Callable[..., Shell]) -> None:
    limits = ServerLimits(idle_timeout=1.0)
    with Server(("127.0.0.1", 0), limits=limits) as server:
        address = server.address
        shell = start(str(address))
        until(lambda: server.metrics().frames > 8)  # more than two seconds of PINGs
        shell.type(b"ab\r", "ba\n")
        assert server.metrics().connections == 1
    with Server(str(address), limits=limits):
        shell.type(b"abc\r", f"reconnected to {address}\ncba\n")
        assert shell.leave() == 0


def test_without_a_terminal_it_says_what_to_use() -> None:
    with Server(("127.0.0.1", 0)) as server:
        asked = [sys.executable, "-m", "framelet_client", str(server.address)]
        ended = subprocess.run(asked, check=False, input=b"x\n", capture_output=True, timeout=20)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert b"the shell needs a terminal: framelet send HOST PORT - reads" in ended.stderr
