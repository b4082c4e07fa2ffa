"""The sessions in docs/cli.md are real: each is run against a server and shows what the document says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from framelet_server import Server

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
SESSIONS = [
    (command, output)
    for block in re.findall(r"```console\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]
TIMES = re.compile(r"\d+\.\d{3}\b")


def run(command: str, port: str) -> str:
    """What a command shows on a terminal, with its times and port made alike."""
    line = f'framelet() {{ {sys.executable} -m framelet_client "$@"; }}; {command.replace("6666", port)}'
    result = subprocess.run(
        ["/bin/bash", "-c", line],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=20,
    )
    return TIMES.sub("T", result.stdout.decode().replace(port, "6666"))


def test_every_command_has_a_session() -> None:
    shown = " ".join(command for command, _ in SESSIONS)
    for command in ("send", "ping", "hello", "stop", "decode"):
        assert f"framelet {command}" in shown


def test_the_sessions_are_real() -> None:
    with Server(("127.0.0.1", 0)) as server:
        port = str(server.address).rpartition(":")[2]
        for command, output in SESSIONS:
            assert (command, run(command, port)) == (command, TIMES.sub("T", output))
        assert server.wait(20)  # one of them stops it
