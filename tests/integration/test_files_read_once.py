"""Options that name a file take any that can be read, also once; and secrets are kept from handlers."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from framelet_client import AnswerError, Client, ClientTls
from framelet_server import ServerTls

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.conftest import FrameletCommand

TOKEN = "open sesame"  # noqa: S105 - for a test


@pytest.fixture
def pipe() -> Iterator[Callable[..., str]]:
    """The name of a pipe that holds the content of files, as ``<(cat FILE ...)`` of a shell is."""
    descriptors: list[int] = []

    def make(*contents: Path | str) -> str:
        reader, writer = os.pipe()
        for content in contents:
            os.write(writer, content.encode() if isinstance(content, str) else content.read_bytes())
        os.close(writer)
        descriptors.append(reader)
        return f"/dev/fd/{reader}"

    yield make
    for number in descriptors:
        os.close(number)


def numbers(*names: str) -> list[int]:
    return [int(name.rpartition("/")[2]) for name in names]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_with_pipes_serves_reloads_and_replaces_its_processes(
    command: Callable[..., Any], certificates: Any, pipe: Any, tmp_path: Path, workers: str
) -> None:
    (tmp_path / "peeking.py").write_text(
        "import os\n"
        "def handler(text):\n"
        "    return str(os.getpid()) if text == 'pid' else os.environ.get('FRAMELET_STOP_TOKEN', 'none')\n"
    )
    cert, authorities, token = pipe(certificates.server), pipe(certificates.ca_file), pipe(TOKEN, "\n")
    server = command(
        *("--tls-cert", cert, "--tls-client-ca", authorities, "--workers", workers, "--log-level", "info"),
        *("--stop", "token", "--stop-token-file", token, "--handler", "peeking:handler"),
        pass_fds=numbers(cert, authorities, token),
    )
    address = server.address()
    tls = ClientTls(ca_file=certificates.ca_file, cert_file=certificates.guest)

    def ask(text: str) -> str:
        with Client(address, tls=tls) as client:
            return client.request(text)

    pid = int(ask("pid"))
    server.process.send_signal(signal.SIGHUP)
    until(lambda: sum(" reloaded\n" in line for line in server.errors) == int(workers))
    assert ask("x") == "none"
    if workers == "2":
        os.kill(pid, signal.SIGKILL)
        until(lambda: sum(" serves\n" in line for line in server.errors) == 3)
        for _ in range(8):
            assert ask("x") == "none"
    with Client(address, tls=tls) as client:
        with pytest.raises(AnswerError, match="403"):
            client.stop("open barley")
        client.stop(TOKEN)
    assert server.finish()[0] == 0


@pytest.mark.parametrize("more", [(), ("--workers", "2"), ("--executor", "process:1")], ids=str)
def test_a_token_of_the_environment_is_not_there_for_handlers(
    command: Callable[..., Any], tmp_path: Path, more: tuple[str, ...]
) -> None:
    (tmp_path / "peeking.py").write_text(
        "import os, subprocess\n"
        "found = os.environ.get('FRAMELET_STOP_TOKEN', 'none')\n"
        "def handler(text):\n"
        "    opened = {os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')}\n"
        "    return found + subprocess.check_output('env', text=True) + ' '.join(opened)\n"
    )
    server = command(
        "--stop", "token", "--handler", "peeking:handler", *more, env={"FRAMELET_STOP_TOKEN": TOKEN}
    )
    with Client(server.address()) as client:
        found = client.request("x")
        assert found.startswith("none")
        assert TOKEN not in found
        assert "memfd" not in found
        client.stop(TOKEN)
    assert server.finish()[0] == 0


@pytest.mark.parametrize("content", [b"", b"no PEM"])
def test_a_pipe_with_something_else_costs_one_line(
    command: Callable[..., Any], pipe: Any, content: bytes
) -> None:
    name = pipe(content.decode())
    status, log = command("--tls-cert", name, "--workers", "2", pass_fds=numbers(name)).finish()
    assert (status, log.count("\n")) == (2, 1)
    assert f"the certificate {name} cannot be used" in log


@pytest.mark.parametrize(
    "more", [("ping", "--count", "1"), ("bench", "--count", "2", "--processes", "2")], ids=str
)
def test_a_client_with_pipes(
    framelet: FrameletCommand, serve: Any, certificates: Any, pipe: Any, more: tuple[str, ...]
) -> None:
    server = serve(tls=ServerTls(certificates.server, client_ca_file=certificates.ca_file))
    authorities, own = pipe(certificates.ca_file), pipe(certificates.guest)
    kind, *options = more
    if kind == "bench":
        options += ["--connections", "2"]
    result = framelet(
        kind,
        str(server.address),
        *options,
        "--ca-file",
        authorities,
        "--cert-file",
        own,
        pass_fds=numbers(authorities, own),
    )
    assert (result.returncode, result.stderr) == (0, b"")
