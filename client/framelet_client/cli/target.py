"""The server that a command talks to: arguments, options, and messages when it fails.  Needs click."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from framelet import (
    AddressError,
    AnswerTimeoutError,
    ConfigurationError,
    FrameletError,
    ProtocolError,
    TlsAddress,
    parse_address,
)
from framelet.address import DEFAULT_HOST, parse_port
from framelet_client.client import Client
from framelet_client.config import ClientLimits
from framelet_client.errors import AnswerError, ConnectError, ConnectionLostError, FatalAnswerError, TlsError
from framelet_client.escaping import escape
from framelet_client.exit_codes import ExitCode
from framelet_client.tls import ClientTls

from .send_lines import LinesLeftError
from .terminal import complain
from .valued import option

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from framelet.limits import LimitInfo

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

LIMITS = {info.name: info for info in ClientLimits.describe()}


class NumberRange(click.FloatRange):
    """A range of numbers that refuses nan, which no comparison finds out of range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click has it
        """Raise click.BadParameter for what is not in the range."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


_DEFAULT_HOST = f"http://{DEFAULT_HOST}"  # messages name it in the form that the first version had
_TLS = {
    "ca_file": ("FILE", "Authorities to trust with framelets://.  [default: the system's]"),
    "cert_file": ("FILE", "Certificate to show to the server."),
    "key_file": ("FILE", "Key of that certificate, if it is not in the same file."),
    "server_name": ("NAME", "Name that the server's certificate must have.  [default: HOST]"),
}


class Target(NamedTuple):
    """The server of a command, and how to talk to it."""

    host: str  # as given
    port: int | None
    limits: ClientLimits
    tls: ClientTls | None
    tls_options: dict[str, str | None] | None  # the arguments of ``tls``, for other processes
    verbose: bool

    def connect(self) -> Client:
        """A client of the server."""
        return Client(self.host, self.port, limits=self.limits, tls=self.tls)


def limit_range(info: LimitInfo) -> click.IntRange | click.FloatRange:
    """The type of an option for a limit: unlike a plain number it shows the range in the help."""
    if info.kind is int:
        return click.IntRange(int(info.minimum), int(info.maximum))
    return click.FloatRange(info.minimum, info.maximum)


def limit_option(info: LimitInfo) -> Decorator:
    """The option that sets one of the client's limits."""
    settings = info.option_settings()
    settings["type"] = limit_range(info)
    return option(info.option, info.name, **settings)


def _tls_option(name: str, metavar: str, words: str) -> Decorator:
    """An option about TLS; each of them also turns TLS on."""
    return option("--" + name.replace("_", "-"), name, metavar=metavar, help=words)


def with_server(command: Callable[..., ExitCode], *, own: Collection[str] = ()) -> Callable[..., ExitCode]:
    """Give a command the arguments and options of a server, and report its errors.

    For the limits named in ``own`` the command has its own option, or none.
    """
    limits_taken = [info for name, info in LIMITS.items() if name not in own]

    @functools.wraps(command)
    def wrapper(host: str, port: str | None, *, verbose: bool, **options: Any) -> ExitCode:  # noqa: ANN401 - by click
        limits = {info.name: options.pop(info.name) for info in limits_taken}
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

    parameters: list[Decorator] = [
        click.argument("host", default=_DEFAULT_HOST),
        click.argument("port", required=False),
        *[limit_option(info) for info in limits_taken],
        *[_tls_option(name, *words) for name, words in _TLS.items()],
        option("-v", "--verbose", is_flag=True, help="Say why no connection could be made."),
    ]
    decorated: Callable[..., ExitCode] = wrapper
    for parameter in reversed(parameters):
        decorated = parameter(decorated)
    return decorated


def _target(
    host: str, port: str | None, limits: dict[str, Any], tls: dict[str, str | None], *, verbose: bool
) -> Target:
    """Check what the command line says about the server."""
    try:
        number = None if port is None else parse_port(port)
        address = parse_address(host, number)
        wanted = (
            ClientTls(**tls)
            if isinstance(address, TlsAddress) or any(value is not None for value in tls.values())
            else None
        )
        return Target(host, number, ClientLimits(**limits), wanted, tls if wanted else None, verbose)
    except (AddressError, ConfigurationError) as error:
        raise usage_error(str(error)) from error


def _explain(error: FrameletError, target: Target) -> tuple[str, ExitCode]:
    """What to tell people about an error, and the exit code for it."""
    no_connection = f"Couldn't get connection to {target.host}"
    if isinstance(error, ConfigurationError):  # one that only the connection attempt can find
        raise usage_error(str(error)) from error
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


def usage_error(message: str) -> click.UsageError:
    """The error for a command line that is wrong."""
    return click.UsageError(message, click.get_current_context())
