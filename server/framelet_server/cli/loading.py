"""Handlers that are named on the command line: MODULE:FUNCTION."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from framelet_server.service.handlers import Handler


def load_handler(text: str) -> Handler:
    """Import a handler; the current folder is searched too, after all others and for this import only."""
    module_name, _, name = text.partition(":")
    if not (module_name and name):
        message = f"cannot load handler {text!r}: expected MODULE:FUNCTION, as in app:handle for app.py"
        raise click.UsageError(message)
    try:
        found: Any = _import(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything, or try to exit
        message = f"cannot load handler {text!r}: {type(error).__name__}: {error}"
        raise click.UsageError(message) from None
    if not callable(found):
        message = f"cannot load handler {text!r}: it is not a function"
        raise click.UsageError(message)
    return found  # type: ignore[no-any-return]  # its signature shows when it is called


def import_modules(texts: Sequence[str]) -> None:
    """Import, in another process, the modules of handlers that were imported in this one."""
    for text in texts:
        _import(text.rpartition("=")[2].partition(":")[0])


def _import(name: str) -> ModuleType:
    # For this import only: other users may be able to put modules into the folder.
    here = Path.cwd()
    sys.path.append(str(here))
    try:
        return importlib.import_module(name)
    finally:
        del sys.path[-1 - sys.path[::-1].index(str(here))]


def parse_handle(text: str) -> tuple[int, Handler]:
    """An application type and its handler, from TYPE=MODULE:FUNCTION."""
    number, _, handler = text.partition("=")
    try:
        return int(number, 0), load_handler(handler)
    except ValueError:
        message = f"--handle {text!r} has no type: expected TYPE=MODULE:FUNCTION, as in 0xC0=app:handle"
        raise click.UsageError(message) from None
