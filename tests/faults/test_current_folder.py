"""The folder that a command is started in: it has the handler, and maybe modules that others put there."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.scripted import PATIENCE, close_all

from framelet_client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framelet_server import Server

SCRIPT = Path(sys.executable).parent / "framelet-server"
PLANTED = ("prometheus_client", "click", "multiprocessing", "selectors", "runpy", "pickle", "concurrent")
LAZY = ("prometheus_client", "click")
"""Those that ``python -m`` does not import before the package has a say in it."""


def plant(folder: Path, *names: str) -> None:
    """Put modules into the current folder, each of which leaves a file when it is run."""
    for name in names:
        marker = folder / f"{name}.ran"
        (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()\nraise ImportError\n")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Start the command in that folder; its port."""
    processes: list[subprocess.Popen[str]] = []

    def run(*command: str) -> int:
        process = subprocess.Popen(
            [*command, "--port", "0", "--metrics", "0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline().rpartition(":")[2])

    yield run
    for process in processes:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("more", [(), ("--workers", "2"), ("--executor", "process:1")], ids=str)
@pytest.mark.parametrize("how", ["module", pytest.param("script", marks=pytest.mark.slow)])
def test_nothing_of_the_current_folder_is_run_but_the_handler(
    start: Callable[..., int], tmp_path: Path, more: tuple[str, ...], how: str
) -> None:
    plant(tmp_path, *(PLANTED if how == "script" else LAZY))
    (tmp_path / "sibling.py").write_text("word = 'hello '\n")
    (tmp_path / "here.py").write_text(
        "import os, sys, sibling\n"
        "def handler(text):\n"
        "    assert 'PYTHONSAFEPATH' not in os.environ\n"
        "    return sibling.word + text + ' ' + str(os.getcwd() in sys.path)\n"
    )
    command = [str(SCRIPT)] if how == "script" else [sys.executable, "-m", "framelet_server"]
    port = start(*command, "--handler", "here:handler", *more)
    with Client("127.0.0.1", port) as client:
        assert client.request("you") == "hello you False"
    assert not list(tmp_path.glob("*.ran"))


def test_processes_of_the_load_generator_run_nothing_of_it(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    plant(tmp_path, *LAZY, "multiprocessing")
    script = Path(sys.executable).parent / "framelet"
    found = subprocess.run(
        [script, "bench", str(serve().address), "--count", "2", "--connections", "2", "--processes", "2"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert found.returncode == 0, found.stderr
    assert not list(tmp_path.glob("*.ran"))


def test_the_suite_runs_nothing_of_it(serve: Callable[..., Server], tmp_path: Path) -> None:
    plant(tmp_path, "click", "rich", "jinja2", "hypothesis")
    words = [sys.executable, "-m", "framelet_conformance", "server", str(serve().address)]
    found = subprocess.run(
        [*words, "--only", "order.first-ping"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        timeout=2 * PATIENCE,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert not list(tmp_path.glob("*.ran"))


@pytest.mark.slow
def test_the_suite_needs_no_standard_descriptor(serve: Callable[..., Server], tmp_path: Path) -> None:
    words = [sys.executable, "-m", "framelet_conformance", "server", str(serve().address)]
    done = subprocess.run(
        [*words, "--only", "order.first-ping"],
        check=False,
        cwd=tmp_path,
        timeout=2 * PATIENCE,
        preexec_fn=functools.partial(close_all, (0, 1, 2)),
    )
    assert done.returncode == 0
