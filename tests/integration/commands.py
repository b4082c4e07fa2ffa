"""What tests of the commands share: frames, the arguments of a command, and how it ended."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.scripted import PATIENCE

from framelet import FrameType, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet import Address

ASK = len(encode(FrameType.REQUEST, b"ab"))


def reply(text: str) -> bytes:
    return encode(FrameType.REPLY, text.encode())


def error(body: str) -> bytes:
    return encode(FrameType.ERROR, body.encode())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def port_of(address: Address) -> str:
    return str(address).rpartition(":")[2]


def lines_to(address: Address) -> tuple[object, ...]:
    """The arguments that send lines to a server."""
    return ("send", address, port_of(address), "-")


_FORKS = """
import importlib, json, os, sys
package, output = sys.argv[1:]
importlib.import_module(package + ".cli.command")
main = importlib.import_module(package + ".__main__").main
statuses = []
for number, sys.argv[1:] in enumerate(json.load(sys.stdin)):
    if os.fork() == 0:
        for descriptor in (1, 2):
            os.dup2(os.open(f"{output}/{number}.{descriptor}", os.O_CREAT | os.O_WRONLY), descriptor)
        sys.exit(main())
    statuses.append(os.waitstatus_to_exitcode(os.wait()[1]))
print(json.dumps(statuses))
"""


def run_each(package: str, calls: Sequence[Sequence[str]], folder: Path) -> list[tuple[int, str, str]]:
    """How the command of a package ends and what it prints, for each of several lists of arguments.

    Each process is a fork of one that has imported all, which takes most of the time of a short command.
    """
    with tempfile.TemporaryDirectory() as output:
        done = subprocess.run(
            [sys.executable, "-c", _FORKS, package, output],
            input=json.dumps(calls),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=3 * PATIENCE,
            cwd=folder,
        )
        written = Path(output)
        return [
            (
                status,
                (written / f"{number}.1").read_text("utf-8"),
                (written / f"{number}.2").read_text("utf-8"),
            )
            for number, status in enumerate(json.loads(done.stdout))
        ]


def ended(result: subprocess.CompletedProcess[bytes]) -> tuple[int, str, str]:
    return (result.returncode, result.stdout.decode(), result.stderr.decode())
