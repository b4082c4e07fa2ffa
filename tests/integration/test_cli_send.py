"""``framelet send``, ``ping``, ``hello`` and ``stop``: what they print, where, and how they exit."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from framelet import ClientLimits, FrameType, encode
from framelet_client.exit_codes import ExitCode
from framelet_server import ListenError, Server, StopPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import FrameletCommand, Script

    from framelet import Address

PATIENCE = 20.0
ROOT = Path(__file__).parents[2]
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
    return "send", address, port_of(address), "-"


@pytest.fixture
def address() -> Iterator[Address]:
    """Where a real server reverses texts."""
    with Server(("127.0.0.1", 0)) as server:
        yield server.address


def ended(result: subprocess.CompletedProcess[bytes]) -> tuple[int, str, str]:
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def read_line(process: subprocess.Popen[bytes]) -> bytes:
    """One line of its output, which must come by itself."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([process.stdout], [], [], PATIENCE)[0], f"nothing behind {line!r}"
        piece = process.stdout.read(1)
        assert piece, f"the output ended behind {line!r}"
        line += piece
    return line


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    """Close its input, and see how it ends."""
    stdout, stderr = process.communicate(timeout=PATIENCE)
    return process.returncode, stdout, stderr


# One payload.


def test_the_reply_is_printed(framelet: FrameletCommand, address: Address) -> None:
    port = port_of(address)
    for host in ("127.0.0.1", "http://127.0.0.1", "tcp://127.0.0.1", f"framelet://127.0.0.1:{port}"):
        assert ended(framelet("send", host, port, "Hello CPHBusiness")) == (0, "ssenisuBHPC olleH\n", "")


def test_the_defaults_are_those_of_the_first_edition(framelet: FrameletCommand) -> None:
    try:
        server = Server(("127.0.0.1", 6666)).start()
    except ListenError:
        pytest.skip("port 6666 is in use")
    try:
        assert ended(framelet("send")) == (0, "daolyap tluafed\n", "")
        assert ended(framelet("send", "http://127.0.0.1")) == (0, "daolyap tluafed\n", "")
        assert ended(framelet("send", "127.0.0.1", 6666)) == (0, "daolyap tluafed\n", "")
    finally:
        server.stop()
    assert ended(framelet("send")) == (3, "", "Couldn't get connection to http://127.0.0.1\n")


def test_other_kinds_of_address(framelet: FrameletCommand, tmp_path: Path) -> None:
    with Server(f"unix:{tmp_path}/sock") as server:
        assert ended(framelet("send", server.address, 6666, "ab")) == (0, "ba\n", "")
    if socket.has_ipv6:
        with Server(("::1", 0)) as server:
            port = port_of(server.address)
            for host in ("::1", "[::1]", f"http://[::1]:{port}"):
                assert ended(framelet("send", host, port, "ab")) == (0, "ba\n", "")


@pytest.mark.parametrize("text", ["", "é€😀", "a\nb\r\n", "--", "\x1b[31m\u202e"])
def test_a_reply_is_exact(framelet: FrameletCommand, address: Address, text: str) -> None:
    result = framelet("send", "--", address, port_of(address), text)
    assert (result.returncode, result.stdout) == (0, text[::-1].encode() + b"\n")


@pytest.mark.parametrize("environment", [{"LC_ALL": "C", "PYTHONUTF8": "1"}, {"PYTHONIOENCODING": "latin-1"}])
def test_a_reply_is_exact_whatever_the_locale(
    framelet: FrameletCommand, address: Address, environment: dict[str, str]
) -> None:
    result = framelet("send", address, port_of(address), "é€😀", env=environment)
    assert (result.returncode, result.stdout) == (0, "😀€é\n".encode())


def test_words_with_a_meaning_are_sent_with_literal(framelet: FrameletCommand, address: Address) -> None:
    port = port_of(address)
    assert ended(framelet("send", "127.0.0.1", port, "stop", "--literal")) == (0, "pots\n", "")
    assert ended(framelet("send", "--literal", "127.0.0.1", port, "-", input=b"ignored")) == (0, "-\n", "")
    assert ended(framelet("send", "127.0.0.1", port, "Stop")) == (0, "potS\n", "")


# No connection.


def test_nobody_listens(framelet: FrameletCommand, tmp_path: Path) -> None:
    port = free_port()
    for host in ("http://127.0.0.1", "tcp://localhost", "no-such-host.invalid", "a..b"):
        expected = f"Couldn't get connection to {host}\n"
        assert ended(framelet("send", host, port, "ab")) == (3, "", expected)
    code, stdout, stderr = ended(framelet("send", "-v", host, port, "ab"))
    assert (code, stdout) == (3, "")
    assert stderr.startswith(expected)
    assert stderr.count("\n") == 2
    for command in (["send", f"unix:{tmp_path}/none", "1", "-"], ["ping"], ["hello"], ["stop"]):
        if len(command) == 1:
            command += [f"unix:{tmp_path}/none"]
        assert ended(framelet(*command)) == (3, "", f"Couldn't get connection to unix:{tmp_path}/none\n")


def test_the_server_does_not_accept_in_time(framelet: FrameletCommand) -> None:
    crowd = [socket.socket() for _ in range(4)]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for sock in crowd:  # fill the backlog
            sock.settimeout(0.0)
            sock.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        result = framelet("send", "127.0.0.1", port, "ab", "--connect-timeout", "0.2", "--verbose")
        assert ended(result) == (3, "", "Couldn't get connection to 127.0.0.1\ntimed out\n")
        for sock in crowd:
            sock.close()


@pytest.mark.req("REQ-CLOSE-3", "REQ-CLOSE-4")
@pytest.mark.parametrize(
    ("part", "end", "words"),
    [
        (b"", "fin", "the server closed the connection; 1 frame is unanswered"),
        (reply("ab")[:-1], "fin", "the server closed the connection inside a frame; 1 frame is unanswered"),
        (b"", "rst", "the connection broke: Connection reset by peer; 1 frame is unanswered"),
    ],
)
def test_the_connection_is_lost(
    framelet: FrameletCommand, scripted_server: Script, part: bytes, end: str, words: str
) -> None:
    server = scripted_server(ASK, part, getattr(scripted_server, end))
    result = framelet("send", *server.arguments, "ab")
    assert ended(result) == (3, "", f"Couldn't get connection to 127.0.0.1: {words}\n")


# Servers that fail.


@pytest.mark.req("REQ-TIME-6")
def test_the_server_is_silent(framelet: FrameletCommand, scripted_server: Script) -> None:
    server = scripted_server(ASK)
    result = framelet("send", *server.arguments, "ab", "--answer-timeout", "0.1")
    assert ended(result) == (4, "", "framelet: no answer came within 0.1 seconds\n")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(encode(0x09), marks=pytest.mark.req("REQ-TYPE-7")),
        pytest.param(encode(FrameType.REPLY, b"\xc0\x80"), marks=pytest.mark.req("REQ-TEXT-6")),
        pytest.param(encode(FrameType.ERROR, b"no"), marks=pytest.mark.req("REQ-ERROR-11")),
        pytest.param(b"\2\xff\xff\xff\xff", marks=pytest.mark.req("REQ-SIZE-2")),
        pytest.param(encode(FrameType.PONG), marks=pytest.mark.req("REQ-ORDER-7")),
    ],
)
def test_the_server_breaks_the_protocol(
    framelet: FrameletCommand, scripted_server: Script, answer: bytes
) -> None:
    code, stdout, stderr = ended(framelet("send", *scripted_server(ASK, answer).arguments, "ab"))
    assert (code, stdout) == (5, "")
    assert stderr.startswith("framelet: the server broke the protocol: ")
    assert stderr.count("\n") == 1


@pytest.mark.req("REQ-ERROR-10", "REQ-SEC-1")
@pytest.mark.parametrize(
    ("code", "words"),
    [(450, "the server answered ERROR 450: "), (507, "the server ended the connection with ERROR 507: ")],
)
def test_the_server_answers_error(
    framelet: FrameletCommand, scripted_server: Script, code: int, words: str
) -> None:
    server = scripted_server(ASK, error(f"{code} no\x1b[2J\n\x85\u202e\u2028!"), scripted_server.fin)
    status, stdout, stderr = ended(framelet("send", *server.arguments, "ab"))
    assert (status, stdout) == (6, "")
    assert stderr.startswith(f"framelet: {words}no\\x1b[2J\\x0a\\x85\\u202e\\u2028!")
    assert stderr.count("\n") == 1


def test_a_reply_in_pieces_among_other_frames(framelet: FrameletCommand, scripted_server: Script) -> None:
    pieces = [bytes([octet]) for octet in encode(0x80, b"\xff") + reply("c\0d")]
    server = scripted_server(ASK, *pieces)
    assert ended(framelet("send", *server.arguments, "ab")) == (0, "c\0d\n", "")


# Lines of standard input.


def test_no_reply_is_lost(framelet: FrameletCommand, address: Address) -> None:
    command = framelet.command(*lines_to(address))
    for _ in range(50):
        printf = subprocess.Popen(["/usr/bin/env", "printf", "hello\\nworld\\n"], stdout=subprocess.PIPE)
        result = subprocess.run(
            command, stdin=printf.stdout, capture_output=True, check=False, timeout=PATIENCE
        )
        assert printf.stdout is not None
        printf.stdout.close()
        assert printf.wait(PATIENCE) == 0
        assert ended(result) == (0, "olleh\ndlrow\n", "")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"", b""),
        (b"\n", b"\n"),
        (b"ab", b"ba\n"),
        (b"ab\n\ncd", b"ba\n\ndc\n"),
        (b"a\rb\r\n\xc2\x85\xe2\x80\xa8x\n", b"\rb\ra\nx\xe2\x80\xa8\xc2\x85\n"),
        (b"stop\n-\n", b"pots\n-\n"),
        (b"\0\n\xef\xbb\xbfab\n", b"\0\nba\xef\xbb\xbf\n"),
    ],
)
@pytest.mark.req("REQ-TEXT-4")
def test_lines_end_at_newline_alone(
    framelet: FrameletCommand, address: Address, given: bytes, expected: bytes
) -> None:
    result = framelet(*lines_to(address), input=given)
    assert (result.returncode, result.stdout, result.stderr) == (0, expected, b"")


def test_what_is_wrong_with_a_line_does_not_concern_the_others(
    framelet: FrameletCommand, address: Address
) -> None:
    lines = [b"ab", b"\xff", b"x" * 65_537, b"cd", b"x" * 1_000_000, b"e\xcc", b"x" * 65_536, b"\xed\xa0\x80"]
    result = framelet(*lines_to(address), "--max-body", 65_536, input=b"\n".join(lines))
    assert result.returncode == 7
    assert result.stdout == b"ba\ndc\n" + b"x" * 65_536 + b"\n"
    assert result.stderr.decode().splitlines() == [
        "framelet: line 2: skipped: not well-formed UTF-8: invalid start byte at octet 0 of the body",
        "framelet: line 3: skipped: longer than 65536 octets",
        "framelet: line 5: skipped: longer than 65536 octets",
        "framelet: line 6: skipped: not well-formed UTF-8: unexpected end of data at octet 1 of the body",
        "framelet: line 8: skipped: not well-formed UTF-8: invalid continuation byte at octet 0 of the body",
    ]


@pytest.mark.req("REQ-SEC-1", "REQ-ERROR-12")
def test_an_error_for_a_line_names_it(framelet: FrameletCommand, scripted_server: Script) -> None:
    server = scripted_server(3 * ASK, reply("1") + error("450 n\x1bo") + reply("3"))
    result = framelet("send", *server.arguments, "-", input=b"ab\nab\nab")
    assert ended(result) == (7, "1\n3\n", "framelet: line 2: ERROR 450: n\\x1bo\n")


@pytest.mark.req("REQ-CLOSE-3", "REQ-STOP-13")
def test_a_connection_lost_midway_names_the_first_line_without_reply(
    framelet: FrameletCommand, scripted_server: Script
) -> None:
    server = scripted_server(3 * ASK, reply("1"), scripted_server.fin)
    result = framelet("send", *server.arguments, "-", input=b"ab\nab\nab")
    words = "the server closed the connection; 2 frames are unanswered; no answer from line 2 on"
    assert ended(result) == (7, "1\n", f"Couldn't get connection to 127.0.0.1: {words}\n")
    server = scripted_server(3 * ASK, reply("1") + error("500 over"), scripted_server.fin)
    result = framelet("send", *server.arguments, "-", input=b"ab\nab\nab")
    words = "the server ended the connection with ERROR 500: over; 2 frames are unanswered"
    assert ended(result) == (7, "1\n", f"framelet: {words}; no answer from line 2 on\n")


def test_silence_and_faults_midway(framelet: FrameletCommand, scripted_server: Script) -> None:
    left = threading.Event()
    server = scripted_server(2 * ASK, reply("1"), lambda _: left.wait(PATIENCE))
    result = framelet("send", *server.arguments, "-", "--answer-timeout", "0.1", input=b"ab\nab\n")
    left.set()
    words = "framelet: no answer came within 0.1 seconds; no answer from line 2 on\n"
    assert ended(result) == (4, "1\n", words)
    server = scripted_server(2 * ASK, reply("1") + encode(0x09))
    code, stdout, stderr = ended(framelet("send", *server.arguments, "-", input=b"ab\nab\n"))
    assert (code, stdout) == (5, "1\n")
    assert stderr.startswith("framelet: the server broke the protocol: ")


@pytest.mark.req("REQ-CLOSE-1")
def test_the_end_of_the_input_is_sent_and_answers_still_come(
    framelet: FrameletCommand, scripted_server: Script
) -> None:
    ended_first = threading.Event()

    def wait_for_fin(sock: socket.socket) -> None:
        assert sock.recv(1) == b""
        ended_first.set()

    server = scripted_server(ASK, wait_for_fin, reply("1"), scripted_server.fin)
    assert ended(framelet("send", *server.arguments, "-", input=b"ab\n")) == (0, "1\n", "")
    assert ended_first.is_set()


def test_each_line_is_answered_at_once(framelet: FrameletCommand, address: Address) -> None:
    process = framelet.start(*lines_to(address))
    assert process.stdin is not None
    for given, expected in ((b"hello\n", b"olleh\n"), (b"\n", b"\n"), (b"a\nb\n", b"a\n")):
        process.stdin.write(given)
        assert read_line(process) == expected
    assert read_line(process) == b"b\n"
    process.stdin.write(b"unfinish")
    process.stdin.write(b"ed")
    assert finish(process) == (0, b"dehsinifnu\n", b"")


def test_the_loss_of_the_connection_does_not_wait_for_input(
    framelet: FrameletCommand, scripted_server: Script
) -> None:
    server = scripted_server(ASK, reply("1"), scripted_server.fin)
    process = framelet.start("send", *server.arguments, "-")
    assert process.stdin is not None
    process.stdin.write(b"ab\n")
    assert read_line(process) == b"1\n"
    assert process.wait(PATIENCE) == 7  # its input is still open
    _, _, stderr = finish(process)
    assert stderr.endswith(b"0 frames are unanswered; no answer from line 2 on\n")


@pytest.mark.req("REQ-FLOW-4")
def test_a_server_that_writes_before_it_reads_on_is_no_deadlock(
    framelet: FrameletCommand, scripted_server: Script, tmp_path: Path
) -> None:
    line = b"x" * 65_000
    count = 200
    file = tmp_path / "lines"
    file.write_bytes((line + b"\n") * count)

    def serve(sock: socket.socket) -> None:
        for _ in range(count):
            size = 5 + len(line)
            while size:
                size -= len(sock.recv(size))
            sock.sendall(reply(line.decode()))

    server = scripted_server(serve)
    with file.open("rb") as stream:
        process = framelet.start("send", *server.arguments, "-", stdin=stream.fileno())
    code, stdout, stderr = finish(process)
    assert (code, len(stdout), stderr) == (0, (len(line) + 1) * count, b"")


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """The most memory that the process has had so far, in octets."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_input(framelet: FrameletCommand, address: Address) -> None:
    process = framelet.start(*lines_to(address))
    assert process.stdin is not None
    lines = (b"y" * 499 + b"\n") * 1_000

    def exchange(thousands: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def write() -> None:
            for _ in range(thousands):
                left = memoryview(lines)
                while left:
                    left = left[stdin.write(left) :]

        writer = threading.Thread(target=write)
        writer.start()
        pending = thousands * len(lines)
        while pending:
            piece = stdout.read(min(pending, 1_000_000))
            assert piece
            assert not piece.strip(b"y\n")
            pending -= len(piece)
        writer.join(PATIENCE)

    exchange(20)
    before = peak_memory(process)
    exchange(200)  # 100 megabytes
    grown = peak_memory(process) - before
    assert finish(process) == (0, b"", b"")
    assert grown < 8_000_000


def test_a_line_without_end_is_not_held(framelet: FrameletCommand, address: Address) -> None:
    process = framelet.start(*lines_to(address), "--max-body", 65_536)
    assert process.stdin is not None
    process.stdin.write(b"ab\n")
    assert read_line(process) == b"ba\n"
    before = peak_memory(process)
    left = memoryview(b"z" * 30_000_000 + b"\ncd\n")
    while left:
        left = left[process.stdin.write(left) :]
    assert read_line(process) == b"dc\n"
    assert peak_memory(process) - before < 8_000_000
    assert finish(process)[0] == 7


@pytest.mark.parametrize("name", ["/dev/null", "empty"])
def test_input_that_is_empty(framelet: FrameletCommand, address: Address, tmp_path: Path, name: str) -> None:
    path = tmp_path / name  # which is /dev/null itself where the name is absolute
    path.touch()
    with path.open("rb") as stream:
        process = framelet.start(*lines_to(address), stdin=stream.fileno())
    assert finish(process) == (0, b"", b"")


def test_input_that_cannot_be_read(framelet: FrameletCommand, address: Address) -> None:
    code, stdout, stderr = shell(framelet, '"$@" 0>/dev/null', *lines_to(address))
    assert (code, stdout, stderr) == (7, "", "framelet: error: standard input failed: Bad file descriptor\n")


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


def test_the_output_is_full_or_closed(framelet: FrameletCommand, address: Address) -> None:
    arguments = ("send", address, port_of(address), "ab")
    full = "framelet: error: standard output failed: No space left on device\n"
    assert shell(framelet, '"$@" > /dev/full', *arguments) == (7, "", full)
    assert shell(framelet, '"$@" >&-', *arguments) == (7, "", "framelet: error: standard output is closed\n")
    assert shell(framelet, '"$@" 2>&-', "send", "127.0.0.1", free_port(), "ab") == (3, "", "")
    lines = lines_to(address)
    code, stdout, stderr = shell(framelet, '"$@" <&-', *lines)
    assert (code, stdout) == (2, "")
    assert stderr == "framelet: error: standard input is closed (see framelet send --help)\n"


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
        assert process.wait(PATIENCE) == 130
        assert finish(process) == (130, b"", b"")


# Terminals.


def run_in_terminal(command: list[str], *, stdin: bool = False, stderr: bool = False) -> tuple[int, bytes]:
    """Run with output, or what is named, on a terminal; what the terminal got."""
    ours, theirs = pty.openpty()
    stdout = subprocess.DEVNULL if stderr else theirs
    process = subprocess.Popen(
        command,
        stdin=theirs if stdin else subprocess.DEVNULL,
        stdout=stdout,
        stderr=theirs if stderr else subprocess.DEVNULL,
    )
    os.close(theirs)
    got = b""
    while select.select([ours], [], [], PATIENCE)[0]:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # Linux's way of saying that nobody has the terminal open any more
            break
        if not piece:
            break
        got += piece
    os.close(ours)
    return process.wait(PATIENCE), got.replace(b"\r\n", b"\n")


HOSTILE = "\x1b]0;t\x07\x9b2J\x7f\n\u202e\u2066\u2028é"
HARMLESS = "\\x1b]0;t\\x07\\x9b2J\\x7f\\x0a\\u202e\\u2066\\u2028é"


@pytest.mark.req("REQ-SEC-1")
def test_a_reply_is_escaped_for_a_terminal(framelet: FrameletCommand, scripted_server: Script) -> None:
    server = scripted_server(ASK, reply(HOSTILE))
    command = ["env", "PYTHONIOENCODING=utf-8", *framelet.command("send", *server.arguments, "ab")]
    assert run_in_terminal(command) == (0, HARMLESS.encode() + b"\n")
    command[1] = "PYTHONIOENCODING=ascii"
    assert run_in_terminal(command) == (0, HARMLESS.replace("é", "\\xe9").encode() + b"\n")


@pytest.mark.req("REQ-SEC-1")
def test_replies_to_lines_are_escaped_for_a_terminal(
    framelet: FrameletCommand, scripted_server: Script, tmp_path: Path
) -> None:
    server = scripted_server(2 * ASK, reply(HOSTILE) + reply("ok"))
    (tmp_path / "lines").write_bytes(b"ab\nab\n")
    command = framelet.command("send", *server.arguments, "-")
    line = ["bash", "-c", f'PYTHONIOENCODING=utf-8 "$@" < {tmp_path}/lines', "bash", *command]
    assert run_in_terminal(line) == (0, HARMLESS.encode() + b"\nok\n")


def test_a_line_typed_at_a_terminal_is_answered(framelet: FrameletCommand, address: Address) -> None:
    ours, theirs = pty.openpty()
    process = framelet.start(*lines_to(address), stdin=theirs)
    os.close(theirs)
    os.write(ours, b"hello\n")
    assert read_line(process) == b"olleh\n"
    os.write(ours, b"\x04")  # Ctrl-D
    assert process.wait(PATIENCE) == 0
    os.close(ours)
    finish(process)


def test_progress_is_shown_when_it_takes_a_while(
    framelet: FrameletCommand, scripted_server: Script, tmp_path: Path
) -> None:
    go_on = threading.Event()

    def answer_slowly(sock: socket.socket) -> None:
        for number in range(14):
            sock.sendall(reply(str(number)))
            go_on.wait(0.1)  # a slow server

    (tmp_path / "lines").write_bytes(b"ab\n" * 14)
    server = scripted_server(14 * ASK, answer_slowly)
    command = framelet.command("send", *server.arguments, "-")
    line = ["bash", "-c", f'TERM=xterm "$@" < {tmp_path}/lines', "bash", *command]
    code, shown = run_in_terminal(line, stderr=True)
    assert code == 0
    assert b"42/42 bytes" in shown
    # Quick work shows nothing.
    go_on.set()
    assert run_in_terminal(line, stderr=True) == (0, b"")


# ping, hello and stop.


def test_ping(framelet: FrameletCommand, address: Address) -> None:
    code, stdout, stderr = ended(framelet("ping", address, "--count", 3, "--interval", 0))
    assert (code, stderr) == (0, "")
    *lines, summary = stdout.splitlines()
    assert [re.sub(r"[\d.]+ ms$", "T ms", line) for line in lines] == [
        f"{address}: answer {number} in T ms" for number in (1, 2, 3)
    ]
    assert re.fullmatch(r"3 answered: min [\d.]+, mean [\d.]+, max [\d.]+ ms", summary)


def test_ping_a_server_that_leaves(framelet: FrameletCommand, scripted_server: Script) -> None:
    server = scripted_server(6, encode(FrameType.PONG, b"1"), 6, scripted_server.fin)
    code, stdout, stderr = ended(framelet("ping", *server.arguments, "--interval", 0))
    assert code == 3
    assert stdout.splitlines()[1].startswith("1 answered: min ")
    assert stderr.startswith(
        "Couldn't get connection to 127.0.0.1: the server closed the connection; 1 frame"
    )
    server = scripted_server(6)
    result = framelet("ping", *server.arguments, "--answer-timeout", 0.1)
    assert ended(result) == (4, "no answer\n", "framelet: no answer came within 0.1 seconds\n")


def test_hello(framelet: FrameletCommand, scripted_server: Script) -> None:
    with Server(("127.0.0.1", 0)) as server:
        code, stdout, _ = ended(framelet("hello", server.address))
        assert code == 0
        assert stdout.splitlines()[:2] == ["version: 1", "max-body: 16777216"]
    size = len(encode(FrameType.HELLO, b"framelet/1 max-body=65536"))
    other = scripted_server(size, encode(FrameType.HELLO, b"framelet/2"))
    assert framelet("hello", *other.arguments, "--max-body", 65_536).returncode == 5


@pytest.mark.parametrize("command", ["stop", "send"])
def test_stop(framelet: FrameletCommand, tmp_path: Path, command: str) -> None:
    with Server(f"unix:{tmp_path}/sock") as server:
        arguments = ("stop", server.address) if command == "stop" else ("send", server.address, 1, "stop")
        assert ended(framelet(*arguments)) == (
            0,
            "stopped: 0 other connections closed in order, 0 cut off\n",
            "",
        )
        assert server.wait(PATIENCE)


def test_stop_with_a_token(framelet: FrameletCommand, tmp_path: Path) -> None:
    token = tmp_path / "token"
    policy = StopPolicy.with_token("sésame")
    with Server(("127.0.0.1", 0), stop_policy=policy) as server:
        for wrong in (b"", b"other\n", b"s\xc3\xa9same \n"):
            token.write_bytes(wrong)
            code, stdout, stderr = ended(framelet("stop", server.address, "--token-file", token))
            assert (code, stdout) == (6, "")
            assert "ERROR 403" in stderr
            assert "other" not in stderr
        assert framelet("stop", server.address).returncode == 6
        token.write_text("sésame\n", encoding="utf-8")
        assert framelet("stop", server.address, "--token-file", token).returncode == 0
        assert server.wait(PATIENCE)
    for arguments in (["stop"], ["send"]):
        with Server(("127.0.0.1", 0), stop_policy=policy) as server:
            tail = (
                [server.address]
                if arguments == ["stop"]
                else [server.address, port_of(server.address), "stop"]
            )
            environment = {"FRAMELET_STOP_TOKEN": "sésame", "LC_ALL": "C.UTF-8"}
            assert framelet(*arguments, *tail, env=environment).returncode == 0
            assert server.wait(PATIENCE)


@pytest.mark.req("REQ-SEC-3")
def test_a_token_file_that_is_none(framelet: FrameletCommand, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"secret\xff")
    code, stdout, stderr = ended(framelet("stop", "127.0.0.1", 1, "--token-file", tmp_path / "token"))
    assert (code, stdout) == (2, "")
    assert "secret" not in stderr
    for path in (tmp_path / "none", tmp_path):
        result = framelet("stop", "127.0.0.1", 1, "--token-file", path)
        assert result.returncode == 2
        assert result.stderr.count(b"\n") == 1


def test_stop_counts_the_connections(framelet: FrameletCommand, scripted_server: Script) -> None:
    server = scripted_server(5, encode(FrameType.STOPPED, b"closed=1 new=x cut=2"), scripted_server.fin)
    result = framelet("stop", *server.arguments)
    assert ended(result) == (0, "stopped: 1 other connection closed in order, 2 cut off\n", "")


# The command line itself.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bogus"], "No such command 'bogus'. (see framelet --help)"),
        (["--bogus"], "No such option"),
        (["send", "--bogus"], "No such option"),
        (["send", "a", "1", "b", "c"], "Got unexpected extra argument (c) (see framelet send --help)"),
        (["send", "ftp://a"], "'ftp://a' has the scheme ftp: expected framelet, tcp, http or none"),
        (["send", "framelet://a:1", "2"], "'framelet://a:1' names port 1, but port 2 is given as well"),
        (["send", "a:1", "2"], "'a:1' names port 1, but port 2 is given as well (see framelet send --help)"),
        (["send", "a", "70000"], "'70000' is no port: expected a number from 0 to 65535"),
        (["send", "a", "hello"], "'hello' is no port: expected a number from 0 to 65535"),
        (["send", ""], "'' names no host"),
        (["send", "--window", "0"], "Invalid value for '--window': 0 is not in the range"),
        (["send", "--answer-timeout", "nan"], "answer_timeout is nan"),
        (["send", "--max-body", "x"], "Invalid value for '--max-body': 'x' is not a valid integer"),
        (["send", "a", "1", b"\xff"], "PAYLOAD cannot be sent: it is not well-formed text"),
        (["send", "a", "1", "x" * 65_537, "--max-body", "65536"], "PAYLOAD is 65537 octets long"),
        (["ping", "--count", "0"], "Invalid value for '--count'"),
        (["stop", "--token-file"], "Option '--token-file' requires an argument"),
    ],
)
def test_wrong_usage_is_said_in_one_line(arguments: list[str | bytes], words: str) -> None:
    # Octets that are no text reach a program on systems whose file names are octets.
    command: list[str | bytes] = [sys.executable, "-m", "framelet_client", *arguments]
    result = subprocess.run(
        command, check=False, capture_output=True, timeout=PATIENCE, env=os.environ | {"PYTHONUTF8": "1"}
    )
    code, stdout, stderr = ended(result)
    assert (code, stdout) == (2, "")
    assert stderr.startswith(f"framelet: error: {words}")
    assert stderr.count("\n") == 1


def test_without_a_command_there_is_help(framelet: FrameletCommand) -> None:
    code, stdout, stderr = ended(framelet())
    assert (code, stderr) == (0, "")
    assert stdout == ended(framelet("--help"))[1]
    assert stdout.startswith("Usage: framelet ")
    for exit_code in ExitCode:
        assert f"{exit_code:>3}  {exit_code.meaning}" in stdout
    for command in ("send", "ping", "hello", "stop", "decode"):
        assert re.search(rf"^  {command} ", stdout, re.MULTILINE)


def test_each_limit_has_an_option(framelet: FrameletCommand) -> None:
    for command in ("send", "ping", "hello", "stop"):
        words = " ".join(ended(framelet(command, "--help"))[1].split())
        for info in ClientLimits.describe():
            assert f"{info.option} {info.unit.upper()} " in words
            assert f"[default: {info.default};" in words
    assert 'http://127.0.0.1, 6666, "default payload"' in " ".join(ended(framelet("send", "-h"))[1].split())


def test_the_version(framelet: FrameletCommand) -> None:
    code, stdout, stderr = ended(framelet("--version"))
    assert (code, stderr) == (0, "")
    assert re.fullmatch(r"framelet \d+\.\d+\.\d+\S*\n", stdout)


def test_without_click_there_is_one_clear_line(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['click'] = None; from framelet_client.__main__ import main; sys.exit(main())"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, timeout=PATIENCE, cwd=tmp_path
    )
    words = """framelet: the command line needs the extra "cli": pip install 'framelet[cli]'\n"""
    assert ended(result) == (2, "", words)


def test_the_library_needs_neither_click_nor_rich() -> None:
    program = "import sys, framelet_client; print({'click', 'rich'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, timeout=PATIENCE
    )
    assert ended(result) == (0, "set()\n", "")
    program = "import sys; from framelet_client import cli; print({'rich', 'asyncio'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, timeout=PATIENCE
    )
    assert ended(result) == (0, "set()\n", "")


def test_start_up_is_quick(framelet: FrameletCommand) -> None:
    def best(command: list[str]) -> float:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
            times.append(time.perf_counter() - started)
        return min(times)

    # A ratio, as machines differ: most of it is click and construct.
    assert best(framelet.command("--version")) < 20 * best([sys.executable, "-c", "pass"])
