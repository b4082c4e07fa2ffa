"""``framelet send`` with one payload: what it prints, where, and how it exits."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from tests.integration.commands import ASK, ended, error, free_port, port_of, reply

from framelet import FrameType, encode
from framelet_server import ListenError, Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import FrameletCommand, Script

    from framelet import Address

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
    code, _, stderr = ended(framelet("send"))
    assert (code, stderr.partition("\n")[0]) == (3, "Couldn't get connection to http://127.0.0.1")


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
        code, stdout, stderr = ended(framelet("send", host, port, "ab"))
        assert (code, stdout) == (3, "")
        first, reason, *_ = stderr.splitlines()
        assert first == f"Couldn't get connection to {host}"
        assert reason.startswith(f"framelet://{host.rpartition('/')[2]}:{port}: ")
    for command in (["send", f"unix:{tmp_path}/none", "1", "-"], ["ping"], ["hello"], ["stop"]):
        if len(command) == 1:
            command += [f"unix:{tmp_path}/none"]
        code, stdout, stderr = ended(framelet(*command))
        assert (code, stdout) == (3, "")
        assert stderr.startswith(f"Couldn't get connection to unix:{tmp_path}/none\n")


def test_the_server_does_not_accept_in_time(framelet: FrameletCommand) -> None:
    crowd = [socket.socket() for _ in range(4)]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for sock in crowd:  # fill the backlog
            sock.settimeout(0.0)
            sock.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        result = framelet("send", "127.0.0.1", port, "ab", "--connect-timeout", "0.2")
        code, stdout, stderr = ended(result)
        assert (code, stdout) == (3, "")
        assert stderr.splitlines()[:2] == [
            "Couldn't get connection to 127.0.0.1",
            f"framelet://127.0.0.1:{port}: timed out",
        ]
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
    reason = f"framelet://127.0.0.1:{server.port}: {words}"
    assert ended(result) == (3, "", f"Couldn't get connection to 127.0.0.1\n{reason}\n")


# Servers that fail.


@pytest.mark.req("REQ-TIME-6")
def test_the_server_is_silent(framelet: FrameletCommand, scripted_server: Script) -> None:
    server = scripted_server(ASK)
    result = framelet("send", *server.arguments, "ab", "--answer-timeout", "0.1")
    code, stdout, stderr = ended(result)
    assert (code, stdout, stderr.splitlines()[0]) == (4, "", "framelet: no answer came within 0.1 seconds")


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
