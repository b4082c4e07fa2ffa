"""``framelet-server``: what it prints, what it takes, and how it ends."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.commands import run_each
from tests.integration.peers import Terminal
from tests.integration.scripted import close_all

from framelet import UnixAddress
from framelet_client import AnswerError, Client, ConnectError
from framelet_server import ServerLimits

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USAGE, CANNOT_SERVE = 2, 1


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command where it is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "framelet_server", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


# Ready.


@pytest.mark.parametrize("arguments", [(), ("--host", "::1", "--port", "0"), ("--threads", "1")])
def test_one_line_names_the_address_when_clients_can_connect(
    command: Callable[..., Any], arguments: tuple[str, ...]
) -> None:
    server = command(*arguments)
    with Client(server.address()) as client:
        assert client.request("ready") == "ydaer"
        client.stop()
    assert server.line() == ""
    assert server.finish() == (0, "")


def test_a_unix_socket_is_named_by_its_path_and_removed_at_the_end(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "framelet.sock"
    server = command("--unix", str(path))
    assert server.address() == str(UnixAddress(str(path)))
    with Client(f"unix:{path}") as client:
        client.stop()
    assert server.finish() == (0, "")
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_status_is_0(command: Callable[..., Any], number: signal.Signals) -> None:
    server = command()
    with Client(server.address()) as client:
        assert client.request("before") == "erofeb"
        server.process.send_signal(number)
    assert server.finish() == (0, "")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_says_how_not_to_wait(
    connect: Callable[..., Any], until: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    (tmp_path / "blocking.py").write_text(
        "import pathlib, time\ndef block(text): pathlib.Path('blocked').touch(), time.sleep(900)\n"
    )
    monkeypatch.chdir(tmp_path)
    with Terminal() as terminal:
        command = [sys.executable, "-m", "framelet_server", "--port", "0", "--workers", workers]
        server = terminal.start([*command, "--handler", "blocking:block", "--drain-timeout", "900"])
        try:
            line = terminal.read(b"\n").decode()
            blocked = connect(line.split()[-1])
            blocked.request("x")
            until((tmp_path / "blocked").exists)
            server.send_signal(signal.SIGINT)
            terminal.read(b"press Ctrl-C again to end at once")
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == -signal.SIGINT
        finally:
            server.kill()


def test_relays_are_named_one_by_one(command: Callable[..., Any], connect: Callable[..., Any]) -> None:
    server = command("--proxy-from", "192.0.2.0/24", "--proxy-from", "127.0.0.2")
    address = server.address()
    peer = connect(address, source="127.0.0.2")
    peer.send(b"PROXY TCP6 2001:db8::7 ::1 5555 6666\r\n")
    assert peer.ask("ab") == "ba"
    with contextlib.suppress(ConnectionError):
        assert connect(address, source="127.0.0.3").receive() is None
    server.process.send_signal(signal.SIGTERM)
    peer.close()
    status, log = server.finish()
    assert status == 0
    assert "127.0.0.3:" in log
    assert "refused: PROXY headers are not accepted from there" in log


def test_logs_go_to_stderr_and_not_to_stdout(command: Callable[..., Any]) -> None:
    server = command("--log-level", "info")
    with Client(server.address()) as client:
        client.stop()
    assert server.line() == ""
    status, log = server.finish()
    assert status == 0
    assert "sent STOP" in log
    assert "drained: 0 connections closed, 0 cut off" in log


# Options.


def test_every_limit_is_an_option_with_its_default(tmp_path: Path) -> None:
    text = " ".join(run("--help", cwd=tmp_path).stdout.split())
    for info in ServerLimits.describe():
        assert f"{info.option} {info.unit.upper()}" in text
        assert f"[default: {info.default}]" in text


def test_each_limit_reaches_the_server(command: Callable[..., Any]) -> None:
    server = command("--max-body", "70000", "--frame-timeout", "1.5", "--idle-timeout", "2.5")
    with Client(server.address()) as client:
        hello = client.hello()
    assert hello.parameters == {"max-body": "70000", "frame-timeout-ms": "1500", "idle-timeout-ms": "2500"}


def test_a_handler_of_the_working_directory_answers(command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text(
        "class Voice:\n    shout = staticmethod(str.upper)\ndef count(text): return str(len(text))\n"
    )
    server = command("--handler", "shouting:Voice.shout", "--handle", "0xC0=shouting:count")
    with Client(server.address()) as client:
        assert client.request("straße") == "STRASSE"
        assert client.send(0xC0, "four") == "4"
        with pytest.raises(AnswerError) as caught:
            client.send(0xC1, "nobody")
        assert caught.value.code == 404


@pytest.mark.req("REQ-STOP-3", "REQ-STOP-5", "REQ-SEC-3", "REQ-SEC-4")
@pytest.mark.parametrize("source", ["file", "environment"])
def test_a_token_comes_from_a_file_or_the_environment(
    command: Callable[..., Any], tmp_path: Path, source: str
) -> None:
    if source == "file":
        (tmp_path / "token").write_text("sesame\n")
        server = command("--stop", "token", "--stop-token-file", "token", "--log-level", "debug")
    else:
        server = command("--stop", "token", "--log-level", "debug", env={"FRAMELET_STOP_TOKEN": "sesame"})
    with Client(server.address()) as client:
        for wrong in ("", "sesam", "sesame\n"):
            with pytest.raises(AnswerError) as caught:
                client.stop(wrong)
            assert caught.value.code == 403
        client.stop("sesame")
    status, log = server.finish()
    assert status == 0
    assert "sesam" not in log
    assert "STOP refused" in log


# Faults.


WRONG = [
    (("--port", "65536"), "65536"),
    (("--port", "http"), "http"),
    (("--nonsense",), "--nonsense"),
    (("extra",), "extra"),
    (("--max-body", "65535"), "'--max-body': it is 65535: expected 65536 to 4294967295 octets"),
    (("--threads", "0"), "'--threads': it is 0"),
    (("--frame-timeout", "nan"), "'--frame-timeout': it is nan"),
    (("--frame-timeout", "soon"), "soon"),
    (("--handler", "no_such_module:f"), "no_such_module"),
    (("--handler", "os:no_such_function"), "no_such_function"),
    (("--handler", "os:sep"), "it is not a function"),
    (("--handler", "os"), "expected MODULE:FUNCTION"),
    (("--handler", "raising:f"), "RuntimeError: two lines"),
    (("--handler", "leaving:f"), "SystemExit: 0"),
    (("--handle", "0x05=os:fspath"), "expected 0xC0 to 0xFF"),
    (("--handle", "C0=os:getcwd"), "has no type"),
    (("--stop", "token"), "FRAMELET_STOP_TOKEN"),
    (("--stop", "token", "--stop-token-file", "absent"), "absent"),
    (("--stop", "local", "--stop-token-file", "absent"), "--stop token"),
    (("--stop", "sometimes"), "sometimes"),
    (("--unix", "x", "--port", "1"), "--unix"),
    (("--unix", ""), "it is empty"),
    (("--host", ""), "it is empty"),
    (("--proxy-from", "127.0.0.1/8"), "has host bits set"),
    (("--proxy-from", "::1", "--proxy-from", "relay.example"), "'relay.example'"),
    (("--proxy-from", ""), "it is empty"),
]


def test_wrong_usage_costs_one_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "raising.py").write_text("raise RuntimeError('two\\nlines')")
    (tmp_path / "leaving.py").write_text("raise SystemExit(0)")
    found = run_each("framelet_server", [arguments for arguments, _ in WRONG], tmp_path)
    for (arguments, words), (status, output, errors) in zip(WRONG, found, strict=True):
        assert (status, output, errors.count("\n")) == (USAGE, "", 1), arguments
        assert errors.startswith("framelet-server: error: "), arguments
        assert words in errors, arguments


def test_a_port_in_use_costs_one_line_and_status_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port), cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (CANNOT_SERVE, "")
    assert ended.stderr == (
        f"framelet-server: error: cannot listen on framelet://127.0.0.1:{port}: Address already in use; "
        "another program uses it: stop that program, or use another address\n"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--unix", "no/such/folder/x"), "No such file or directory"),
        (("--host", "no-such-host.invalid"), "cannot listen on framelet://no-such-host.invalid:6666"),
        (("--host", "empty..label"), "cannot listen on framelet://empty..label:6666"),
        (("--unix", "x" * 200), "path too long"),
    ],
)
def test_an_address_that_cannot_be_had_costs_one_line_and_status_1(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    ended = run(*arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (CANNOT_SERVE, "")
    assert reason in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.req("REQ-SEC-3")
def test_a_token_is_not_taken_from_the_command_line(tmp_path: Path) -> None:
    # Others on the machine can read command lines.
    tries = [
        "--stop-token sesame",
        "--stop-token=sesame",
        "--token sesame",
        "--stop token --stop-token sesame",
    ]
    found = run_each("framelet_server", [words.split() for words in tries], tmp_path)
    for words, (status, output, errors) in zip(tries, found, strict=True):
        assert (status, output, "sesame" in errors) == (USAGE, "", False), words


@pytest.mark.req("REQ-STOP-5", "REQ-SEC-3")
def test_a_token_file_that_holds_none_costs_one_line(tmp_path: Path) -> None:
    contents = {"is empty": b"", "is empty (see": b"\n", "not UTF-8": b"sesame\xff"}
    for number, content in enumerate(contents.values()):
        (tmp_path / str(number)).write_bytes(content)
    (tmp_path / "3").mkdir()
    calls = [["--stop", "token", "--stop-token-file", str(number)] for number in range(4)]
    found = run_each("framelet_server", calls, tmp_path)
    for words, (status, output, errors) in zip([*contents, "Is a directory"], found, strict=True):
        assert (status, output, errors.count("\n")) == (USAGE, "", 1), words
        assert words in errors
        assert "sesame" not in errors


@pytest.mark.req("REQ-STOP-5")
def test_a_token_in_the_environment_that_is_not_utf_8_costs_one_line(command: Callable[..., Any]) -> None:
    server = command("--stop", "token", env={"FRAMELET_STOP_TOKEN": b"sesame\xff"})
    status, log = server.finish()
    assert status == USAGE
    assert log == "framelet-server: error: the stop token is not UTF-8\n"


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",)])
def test_a_standard_output_that_fails_ends_the_server_with_one_line(
    command: Callable[..., Any], arguments: tuple[str, ...]
) -> None:
    # Whoever started it waits for that line; a server that goes on without it would never be found.
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, no path of ours
        server = command(*arguments, stdout=full)
    assert server.finish() == (
        CANNOT_SERVE,
        "framelet-server: error: cannot write to standard output: No space left on device\n",
    )


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_in_place_of_a_standard_descriptor_that_is_closed_there_is_dev_null(
    command: Callable[..., Any], tmp_path: Path, workers: str, closed: tuple[int, ...]
) -> None:
    (tmp_path / "standard.py").write_text(
        "import os\ndef handler(text):\n    print(text)\n    return os.readlink(f'/proc/self/fd/{text}')\n"
    )
    path = tmp_path / "framelet.sock"
    server = command(
        *("--unix", str(path), "--workers", workers, "--handler", "standard:handler"),
        preexec_fn=functools.partial(close_all, closed),
    )

    def stopped() -> bool:
        """Whether it could be stopped: its file is there a moment before it listens."""
        try:
            with Client(f"unix:{path}") as client:
                assert [client.request(str(number)) for number in closed] == [os.devnull] * len(closed)
                client.stop()
        except ConnectError:
            return False
        return True

    until(stopped)
    assert server.finish() == (0, "")
