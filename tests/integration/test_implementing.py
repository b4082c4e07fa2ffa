"""What spec/IMPLEMENTING.md shows works: the runner for the vectors, the commands, the list of steps."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_server import Server

    from .peers import Serve

    Play = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow

SPEC = Path(__file__).parents[2] / "spec"
TEXT = (SPEC / "IMPLEMENTING.md").read_text(encoding="utf-8")
SETUP = '{"max_body": 16777216, "application": "none"}'

TAKE_AWAY = re.compile(r"Take away (.*?)[.;]")
FAMILY = re.compile(r"REQ-[A-Z]+-\*")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def families() -> list[str]:
    """The lines of ``todo`` at the start."""
    (block,) = [block for block in blocks("") if block.startswith("REQ-")]
    return block.split()


def commands() -> list[tuple[list[str], list[str]]]:
    """The commands of the suite: the arguments, and the lines of ``todo`` that are left where it stands."""
    found, todo = [], families()
    for match in re.finditer(rf"{TAKE_AWAY.pattern}|^framelet-conformance (.*)$", TEXT, re.MULTILINE):
        taken, command = match.groups()
        if taken:
            todo = [family for family in todo if family not in FAMILY.findall(taken)]
        else:
            found.append(
                (shlex.split(command), [family for family in todo if f"--only '{family}'" not in command])
            )
    return found


# The runner.


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run the runner of the document against a server."""
    (code,) = [block for block in blocks("python") if "def play(" in block]
    path = tmp_path / "play.py"
    path.write_text(code, encoding="utf-8")

    def run(server: Server, setup: str, *topics: str) -> subprocess.CompletedProcess[str]:
        address = str(server.address).removeprefix("framelet://").rsplit(":", 1)
        files = [str(SPEC / "vectors" / f"{topic}.json") for topic in topics]
        command = [sys.executable, str(path), *address, setup, *files]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)

    return run


TOPICS = sorted(path.stem for path in (SPEC / "vectors").glob("*.json"))


def test_the_runner_passes_a_server_that_conforms(serve: Serve, play: Play) -> None:
    done = play(serve(), SETUP, *TOPICS)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


# A server that is not set up as the vector needs, and the vector that shows it.
WRONG = [
    ({"handler": str}, SETUP, "reversal", "reversal-ascii"),  # other octets in a body
    ({}, '{"stop": "off"}', "stop", "stop-off"),  # no ERROR with this code
    ({"handlers": {0xC0: str}}, SETUP, "types", "types-c0"),  # another type
    ({"max_body": 65_536}, SETUP, "hello", "hello-plain"),  # another parameter
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong[-1])
def test_the_runner_names_what_fails(serve: Serve, play: Play, wrong: tuple[Any, ...]) -> None:
    keywords, setup, topic, vector = wrong
    done = play(serve(**keywords), setup, topic)
    assert done.returncode == 1
    assert vector in [line.split(" ")[0] for line in done.stdout.splitlines()]
    assert done.stderr.endswith(" failed\n")


# The steps.


def test_the_steps_take_away_all_that_is_to_do_in_its_order() -> None:
    taken = [family for line in TAKE_AWAY.findall(TEXT) for family in FAMILY.findall(line)]
    assert taken == families()


@pytest.mark.parametrize(("arguments", "todo"), commands(), ids=lambda value: " ".join(value)[:60])
def test_each_command_selects_something(arguments: list[str], todo: list[str], tmp_path: Path) -> None:
    (tmp_path / "todo").write_text("\n".join(todo), encoding="utf-8")
    command = [sys.executable, "-m", "framelet_conformance", *arguments, "--list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr


def test_there_are_commands_for_servers_and_for_clients() -> None:
    assert [arguments[0] for arguments, _ in commands()].count("server") >= 5
    assert [arguments[0] for arguments, _ in commands()].count("client") >= 1


def test_what_the_document_points_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]*)\)", TEXT) if "://" not in link]
    files = re.findall(r"`(?:vectors/)?([a-z0-9]+)\.json`", TEXT)
    assert [link for link in links if not (SPEC / link).exists()] == []
    assert set(TOPICS) == set(files)
