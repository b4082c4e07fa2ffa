"""``--json``: each line of standard output is one object, errors included; and ``--trace``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, encode
from framelet_server import Server, StopPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import FrameletCommand

    Ask = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def ask(framelet: FrameletCommand) -> Ask:
    """Run a command with ``--json``: how it ended, and the objects; nothing else is said."""

    def run(*arguments: object, **options: Any) -> tuple[int, list[dict[str, Any]]]:
        result = framelet(*arguments, "--json", **options)
        assert result.stderr == b""
        assert result.stdout.isascii()
        return result.returncode, [json.loads(line) for line in result.stdout.splitlines()]

    return run


def test_what_a_server_answers(ask: Ask) -> None:
    with Server(("127.0.0.1", 0), handlers={0xC0: str.upper}) as server:
        where = server.address
        assert ask("send", where, "é\x1b") == (0, [{"event": "reply", "text": "\x1bé"}])
        assert ask("send", where, "ab", "--type", "0xC0") == (0, [{"event": "reply", "text": "AB"}])
        code, (hello,) = ask("hello", where)
        assert (code, hello["event"], hello["version"]) == (0, "hello", 1)
        assert hello["parameters"]["max-body"] == "16777216"
        code, (pong, _, summary) = ask("ping", where, "--count", 2, "--interval", 0)
        assert (code, [*pong], pong["number"]) == (0, ["event", "number", "seconds"], 1)
        assert (summary.pop("event"), summary.pop("sent"), summary.pop("answered")) == ("summary", 2, 2)
        assert [*summary] == ["min", "mean", "p50", "p90", "p99", "max"]
        assert 0 < summary["min"] <= summary["p99"] <= summary["max"] < 20
        assert ask("stop", where) == (0, [{"event": "stopped", "closed": 0, "cut": 0}])
        assert server.wait(20)


def test_lines_have_numbers_and_errors_stand_among_the_replies(ask: Ask) -> None:
    with Server(("127.0.0.1", 0)) as server:
        code, objects = ask("send", server.address, "-", input=b"ab\n\xff\ncd\n")
        assert code == 7
        assert [one for one in objects if one["event"] == "reply"] == [
            {"event": "reply", "line": 1, "text": "ba"},
            {"event": "reply", "line": 3, "text": "dc"},
        ]
        (error,) = (one for one in objects if one["event"] == "error")
        assert (error["line"], error["message"][:9]) == (2, "skipped: ")


def test_errors_have_the_exit_code(ask: Ask, nobody: int) -> None:
    code, (error,) = ask("send", "127.0.0.1", nobody, "ab")
    assert (code, error["event"], error["exit_code"]) == (3, "error", 3)
    assert error["message"].startswith("Couldn't get connection to 127.0.0.1: framelet://127.0.0.1:")
    assert error["advice"] == f"is a server running there? framelet-server --port {nobody} starts one"
    code, (error,) = ask("ping", "127.0.0.1", "nonsense")
    assert (code, error["exit_code"]) == (2, 2)
    assert "'nonsense' is not a port" in error["message"]
    with Server(("127.0.0.1", 0), stop_policy=StopPolicy.with_token("secret")) as server:
        code, (error,) = ask("stop", server.address)
        assert (code, error["exit_code"], error["code"]) == (6, 6, 403)


def test_a_payload_after_two_dashes_asks_for_no_json(framelet: FrameletCommand) -> None:
    result = framelet("send", "127.0.0.1", "nonsense", "--", "--json")
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(b"framelet: error: ")


def test_decode(ask: Ask) -> None:
    frames: list[tuple[int, bytes, dict[str, Any]]] = [
        (FrameType.REQUEST, b"ab", {"type": "REQUEST", "text": "ab"}),
        (FrameType.ERROR, b"404 no", {"type": "ERROR", "code": 404, "text": "no"}),
        (FrameType.STOPPED, b"closed=1 cut=2", {"type": "STOPPED", "closed": 1, "cut": 2}),
        (FrameType.HELLO, b"framelet/1 a=b", {"type": "HELLO", "version": 1, "parameters": {"a": "b"}}),
        (0xC1, b"cd", {"type": "0xC1", "text": "cd"}),
        (0x80, b"\xff", {"type": "0x80", "hex": "ff"}),
    ]
    stream = b"".join(encode(kind, body) for kind, body, _ in frames)
    code, (*found, end) = ask("decode", input=stream)
    assert (code, end) == (0, {"event": "end", "frames": len(frames), "octets": len(stream)})
    offset = 0
    for (_, body, fields), one in zip(frames, found, strict=True):
        assert one == {"event": "frame", "offset": offset, "length": len(body), **fields}
        offset += 5 + len(body)
    code, (frame, fault) = ask("decode", input=encode(FrameType.REPLY, b"\xff"))
    assert (code, frame["hex"], fault["event"], fault["offset"]) == (5, "ff", "fault", 5)


def test_trace_shows_frames_as_decode_does(framelet: FrameletCommand, nobody: int) -> None:
    with Server(("127.0.0.1", 0)) as server:
        for command in (("send", server.address, "-"), ("bench", server.address, "--count", 2, "--size", 2)):
            result = framelet(*command, "--trace", input=b"ab\ncd\n")
            assert result.returncode == 0
            shown = [re.sub(r" +", " ", line) for line in result.stderr.decode().splitlines()]
            sent = [
                line for line in shown if re.match(r"> [\d.]+ ms \d+ 01 00000002 REQUEST 2 \"..\"$", line)
            ]
            received = [
                line for line in shown if re.match(r"< [\d.]+ ms \d+ 02 00000002 REPLY 2 \"..\"$", line)
            ]
            assert (len(sent), len(received)) == (2, 2)
    result = framelet("ping", "127.0.0.1", nobody, "--trace")
    assert (result.returncode, result.stderr.count(b"\n")) == (3, 3)


def test_trace_goes_up_to_the_first_fault(framelet: FrameletCommand, scripted_server: Any) -> None:
    server = scripted_server(7, b"HTTP/1.1 400 Bad Request\r\n")
    result = framelet("send", *server.arguments, "ab", "--trace")
    assert result.returncode == 5
    lines = result.stderr.decode().splitlines()
    assert "REQUEST" in lines[0]
    (fault,) = (line for line in lines if "fault" in line)
    assert fault.endswith(" ms  fault at offset 0: type 48 is critical and not assigned; it seems to be HTTP")
