"""``framelet send HOST PORT -``: every line its reply, in order, at once, and in constant memory."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.commands import ASK, ended, error, lines_to, reply

from framelet import encode
from framelet_server import Server, ServerLimits

if TYPE_CHECKING:
    import socket

    from tests.integration.conftest import FrameletCommand, Script

    from framelet import Address

PATIENCE = 20.0


@pytest.mark.slow
def test_no_reply_is_lost(framelet: FrameletCommand, address: Address) -> None:
    command = framelet.command(*lines_to(address))
    for _ in range(25):
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


@pytest.mark.req("REQ-HELLO-6")
def test_a_line_that_is_too_long_for_the_server_fails_alone(framelet: FrameletCommand) -> None:
    lines = [b"ab", b"x" * 70_000, b"cd", b"x" * 65_537, b"x" * 65_536, b"ef"]
    with Server(("127.0.0.1", 0), limits=ServerLimits(max_body=65_536)) as server:
        result = framelet(*lines_to(server.address), input=b"\n".join(lines))
    assert ended(result) == (
        7,
        "ba\ndc\n" + "x" * 65_536 + "\nfe\n",
        "".join(f"framelet: line {line}: skipped: longer than 65536 octets\n" for line in (2, 4)),
    )


@pytest.mark.req("REQ-PING-1")
def test_a_connection_without_lines_is_kept_alive(framelet: FrameletCommand) -> None:
    with Server(("127.0.0.1", 0), limits=ServerLimits(idle_timeout=2.0)) as server:
        process = framelet.start(*lines_to(server.address))
        assert process.stdin is not None
        for _ in range(2):
            process.stdin.write(b"ab\n")
            assert framelet.read_line(process) == b"ba\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(5.0)  # more than twice the server's idle timeout
        process.stdin.write(b"cd\nlast")
        assert framelet.finish(process) == (0, b"dc\ntsal\n", b"")


def test_a_server_that_does_not_answer_hello_is_sent_lines(
    framelet: FrameletCommand, scripted_server: Script
) -> None:
    server = scripted_server(
        scripted_server.greeting[0], error("422 no"), ASK, reply("1"), scripted_server.fin
    )
    assert ended(framelet("send", *server.arguments, "-", input=b"ab\n")) == (0, "1\n", "")


@pytest.mark.parametrize(("end", "code"), [(b"", 3), (error("507 full"), 6)])
def test_a_server_that_ends_before_it_tells_its_limits(
    framelet: FrameletCommand, scripted_server: Script, end: bytes, code: int
) -> None:
    server = scripted_server(end, scripted_server.fin)
    result = framelet("send", *server.arguments, "-", input=b"ab\n")
    assert (result.returncode, result.stdout) == (code, b"")


@pytest.mark.req("REQ-SEC-1", "REQ-ERROR-12")
def test_an_error_for_a_line_names_it(framelet: FrameletCommand, scripted_server: Script) -> None:
    server = scripted_server(
        *scripted_server.greeting, 3 * ASK, reply("1") + error("450 n\x1bo") + reply("3")
    )
    result = framelet("send", *server.arguments, "-", input=b"ab\nab\nab")
    assert ended(result) == (7, "1\n3\n", "framelet: line 2: ERROR 450: n\\x1bo\n")


@pytest.mark.req("REQ-CLOSE-3", "REQ-STOP-13")
def test_a_connection_lost_midway_names_the_first_line_without_reply(
    framelet: FrameletCommand, scripted_server: Script
) -> None:
    server = scripted_server(*scripted_server.greeting, 3 * ASK, reply("1"), scripted_server.fin)
    result = framelet("send", *server.arguments, "-", input=b"ab\nab\nab")
    words = "the server closed the connection; 2 frames are unanswered; no answer from line 2 on"
    reason = f"framelet://127.0.0.1:{server.port}: {words}"
    assert ended(result) == (7, "1\n", f"Couldn't get connection to 127.0.0.1\n{reason}\n")
    server = scripted_server(
        *scripted_server.greeting, 3 * ASK, reply("1") + error("500 over"), scripted_server.fin
    )
    result = framelet("send", *server.arguments, "-", input=b"ab\nab\nab")
    words = "the server ended the connection with ERROR 500: over; 2 frames are unanswered"
    assert ended(result) == (7, "1\n", f"framelet: {words}; no answer from line 2 on\n")


def test_silence_and_faults_midway(framelet: FrameletCommand, scripted_server: Script) -> None:
    left = threading.Event()
    server = scripted_server(*scripted_server.greeting, 2 * ASK, reply("1"), lambda _: left.wait(PATIENCE))
    result = framelet("send", *server.arguments, "-", "--answer-timeout", "0.1", input=b"ab\nab\n")
    left.set()
    words = "framelet: no answer came within 0.1 seconds; no answer from line 2 on\n"
    code, stdout, stderr = ended(result)
    assert (code, stdout, stderr.startswith(words)) == (4, "1\n", True)
    server = scripted_server(*scripted_server.greeting, 2 * ASK, reply("1") + encode(0x09))
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

    server = scripted_server(*scripted_server.greeting, ASK, wait_for_fin, reply("1"), scripted_server.fin)
    assert ended(framelet("send", *server.arguments, "-", input=b"ab\n")) == (0, "1\n", "")
    assert ended_first.is_set()


def test_each_line_is_answered_at_once(framelet: FrameletCommand, address: Address) -> None:
    process = framelet.start(*lines_to(address))
    assert process.stdin is not None
    for given, expected in ((b"hello\n", b"olleh\n"), (b"\n", b"\n"), (b"a\nb\n", b"a\n")):
        process.stdin.write(given)
        assert framelet.read_line(process) == expected
    assert framelet.read_line(process) == b"b\n"
    process.stdin.write(b"unfinish")
    process.stdin.write(b"ed")
    assert framelet.finish(process) == (0, b"dehsinifnu\n", b"")


def test_the_loss_of_the_connection_does_not_wait_for_input(
    framelet: FrameletCommand, scripted_server: Script
) -> None:
    server = scripted_server(*scripted_server.greeting, ASK, reply("1"), scripted_server.fin)
    process = framelet.start("send", *server.arguments, "-")
    assert process.stdin is not None
    process.stdin.write(b"ab\n")
    assert framelet.read_line(process) == b"1\n"
    assert process.wait(PATIENCE) == 7  # its input is still open
    _, _, stderr = framelet.finish(process)
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

    server = scripted_server(*scripted_server.greeting, serve)
    with file.open("rb") as stream:
        process = framelet.start("send", *server.arguments, "-", stdin=stream.fileno())
    code, stdout, stderr = framelet.finish(process)
    assert (code, len(stdout), stderr) == (0, (len(line) + 1) * count, b"")


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """The most memory that the process has had so far, in octets."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


@pytest.mark.slow
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
    assert framelet.finish(process) == (0, b"", b"")
    assert grown < 8_000_000


def test_a_line_without_end_is_not_held(framelet: FrameletCommand, address: Address) -> None:
    process = framelet.start(*lines_to(address), "--max-body", 65_536)
    assert process.stdin is not None
    process.stdin.write(b"ab\n")
    assert framelet.read_line(process) == b"ba\n"
    before = peak_memory(process)
    left = memoryview(b"z" * 30_000_000 + b"\ncd\n")
    while left:
        left = left[process.stdin.write(left) :]
    assert framelet.read_line(process) == b"dc\n"
    assert peak_memory(process) - before < 8_000_000
    assert framelet.finish(process)[0] == 7


@pytest.mark.parametrize("name", ["/dev/null", "empty"])
def test_input_that_is_empty(framelet: FrameletCommand, address: Address, tmp_path: Path, name: str) -> None:
    path = tmp_path / name  # which is /dev/null itself where the name is absolute
    path.touch()
    with path.open("rb") as stream:
        process = framelet.start(*lines_to(address), stdin=stream.fileno())
    assert framelet.finish(process) == (0, b"", b"")
