"""The standard streams of ``framelet``: full, closed, interrupted, or a terminal."""

from __future__ import annotations

import functools
import os
import pty
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from tests.integration.commands import ASK, ended, free_port, lines_to, port_of, reply
from tests.integration.scripted import close_all

from framelet_server import Server

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.integration.conftest import FrameletCommand, Script

    from framelet import Address

PATIENCE = 20.0
# Standard streams that fail.


def shell(framelet: FrameletCommand, line: str, *arguments: object) -> tuple[int, str, str]:
    """Run ``line`` with bash, with ``"$@"`` for the command."""
    command = ["bash", "-c", f"set -o pipefail; {line}", "bash", *framelet.command(*arguments)]
    return ended(subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE))


def test_the_reader_of_the_output_leaves(framelet: FrameletCommand, address: Address) -> None:
    arguments = lines_to(address)
    code, stdout, stderr = shell(framelet, 'seq 1000000 | "$@" | head -1', *arguments)
    assert (stdout, stderr) == ("1\n", "")
    assert code in {7, 128 + signal.SIGPIPE}  # of ours, or of seq, which loses its reader in turn


def test_a_path_that_is_not_utf8_is_escaped(framelet: FrameletCommand, tmp_path: Path) -> None:
    path = f"unix:{tmp_path}/b\udcffd"
    escaped = f"unix:{tmp_path}/b\\udcffd"
    with Server(path):
        for arguments in (("ping", path, "--count", 1), ("bench", path, "--count", 1)):
            code, stdout, stderr = ended(framelet(*arguments))
            assert (code, stdout.startswith(f"{escaped}: ")) == (0, True), stderr
    code, _, stderr = ended(framelet("ping", path))
    lines = stderr.splitlines()
    assert (code, lines[0]) == (3, f"Couldn't get connection to {escaped}")
    assert lines[1] == f"{escaped}: No such file or directory"


@pytest.mark.parametrize("closed", [(0,), (2,), (0, 2)], ids=str)
def test_in_place_of_a_stream_that_is_closed_there_is_dev_null(
    framelet: FrameletCommand, scripted_server: Script, closed: tuple[int, ...]
) -> None:
    received, go_on = threading.Event(), threading.Event()
    server = scripted_server(ASK, received, lambda _: go_on.wait(PATIENCE), reply("ba"))
    with subprocess.Popen(
        framelet.command("send", *server.arguments, "ab"),
        stdout=subprocess.PIPE,
        preexec_fn=functools.partial(close_all, closed),  # noqa: PLW1509 - nothing else closes them
    ) as process:
        assert received.wait(PATIENCE)
        streams = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in closed]  # noqa: PTH115 - of no file of ours
        go_on.set()
        assert process.communicate(timeout=PATIENCE)[0] == b"ba\n"
    assert (process.returncode, streams) == (0, [os.devnull] * len(closed))


def test_the_output_is_full_or_closed(framelet: FrameletCommand, address: Address) -> None:
    arguments = ("send", address, port_of(address), "ab")
    full = "framelet: error: standard output failed: No space left on device\n"
    assert shell(framelet, '"$@" > /dev/full', *arguments) == (7, "", full)
    assert shell(framelet, '"$@" >&-', *arguments) == (7, "", "framelet: error: standard output is closed\n")
    for line in ('"$@" 2>&-', '"$@" 2>/dev/full'):
        assert shell(framelet, line, "send", "127.0.0.1", free_port(), "ab") == (3, "", "")
    for words in ("", "--help", "--version", "send --help", "bench -h"):
        assert shell(framelet, '"$@" > /dev/full', *words.split()) == (7, "", full)
        assert shell(framelet, 'exec 3> >(:); wait $!; "$@" >&3', *words.split()) == (7, "", "")
    lines = lines_to(address)
    code, stdout, stderr = shell(framelet, '"$@" <&-', *lines)
    assert (code, stdout) == (2, "")
    assert stderr == "framelet: error: standard input is closed (see framelet send --help)\n"


def test_input_that_cannot_be_read(framelet: FrameletCommand, address: Address) -> None:
    code, stdout, stderr = shell(framelet, '"$@" 0>/dev/null', *lines_to(address))
    assert (code, stdout, stderr) == (7, "", "framelet: error: standard input failed: Bad file descriptor\n")


def test_output_that_does_not_take_everything_at_once(framelet: FrameletCommand, address: Address) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    process = framelet.start(*lines_to(address), stdout=write_end, stderr=subprocess.DEVNULL)
    os.close(write_end)
    assert process.stdin is not None
    stdin = process.stdin
    lines = [b"%0999d" % number for number in range(2_000)]
    given = b"".join(line + b"\n" for line in lines)

    def write() -> None:
        left = memoryview(given)
        while left:
            left = left[stdin.write(left) :]
        stdin.close()

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(read_end, "rb") as output:
        printed = output.read()
    writer.join(PATIENCE)
    assert printed == b"".join(line[::-1] + b"\n" for line in lines)
    assert process.wait(PATIENCE) == 0


def test_ctrl_c_is_quiet(framelet: FrameletCommand, scripted_server: Script) -> None:
    received = threading.Event()
    server = scripted_server(ASK, received)
    for arguments in (["ab"], ["-"]):
        received.clear()
        process = framelet.start("send", *server.arguments, *arguments)
        if arguments == ["-"]:
            assert process.stdin is not None
            process.stdin.write(b"ab\n")
        assert received.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        assert framelet.finish(process) == (-signal.SIGINT, b"", b"")


# Terminals.


HOSTILE = "\x1b]0;t\x07\x9b2J\x7f\n\u202e\u2066\u2028é"
HARMLESS = "\\x1b]0;t\\x07\\x9b2J\\x7f\\x0a\\u202e\\u2066\\u2028é"


@pytest.mark.req("REQ-SEC-1")
def test_a_reply_is_escaped_for_a_terminal(framelet: FrameletCommand, scripted_server: Script) -> None:
    server = scripted_server(ASK, reply(HOSTILE))
    command = ["env", "PYTHONIOENCODING=utf-8", *framelet.command("send", *server.arguments, "ab")]
    assert framelet.in_terminal(command) == (0, HARMLESS.encode() + b"\n")
    command[1] = "PYTHONIOENCODING=ascii"
    assert framelet.in_terminal(command) == (0, HARMLESS.replace("é", "\\xe9").encode() + b"\n")


@pytest.mark.req("REQ-SEC-1")
def test_replies_to_lines_are_escaped_for_a_terminal(
    framelet: FrameletCommand, scripted_server: Script, tmp_path: Path
) -> None:
    server = scripted_server(*scripted_server.greeting, 2 * ASK, reply(HOSTILE) + reply("ok"))
    (tmp_path / "lines").write_bytes(b"ab\nab\n")
    command = framelet.command("send", *server.arguments, "-")
    line = ["bash", "-c", f'PYTHONIOENCODING=utf-8 "$@" < {tmp_path}/lines', "bash", *command]
    assert framelet.in_terminal(line) == (0, HARMLESS.encode() + b"\nok\n")


def test_a_line_typed_at_a_terminal_is_answered(framelet: FrameletCommand, address: Address) -> None:
    ours, theirs = pty.openpty()
    process = framelet.start(*lines_to(address), stdin=theirs)
    os.close(theirs)
    os.write(ours, b"hello\n")
    assert framelet.read_line(process) == b"olleh\n"
    os.write(ours, b"\x04")  # Ctrl-D
    assert process.wait(PATIENCE) == 0
    os.close(ours)
    framelet.finish(process)


def test_progress_is_shown_when_it_takes_a_while(
    framelet: FrameletCommand, scripted_server: Script, tmp_path: Path
) -> None:
    go_on = threading.Event()

    def answer_slowly(sock: socket.socket) -> None:
        for number in range(14):
            sock.sendall(reply(str(number)))
            go_on.wait(0.1)  # a slow server

    (tmp_path / "lines").write_bytes(b"ab\n" * 14)
    server = scripted_server(*scripted_server.greeting, 14 * ASK, answer_slowly)
    command = framelet.command("send", *server.arguments, "-")
    line = ["bash", "-c", f'TERM=xterm "$@" < {tmp_path}/lines', "bash", *command]
    code, shown = framelet.in_terminal(line, stdout=subprocess.DEVNULL, stderr=None)
    assert code == 0
    assert b"42/42 bytes" in shown
    # Quick work shows nothing.
    go_on.set()
    assert framelet.in_terminal(line, stdout=subprocess.DEVNULL, stderr=None) == (0, b"")
