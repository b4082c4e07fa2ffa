"""Options of ``framelet-server`` in a file, and numbers with units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.commands import run_each

from framelet_client import Client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Command

    Start = Callable[..., Command]

FILE = """
port = 0
handler = "string:capwords"
handle = ["0xC0=builtins:str.upper", "0xC1=builtins:str.lower"]
max-body = "100k"
idle-timeout = "2m"
drain-timeout = 5
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_the_file_says_what_is_not_said_otherwise(command: Start, tmp_path: Path, workers: int) -> None:
    file = tmp_path / "framelet.toml"
    file.write_text(FILE, "utf-8")
    server = command("--config", str(file), "--max-body", "128k", "--workers", str(workers))
    with Client(server.address()) as client:
        file.unlink()  # it has been read
        assert client.request("two words") == "Two Words"
        assert (client.send(0xC0, "aB"), client.send(0xC1, "aB")) == ("AB", "ab")
        told = client.hello().parameters
        assert (told["max-body"], told["idle-timeout-ms"]) == ("131072", "120000")
    server.process.terminate()
    assert server.finish()[0] == 0


def test_a_configuration_is_checked_and_not_used(command: Start, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(FILE, "utf-8")
    server = command("--config", "good.toml", "--check-config", "--port", "1", "--workers", "2")
    assert server.line() == "framelet-server: the configuration is valid\n"
    assert server.finish() == (0, "")


UNUSABLE = [
    ("max-bdy = 1", "has 'max-bdy', which is not an option: did you mean 'max-body'?"),
    ("zzz = 1", "has 'zzz', which is not an option (see"),
    ("config = 'x'", "has 'config', which is not an option"),
    ("threads = true", "needs text or a number for 'threads'"),
    ("[limits]\nthreads = 1", "has 'limits', which is not an option"),
    ("max-body = '5q'", "'5q' is not a number of octets, as 16M"),
    ("max-body = '1k'", "'--max-body': it is 1024: expected 65536 to"),
    ("handler = 'string:none'", "cannot load handler 'string:none'"),
    ("stop = ''", "it is empty"),
    ("x = [", "is not TOML: "),
    (None, "cannot be read: No such file or directory"),
]


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    calls = []
    for number, (content, _) in enumerate(UNUSABLE):
        if content is not None:
            (tmp_path / f"{number}.toml").write_text(content, "utf-8")
        calls.append([f"--config={number}.toml", "--check-config"])
    found = run_each("framelet_server", calls, tmp_path)
    for (_, said), (status, _, errors) in zip(UNUSABLE, found, strict=True):
        assert (status, errors.count("\n"), said in errors) == (2, 1, True), errors
