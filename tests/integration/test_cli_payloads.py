"""Where ``framelet send`` takes its payload from: arguments, standard input, files; and of which type."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from framelet_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import FrameletCommand

    from framelet import Address

DEFAULT = b"daolyap tluafed\n"


@pytest.fixture
def address() -> Iterator[Address]:
    with Server(("127.0.0.1", 0), handlers={0xC0: str.upper}) as server:
        yield server.address


def test_what_is_piped_is_the_payload(framelet: FrameletCommand, address: Address, tmp_path: Path) -> None:
    assert framelet("send", address, input=b"ab\ncd\n").stdout == b"dc\nba\n"
    assert framelet("send", address, input=b"ab\n\n").stdout == b"\nba\n"
    assert framelet("send", address, input=b"\n").stdout == b"\n"
    assert framelet("send", address, input=b"stop\n").stdout == b"pots\n"
    assert framelet("send", address, "xy", input=b"ab\n").stdout == b"yx\n"
    (tmp_path / "text").write_bytes(b"ab")
    with (tmp_path / "text").open("rb") as stream:
        assert framelet("send", address, stdin=stream, input=None).stdout == b"ba\n"


def test_the_default_payload_stays_where_nothing_is_piped(
    framelet: FrameletCommand, address: Address, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    line = " ".join(framelet.command("send", address))
    # cron gives its jobs an empty pipe, and service managers /dev/null; some start programs without any.
    for begin in (":|", "</dev/null", "<&-", f"<{tmp_path}/empty"):
        whole = f"{begin} {line}" if begin == ":|" else f"{line} {begin}"
        result = subprocess.run(
            ["/bin/sh", "-c", whole], check=False, capture_output=True, timeout=20, env={"PATH": os.defpath}
        )
        assert (begin, result.stdout, result.stderr) == (begin, DEFAULT, b"")
    ours, theirs = socket.socketpair()  # as from inetd
    ours.close()
    assert framelet("send", address, stdin=theirs, input=None).stdout == DEFAULT
    theirs.close()
    with framelet.terminal() as terminal:
        process = terminal.start(framelet.command("send", address), stderr=subprocess.DEVNULL)
        assert terminal.read(b"\n") == DEFAULT
        assert process.wait(20) == 0


def test_it_says_what_it_waits_for(framelet: FrameletCommand, address: Address) -> None:
    process = framelet.start("send", address)
    assert process.stderr is not None
    assert b"end of the PAYLOAD on standard input; </dev/null gives none" in process.stderr.readline()
    assert process.communicate(b"ab", 20) == (b"ba\n", b"")


def test_what_cannot_be_sent_is_refused(framelet: FrameletCommand, tmp_path: Path) -> None:
    for data, words in (
        (b"ab\xff", b"not well-formed UTF-8"),
        (b"x" * 65_537, b"is longer than --max-body 65536"),
    ):
        (tmp_path / "text").write_bytes(data)
        for source in ([], ["--file", str(tmp_path / "text")]):
            result = framelet("send", "127.0.0.1", 1, "--max-body", 65_536, *source, input=data)
            assert (result.returncode, result.stdout) == (2, b"")
            assert words in result.stderr


def test_a_file_is_sent_and_answered_as_it_is(
    framelet: FrameletCommand, address: Address, tmp_path: Path
) -> None:
    (tmp_path / "text").write_bytes(b"a\0b\r\n")
    assert framelet("send", address, "--file", tmp_path / "text").stdout == b"\n\rb\0a"
    assert framelet("send", address, "--file", "-", input=b"ab\n").stdout == b"\nba"
    assert framelet("send", address, "--file", "-").stdout == b""
    result = framelet("send", address, "--file", tmp_path / "none")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"none cannot be read: No such file or directory" in result.stderr


def test_parts_between_nuls(framelet: FrameletCommand, address: Address) -> None:
    for payload in ([], ["-"]):
        result = framelet("send", address, *payload, "-0", input=b"a\nb\0\0cd")
        assert (result.returncode, result.stdout) == (0, b"b\na\0\0dc\0")


def test_application_frames(framelet: FrameletCommand, address: Address) -> None:
    assert framelet("send", address, "ab", "--type", "0xC0").stdout == b"AB\n"
    assert framelet("send", address, "stop", "--type", "192").stdout == b"STOP\n"
    lines = b"".join(b"%d\n" % number for number in range(3_000))
    assert framelet("send", address, "-", "--type", "0xc0", input=lines).stdout == lines
    result = framelet("send", address, "ab", "--type", "0xC1")
    assert (result.returncode, result.stdout) == (6, b"")
    assert b"ERROR 404" in result.stderr
