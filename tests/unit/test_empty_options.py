"""An option with an empty value, as from a variable that is not set, is not taken for an absent one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from tests.each import noting

from framelet_client.cli.command import framelet
from framelet_client.cli.command import run as run_client
from framelet_conformance.cli.command import command as conformance
from framelet_conformance.cli.command import main as run_conformance
from framelet_server.cli.command import command as server
from framelet_server.cli.command import main as run_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS: list[tuple[click.Command, Callable[[list[str]], int]]] = [
    (framelet, run_client),
    (server, run_server),
    (conformance, run_conformance),
]


def valued(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Option]]:
    """All options of a command and of those below it that take a value, and the words that lead there."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.is_flag:
            yield path, parameter
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from valued(inner, (*path, name))


CASES = [
    (run, [*path, name])
    for program, run in PROGRAMS
    for path, option in valued(program)
    for name in option.opts
]


@pytest.mark.parametrize("form", ["apart", "joined"])
def test_an_empty_value_is_refused(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(CASES) > 100
    for run, (*path, name) in CASES:
        joined = form == "joined" and name.startswith("--")
        with noting(path, name):
            assert run([*path, f"{name}=" if joined else name, *([] if joined else [""])]) == 2
            out, errors = capfd.readouterr()
            assert not out
            assert f"Invalid value for '{name}'" in errors or f"'{name}'" in errors
            assert "empty" in errors
