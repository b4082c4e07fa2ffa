"""Runs what the command line asks for: one server, a child of a supervisor, or the supervisor."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import sys
from typing import TYPE_CHECKING

import click

from framelet import Address, FrameletError
from framelet.address import DEFAULT_HOST, parse_port
from framelet.tls import KeptFile
from framelet_server.layers.tls import secured
from framelet_server.net.sockets import open_listeners
from framelet_server.observe.http_endpoint import Endpoint, Observed
from framelet_server.process.children import Children
from framelet_server.process.overview import Overview
from framelet_server.process.run import end_process, serve
from framelet_server.process.supervisor import Supervisor
from framelet_server.service.executors import end_executor

if TYPE_CHECKING:
    import concurrent.futures
    import socket
    from collections.abc import Sequence

    from framelet_server.config import ServerLimits
    from framelet_server.layers.tls import ServerTls
    from framelet_server.process.child import Child
    from framelet_server.process.notify import Notifier
    from framelet_server.process.run import Reload
    from framelet_server.process.signals import Signals
    from framelet_server.server import Server

_SPARE_DESCRIPTORS = 128
"""Descriptors that the process needs in addition to one for each client; refused clients use some of them."""

_TLS_OPTIONS = {"cert_file": "--tls-cert", "key_file": "--tls-key", "client_ca_file": "--tls-client-ca"}

_log = logging.getLogger("framelet_server")


def run_server(  # noqa: PLR0913 - keywords
    server: Server,
    *,
    child: Child | None,
    notifier: Notifier,
    signals: Signals,
    metrics: str | None,
    max_connections: int,
    executor: concurrent.futures.Executor | None,
    on_reload: Reload | None,
) -> None:
    """Serve until a drain has ended; ``metrics`` is the address of the HTTP endpoint.

    With ``child`` the process belongs to a supervisor, which has the endpoint for all.  If a handler never
    returns, the process ends here.
    """
    endpoint = _endpoint(server, metrics if child is None else None)
    _raise_descriptor_limit(max_connections)
    with endpoint:
        if child is not None:
            child.serve(server, on_reload)
        else:
            serve(server, _announce, notifier, signals, on_reload)
    ended = executor is None or end_executor(executor)
    if server.stuck or not ended:
        end_process(signals.forced_by)


def supervise(  # noqa: PLR0913 - keywords
    address: Address | None,
    sockets: list[socket.socket],
    *,
    children: int,
    limits: ServerLimits,
    notifier: Notifier,
    signals: Signals,
    metrics: str | None,
    tls: ServerTls | None,
    token: str,
) -> int:
    """Serve by several processes until a drain has ended; the exit status.

    ``metrics`` is as in ``run_server``.  Children get from here what they cannot read again: files that are
    kept, and the ``token`` of STOP.
    """
    kept = {} if tls is None else {_TLS_OPTIONS[name]: file for name, file in tls.files.items() if file.kept}
    if token:
        kept["--stop-token-file"] = KeptFile("the token", token.encode())
    overview = Overview(Children(children))
    endpoint = _endpoint(overview, metrics)
    supervisor = Supervisor(
        [*_own_command(), *(word for option, file in kept.items() for word in (option, file.path))],
        open_listeners(address, limits.backlog) if address else sockets,
        passed_on=[file.descriptor for file in kept.values() if file.descriptor is not None],
        owns_files=address is not None,
        overview=overview,
        limits=limits,
        announce=lambda addresses: _announce([secured(found, tls) for found in addresses]),
        notifier=notifier,
        signals=signals,
    )
    with endpoint:
        return supervisor.run()


def _own_command() -> list[str]:
    """The command line that starts this program again, with the same arguments and interpreter flags."""
    arguments: list[str] = click.get_current_context().obj
    flags = sys.orig_argv[1:]
    if not (arguments and flags[-len(arguments) :] == arguments):  # called by another program
        flags = ["-m", "framelet_server", *arguments]
    by_name = flags[: -len(arguments)][-2:] == ["-m", "framelet_server"]
    return [sys.executable, *(["-P"] if by_name else []), *flags]  # not from the current folder


def _announce(addresses: Sequence[Address]) -> None:
    """Print the one line that says where the server listens, if stdout is open."""
    if sys.stdout is None:
        return
    line = f"framelet-server listening on {', '.join(map(str, addresses))}\n"
    try:
        os.write(sys.stdout.fileno(), os.fsencode(line))  # unbuffered: a buffer could fail at the exit
    except OSError as error:
        message = f"cannot write to standard output: {error.strerror}"
        raise FrameletError(message) from error


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


def _endpoint(server: Observed, where: str | None) -> contextlib.AbstractContextManager[object]:
    """The endpoint for metrics, which listens already; a null context if none is asked for."""
    if where is None:
        return contextlib.nullcontext()
    host, _, port = where.rpartition(":")
    endpoint = Endpoint(server, host.removeprefix("[").removesuffix("]") or DEFAULT_HOST, parse_port(port))
    _log.info("metrics on http://%s/metrics", endpoint)
    return endpoint
