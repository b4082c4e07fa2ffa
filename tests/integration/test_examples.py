"""The programs in examples/, each run as its first lines say."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet import HandlerError
from framelet_client import AnswerError, Client

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 60.0  # seconds

# The server, what it is asked, and what it answers.
SERVERS = [
    ("asyncio_server.py", "ab", "AB"),
    ("services.py", "ab", "AB"),
    ("selectors_server.py", "ab\N{SNOWMAN}", "\N{SNOWMAN}ba"),
    ("trio_server.py", "ab\N{SNOWMAN}", "\N{SNOWMAN}ba"),
    ("twisted_server.py", "ab\N{SNOWMAN}", "\N{SNOWMAN}ba"),
    ("json_bodies.py", '{"numbers": [1, 2], "unit": "m"}', '{"total": 3, "unit": "m"}'),
    ("json_bodies.py", "[1", 460),
    ("json_bodies.py", '{"number": 1}', 461),
    ("command_router.py", "upper a b", "A B"),
    ("command_router.py", "count a b", "2"),
    ("command_router.py", "lower A", 460),
]


# With these the suite has a question for each option, and skips none.
OPTIONS = (
    "{port} [--max-body {max_body}] [--max-connections {max_connections}] [--stop {stop}] "
    "[--application {application}] [--frame-timeout {frame_timeout}] [--idle-timeout {idle_timeout}] "
    "[--linger-timeout {linger_timeout}] [--write-timeout {write_timeout}] [--drain-timeout {drain_timeout}]"
)


def needed(name: str) -> None:
    """Skip where what the example runs in is not installed."""
    if (library := name.removesuffix("_server.py")) in {"trio", "twisted"}:
        pytest.importorskip(library)


@pytest.fixture
def example() -> Iterator[Callable[..., str]]:
    """Start an example that listens; its address."""
    started = []

    def start(name: str, *arguments: str) -> str:
        command = [sys.executable, str(EXAMPLES / name), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        found = re.search(r"127\.0\.0\.1:\d+", process.stdout.readline())
        assert found, f"{name} does not say where it listens"
        return found[0]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example to its end."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize(("name", "asked", "answer"), SERVERS)
def test_a_server_answers(name: str, asked: str, answer: str | int, example: Callable[..., str]) -> None:
    needed(name)
    with Client(example(name, "0")) as client, Client(client.address) as other:
        if isinstance(answer, str):
            assert [*client.pipeline([asked] * 300)] == [answer] * 300
            assert other.request(asked) == answer
        else:
            with pytest.raises(AnswerError) as raised:
                client.request(asked)
            assert raised.value.code == answer
        client.ping()


def test_two_processes_talk_over_pipes() -> None:
    done = run("pipes.py", "ab", "x" * 100_000, "")
    assert (done.returncode, done.stdout) == (0, f"ba\n{'x' * 100_000}\n\n"), done.stderr


def test_the_asyncio_client_asks(serve: Any) -> None:
    done = run("asyncio_client.py", str(serve().address), "ab", "cd")
    assert (done.returncode, done.stdout) == (0, "ba\ndc\n"), done.stderr


def _refuse(text: str) -> str:
    raise HandlerError(int(text), "as the client wished")


def test_a_relay_passes_answers_and_errors_on(serve: Any, example: Callable[..., str]) -> None:
    behind = serve(str.upper, handlers={0xC7: _refuse})
    with Client(example("relay.py", "0", str(behind.address))) as client:
        assert [*client.pipeline(["ab", "cd"])] == ["AB", "CD"]
        for code in (404, 437, 499):  # registered, not registered, an application's
            with pytest.raises(AnswerError) as raised:
                client.send(0xC7, str(code))
            assert (raised.value.code, raised.value.text) == (code, "as the client wished")
        behind.stop()
        with pytest.raises(AnswerError) as raised:
            client.request("ab")
        assert raised.value.code == 460


def test_what_was_recorded_is_played(serve: Any, example: Callable[..., str], tmp_path: Path) -> None:
    file, server = tmp_path / "traffic", serve(str.upper)
    with Client(example("record_and_play.py", "record", str(file), "0", str(server.address))) as client:
        assert client.request("ab") == "AB"
        client.ping("x")
    recorded = "> 01 6162\n< 02 4142\n> 06 78\n< 07 78\n"
    until(lambda: file.read_text(encoding="ascii") == recorded)
    assert run("record_and_play.py", "play", str(file), str(server.address)).returncode == 0
    assert run("record_and_play.py", "play", str(file), str(serve(str.lower).address)).returncode == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["selectors_server.py", "trio_server.py", "twisted_server.py"])
def test_a_server_conforms(name: str, tmp_path: Path) -> None:
    needed(name)
    launch = f"{shlex.join([sys.executable, str(EXAMPLES / name)])} {OPTIONS}"
    command = [sys.executable, "-m", "framelet_conformance", "server", "--launch", launch, "--quiet"]
    report = tmp_path / "report.json"
    done = subprocess.run(
        [*command, "--report-json", str(report), "--replay-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "conforms" in done.stdout
    cases = json.loads(report.read_text(encoding="utf-8"))["cases"]
    assert [case["id"] for case in cases if case["verdict"] == "skipped"] == []
