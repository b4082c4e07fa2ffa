"""Handlers that are named on the command line: MODULE:FUNCTION."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from framelet_server.service.handlers import Handler


def load_handler(text: str) -> Handler:
    """Import a handler; the working directory is searched first, as with ``python -m``."""
    module_name, _, name = text.partition(":")
    if not (module_name and name):
        message = f"cannot load handler {text!r}: expected MODULE:FUNCTION"
        raise click.UsageError(message)
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything, or try to exit
        message = f"cannot load handler {text!r}: {type(error).__name__}: {error}"
        raise click.UsageError(message) from None
    if not callable(found):
        message = f"cannot load handler {text!r}: it is no function"
        raise click.UsageError(message)
    return found  # type: ignore[no-any-return]  # its signature shows when it is called


def parse_handle(text: str) -> tuple[int, Handler]:
    """An application type and its handler, from TYPE=MODULE:FUNCTION."""
    number, _, handler = text.partition("=")
    try:
        return int(number, 0), load_handler(handler)
    except ValueError:
        message = f"--handle {text!r} names no type: expected a number, as in 0xC0=module:function"
        raise click.UsageError(message) from None
