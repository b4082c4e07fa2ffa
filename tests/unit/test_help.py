"""The help of all commands: no mark of click's is left in it, and no description is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from framelet_client.cli.command import framelet
from framelet_conformance.cli.command import command as conformance
from framelet_server.cli.command import command as server

if TYPE_CHECKING:
    from collections.abc import Iterator


def helps(context: click.Context) -> Iterator[tuple[str, str]]:
    """The path and the help of a command, and of those below it."""
    yield context.command_path, context.get_help()
    if isinstance(context.command, click.Group):
        for name, inner in context.command.commands.items():
            yield from helps(click.Context(inner, info_name=name, parent=context))


@pytest.mark.parametrize("program", [framelet, server, conformance], ids=lambda program: program.name)
def test_help_is_whole_and_has_no_marks(program: click.Command) -> None:
    for path, text in helps(click.Context(program, info_name=program.name, terminal_width=80)):
        assert "\\b" not in text, path
        cut = [line for line in text.splitlines() if line.endswith("...") and not line.startswith("Usage: ")]
        assert cut == [], path
