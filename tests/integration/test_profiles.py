"""Profiles and environment variables: where a command finds its server when it is not told."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from framelet_server import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run ``framelet``: its status, and what it printed."""

    def run(*words: object, **variables: str) -> tuple[int, str]:
        ended = subprocess.run(
            [sys.executable, "-m", "framelet_client", *map(str, words)],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=20,
            env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), **variables},
        )
        return ended.returncode, ended.stdout

    return run


def test_a_name_stands_for_an_address_and_options(run: Run, tmp_path: Path) -> None:
    with Server(("127.0.0.1", 0)) as server, Server(("127.0.0.1", 0), str.upper) as other:
        host, port = "127.0.0.1", str(server.address).rpartition(":")[2]
        assert run("profile", "add", "first", host, port, "--max-body", 65_536) == (0, "")
        assert run("profile", "add", "other", other.address) == (0, "")
        shown = f"* first: {server.address} --max-body 65536\n  other: {other.address}\n"
        assert run("profile", "list") == (0, shown)
        assert stat.S_IMODE((tmp_path / "framelet" / "config.toml").stat().st_mode) == 0o600
        # The default, a name, and what goes before them.
        assert run("send") == (0, "daolyap tluafed\n")
        assert run("send", "@other") == (0, "DEFAULT PAYLOAD\n")
        assert run("profile", "use", "other") == (0, "")
        assert run("send") == (0, "DEFAULT PAYLOAD\n")
        assert run("send", FRAMELET_ADDRESS="@first") == (0, "daolyap tluafed\n")
        assert run("send", FRAMELET_ADDRESS=str(server.address)) == (0, "daolyap tluafed\n")
        assert run("send", server.address, FRAMELET_ADDRESS="@nobody") == (0, "daolyap tluafed\n")
        assert run("send", FRAMELET_ADDRESS="") == (0, "DEFAULT PAYLOAD\n")
        # Its options hold for it alone, and only where nothing else is said.
        long = "x" * 65_537
        status, words = run("send", "@first", port, long)
        assert (status, "--max-body 65536" in words) == (2, True)
        assert run("send", "@first", port, long, "--max-body", 70_000)[0] == 0
        assert run("send", "@first", port, long, FRAMELET_MAX_BODY="70000")[0] == 0
        assert run("send", server.address, port, long)[0] == 0
    assert run("profile", "remove", "other") == (0, "")
    assert run("profile", "list") == (0, f"  first: {server.address} --max-body 65536\n")
    assert "default" not in (tmp_path / "framelet" / "config.toml").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["profile", "add", "a b", "127.0.0.1"], "'a b' is not a name for a profile: use letters"),
        (["profile", "add", "a"], "HOST is missing: framelet profile add NAME HOST [PORT]"),
        (
            ["profile", "add", "a", "framelets://h", "--ca-file", "none.pem"],
            "cannot read none.pem: No such file",
        ),
        (["profile", "use", "a"], "unknown profile 'a': add it with framelet profile add"),
        (["ping", "@a"], "unknown profile 'a'"),
    ],
)
def test_what_cannot_be_used_is_said(run: Run, words: list[str], said: str) -> None:
    status, shown = run(*words)
    assert (status, said in shown, "Traceback" in shown) == (2, True, False), shown


@pytest.mark.parametrize(
    "content", ["x = [", "profiles = 1", "[profiles]\na = 1", "[profiles.a]\nhost = 1", "default = 1", "\xff"]
)
def test_a_file_that_is_wrong_is_named(run: Run, tmp_path: Path, content: str) -> None:
    file = tmp_path / "framelet" / "config.toml"
    file.parent.mkdir()
    file.write_bytes(content.encode("latin-1"))
    status, shown = run("ping")
    said = f"{file} is not a valid configuration file: "
    assert (status, said in shown, "Traceback" in shown) == (2, True, False), shown
