"""The command ``framelet-server``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from framelet import Address, AddressError, ConfigurationError, FrameletError, UnixAddress, reverse
from framelet.address import DEFAULT_HOST, DEFAULT_PORT, TcpAddress
from framelet.registry import STOP_TOKEN_VARIABLE
from framelet_server.config import ServerLimits
from framelet_server.layers.proxy_policy import ProxyPolicy
from framelet_server.layers.tls import ServerTls
from framelet_server.observe.logs import HUMAN, HUMAN_OF_SEVERAL, LogFormat, configure
from framelet_server.pool.stop_policy import StopKind, StopPolicy
from framelet_server.process.child import Child
from framelet_server.process.inherited import inherited_sockets
from framelet_server.process.notify import Notifier, NotifyingObserver
from framelet_server.server import Server, check_address
from framelet_server.service.executors import make_executor

from .loading import load_handler, parse_handle
from .running import run_server, supervise
from .valued import ValuedOption, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_server.process.run import Reload


_ON_RELOAD: Reload | None = None
"""What SIGHUP is for where there is no certificate to reload: nothing."""


def _limit_options(command: click.Command) -> click.Command:
    """Give a command one option for each of the server's limits; ServerLimits checks the values."""
    for info in ServerLimits.describe():
        command.params.append(ValuedOption([info.option], **info.option_settings()))
    return command


@_limit_options
@click.command("framelet-server", context_settings={"help_option_names": ["-h", "--help"]})
@option("--host", help=f"Name or address to listen on.  [default: {DEFAULT_HOST}]")
@option("--port", type=click.IntRange(0, 65535), help=f"Port; 0 for any.  [default: {DEFAULT_PORT}]")
@option("--unix", metavar="PATH", help="Listen on a unix socket instead.")
@option(
    "--workers",
    type=click.IntRange(1, 1_024),
    default=1,
    show_default=True,
    help="Processes that share the address; each has the threads and limits below to itself.",
)
@option("--worker", "inheritance", hidden=True, help="Be one of them; for the supervisor's use.")
@option("--tls-cert", metavar="FILE", help="Speak TLS, with the certificate in FILE; SIGHUP reloads it.")
@option("--tls-key", metavar="FILE", help="Key of that certificate, if it is not in the same file.")
@option("--tls-client-ca", metavar="FILE", help="CAs of which clients must show a certificate.")
@option(
    "--handler",
    metavar="MODULE:FUNCTION",
    help="What answers a REQUEST: a function from str to str.  [default: reversal]",
)
@option(
    "--handle",
    metavar="TYPE=MODULE:FUNCTION",
    multiple=True,
    help="What answers an application type, 0xC0 to 0xFF; may be repeated.",
)
@option(
    "--stop",
    type=click.Choice([kind.value for kind in StopKind]),
    default=StopKind.LOCAL.value,
    show_default=True,
    help="Whose STOP is obeyed: clients' on this machine, those with the token or the role, or nobody's.",
)
@option(
    "--stop-token-file",
    metavar="FILE",
    help=f"Where the token is; otherwise in the environment variable {STOP_TOKEN_VARIABLE}.",
)
@option("--stop-role", metavar="ROLE", help="Organizational unit (OU) in the certificate of who may stop.")
@option(
    "--proxy-from",
    metavar="NETWORK",
    multiple=True,
    help="Accept connections from these relays only, each with a PROXY header (version 1 or 2): an address, "
    "a network, or unix; may be repeated.",
)
@option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="What is logged on stderr.",
)
@option(
    "--log-format",
    type=click.Choice([form.value for form in LogFormat]),
    default=LogFormat.HUMAN.value,
    show_default=True,
    help="Lines for people, or one JSON object on each.",
)
@option(
    "--metrics",
    metavar="[HOST:]PORT",
    help=f"Answer HTTP there: /metrics, /healthz, /readyz.  [default host: {DEFAULT_HOST}]",
)
@option(
    "--executor",
    metavar="thread:N|process:N",
    help="What calls the handlers: N threads or processes of their own.  [default: the worker threads]",
)
@click.version_option(package_name="framelet", message="framelet-server %(version)s")
def command(  # noqa: PLR0913 - one parameter for each option
    *,
    host: str | None,
    port: int | None,
    unix: str | None,
    workers: int,
    inheritance: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    tls_client_ca: str | None,
    handler: str | None,
    handle: Sequence[str],
    stop: str,
    stop_token_file: str | None,
    stop_role: str | None,
    proxy_from: Sequence[str],
    log_level: str,
    log_format: str,
    metrics: str | None,
    executor: str | None,
    **limits: Any,  # noqa: ANN401 - the options made from ServerLimits
) -> int:
    """Answer Framelet clients, many at once, until a STOP or a signal.

    When it is ready it prints one line with its address on stdout.  SIGTERM, SIGINT and an allowed STOP let
    it answer what it has received and then exit with status 0; a second signal cuts that short.  Started by
    systemd's socket activation, it serves the sockets of LISTEN_FDS.
    """
    several = workers > 1 or inheritance is not None
    configure(log_level, LogFormat(log_format), HUMAN_OF_SEVERAL if several else HUMAN)
    if several and metrics is not None:
        raise click.UsageError(
            "--metrics cannot be combined with --workers: each process has numbers of its own"
        )
    checked = ServerLimits(**limits)
    policy = _stop_policy(StopKind(stop), stop_token_file, stop_role)
    tls = _tls(tls_cert, tls_key, tls_client_ca)
    relays = ProxyPolicy(proxy_from) if proxy_from else None
    notifier = Notifier.from_environment()
    child = None if inheritance is None else Child(inheritance)
    sockets = inherited_sockets() if child is None else child.sockets
    if sockets and child is None and (host, port, unix) != (None, None, None):
        raise click.UsageError("--host, --port and --unix cannot be combined with the sockets of LISTEN_FDS")
    address = None if sockets else check_address(_address(host, port, unix), tls)
    calling = None if executor is None else make_executor(executor)
    if workers > 1 and child is None:
        return supervise(address, sockets, children=workers, limits=checked, notifier=notifier, tls=tls)
    server = Server(
        address,
        reverse if handler is None else load_handler(handler),
        sockets=sockets,
        handlers=dict(map(parse_handle, handle)),
        limits=checked,
        stop_policy=policy,
        tls=tls,
        proxy=relays,
        drain_observer=child or NotifyingObserver(notifier),
        executor=calling,
    )
    run_server(
        server,
        child=child,
        notifier=notifier,
        metrics=metrics,
        max_connections=checked.max_connections,
        executor=calling,
        on_reload=_ON_RELOAD if tls is None else tls.reload,
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status: 0 after a drain, 1 when it cannot serve, 2 for wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(command.main(given, "framelet-server", standalone_mode=False, obj=given) or 0)
    except click.ClickException as error:
        return _complain(error.format_message() + " (see framelet-server --help)", error.exit_code)
    except (AddressError, ConfigurationError) as error:
        return _complain(str(error), 2)
    except FrameletError as error:
        return _complain(str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        return 130


def _complain(message: str, status: int) -> int:
    print("framelet-server: error:", " ".join(message.split()), file=sys.stderr)  # noqa: T201 - the user's terminal
    return status


def _address(host: str | None, port: int | None, unix: str | None) -> Address:
    if unix is None:
        return TcpAddress(DEFAULT_HOST if host is None else host, DEFAULT_PORT if port is None else port)
    if host is not None or port is not None:
        raise click.UsageError("--unix cannot be combined with --host or --port")
    return UnixAddress(unix)


def _tls(cert: str | None, key: str | None, client_ca: str | None) -> ServerTls | None:
    if cert is None:
        if key is not None or client_ca is not None:
            raise click.UsageError("--tls-key and --tls-client-ca go with --tls-cert")
        return None
    return ServerTls(cert, key, client_ca_file=client_ca)


def _stop_policy(kind: StopKind, file: str | None, role: str | None) -> StopPolicy:
    if (kind is StopKind.CERTIFICATE) != bool(role):
        raise click.UsageError("--stop certificate and --stop-role ROLE go together")
    if kind is not StopKind.TOKEN:
        if file is not None:
            message = f"--stop-token-file goes with --stop token, not --stop {kind.value}"
            raise click.UsageError(message)
        return StopPolicy(kind, role=role or "")
    if file is None:
        token = os.environ.get(STOP_TOKEN_VARIABLE, "")
        source = f"the environment variable {STOP_TOKEN_VARIABLE}"
    else:
        source = f"the file {file}"
        try:
            token = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            message = f"cannot read the stop token from {source}: {reason}"
            raise click.UsageError(message) from None
    if not token:
        message = f"--stop token needs a token, but {source} is empty"
        raise click.UsageError(message)
    return StopPolicy.with_token(token)
