"""The file of ``--config``: options in TOML, under their names on the command line.  Needs click."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTION = "--config"
_NOT_IN_FILES = {"config", "check-config", "version", "help"}


def expanded(arguments: Sequence[str], command: click.Command) -> list[str]:
    """The arguments, after the options of the files that they name: of two values click takes the later one.

    The processes that the server starts get these arguments, and never read a file.  Raises click.UsageError
    for a file that cannot be used.
    """
    kept: list[str] = []
    read: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, file = word.partition("=")
        if name == _OPTION:
            read += _options(file if equals else next(words, ""), command)
        else:
            kept.append(word)
    return read + kept


def _options(file: str, command: click.Command) -> list[str]:
    if not file:
        message = f"Invalid value for '{_OPTION}': it is empty: give a value, or leave the option out"
        raise click.UsageError(message)
    try:
        found = tomllib.loads(Path(file).read_text("utf-8"))
    except OSError as error:
        message = f"{_OPTION}: {file} cannot be read: {error.strerror}"
        raise click.UsageError(message) from error
    except ValueError as error:
        message = f"{_OPTION}: {file} is not TOML: {error}"
        raise click.UsageError(message) from error
    known = {name.removeprefix("--") for option in command.params for name in option.opts} - _NOT_IN_FILES
    words: list[str] = []
    for name, value in found.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            message = f"{_OPTION}: {file} has '{name}', which is not an option" + (
                f": did you mean '{near[0]}'?" if near else ""
            )
            raise click.UsageError(message)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, bool) or not isinstance(one, (str, int, float)):
                message = f"{_OPTION}: {file} needs text or a number for '{name}'"
                raise click.UsageError(message)
            words.append(f"--{name}={one}")
    return words
