"""``framelet ping``, ``hello`` and ``stop``, and the command line as such."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.commands import ended, port_of, run_each

from framelet import FrameType, encode
from framelet.errors import install_command
from framelet_client import ClientLimits
from framelet_client.cli.command import framelet as commands
from framelet_client.exit_codes import ExitCode
from framelet_server import Server, ServerLimits, StopPolicy

if TYPE_CHECKING:
    from tests.integration.conftest import FrameletCommand, Script

    from framelet import Address

PATIENCE = 20.0


# ping, hello and stop.


def test_ping(framelet: FrameletCommand, address: Address) -> None:
    code, stdout, stderr = ended(framelet("ping", address, "--count", 3, "--interval", 0))
    assert (code, stderr) == (0, "")
    *lines, summary = stdout.splitlines()
    assert [re.sub(r"[\d.]+ ms$", "T ms", line) for line in lines] == [
        f"{address}: answer {number} in T ms" for number in (1, 2, 3)
    ]
    figures = ", ".join(rf"{name} [\d.]+" for name in ("min", "mean", "p50", "p90", "p99", "max"))
    assert re.fullmatch(rf"3 answered: {figures} ms", summary)


def test_ping_a_server_that_is_started_again(framelet: FrameletCommand) -> None:
    with Server(("127.0.0.1", 0)) as server:
        address = server.address
        process = framelet.start("ping", address, "--count", 0, "--interval", 0.05)
        assert b"answer 1 in" in framelet.read_line(process)
    while b"no answer" not in (line := framelet.read_line(process)):
        assert b": answer " in line
    with Server(str(address)):
        while b": answer " not in framelet.read_line(process):
            pass
        process.send_signal(signal.SIGINT)
        code, stdout, stderr = framelet.finish(process)
    assert (code, stderr) == (-signal.SIGINT, b"")
    assert re.fullmatch(rb"\d+ of \d+ answered: min .* ms", stdout.splitlines()[-1])


def test_ping_a_server_that_leaves(framelet: FrameletCommand, scripted_server: Script) -> None:
    server = scripted_server(6, encode(FrameType.PONG, b"1"), 6, scripted_server.fin)
    options = ("--interval", 0, "--count", 2)
    code, stdout, stderr = ended(framelet("ping", *server.arguments, *options))
    assert (code, stderr) == (7, "")
    assert ": no answer 2: the server closed the connection" in stdout.splitlines()[1]
    assert stdout.splitlines()[2].startswith("1 of 2 answered: min ")
    server = scripted_server(6)
    code, stdout, stderr = ended(framelet("ping", *server.arguments, "--count", 1, "--answer-timeout", "1s"))
    assert (code, stdout) == (4, "no answer\n")
    assert stderr.startswith("framelet: no answer came within 1")


def test_ping_seldom_keeps_the_connection(framelet: FrameletCommand) -> None:
    with Server(("127.0.0.1", 0), limits=ServerLimits(idle_timeout=0.5)) as server:
        code, stdout, stderr = ended(framelet("ping", server.address, "--count", 2, "--interval", 1.5))
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[-1].startswith("2 answered: ")


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


WRONG: list[tuple[list[str], str]] = [
    (["bogus"], "unknown command 'bogus': --help lists the commands"),
    (["--bogus"], "No such option"),
    (["send", "--bogus"], "No such option"),
    (
        ["send", "a", "1", "b", "c"],
        "Got unexpected extra argument (c): a PAYLOAD of several words",
    ),
    (["send", "ftp://a"], "'ftp://a' has the scheme ftp: expected framelet, framelets, tcp"),
    (["send", "framelet://a:1", "2", ""], "'framelet://a:1' names port 1, but port 2 is given as well"),
    (["ping", "a:1", "2"], "'a:1' names port 1, but port 2 is given as well (see framelet ping --help)"),
    (["ping", "a", "1", "tcp://u:secret@h"], "Got unexpected extra argument (tcp://h) (see"),
    (["send", "a", "70000"], "'70000' is not a port: expected a number from 0 to 65535"),
    (["send", "a", "hello"], "'hello' is not a port: expected a number from 0 to 65535"),
    (["send", ""], "'' names no host"),
    (["send", "--window", "0"], "Invalid value for '--window': 0 is not in the range"),
    (["send", "--answer-timeout", "nan"], "Invalid value for '--answer-timeout': nan is not a number"),
    (["send", "--max-body", "x"], "Invalid value for '--max-body': 'x' is not a valid integer"),
    (["send", "a", "1", "\udcff"], "PAYLOAD cannot be sent: it is not well-formed text"),
    (["send", "a", "1", "x" * 65_537, "--max-body", "65536"], "PAYLOAD is 65537 octets long"),
    (["ping", "--count", "-1"], "Invalid value for '--count'"),
    (["ping", "--interval", "nan"], "Invalid value for '--interval': nan is not a number"),
    (["stop", "--token-file"], "Option '--token-file' requires an argument"),
]


def test_wrong_usage_is_said_in_one_line(tmp_path: Path) -> None:
    calls = [arguments for arguments, _ in WRONG]
    found = run_each("framelet_client", calls, tmp_path)
    for (arguments, words), (status, output, errors) in zip(WRONG, found, strict=True):
        assert (status, output, errors.count("\n")) == (2, "", 1), arguments
        assert errors.startswith(f"framelet: error: {words}"), arguments


def test_dissectors_names_files_that_are_there(framelet: FrameletCommand) -> None:
    code, stdout, _ = ended(framelet("dissectors"))
    files = re.findall(r"[ :](/\S+)$", stdout, re.MULTILINE)
    assert (code, [Path(file).name for file in files]) == (0, ["framelet.lua", "framelet.ksy"])
    assert all(Path(file).stat().st_size for file in files)


def test_without_a_command_there_is_help(framelet: FrameletCommand) -> None:
    code, stdout, stderr = ended(framelet())
    assert (code, stderr) == (0, "")
    assert stdout == ended(framelet("--help"))[1]
    assert stdout.startswith("Usage: framelet ")
    for exit_code in ExitCode:
        assert f"{exit_code:>3}  {exit_code.meaning}" in stdout
    for command in commands.commands:
        assert re.search(rf"^  {command} ", stdout, re.MULTILINE)


def test_each_limit_has_an_option(framelet: FrameletCommand) -> None:
    for command in ("send", "ping", "hello", "stop"):
        words = " ".join(ended(framelet(command, "--help"))[1].split())
        for info in ClientLimits.describe():
            assert f"{info.option} {info.unit.upper()} " in words
            assert f"[default: {info.default};" in words
    assert 'http://127.0.0.1, 6666, "default payload"' in " ".join(ended(framelet("send", "-h"))[1].split())


def test_the_version(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit('taken from the current folder')")
    for name in ("framelet", "framelet_client", "framelet_server", "framelet_conformance"):
        command = [sys.executable, "-m", name, "-V"]
        result = subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE, cwd=tmp_path)
        code, stdout, stderr = ended(result)
        assert (code, stderr) == (0, "")
        assert re.fullmatch(r"framelet(-\w+)? \d+\.\d+\.\d+\S*\n", stdout)


def test_without_click_there_is_one_clear_line(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['click'] = None; from framelet_client.__main__ import main; sys.exit(main())"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, timeout=PATIENCE, cwd=tmp_path
    )
    words = f'framelet: the command line needs the extra "cli": {install_command("cli")}\n'
    assert ended(result) == (2, "", words)


def test_the_library_needs_neither_click_nor_rich() -> None:
    program = "import sys, framelet_client; print({'click', 'rich'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, timeout=PATIENCE
    )
    assert ended(result) == (0, "set()\n", "")
    program = (
        "import sys, construct; before = set(sys.modules)\n"  # on Python 3.15 asyncio is among them
        "from framelet_client import cli; print({'rich', 'asyncio'} & (set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, timeout=PATIENCE
    )
    assert ended(result) == (0, "set()\n", "")
