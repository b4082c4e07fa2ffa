"""The command ``framelet-server``."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from framelet import (
    Address,
    AddressError,
    ConfigurationError,
    FrameletError,
    UnixAddress,
    parse_address,
    reverse,
)
from framelet.address import DEFAULT_HOST, DEFAULT_PORT, without_password
from framelet.registry import STOP_TOKEN_VARIABLE
from framelet_server.config import ServerLimits
from framelet_server.layers.proxy_policy import ProxyPolicy
from framelet_server.layers.tls import ServerTls, check_address
from framelet_server.observe.logs import HUMAN, HUMAN_OF_SEVERAL, LogFormat, configure
from framelet_server.pool.stop_policy import StopKind, StopPolicy
from framelet_server.process.child import Child
from framelet_server.process.inherited import inherited_sockets
from framelet_server.process.notify import Notifier, NotifyingObserver
from framelet_server.process.signals import Signals
from framelet_server.server import Server
from framelet_server.service.executors import make_executor

from .config_file import expanded
from .loading import import_modules, load_handler, parse_handle
from .running import run_server, supervise
from .valued import GroupedCommand, Quantity, ValuedOption, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_server.process.run import Reload


_ADVICE = {
    errno.EADDRINUSE: "; another program uses it: stop that program, or use another address",
    errno.EADDRNOTAVAIL: "; this machine does not have it: --host 0.0.0.0 listens on all of its addresses",
    errno.EACCES: "; use a port from 1024 on, or a folder in which this user may create files",
    errno.ENOENT: "; the folder does not exist",
    socket.EAI_NONAME: "; unknown host: --host takes a name or an address of this machine",
}
"""What to do if the server cannot listen, by the error's number."""

INTERRUPTED = 130
"""The status for an end by SIGINT, as shells show it."""

_ON_RELOAD: Reload | None = None
"""What SIGHUP does if there is no certificate to reload: nothing."""


_LIMIT_GROUPS = {"seconds": "Limits of time", "octets": "Limits of size"}


def _limit_options(command: click.Command) -> click.Command:
    """Give a command one option for each of the server's limits."""
    for info in ServerLimits.describe():
        settings: dict[str, Any] = {**info.option_settings(), "type": Quantity(info)}
        group = _LIMIT_GROUPS.get(info.unit, "Other limits")
        command.params.append(ValuedOption([info.option], group=group, **settings))
    return command


@_limit_options
@click.command(
    "framelet-server",
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@option("--host", help=f"Name or address to listen on.  [default: {DEFAULT_HOST}]", group="Address")
@option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Port; 0 for any.  [default: {DEFAULT_PORT}]",
    group="Address",
)
@option("--unix", metavar="PATH", help="Listen on a unix socket instead.", type=click.Path(), group="Address")
@option(
    "--workers",
    type=click.IntRange(1, 1_024),
    default=1,
    show_default=True,
    help="Processes that share the address.  The threads and limits below are those of each process: N of "
    "them accept N times --max-connections, and N times --max-connections-per-address.",
    group="Address",
)
@option("--worker", "inheritance", hidden=True, help="Run as one of the --workers; for the supervisor alone.")
@option(
    "--tls-cert",
    metavar="FILE",
    help="Speak TLS, with the certificate in FILE; SIGHUP reloads it.",
    type=click.Path(),
    group="TLS",
)
@option(
    "--tls-key",
    metavar="FILE",
    help="Key of that certificate, if it is not in the same file.",
    type=click.Path(),
    group="TLS",
)
@option(
    "--tls-client-ca",
    metavar="FILE",
    help="Require a certificate of every client, from an authority in FILE.",
    type=click.Path(),
    group="TLS",
)
@option(
    "--handler",
    metavar="MODULE:FUNCTION",
    help="Function from str to str that answers each REQUEST.  [default: reversal]",
    group="Handlers",
)
@option(
    "--handle",
    metavar="TYPE=MODULE:FUNCTION",
    multiple=True,
    help="Function that answers an application type, 0xC0 to 0xFF; may be repeated.",
    group="Handlers",
)
@option(
    "--stop",
    type=click.Choice([kind.value for kind in StopKind]),
    default=StopKind.LOCAL.value,
    show_default=True,
    help="Clients that may STOP the server: those on this machine, with the token, with the role, or none.",
    group="Stopping",
)
@option(
    "--stop-token-file",
    metavar="FILE",
    help=f"File that holds the token.  [default: the environment variable {STOP_TOKEN_VARIABLE}]",
    type=click.Path(),
    group="Stopping",
)
@option(
    "--stop-role",
    metavar="ROLE",
    help="Organizational unit (OU) in the certificate of a client that may STOP the server.",
    group="Stopping",
)
@option(
    "--proxy-from",
    metavar="NETWORK",
    multiple=True,
    help="Accept connections from these relays only, each with a PROXY header (version 1 or 2): an address, "
    "a network, or unix; may be repeated.",
    group="Address",
)
@option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="Lowest level of the log lines on stderr.",
    group="Logs and metrics",
)
@option(
    "--log-format",
    type=click.Choice([form.value for form in LogFormat]),
    default=LogFormat.HUMAN.value,
    show_default=True,
    help="Lines for people, or one JSON object on each line.",
    group="Logs and metrics",
)
@option(
    "--metrics",
    metavar="[HOST:]PORT",
    help="Serve HTTP at this address, for all processes: /metrics, /healthz, /readyz.  "
    f"[default host: {DEFAULT_HOST}]",
    group="Logs and metrics",
)
@option(
    "--executor",
    metavar="thread:N|process:N",
    help="Call the handlers in N threads or processes of their own.  [default: in the worker threads]",
    group="Handlers",
)
@option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    expose_value=False,
    help='TOML with any of these options by name, as max-body = "16M"; the command line takes precedence.',
)
@option("--check-config", is_flag=True, help="Check the options and exit, without starting the server.")
@click.version_option(None, "-V", "--version", package_name="framelet", message="framelet-server %(version)s")
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
    check_config: bool,
    **limits: Any,  # noqa: ANN401 - the options made from ServerLimits
) -> int:
    """Answer Framelet clients, many at once, until a STOP or a signal.

    When the server is ready, it prints one line with its address on stdout.  After SIGTERM, SIGINT or an
    allowed STOP it answers what it has received, then exits with status 0.  A second signal ends it at
    once; if that is SIGINT, the process ends by it.  With systemd's socket activation it serves the sockets
    of LISTEN_FDS.
    """
    # Removed from the environment: handlers, and the processes that they start, can read that.
    secret = os.environ.pop(STOP_TOKEN_VARIABLE, "")
    several = workers > 1 or inheritance is not None
    signals = Signals()
    if inheritance is None and (several or tls_cert is not None or _ON_RELOAD is not None):
        signals.catch(signal.SIGHUP)  # acted on once all files are read and all modules imported
    configure(log_level, LogFormat(log_format), HUMAN_OF_SEVERAL if several else HUMAN)
    checked = ServerLimits(**limits)
    policy = _stop_policy(StopKind(stop), stop_token_file, secret, stop_role)
    tls = _tls(tls_cert, tls_key, tls_client_ca)
    relays = ProxyPolicy(proxy_from) if proxy_from else None
    notifier = Notifier.from_environment()
    child = None if inheritance is None else Child(inheritance)
    sockets = inherited_sockets() if child is None else child.sockets
    if sockets and child is None and (host, port, unix) != (None, None, None):
        raise click.UsageError("--host, --port and --unix cannot be combined with the sockets of LISTEN_FDS")
    address = None if sockets else check_address(_address(host, port, unix), tls)
    handlers = [*handle, *([] if handler is None else [handler])]
    calling = None if executor is None else make_executor(executor, partial(import_modules, handlers))
    if workers > 1 and child is None and not check_config:
        status = supervise(
            address,
            sockets,
            children=workers,
            limits=checked,
            notifier=notifier,
            signals=signals,
            metrics=metrics,
            tls=tls,
            token=policy.token,
        )
        return INTERRUPTED if signals.forced_by == signal.SIGINT else status
    if child is not None:
        child.forget_files()
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
    if check_config:
        if calling is not None:
            calling.shutdown()
        click.echo("framelet-server: the configuration is valid")
        return 0
    run_server(
        server,
        child=child,
        notifier=notifier,
        signals=signals,
        metrics=metrics,
        max_connections=checked.max_connections,
        executor=calling,
        on_reload=_ON_RELOAD if tls is None else tls.reload,
    )
    return INTERRUPTED if signals.forced_by == signal.SIGINT else 0


_SHOWN = {"-h", "--help", "-V", "--version"}
"""Options that only write to standard output."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status: 0 after a drain, 1 when it cannot serve, 2 for wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        given = expanded(given, command)
        return int(command.main(given, "framelet-server", standalone_mode=False, obj=given) or 0)
    except click.ClickException as error:
        words = error.format_message().rstrip(".")
        if "unexpected extra argument" in words:
            words += ": it takes options only, as in --port 6666"
        return _complain(words + " (see framelet-server --help)", error.exit_code)
    except (AddressError, ConfigurationError) as error:
        return _complain(str(error), 2)
    except FrameletError as error:
        number: int = getattr(error.__cause__, "errno", None) or 0
        return _complain(f"{error}{_ADVICE.get(number, '')}", 1)
    except OSError as error:  # out of descriptors or memory, as a rule
        what = "write to standard output" if _SHOWN & set(given) else "start"
        return _complain(f"cannot {what}: {error.strerror or error}", 1)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED


def _complain(message: str, status: int) -> int:
    # In one piece: the thread of the log may write at this moment, too.
    sys.stderr.write(f"framelet-server: error: {without_password(' '.join(message.split()))}\n")
    return status


def _address(host: str | None, port: int | None, unix: str | None) -> Address:
    if unix is None:
        return parse_address(DEFAULT_HOST if host is None else host, port)
    if host is not None or port is not None:
        raise click.UsageError("--unix cannot be combined with --host or --port")
    return UnixAddress(unix)


def _tls(cert: str | None, key: str | None, client_ca: str | None) -> ServerTls | None:
    if cert is None:
        if key is not None or client_ca is not None:
            raise click.UsageError("--tls-key and --tls-client-ca need --tls-cert")
        return None
    return ServerTls(cert, key, client_ca_file=client_ca)


def _stop_policy(kind: StopKind, file: str | None, secret: str, role: str | None) -> StopPolicy:
    if (kind is StopKind.CERTIFICATE) != bool(role):
        raise click.UsageError("--stop certificate and --stop-role ROLE go together")
    if kind is not StopKind.TOKEN:
        if file is not None:
            message = f"--stop-token-file goes with --stop token, not --stop {kind.value}"
            raise click.UsageError(message)
        return StopPolicy(kind, role=role or "")
    if file is None:
        token = secret
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
