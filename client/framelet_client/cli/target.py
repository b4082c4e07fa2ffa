"""The server that a command talks to: arguments, options, and messages when it fails.  Needs click."""

from __future__ import annotations

import functools
import math
import os
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from framelet import (
    AddressError,
    ClientConnection,
    ConfigurationError,
    FrameletError,
    TlsAddress,
    parse_address,
)
from framelet.address import DEFAULT_HOST, DEFAULT_PORT, names_port, parse_port
from framelet.limits import without_unit
from framelet.tls import KeptFile
from framelet_client.client import Client
from framelet_client.config import ClientLimits
from framelet_client.errors import AnswerError, FatalAnswerError
from framelet_client.exit_codes import ExitCode
from framelet_client.net.transport import secured
from framelet_client.tls import ClientTls

from .explain import NO_HOST, explain
from .profiles import MARK, Profiles
from .results import Results, json_option
from .send_lines import LinesLeftError
from .valued import option

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from framelet import Address
    from framelet.limits import LimitInfo

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

LIMITS = {info.name: info for info in ClientLimits.describe()}


class NumberRange(click.FloatRange):
    """A range of numbers that refuses nan: every comparison with nan is false, so click would accept it."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click has it
        """Raise click.BadParameter for what is not in the range."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


_DEFAULT_HOST = f"http://{DEFAULT_HOST}"  # as messages name it since the first version
_TLS = {
    "ca_file": ("FILE", "Authorities to trust with framelets://.  [default: the system's]"),
    "cert_file": ("FILE", "Certificate to show to the server."),
    "key_file": ("FILE", "Key of that certificate, if it is not in the same file."),
    "server_name": ("NAME", "Name that the server's certificate must have.  [default: HOST]"),
}


_trace_option = option(
    "--trace",
    is_flag=True,
    help="Show each frame sent and received on standard error, as decode does.",
    group="Output",
)


class Target(NamedTuple):
    """The server of a command, and how to talk to it."""

    host: str  # as given
    port: int | None
    address: Address
    limits: ClientLimits
    tls: ClientTls | None
    tls_options: dict[str, str | KeptFile | None] | None  # the arguments of ``tls``, for other processes
    results: Results
    connection: type[ClientConnection]

    def connect(self) -> Client:
        """A client of the server."""
        return Client(self.address, limits=self.limits, tls=self.tls, connection=self.connection)


class _WithUnit:
    """Mixed into a range: a number may have a suffix of its unit, as 16M or 5m."""

    unit = ""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - as click has it
        """Raise click.BadParameter for what is not in the range."""
        plain = without_unit(value, self.unit) if isinstance(value, str) else value
        return super().convert(plain, param, ctx)  # type: ignore[misc] # of the range


class _Count(_WithUnit, click.IntRange):
    """A range of whole numbers."""


class _Amount(_WithUnit, NumberRange):
    """A range of numbers."""


def limit_range(info: LimitInfo) -> _Count | _Amount:
    """The type of an option for a limit; the help shows its range."""
    if info.kind is int:
        kind: _Count | _Amount = _Count(int(info.minimum), int(info.maximum))
    else:
        kind = _Amount(info.minimum, info.maximum)
    kind.unit = info.unit
    return kind


def seconds(minimum: float, maximum: float) -> _Amount:
    """The type of an option for a time."""
    kind = _Amount(minimum, maximum)
    kind.unit = "seconds"
    return kind


def limit_option(info: LimitInfo) -> Decorator:
    """The option that sets one of the client's limits."""
    settings = info.option_settings()
    settings["type"] = limit_range(info)
    return option(info.option, info.name, envvar=variable(info.name), group="Limits", **settings)


def _tls_option(name: str, metavar: str, words: str) -> Decorator:
    """An option of TLS; giving any of them turns TLS on."""
    name_typed = "--" + name.replace("_", "-")
    kind = click.Path() if name.endswith("_file") else str
    return option(
        name_typed, name, envvar=variable(name), metavar=metavar, help=words, type=kind, group="TLS"
    )


def variable(name: str) -> str:
    """The environment variable that has the default of an option."""
    return f"FRAMELET_{name.upper()}"


def with_server(command: Callable[..., ExitCode], *, own: Collection[str] = ()) -> Callable[..., ExitCode]:
    """Give a command the arguments and options of a server, and report its errors.

    The command defines the options named in ``own`` (limits, "json", "trace") itself, or goes without.
    """
    limits_taken = [info for name, info in LIMITS.items() if name not in own]

    @functools.wraps(command)
    def wrapper(host: str, port: str | None, **options: Any) -> ExitCode:  # noqa: ANN401 - by click
        host = _from_profile(host, options)
        target = _target(host, port, {info.name: options.pop(info.name) for info in limits_taken}, options)
        try:
            return command(target, **options)
        except ConfigurationError as error:  # found only by the connection attempt
            raise usage_error(str(error)) from error
        except LinesLeftError as error:
            return _report(error.error, target, error.line)
        except FrameletError as error:
            return _report(error, target)

    parameters: list[Decorator] = [
        click.argument(
            "host", envvar=variable("address"), default=_DEFAULT_HOST, shell_complete=_complete_host
        ),
        click.argument("port", required=False),
        *[limit_option(info) for info in limits_taken],
        *[_tls_option(name, *words) for name, words in _TLS.items()],
        *([] if "trace" in own else [_trace_option]),
        *([] if "json" in own else [json_option]),
    ]
    decorated: Callable[..., ExitCode] = wrapper
    for parameter in reversed(parameters):
        decorated = parameter(decorated)
    return decorated


def _complete_host(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """The names of profiles; addresses cannot be completed."""
    del context, parameter
    try:
        return [MARK + name for name in Profiles.read().options if (MARK + name).startswith(begun)]
    except ConfigurationError:
        return []


def _from_profile(host: str, options: dict[str, Any]) -> str:
    """The address that HOST stands for; options that are given nowhere else are set from the profile."""
    context = click.get_current_context()
    try:
        if context.get_parameter_source("host") is ParameterSource.DEFAULT:
            name = Profiles.read().default
            host = host if name is None else MARK + name
        if not host.startswith(MARK):
            return host
        kept = Profiles.read().of(host.removeprefix(MARK))
    except ConfigurationError as error:
        raise usage_error(str(error)) from error
    for name in options.keys() & kept.keys():
        if context.get_parameter_source(name) is ParameterSource.DEFAULT:
            options[name] = kept[name]
    return str(kept["host"])


def _target(host: str, port: str | None, limits: dict[str, Any], options: dict[str, Any]) -> Target:
    """Check the arguments and options of the server; those of the command stay in ``options``.

    After a HOST that contains its port the next argument is the payload, if the command has one.
    """
    tls: dict[str, str | None] = {name: options.pop(name) for name in _TLS}
    results = Results(as_json=options.pop("as_json", False))
    connection: type[ClientConnection] = ClientConnection
    if options.pop("trace", False):
        from .decoding.trace import TracedConnection  # noqa: PLC0415 - only --trace needs it

        connection = TracedConnection
    if port is None and host.isdecimal():
        message = f"{host!r} is not a host: expected HOST, then PORT, as in {DEFAULT_HOST} {host}"
        raise usage_error(message)
    try:
        if options.get("payload", port) is None and port is not None and names_port(host):
            port, options["payload"] = None, port
        number = None if port is None else _port(host, port, payload_may_follow="payload" in options)
        address = parse_address(host, number)
        settings: dict[str, Any] | None = None
        if isinstance(address, TlsAddress) or any(value is not None for value in tls.values()):
            settings = {
                name: KeptFile(value) if value is not None and name.endswith("_file") else value
                for name, value in tls.items()
            }
        wanted = None if settings is None else ClientTls(**settings)
        address, _ = secured(address, wanted)
        return Target(host, number, address, ClientLimits(**limits), wanted, settings, results, connection)
    except (AddressError, ConfigurationError) as error:
        advice = _instead_of_address(host, port) if isinstance(error, AddressError) else []
        raise usage_error("; ".join([str(error), *advice])) from error


def _instead_of_address(host: str, port: str | None) -> list[str]:
    """What to type where FRAMELET_ADDRESS is set, and the only argument may be the text rather than HOST."""
    context = click.get_current_context()
    address = os.environ.get(variable("address"))
    given = context.get_parameter_source("host") is ParameterSource.COMMANDLINE
    if not (address and given and port is None and "payload" in context.params):
        return []
    command = shlex.join([*context.command_path.split(), address, host])
    return [f"HOST comes first, although {variable('address')} is set: {command}"]


def _port(host: str, text: str, *, payload_may_follow: bool) -> int:
    """Read the port; raises AddressError, which says where a payload goes if the command takes one."""
    try:
        return parse_port(text)
    except AddressError as error:
        if not payload_may_follow:
            raise
        message = f"{error}; a PAYLOAD goes after HOST and PORT, as in {host} {DEFAULT_PORT} {text}"
        raise AddressError(message) from None


def _report(error: FrameletError, target: Target, line: int | None = None) -> ExitCode:
    """Report an error; ``line`` is the first line of the input without an answer."""
    found = explain(error, target.host, target.address)
    if found.advice == NO_HOST:
        port = None if target.port is None else str(target.port)
        found = found._replace(advice="".join(_instead_of_address(target.host, port)) or NO_HOST)
    if line is not None:
        midway = found.code in (ExitCode.NO_CONNECTION, ExitCode.ERROR_ANSWERED)
        code = ExitCode.PARTIAL if midway else found.code
        found = found._replace(reason=f"{found.reason}; no answer from line {line} on", code=code)
    fields: dict[str, object] = {"message": found.message, "exit_code": int(found.code)}
    if found.advice:
        fields["advice"] = found.advice
    if isinstance(error, (AnswerError, FatalAnswerError)):
        fields["code"] = error.code
    target.results.fail(found.lines, fields)
    return found.code


def usage_error(message: str) -> click.UsageError:
    """The error for a wrong command line."""
    return click.UsageError(message, click.get_current_context())
