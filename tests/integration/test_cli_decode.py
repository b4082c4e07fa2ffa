"""``framelet decode``: what it makes of streams, whole and broken, octets and digits."""

from __future__ import annotations

import multiprocessing.connection
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.integration.commands import run_each

from framelet import FrameType, encode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import FrameletCommand

PATIENCE = 20.0
HELLO = encode(FrameType.REQUEST, b"hello")
STREAM = b"".join(
    [
        HELLO,
        encode(FrameType.REPLY, "é\x1b\n".encode()),
        encode(FrameType.ERROR, b"450 no luck"),
        encode(FrameType.ERROR, b"499 "),
        encode(FrameType.HELLO, b"framelet/1 max-body=65536 x=y"),
        encode(FrameType.STOP),
        encode(FrameType.STOPPED, b"closed=3 cut=1"),
        encode(0x80, b"\xff\x00"),
        encode(0xC1, b"application"),
        encode(FrameType.PING, b"x" * 64),
    ]
)
TABLE = """\
    offset  header          type                length  body
         0  01 00000005     REQUEST                  5  "hello"
        10  02 00000004     REPLY                    4  "é\\x1b\\x0a"
        19  05 0000000b     ERROR                   11  code=450 (handler-failed) text="no luck"
        35  05 00000004     ERROR                    4  code=499 (application) text=""
        44  08 0000001d     HELLO                   29  version=1 max-body=65536 x=y
        78  03 00000000     STOP                     0  ""
        83  04 0000000e     STOPPED                 14  closed=3 cut=1
       102  80 00000002     ignorable 80             2  ff00
       109  c1 0000000b     application C1          11  "application"
       125  06 00000040     PING                    64  "XXX" ... 64 characters in all
10 frames, 194 octets, no fault
""".replace("XXX", "x" * 60)


def decoded(result: subprocess.CompletedProcess[bytes]) -> tuple[int, str, str]:
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def test_octets_and_digits_are_told_apart(framelet: FrameletCommand, tmp_path: Path) -> None:
    digits = STREAM.hex(" ", 7).encode() + b"\n"
    for given in (STREAM, digits, digits.upper(), STREAM.hex().encode()):
        assert decoded(framelet("decode", input=given)) == (0, TABLE, "")
        (tmp_path / "file").write_bytes(given)
        assert decoded(framelet("decode", tmp_path / "file")) == (0, TABLE, "")
    assert decoded(framelet("decode", "-", "--binary", input=STREAM)) == (0, TABLE, "")
    assert decoded(framelet("decode", "-", "--hex", input=digits)) == (0, TABLE, "")


def test_what_it_is_said_to_be_holds(framelet: FrameletCommand) -> None:
    code, stdout, _ = decoded(framelet("decode", "--binary", input=b"01 00000000"))
    assert code == 5
    assert "fault at offset 0: type 30 is critical and not assigned" in stdout
    code, _, stderr = decoded(framelet("decode", "--hex", input=b"01 0g"))
    assert code == 2
    assert stderr == (
        "framelet: error: octet 4 of the input is not a hexadecimal digit: b'g' "
        "(see framelet decode --help)\n"
    )
    code, _, stderr = decoded(framelet("decode", input=b"01 000"))
    assert code == 2
    assert stderr == (
        "framelet: error: the number of hexadecimal digits is odd (see framelet decode --help)\n"
    )


@pytest.mark.parametrize("given", [b"", b" \n"])
def test_an_empty_stream_has_no_fault(framelet: FrameletCommand, given: bytes) -> None:
    code, stdout, stderr = decoded(framelet("decode", input=given))
    assert (code, stderr) == (0, "")
    assert stdout.endswith("\n0 frames, 0 octets, no fault\n")


FAULTS = [
    (b"\0\0\0\0\0", 0, "type 00 is never assigned"),
    (b"GET / HTTP/1.1", 0, "type 47 is never assigned"),
    (b"\x09\0\0\0\1x", 0, "type 09 is critical and not assigned"),
    (b"\x7f", 0, "type 7F is critical and not assigned"),
    (b"\1", 1, "the stream ends inside a header: 4 octets missing"),
    (b"\1\0\0\0", 4, "the stream ends inside a header: 1 octet missing"),
    (b"\1\0\0\0\7ab", 7, "the stream ends inside a body: 5 octets missing"),
    (b"\1\xff\xff\xff\xff", 1, "the length is 4294967295, more than the maximum of 16777216"),
    (encode(1, b"a\xc0\x80"), 6, "C0 is not well-formed UTF-8: invalid start byte"),
    (encode(1, b"ab\xe2\x82"), 7, "E2 82 is not well-formed UTF-8: unexpected end of data"),
    (encode(2, b"\xed\xa0\x80"), 5, "ED is not well-formed UTF-8: invalid continuation byte"),
    (encode(5, b"600 x"), 5, "not a valid ERROR body: "),
    (encode(8, b"framelet/0"), 5, "not a valid HELLO body: not of the form framelet/VERSION"),
    (encode(4, b"closed=1"), 5, "not a valid STOPPED body: the numbers closed and cut"),
    (encode(6, b"x" * 65), 69, "not a valid PING body: 65 octets, more than 64"),
]


def test_the_first_bad_octet_is_named(tmp_path: Path) -> None:
    for number, (bad, _, _) in enumerate(FAULTS):
        (tmp_path / str(number)).write_bytes(HELLO + bad)
    calls = [["decode", "--binary", str(number)] for number in range(len(FAULTS))]
    found = run_each("framelet_client", calls, tmp_path)
    for (bad, offset, reason), (code, stdout, stderr) in zip(FAULTS, found, strict=True):
        *table, fault = stdout.splitlines()
        assert (code, stderr) == (5, ""), bad
        assert fault.startswith(f"fault at offset {len(HELLO) + offset}: {reason}")
        assert len(table) == 3  # headings, the good frame, and what there is of the bad one
        assert table[2].split()[:2] == [str(len(HELLO)), f"{bad[0]:02x}"]


def test_nothing_behind_a_fault_is_shown(framelet: FrameletCommand) -> None:
    code, stdout, _ = decoded(framelet("decode", "--binary", input=encode(1, b"\xff") + HELLO))
    assert code == 5
    assert "hello" not in stdout


def test_long_bodies_are_shortened_unless_asked_for(framelet: FrameletCommand) -> None:
    stream = encode(1, b"y" * 1_000) + encode(0x80, b"\xab" * 1_000)
    short = framelet("decode", input=stream).stdout.decode()
    assert f'"{"y" * 60}" ... 1000 characters in all\n' in short
    assert f"{'ab' * 30} ... 1000 octets in all\n" in short
    full = framelet("decode", "--full", input=stream).stdout.decode()
    assert f'"{"y" * 1_000}"\n' in full
    assert f"{'ab' * 1_000}\n" in full


def test_the_maximum_body_size_is_an_option(framelet: FrameletCommand) -> None:
    code, stdout, _ = decoded(framelet("decode", "--max-body", 65_536, input=encode(1, b"x" * 65_537)))
    assert code == 5
    assert "fault at offset 1: the length is 65537, more than the maximum of 65536" in stdout
    assert framelet("decode", "--max-body", 65_536, input=encode(1, b"x" * 65_536)).returncode == 0


def test_a_file_that_cannot_be_read(framelet: FrameletCommand, tmp_path: Path) -> None:
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file or directory")):
        code, stdout, stderr = decoded(framelet("decode", path))
        assert (code, stdout) == (2, "")
        assert stderr == f"framelet: error: {path} cannot be read: {words} (see framelet decode --help)\n"


def test_frames_are_shown_as_they_come(framelet: FrameletCommand) -> None:
    process = framelet.start("decode")
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(3):
        process.stdin.write(HELLO)
        seen = b""
        while b"hello" not in seen:
            assert multiprocessing.connection.wait([process.stdout.fileno()], PATIENCE), (
                f"frame {number} is not shown"
            )
            seen += process.stdout.read(4_096)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout, stderr) == (0, b"3 frames, 30 octets, no fault\n", b"")


@pytest.mark.parametrize("form", ["--binary", "--hex"])
def test_an_input_that_is_still_empty_has_not_ended(framelet: FrameletCommand, form: str) -> None:
    stream = HELLO if form == "--binary" else HELLO.hex().encode()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(0.0)
        process = framelet.start("decode", form, stdin=theirs.fileno())
        assert process.stdout is not None
        headings = process.stdout.read(
            len(TABLE.partition("\n")[0]) + 1
        )  # what follows is read, and not there yet
        for part in (stream[:3], stream[3:7], stream[7:]):
            ours.sendall(part)
        ours.shutdown(socket.SHUT_WR)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert headings.decode() + stdout.decode() == (
        "".join(TABLE.splitlines(keepends=True)[:2]) + "1 frame, 10 octets, no fault\n"
    )
    assert (process.returncode, stderr) == (0, b"")


def test_the_reader_of_the_table_leaves(framelet: FrameletCommand, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(HELLO * 20_000)
    line = ["bash", "-c", '"$@" | head -2; exit ${PIPESTATUS[0]}', "bash"]
    result = subprocess.run(
        [*line, *framelet.command("decode", tmp_path / "file")],
        check=False,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert decoded(result) == (7, "".join(TABLE.splitlines(keepends=True)[:2]), "")


@pytest.mark.req("REQ-SEC-1")
@pytest.mark.parametrize("good", [True, False])
def test_nothing_in_a_stream_reaches_the_terminal(
    framelet: FrameletCommand, tmp_path: Path, *, good: bool
) -> None:
    hostile = "\x1b[2J\x9b\u202e\u2028\x07".encode()
    tail = [encode(5, b"450 " + hostile)] if good else [encode(2, hostile + b"\xff\x1b")]
    (tmp_path / "file").write_bytes(encode(1, hostile) + b"".join(tail))
    code, shown = framelet.in_terminal(framelet.command("decode", tmp_path / "file"))
    assert code == (0 if good else 5)
    text = shown.decode()
    assert set(text) & set("\x1b\x9b\u202e\u2028\x07\xff") == set()
    assert text.count("\\x1b[2J\\x9b\\u202e\\u2028\\x07") == 2
