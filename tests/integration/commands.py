"""What tests of the commands share: frames, the arguments of a command, and how it ended."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from framelet import FrameType, encode

if TYPE_CHECKING:
    import subprocess

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


def ended(result: subprocess.CompletedProcess[bytes]) -> tuple[int, str, str]:
    return (result.returncode, result.stdout.decode(), result.stderr.decode())
