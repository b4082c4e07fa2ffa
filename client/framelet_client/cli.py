"""The command line: what each command takes, and which exit code its end has.  Needs click."""

from __future__ import annotations

import functools
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from framelet import (
    AddressError,
    AnswerTimeoutError,
    ClientLimits,
    ConfigurationError,
    FrameletError,
    IllFormedTextError,
    ProtocolError,
    TlsAddress,
    encode_text,
    parse_address,
)
from framelet.address import DEFAULT_HOST, parse_port

from .client import Client
from .decode import InputError, open_reader, print_table
from .errors import AnswerError, ConnectError, ConnectionLostError, FatalAnswerError, TlsError
from .exit_codes import ExitCode, table
from .send_lines import LinesLeftError, send_lines
from .terminal import Output, OutputError, complain, escape
from .tls import ClientTls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from framelet import StoppedReceived
    from framelet.limits import LimitInfo

_DEFAULT_HOST = f"http://{DEFAULT_HOST}"  # as the first edition of this command had it
_DEFAULT_PAYLOAD = "default payload"
_TOKEN_VARIABLE = "FRAMELET_STOP_TOKEN"  # noqa: S105 - the name of the variable, not a token
_LIMITS = {info.name: info for info in ClientLimits.describe()}
_TLS = {
    "ca_file": ("FILE", "Authorities to trust with framelets://.  [default: the system's]"),
    "cert_file": ("FILE", "Certificate to show to the server."),
    "key_file": ("FILE", "Key of that certificate, if it is not in the same file."),
    "server_name": ("NAME", "Name that the server's certificate must have.  [default: HOST]"),
}
_EPILOG = "\b\nExit codes:\n" + table()


class _Target(NamedTuple):
    """The server of a command, and how to talk to it."""

    host: str  # as given
    port: int | None
    limits: ClientLimits
    tls: ClientTls | None
    verbose: bool

    def connect(self) -> Client:
        return Client(self.host, self.port, limits=self.limits, tls=self.tls)


class _Group(click.Group):
    """Ends quietly when it is interrupted, where click would write an empty line."""

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


def _limit_option(info: LimitInfo) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option that sets one of the client's limits."""
    kind: click.IntRange | click.FloatRange = (
        click.IntRange(int(info.minimum), int(info.maximum))
        if info.kind is int
        else click.FloatRange(info.minimum, info.maximum)
    )
    words = f"{info.purpose[0].upper()}{info.purpose[1:]}."
    unit = info.unit.upper()
    return click.option(
        info.option, info.name, type=kind, default=info.default, metavar=unit, help=words, show_default=True
    )


def _tls_option(name: str, metavar: str, words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option about TLS; any of them asks for it."""
    return click.option("--" + name.replace("_", "-"), name, metavar=metavar, help=words)


def _with_server(command: Callable[..., ExitCode]) -> Callable[..., ExitCode]:
    """Give a command the arguments and options of a server, and report what goes wrong with it."""

    @functools.wraps(command)
    def wrapper(host: str, port: str | None, *, verbose: bool, **options: Any) -> ExitCode:  # noqa: ANN401 - by click
        limits = {name: options.pop(name) for name in _LIMITS}
        tls = {name: options.pop(name) for name in _TLS}
        target = _target(host, port, limits, tls, verbose=verbose)
        try:
            return command(target, **options)
        except LinesLeftError as error:
            words, code = _explain(error.error, target)
            complain(f"{words}; no answer from line {error.line} on")
            midway = code in (ExitCode.NO_CONNECTION, ExitCode.ERROR_ANSWERED)
            return ExitCode.PARTIAL if midway else code
        except FrameletError as error:
            words, code = _explain(error, target)
            complain(words)
            return code

    parameters: list[Callable[[Callable[..., ExitCode]], Callable[..., ExitCode]]] = [
        click.argument("host", default=_DEFAULT_HOST),
        click.argument("port", required=False),
        *[_limit_option(info) for info in _LIMITS.values()],
        *[_tls_option(name, *words) for name, words in _TLS.items()],
        click.option("-v", "--verbose", is_flag=True, help="Say why no connection could be made."),
    ]
    decorated: Callable[..., ExitCode] = wrapper
    for parameter in reversed(parameters):
        decorated = parameter(decorated)
    return decorated


def _target(
    host: str, port: str | None, limits: dict[str, Any], tls: dict[str, str | None], *, verbose: bool
) -> _Target:
    """Check what the command line says about the server."""
    try:
        number = None if port is None else parse_port(port)
        address = parse_address(host, number)
        wanted = ClientTls(**tls) if isinstance(address, TlsAddress) or any(tls.values()) else None
        return _Target(host, number, ClientLimits(**limits), wanted, verbose)
    except (AddressError, ConfigurationError) as error:
        raise _usage_error(str(error)) from error


def _explain(error: FrameletError, target: _Target) -> tuple[str, ExitCode]:
    """What to tell people about an error, and the exit code for it."""
    no_connection = f"Couldn't get connection to {target.host}"
    if isinstance(error, ConfigurationError):  # that only shows when the connection is made
        raise _usage_error(str(error)) from error
    if isinstance(error, TlsError):
        return f"{no_connection}: {error.reason}", ExitCode.NO_CONNECTION
    if isinstance(error, ConnectError):
        reason = f"\n{error.reason}" if target.verbose else ""
        return f"{no_connection}{reason}", ExitCode.NO_CONNECTION
    if isinstance(error, ConnectionLostError):
        return f"{no_connection}: {error}", ExitCode.NO_CONNECTION
    if isinstance(error, AnswerTimeoutError):
        return f"framelet: {error}", ExitCode.TIMED_OUT
    if isinstance(error, (AnswerError, FatalAnswerError)):
        return f"framelet: {error}", ExitCode.ERROR_ANSWERED
    if isinstance(error, ProtocolError):
        return f"framelet: the server broke the protocol: {escape(str(error))}", ExitCode.PROTOCOL_ERROR
    raise error


def _usage_error(message: str) -> click.UsageError:
    return click.UsageError(message, click.get_current_context())


@click.group(
    cls=_Group,
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="framelet", message="%(prog)s %(version)s")
@click.pass_context
def framelet(context: click.Context) -> None:
    """Send texts to a Framelet server, look after it, and look into its streams.

    HOST is a name or address, with or without http://, tcp:// or framelet:// and a port, or unix:PATH;
    behind framelets:// it speaks TLS.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@framelet.command()
@_with_server
@click.argument("payload", default=_DEFAULT_PAYLOAD)
@click.option("--literal", is_flag=True, help='Send the words "stop" and "-" as they are.')
def send(target: _Target, payload: str, *, literal: bool) -> ExitCode:
    """Send PAYLOAD to the server at HOST and PORT, and print its reply.

    Without arguments: http://127.0.0.1, 6666, "default payload".  The PAYLOAD "stop" stops the server,
    as the command stop does.  The PAYLOAD "-" sends each line of standard input, and prints each
    reply as a line, in order.
    """
    output = Output()
    if payload == "-" and not literal:
        return _send_lines(target, output)
    if payload == "stop" and not literal:
        return _stop(target, _token_of_environment())
    _check_text("PAYLOAD", payload, target.limits)
    with target.connect() as client:
        output.write_lines([client.request(payload)])
    return ExitCode.SUCCESS


def _send_lines(target: _Target, output: Output) -> ExitCode:
    if sys.stdin is None:
        raise _usage_error("standard input is closed")
    with target.connect() as client:
        try:
            complete = send_lines(client, sys.stdin.fileno(), output)
        except OSError as error:
            complain(f"framelet: error: standard input failed: {error.strerror}")
            complete = False
    return ExitCode.SUCCESS if complete else ExitCode.PARTIAL


def _check_text(what: str, text: str, limits: ClientLimits) -> None:
    """Refuse, before a connection is made, what could not be sent."""
    try:
        size = len(encode_text(text))
    except IllFormedTextError as error:
        message = f"{what} cannot be sent: it is not well-formed text"
        raise _usage_error(message) from error
    if size > limits.max_body:
        message = f"{what} is {size} octets long, more than --max-body {limits.max_body}"
        raise _usage_error(message)


@framelet.command()
@_with_server
@click.option(
    "--count", type=click.IntRange(min=1), default=4, metavar="NUMBER", show_default=True, help="Round trips."
)
@click.option(
    "--interval",
    type=click.FloatRange(0, 86_400),
    default=1.0,
    metavar="SECONDS",
    show_default=True,
    help="Time between them.",
)
def ping(target: _Target, count: int, interval: float) -> ExitCode:
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
@_with_server
def hello(target: _Target) -> ExitCode:
    """Show the version and limits of the server at HOST and PORT."""
    output = Output()
    with target.connect() as client:
        answer = client.hello()
    output.write_lines([f"version: {answer.version}"])
    output.write_lines(f"{key}: {value}" for key, value in answer.parameters.items())
    return ExitCode.SUCCESS


@framelet.command()
@_with_server
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File that holds the server's token.",
)
def stop(target: _Target, token_file: Path | None) -> ExitCode:
    """Stop the server at HOST and PORT, and wait until it has.

    A server that asks for a token gets that of --token-file, else that of the environment variable
    FRAMELET_STOP_TOKEN.
    """
    return _stop(target, _token_of_environment() if token_file is None else _token_of_file(token_file))


def _stop(target: _Target, token: str) -> ExitCode:
    output = Output()
    _check_text("the token", token, target.limits)
    with target.connect() as client:
        output.write_lines([_describe(client.stop(token))])
    return ExitCode.SUCCESS


def _describe(stopped: StoppedReceived) -> str:
    closed = f"{stopped.closed} other connection{'' if stopped.closed == 1 else 's'} closed in order"
    return f"stopped: {closed}, {stopped.cut} cut off"


def _token_of_environment() -> str:
    return os.environ.get(_TOKEN_VARIABLE, "")


def _token_of_file(path: Path) -> str:
    """The token in a file; never part of a message (REQ-SEC-3)."""
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise _usage_error(message) from error
    except UnicodeDecodeError:
        message = f"{path} holds no token: it is not UTF-8"
        raise _usage_error(message) from None


@framelet.command()
@click.argument("file", default="-")
@click.option("--hex/--binary", "hexadecimal", default=None, help="What FILE holds; else it is looked at.")
@click.option("--full", is_flag=True, help="Show bodies in full.")
@_limit_option(_LIMITS["max_body"])
def decode(file: str, *, hexadecimal: bool | None, full: bool, max_body: int) -> ExitCode:
    """Show the frames in FILE, or in standard input, down to the first octet that breaks the protocol."""
    output = Output()
    standard = file == "-"
    if standard and sys.stdin is None:
        raise _usage_error("standard input is closed")
    try:
        with open(sys.stdin.fileno() if standard else file, "rb", closefd=not standard) as stream:
            reader = open_reader(stream, hexadecimal=hexadecimal)
            whole = print_table(reader, output, max_body=max_body, full=full)
    except InputError as error:
        raise _usage_error(str(error)) from error
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise _usage_error(message) from error
    return ExitCode.SUCCESS if whole else ExitCode.PROTOCOL_ERROR
