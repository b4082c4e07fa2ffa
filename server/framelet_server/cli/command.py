"""The command ``framelet-server``."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from framelet import Address, AddressError, ConfigurationError, FrameletError, UnixAddress, reverse
from framelet.address import DEFAULT_HOST, DEFAULT_PORT, TcpAddress, parse_port
from framelet_server.config import ServerLimits
from framelet_server.layers.proxy_policy import ProxyPolicy
from framelet_server.layers.tls import ServerTls
from framelet_server.net.sockets import open_listeners
from framelet_server.observe.http_endpoint import Endpoint
from framelet_server.observe.logs import HUMAN, HUMAN_OF_SEVERAL, LogFormat, configure
from framelet_server.pool.stop_policy import StopKind, StopPolicy
from framelet_server.process.child import Child
from framelet_server.process.inherited import inherited_sockets
from framelet_server.process.notify import Notifier, NotifyingObserver
from framelet_server.process.run import end_process, serve
from framelet_server.process.supervisor import Supervisor
from framelet_server.server import Server, check_address, secured
from framelet_server.service.executors import end_executor, make_executor

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from framelet_server.process.run import Reload
    from framelet_server.service.handlers import Handler

TOKEN_VARIABLE = "FRAMELET_STOP_TOKEN"  # noqa: S105 - the name of a variable, no secret

_SPARE_DESCRIPTORS = 128
"""Descriptors that the process needs beside those of its clients, the refused ones among them."""

_ON_RELOAD: Reload | None = None
"""What SIGHUP is for where there is no certificate to reload: nothing."""

_log = logging.getLogger("framelet_server")


def _limit_options(command: click.Command) -> click.Command:
    """Give a command one option for each of the server's limits."""
    for info in ServerLimits.describe():
        option = click.Option(
            [info.option],
            type=info.kind,
            default=info.default,
            show_default=True,
            metavar=info.unit.upper(),
            help=info.purpose[0].upper() + info.purpose[1:] + ".",
        )
        command.params.append(option)
    return command


@_limit_options
@click.command("framelet-server", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", help=f"Name or address to listen on.  [default: {DEFAULT_HOST}]")
@click.option("--port", type=click.IntRange(0, 65535), help=f"Port; 0 for any.  [default: {DEFAULT_PORT}]")
@click.option("--unix", metavar="PATH", help="Listen on a unix socket instead.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1_024),
    default=1,
    show_default=True,
    help="Processes that share the address; each has the threads and limits below to itself.",
)
@click.option("--worker", "inheritance", hidden=True, help="Be one of them; for the supervisor's use.")
@click.option(
    "--tls-cert", metavar="FILE", help="Speak TLS, with the certificate in FILE; SIGHUP reloads it."
)
@click.option("--tls-key", metavar="FILE", help="Key of that certificate, if it is not in the same file.")
@click.option("--tls-client-ca", metavar="FILE", help="CAs of which clients must show a certificate.")
@click.option(
    "--handler",
    metavar="MODULE:FUNCTION",
    help="What answers a REQUEST: a function from str to str.  [default: reversal]",
)
@click.option(
    "--handle",
    metavar="TYPE=MODULE:FUNCTION",
    multiple=True,
    help="What answers an application type, 0xC0 to 0xFF; may be repeated.",
)
@click.option(
    "--stop",
    type=click.Choice([kind.value for kind in StopKind]),
    default=StopKind.LOCAL.value,
    show_default=True,
    help="Whose STOP is obeyed: clients' on this machine, those with the token or the role, or nobody's.",
)
@click.option(
    "--stop-token-file",
    metavar="FILE",
    help=f"Where the token is; otherwise in the environment variable {TOKEN_VARIABLE}.",
)
@click.option(
    "--stop-role", metavar="ROLE", help="Organizational unit (OU) in the certificate of who may stop."
)
@click.option(
    "--proxy-from",
    metavar="NETWORK",
    multiple=True,
    help="Accept connections from these relays only, each with a PROXY header (version 1 or 2): an address, "
    "a network, or unix; may be repeated.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="What is logged on stderr.",
)
@click.option(
    "--log-format",
    type=click.Choice([form.value for form in LogFormat]),
    default=LogFormat.HUMAN.value,
    show_default=True,
    help="Lines for people, or one JSON object on each.",
)
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    help=f"Answer HTTP there: /metrics, /healthz, /readyz.  [default host: {DEFAULT_HOST}]",
)
@click.option(
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
    worker = None if inheritance is None else Child(inheritance)
    sockets = inherited_sockets() if worker is None else worker.sockets
    if sockets and worker is None and (host, port, unix) != (None, None, None):
        raise click.UsageError("--host, --port and --unix cannot be combined with the sockets of LISTEN_FDS")
    address = None if sockets else check_address(_address(host, port, unix), tls)
    calling = make_executor(executor) if executor else None
    if workers > 1 and worker is None:
        return _supervise(address, sockets, workers, checked, notifier, tls)
    server = Server(
        address,
        _load(handler) if handler else reverse,
        sockets=sockets,
        handlers=dict(_parse_handle(text) for text in handle),
        limits=checked,
        stop_policy=policy,
        tls=tls,
        proxy=relays,
        drain_observer=worker or NotifyingObserver(notifier),
        executor=calling,
    )
    endpoint = _endpoint(server, metrics)
    _raise_descriptor_limit(limits["max_connections"])
    on_reload = _ON_RELOAD if tls is None else tls.reload
    with endpoint:
        if worker is not None:
            worker.serve(server, on_reload)
        else:
            serve(server, _announce, notifier, on_reload)
    ended = calling is None or end_executor(calling)
    if server.stuck or not ended:
        end_process()
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


def _supervise(  # noqa: PLR0913, PLR0917 - what a supervisor needs to know, once
    address: Address | None,
    sockets: list[socket.socket],
    workers: int,
    limits: ServerLimits,
    notifier: Notifier,
    tls: ServerTls | None,
) -> int:
    """Have several processes serve; the exit status."""
    supervisor = Supervisor(
        _own_command(),
        open_listeners(address, limits.backlog) if address else sockets,
        owns_files=address is not None,
        children=workers,
        limits=limits,
        announce=lambda addresses: _announce([secured(found, tls) for found in addresses]),
        notifier=notifier,
    )
    return supervisor.run()


def _own_command() -> list[str]:
    """What starts this program again with the same arguments, in the same way and with the same flags."""
    arguments: list[str] = click.get_current_context().obj
    flags = sys.orig_argv[1:]
    if arguments and flags[-len(arguments) :] == arguments:
        return [sys.executable, *flags]
    return [sys.executable, "-m", "framelet_server", *arguments]  # called by another program


def _announce(addresses: Sequence[Address]) -> None:
    """Print the one line that says where the server listens, if stdout is open."""
    if sys.stdout is None:
        return
    line = f"framelet-server listening on {', '.join(map(str, addresses))}\n"
    try:
        os.write(sys.stdout.fileno(), os.fsencode(line))  # so that nothing is left to fail at the end
    except OSError as error:
        message = f"cannot write to standard output: {error.strerror}"
        raise FrameletError(message) from error


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


def _load(text: str) -> Handler:
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


def _endpoint(server: Server, where: str | None) -> contextlib.AbstractContextManager[object]:
    """The endpoint for metrics, listening already where there is to be one."""
    if where is None:
        return contextlib.nullcontext()
    host, _, port = where.rpartition(":")
    endpoint = Endpoint(server, host.removeprefix("[").removesuffix("]") or DEFAULT_HOST, parse_port(port))
    _log.info("metrics on http://%s/metrics", endpoint)
    return endpoint


def _parse_handle(text: str) -> tuple[int, Handler]:
    number, _, handler = text.partition("=")
    try:
        return int(number, 0), _load(handler)
    except ValueError:
        message = f"--handle {text!r} names no type: expected a number, as in 0xC0=module:function"
        raise click.UsageError(message) from None


def _stop_policy(kind: StopKind, file: str | None, role: str | None) -> StopPolicy:
    if (kind is StopKind.CERTIFICATE) != bool(role):
        raise click.UsageError("--stop certificate and --stop-role ROLE go together")
    if kind is not StopKind.TOKEN:
        if file is not None:
            message = f"--stop-token-file goes with --stop token, not --stop {kind.value}"
            raise click.UsageError(message)
        return StopPolicy(kind, role=role or "")
    if file is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
        source = f"the environment variable {TOKEN_VARIABLE}"
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


def _raise_descriptor_limit(max_connections: int) -> None:
    """Allow as many descriptors as the clients need, as far as the system lets us."""
    wanted = max_connections + _SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        _log.warning(
            "%d connections are allowed, but the system allows %d descriptors", max_connections, allowed
        )
