"""What a hostile server sends costs the commands little memory, however it is shown."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from framelet import FrameType, encode
from framelet.limits import DEFAULT_MAX_BODY

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.integration.conftest import FrameletCommand, Script

ESCAPES = encode(FrameType.REPLY, b"\x1b" * DEFAULT_MAX_BODY)
MOST = 200_000_000
"""Octets of memory: the interpreter, the body as octets and as text, and what both need on their way."""


MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
"""Runs a command from a small process: a child's peak counts that of the process which forked it."""


def peak(framelet: FrameletCommand, command: list[str]) -> tuple[int, int, int]:
    """Exit code, octets shown on the terminal, and the most memory that the command had, in octets."""
    with framelet.terminal() as terminal, tempfile.TemporaryFile() as measured:
        process = terminal.start(
            [sys.executable, "-c", MEASURED, *command], stdin=subprocess.DEVNULL, stderr=measured
        )
        shown = len(terminal.read())
        code = process.wait(60)
        measured.seek(0)
        return code, shown, int(measured.read().split()[-1]) * 1024


@pytest.mark.slow
@pytest.mark.parametrize("lines", [False, True])
def test_a_reply_of_control_characters(
    framelet: FrameletCommand, scripted_server: Script, tmp_path: Path, *, lines: bool
) -> None:
    asked = len(encode(FrameType.REQUEST, b"ab"))
    steps = (*scripted_server.greeting, asked) if lines else (asked,)
    server = scripted_server(*steps, lambda sock: sock.settimeout(90), ESCAPES, scripted_server.fin)
    (tmp_path / "lines").write_bytes(b"ab\n")
    command = framelet.command("send", *server.arguments, "-" if lines else "ab")
    if lines:
        command = ["bash", "-c", f'exec "$@" < {tmp_path}/lines', "bash", *command]
    code, shown, octets = peak(framelet, command)
    assert (code, shown) == (0, len(r"\x1b") * DEFAULT_MAX_BODY + 1)
    assert octets < MOST


@pytest.mark.slow
def test_a_recorded_reply_of_control_characters(framelet: FrameletCommand, tmp_path: Path) -> None:
    (tmp_path / "stream").write_bytes(ESCAPES)
    code, shown, octets = peak(framelet, framelet.command("decode", "--full", tmp_path / "stream"))
    assert (code, shown > len(r"\x1b") * DEFAULT_MAX_BODY) == (0, True)
    assert octets < MOST


@pytest.mark.req("REQ-STOP-17")
def test_a_stopped_of_any_length(framelet: FrameletCommand, scripted_server: Script) -> None:
    body = b"closed=0 cut=0" + b"".join(b" k%d=%d" % (number, number) for number in range(1_000_000))

    def send(sock: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):  # the client does not wait for all of it
            sock.sendall(encode(FrameType.STOPPED, body))

    server = scripted_server(len(encode(FrameType.STOP, b"")), send)
    code, _, octets = peak(framelet, framelet.command("stop", *server.arguments))
    assert code == 5
    assert octets < MOST / 2
