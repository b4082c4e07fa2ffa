"""The commands, except bench: their options, and the exit code of each outcome.  Needs click."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from framelet import IllFormedTextError, encode_text
from framelet.registry import STOP_TOKEN_VARIABLE
from framelet_client.exit_codes import ExitCode, table

from .bench import bench
from .decode import InputError, open_reader, print_table
from .send_lines import send_lines
from .target import LIMITS, NumberRange, Target, limit_option, usage_error, with_server
from .terminal import Output, OutputError, complain
from .valued import option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet import StoppedReceived
    from framelet_client.config import ClientLimits

_DEFAULT_PAYLOAD = "default payload"
_EPILOG = "\b\nExit codes:\n" + table()


class _Group(click.Group):
    """Ends without output when it is interrupted, where click would write an empty line."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of the process, and return its exit code."""
    try:
        return int(framelet.main(arguments, prog_name="framelet", standalone_mode=False) or 0)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = "framelet" if context is None else context.command_path
        words = " ".join(error.format_message().split())
        complain(f"framelet: error: {words} (see {path} --help)")
        return ExitCode.USAGE
    except OutputError as error:
        if not error.quiet:
            complain(f"framelet: error: {error}")
        return ExitCode.PARTIAL
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED


@click.group(
    cls=_Group,
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="framelet", message="%(prog)s %(version)s")
@click.pass_context
def framelet(context: click.Context) -> None:
    """Send texts to a Framelet server, measure it, look after it, and look into its streams.

    HOST is a name or address, with or without http://, tcp:// or framelet:// and a port, or unix:PATH;
    behind framelets:// it speaks TLS.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@framelet.command()
@with_server
@click.argument("payload", default=_DEFAULT_PAYLOAD)
@option("--literal", is_flag=True, help='Send the words "stop" and "-" as they are.')
def send(target: Target, payload: str, *, literal: bool) -> ExitCode:
    """Send PAYLOAD to the server at HOST and PORT, and print its reply.

    Without arguments: http://127.0.0.1, 6666, "default payload".  The PAYLOAD "stop" stops the server,
    as the command stop does.  The PAYLOAD "-" sends each line of standard input, and prints each
    reply as a line, in order.
    """
    output = Output()
    if payload == "-" and not literal:
        return _send_lines(target, output)
    if payload == "stop" and not literal:
        return _stop(target, _stop_token())
    _check_text("PAYLOAD", payload, target.limits)
    with target.connect() as client:
        output.write_lines([client.request(payload)])
    return ExitCode.SUCCESS


def _send_lines(target: Target, output: Output) -> ExitCode:
    if sys.stdin is None:
        raise usage_error("standard input is closed")
    with target.connect() as client:
        try:
            complete = send_lines(client, sys.stdin.fileno(), output)
        except OSError as error:
            complain(f"framelet: error: standard input failed: {error.strerror}")
            complete = False
    return ExitCode.SUCCESS if complete else ExitCode.PARTIAL


def _check_text(what: str, text: str, limits: ClientLimits) -> None:
    """Refuse a text that cannot be sent, before a connection is made."""
    try:
        size = len(encode_text(text))
    except IllFormedTextError as error:
        message = f"{what} cannot be sent: it is not well-formed text"
        raise usage_error(message) from error
    if size > limits.max_body:
        message = f"{what} is {size} octets long, more than --max-body {limits.max_body}"
        raise usage_error(message)


@framelet.command()
@with_server
@option(
    "--count", type=click.IntRange(min=1), default=4, metavar="NUMBER", show_default=True, help="Round trips."
)
@option(
    "--interval",
    type=NumberRange(0, 86_400),
    default=1.0,
    metavar="SECONDS",
    show_default=True,
    help="Time between them.",
)
def ping(target: Target, count: int, interval: float) -> ExitCode:
    """Measure the round trip to the server at HOST and PORT."""
    output = Output()
    times: list[float] = []
    with target.connect() as client:
        try:
            for number in range(1, count + 1):
                if times:
                    time.sleep(interval)
                times.append(client.ping(str(number)) * 1000)
                output.write_lines([f"{client.address}: answer {number} in {times[-1]:.3f} ms"])
        finally:
            output.write_lines([_summary(times)])
    return ExitCode.SUCCESS


def _summary(times: list[float]) -> str:
    if not times:
        return "no answer"
    mean = sum(times) / len(times)
    return f"{len(times)} answered: min {min(times):.3f}, mean {mean:.3f}, max {max(times):.3f} ms"


@framelet.command()
@with_server
def hello(target: Target) -> ExitCode:
    """Show the version and limits of the server at HOST and PORT."""
    output = Output()
    with target.connect() as client:
        answer = client.hello()
    output.write_lines([f"version: {answer.version}"])
    output.write_lines(f"{key}: {value}" for key, value in answer.parameters.items())
    return ExitCode.SUCCESS


@framelet.command()
@with_server
@option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File that holds the server's token.",
)
def stop(target: Target, token_file: Path | None) -> ExitCode:
    """Stop the server at HOST and PORT, and wait until it has.

    A server that asks for a token gets that of --token-file, else that of the environment variable
    FRAMELET_STOP_TOKEN.
    """
    return _stop(target, _stop_token(token_file))


def _stop(target: Target, token: str) -> ExitCode:
    output = Output()
    _check_text("the token", token, target.limits)
    with target.connect() as client:
        output.write_lines([_describe(client.stop(token))])
    return ExitCode.SUCCESS


def _describe(stopped: StoppedReceived) -> str:
    closed = f"{stopped.closed} other connection{'' if stopped.closed == 1 else 's'} closed in order"
    return f"stopped: {closed}, {stopped.cut} cut off"


def _stop_token(path: Path | None = None) -> str:
    """The token in a file, or else in the environment; it is never part of a message (REQ-SEC-3)."""
    if path is None:
        return os.environ.get(STOP_TOKEN_VARIABLE, "")
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise usage_error(message) from error
    except UnicodeDecodeError:
        message = f"{path} holds no token: it is not UTF-8"
        raise usage_error(message) from None


@framelet.command()
@click.argument("file", default="-")
@option("--hex/--binary", "hexadecimal", default=None, help="What FILE holds; else it is looked at.")
@option("--full", is_flag=True, help="Show bodies in full.")
@limit_option(LIMITS["max_body"])
def decode(file: str, *, hexadecimal: bool | None, full: bool, max_body: int) -> ExitCode:
    """Show the frames in FILE, or in standard input, down to the first octet that breaks the protocol."""
    output = Output()
    standard = file == "-"
    if standard and sys.stdin is None:
        raise usage_error("standard input is closed")
    try:
        with open(sys.stdin.fileno() if standard else file, "rb", closefd=not standard) as stream:
            reader = open_reader(stream, hexadecimal=hexadecimal)
            whole = print_table(reader, output, max_body=max_body, full=full)
    except InputError as error:
        raise usage_error(str(error)) from error
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise usage_error(message) from error
    return ExitCode.SUCCESS if whole else ExitCode.PROTOCOL_ERROR


framelet.add_command(bench)
