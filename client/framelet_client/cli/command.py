"""The command ``framelet``: its commands, and the exit code of each outcome.  Needs click."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

import framelet_client
from framelet.address import without_password
from framelet.errors import importing_extra
from framelet_client.exit_codes import ExitCode, table

from .bench import bench
from .decoding.octets import InputError, open_reader
from .decoding.table import print_table
from .ping import ping
from .profile import profile
from .results import JSON, Results, json_option
from .send import send, stop
from .target import LIMITS, Target, limit_option, usage_error, with_server
from .terminal import Output, OutputError, complain, open_input
from .valued import GroupedCommand, option

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG = "\b\nExit codes:\n" + table()
_USE_OF_COMPLETION = """\b
Use:
  eval "$(framelet completion bash)"      in ~/.bashrc; zsh likewise
  framelet completion fish | source       in ~/.config/fish/config.fish
"""
_COMPLETE = "_{}_COMPLETE"
"""The variable by which a shell asks a program for completions, as click names it."""

_EXTRA = "unexpected extra argument"
_SEND = "to send one text: framelet send HOST PORT PAYLOAD"
_HINTS = (
    ("framelet send", _EXTRA, ": a PAYLOAD of several words goes in quotes"),
    ("framelet shell", _EXTRA, f": {_SEND}"),
    ("framelet shell", "is not a port", f"; {_SEND}"),
    ("framelet profile", "No such command", f": expected one of {', '.join(profile.commands)}"),
)
"""What to do, by the command and a part of the message."""

_SECTIONS = {
    "Use a server": ("send", "shell", "ping", "hello", "stop", "bench"),
    "Inspect streams": ("decode", "dissectors"),
    "Set up": ("profile", "completion"),
}


class _Group(click.Group):
    """Changes how click ends: on a closed output, an unknown command, and Ctrl-C."""

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as click has it
        """Raise OutputError if the help cannot be written."""
        try:
            return super().main(*args, **options)
        except SystemExit:  # click's own end for a reader that has left, or after a completion
            if _COMPLETE.format("FRAMELET") in os.environ:
                raise
            raise OutputError("standard output is closed", quiet=True) from None
        except OSError as error:
            if not any(
                frame.f_code is click.echo.__code__ for frame, _ in traceback.walk_tb(error.__traceback__)
            ):
                raise
            with Path(os.devnull).open(
                "wb"
            ) as nowhere:  # for what click keeps: writing it at the exit would fail again
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
            raise OutputError.of(error) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take an address instead of a command as the shell's; raise click.UsageError for anything else."""
        if args[0] not in self.commands and ":" in args[0]:
            return "shell", self.commands["shell"], args
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            message = (
                f"unknown command {args[0]!r}: --help lists the commands, "
                "as in framelet send HOST PORT PAYLOAD; framelet-server starts a server"
            )
            raise click.UsageError(message, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in sections."""
        del ctx
        width = formatter.width - 6 - max(map(len, self.commands))
        for title, names in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(width)) for name in names])

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """End without output on Ctrl-C: click would write an empty line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of the process, and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(framelet.main(given, prog_name="framelet", standalone_mode=False) or 0)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = "framelet" if context is None else context.command_path
        words = without_password(_words(error, path))
        lines = [f"framelet: error: {words} (see {path} --help)"]
        as_json = JSON in given[: given.index("--") if "--" in given else None]
        Results(as_json=as_json).fail(lines, {"message": words, "exit_code": int(ExitCode.USAGE)})
        return ExitCode.USAGE
    except OutputError as error:
        if not error.quiet:
            complain(f"framelet: error: {error}")
        return ExitCode.PARTIAL
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED


def _words(error: click.ClickException, path: str) -> str:
    """What is wrong with the command line, and what to do about it."""
    words = " ".join(error.format_message().split()).rstrip(".")
    if isinstance(error, click.NoSuchOption):
        return _words_of_option(error, words, "framelet send" if path == "framelet" else path, path)
    if path == "framelet stop" and _EXTRA in words:  # it may be the token, which no message may show
        return "a token is not an argument: give it by --token-file FILE or FRAMELET_STOP_TOKEN"
    return words + next((hint for where, what, hint in _HINTS if where == path and what in words), "")


def _words_of_option(error: click.NoSuchOption, words: str, command: str, path: str) -> str:
    """As ``_words``, for an unknown option; ``command`` is the command to show in the example."""
    name = error.option_name
    if name in ("--host", "--port", "-p"):
        return f"{words}: HOST and PORT are arguments, not options, as in {command} HOST PORT"
    if path == "framelet" and any(
        name in option.opts for each in framelet.commands.values() for option in each.params
    ):
        return f"{name} goes after the command, as in {command} {name}"
    if command == "framelet send" and not error.possibilities:
        return f"{words}: a PAYLOAD that begins with a dash goes after --"
    return words


@click.group(
    cls=_Group,
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(None, "-V", "--version", package_name="framelet", message="%(prog)s %(version)s")
@click.pass_context
def framelet(context: click.Context) -> None:
    """Send texts to a Framelet server, measure it, stop it, and show the frames of recorded streams.

    HOST is a name or address, with or without http://, tcp:// or framelet:// and a port, or unix:PATH;
    framelets:// connects with TLS.  @NAME is a profile, kept by "profile add NAME".  The environment has
    defaults: FRAMELET_ADDRESS for HOST, and a variable for each option, as FRAMELET_CA_FILE for --ca-file.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@framelet.command(cls=GroupedCommand, short_help="Show the version and limits of a server.")
@with_server
def hello(target: Target) -> ExitCode:
    """Show the version and limits of the server at HOST and PORT."""
    with target.connect() as client:
        answer = client.hello()
    target.results.show_hello(answer)
    return ExitCode.SUCCESS


@framelet.command(cls=GroupedCommand, short_help="Show the frames of a recorded stream.")
@click.argument("file", type=click.Path(), default="-")
@option("--hex/--binary", "hexadecimal", default=None, help="What FILE holds.  [default: detected]")
@option("--full", is_flag=True, help="Show bodies in full.")
@limit_option(LIMITS["max_body"])
@json_option
def decode(file: str, *, hexadecimal: bool | None, full: bool, max_body: int, as_json: bool) -> ExitCode:
    """Show the frames in FILE, or in standard input, down to the first octet that breaks the protocol."""
    results = Results(as_json=as_json)
    standard = file == "-"
    if standard and sys.stdin is None:
        raise usage_error("standard input is closed")
    try:
        with open_input(None if standard else file) as stream:
            reader = open_reader(stream, hexadecimal=hexadecimal)
            whole = print_table(reader, results, max_body=max_body, full=full)
    except InputError as error:
        raise usage_error(str(error)) from error
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise usage_error(message) from error
    return ExitCode.SUCCESS if whole else ExitCode.PROTOCOL_ERROR


@framelet.command(cls=GroupedCommand, short_help="Talk to a server, line by line.")
@functools.partial(with_server, own={"json"})
def shell(target: Target) -> ExitCode:
    """Talk to the server at HOST and PORT, line by line; "framelet HOST:PORT" is short for it."""
    with importing_extra("cli", "prompt_toolkit", "the shell needs"):
        from .shell import run as converse  # noqa: PLC0415 - no other command needs prompt_toolkit
    return converse(target)


@framelet.command(cls=GroupedCommand, short_help="Show where the Wireshark and Kaitai files are.")
def dissectors() -> ExitCode:
    """Show where the dissector for Wireshark and the grammar for Kaitai Struct are, and how to use them."""
    installed = Path(framelet_client.__file__).parent / "data"
    folder = installed if installed.exists() else installed.parents[2] / "spec"
    Output().write_lines(
        [
            f"Wireshark      wireshark -X lua_script:{folder / 'framelet.lua'}",
            f"Kaitai Struct  kaitai-struct-compiler -t python {folder / 'framelet.ksy'}",
        ]
    )
    return ExitCode.SUCCESS


@framelet.command(
    cls=GroupedCommand, epilog=_USE_OF_COMPLETION, short_help="Print the completion script of a shell."
)
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> ExitCode:
    """Print a script for SHELL that completes commands, options, profiles and paths."""
    if shell == "bash":  # by default bash splits @NAME at the @, and completes NAME alone
        Output().write_lines(["COMP_WORDBREAKS=${COMP_WORDBREAKS//@}"])
    kind = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    for name in ("framelet", "framelet-server", "framelet-conformance"):
        Output().write([kind(framelet, {}, name, _COMPLETE.format(name.upper().replace("-", "_"))).source()])
    return ExitCode.SUCCESS


for _command in (send, ping, stop, bench, profile):
    framelet.add_command(_command)
