"""Pages that read like a terminal are true: each command is run, and shows what the page says.

``mistakes.txt`` has the likeliest mistakes of a new user, for all commands; docs/cli.md and docs/tutorial.md
have sessions.  A page names servers by ports that stand for those of real ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet_server import Server, ServerTls, StopPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Script

DOCUMENTS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^\$ (.*)\n((?:(?!\$ |#).*\n)*)", re.MULTILINE)
MISTAKES = {
    chapter.partition("\n")[0]: BLOCK.findall(chapter)
    for chapter in Path(__file__).with_name("mistakes.txt").read_text(encoding="utf-8").split("\n## ")[1:]
}
TIMES = re.compile(r"\d+\.\d{3}\b")
COMMANDS = "".join(
    f'{name}() {{ {sys.executable} -m {module} "$@"; }}; '
    for name, module in (
        ("framelet", "framelet_client"),
        ("framelet-server", "framelet_server"),
        ("framelet-conformance", "framelet_conformance"),
    )
)


def run(command: str, ports: dict[str, str], folder: Path) -> str:
    """What a command shows on a terminal, with its times made alike, and its status where that is not 0."""
    result = subprocess.run(
        ["/bin/bash", "-c", COMMANDS + replaced(command, ports)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=os.environ | {"XDG_CONFIG_HOME": str(folder)},
        timeout=60,
    )
    shown = replaced(result.stdout.decode(), {real: name for name, real in ports.items()})
    return TIMES.sub("T", shown) + (f"[{result.returncode}]\n" if result.returncode else "")


def replaced(text: str, ports: dict[str, str]) -> str:
    return re.sub(r"(?<![\d.])\d+\b", lambda found: ports.get(found[0], found[0]), text)


def port_of(server: Server) -> str:
    return str(server.address).rpartition(":")[2]


def sessions(document: str) -> list[tuple[str, str]]:
    """The commands of a document, each with what it prints."""
    text = (DOCUMENTS / document).read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [session for block in blocks for session in BLOCK.findall(block)]


def test_every_command_has_a_session() -> None:
    shown = " ".join(command for command, _ in sessions("cli.md"))
    for command in ("send", "ping", "hello", "stop", "decode"):
        assert f"framelet {command}" in shown


@pytest.mark.slow
def test_the_sessions_are_real(tmp_path: Path) -> None:
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(Server(("127.0.0.1", 0)))
        for command, output in sessions("cli.md"):
            ports = {"6666": port_of(server)}
            assert (command, run(command, ports, tmp_path)) == (command, TIMES.sub("T", output))
            if command.startswith("framelet stop"):
                assert server.wait(20)
                server = servers.enter_context(Server(("127.0.0.1", 0)))


def test_the_tutorial_is_real(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    port = ""
    with contextlib.ExitStack() as stack:
        servers: list[subprocess.Popen[str]] = []
        for command, output in sessions("tutorial.md"):
            if command.endswith(" &"):
                words = [sys.executable, "-m", "framelet_server", *shlex.split(command)[1:-1], "--port", "0"]
                server = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
                stack.callback(server.kill)
                assert server.stdout is not None
                line = server.stdout.readline()
                port = line.strip().rpartition(":")[2]
                assert line.replace(port, "6666") == output
                servers.append(server)
            else:
                assert (command, run(command, {"6666": port}, tmp_path)) == (command, TIMES.sub("T", output))
        assert [server.wait(20) for server in servers] == [0, 0]
    tutorial = (DOCUMENTS / "tutorial.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", tutorial, re.DOTALL)
    exec(program, {})  # noqa: S102 - the document's own program
    assert capsys.readouterr().out.splitlines() == re.findall(r"# ([A-Z ]+)$", program, re.MULTILINE)


@pytest.fixture
def ports(
    serve: Callable[..., Server], scripted_server: Script, certificates: Any, nobody: int, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """What is behind the ports of the mistakes; certificates and files are in the folder."""
    (tmp_path / "ca.pem").write_bytes(certificates.ca_file.read_bytes())
    web = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert web.stdout is not None
    found = re.search(r"port (\d+)", web.stdout.readline())
    assert found
    yield {
        "6666": port_of(serve()),
        "6667": port_of(serve(stop_policy=StopPolicy.with_token("a secret of some length"))),
        "4433": port_of(serve(tls=ServerTls(certificates.server))),
        "8080": found[1],
        "2222": str(scripted_server(b"SSH-2.0-OpenSSH_9.6\r\n").port),
        "7777": str(nobody),
    }
    web.kill()
    web.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("chapter", MISTAKES)
def test_mistakes_are_explained(ports: dict[str, str], tmp_path: Path, chapter: str) -> None:
    for command, output in MISTAKES[chapter]:
        assert (command, run(command, ports, tmp_path)) == (command, output)
