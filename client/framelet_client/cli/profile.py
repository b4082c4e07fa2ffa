"""``framelet profile``: keep the addresses and options of servers under names.  Needs click."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from framelet import ConfigurationError, parse_address
from framelet_client.exit_codes import ExitCode

from .profiles import Profiles
from .target import usage_error, with_server
from .terminal import Output
from .valued import GroupedCommand

if TYPE_CHECKING:
    from .target import Target

_NAME = re.compile(r"[A-Za-z0-9_-]+")


class _Group(click.Group):
    """Reports a ConfigurationError as a usage error."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Raise click.UsageError for a ConfigurationError."""
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise usage_error(str(error)) from error


@click.group(cls=_Group, invoke_without_command=True, short_help="Keep servers under names.")
@click.pass_context
def profile(context: click.Context) -> None:
    """Keep the addresses and options of servers under names: @NAME stands for them instead of HOST."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@profile.command(cls=GroupedCommand, short_help="Keep a server under NAME.")
@click.argument("name")
@functools.partial(with_server, own={"json", "trace"})
def add(target: Target, name: str) -> ExitCode:
    """Keep HOST, PORT and the options given under NAME; the first profile becomes the default."""
    if not _NAME.fullmatch(name):
        message = f"'{name}' is not a name for a profile: use letters, digits, - and _"
        raise usage_error(message)
    context = click.get_current_context()
    given = {
        key: value
        for key, value in context.params.items()
        if key not in {"name", "host", "port"}
        and context.get_parameter_source(key) is ParameterSource.COMMANDLINE
    }
    if context.get_parameter_source("host") is not ParameterSource.COMMANDLINE:
        raise usage_error("HOST is missing: framelet profile add NAME HOST [PORT]")
    for key in ("ca_file", "cert_file", "key_file"):
        if key in given:
            given[key] = str(Path(given[key]).absolute())  # the profile is used from any folder
    profiles = Profiles.read()
    profiles.options[name] = {
        "host": str(parse_address(target.host, target.port)),
        **{key: value for key, value in given.items() if key not in {"name", "host", "port"}},
    }
    profiles.default = profiles.default or name
    profiles.write()
    return ExitCode.SUCCESS


@profile.command("list")
def show() -> ExitCode:
    """Show all profiles; a star marks the default."""
    profiles = Profiles.read()
    Output().write_lines(
        f"{'*' if name == profiles.default else ' '} {name}: "
        + " ".join(
            str(value) if key == "host" else f"--{key.replace('_', '-')} {value}"
            for key, value in values.items()
        )
        for name, values in profiles.options.items()
    )
    return ExitCode.SUCCESS


@profile.command()
@click.argument("name")
def use(name: str) -> ExitCode:
    """Make NAME the default."""
    profiles = Profiles.read()
    profiles.of(name)
    profiles.default = name
    profiles.write()
    return ExitCode.SUCCESS


@profile.command()
@click.argument("name")
def remove(name: str) -> ExitCode:
    """Remove NAME."""
    profiles = Profiles.read()
    profiles.of(name)
    del profiles.options[name]
    profiles.default = None if profiles.default == name else profiles.default
    profiles.write()
    return ExitCode.SUCCESS
