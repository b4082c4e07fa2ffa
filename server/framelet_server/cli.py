"""The command ``framelet-server``."""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from framelet import (
    Address,
    AddressError,
    ConfigurationError,
    FrameletError,
    ServerLimits,
    UnixAddress,
    reverse,
)
from framelet.address import DEFAULT_HOST, DEFAULT_PORT, TcpAddress

from .server import Server
from .stop_policy import StopKind, StopPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .handlers import Handler

TOKEN_VARIABLE = "FRAMELET_STOP_TOKEN"  # noqa: S105 - the name of a variable, no secret

_SPARE_DESCRIPTORS = 128
"""Descriptors that the process needs beside those of its clients, the refused ones among them."""

_SIGNAL_CHECK = 0.25
"""Seconds after which a signal is noticed at the latest.

Python calls the handlers of signals on the main thread, but where two signals come at once the system may
give both to another thread, and then nothing wakes the main one.
"""

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
    help="Whose STOP is obeyed: clients' on this machine, those with the token, or nobody's.",
)
@click.option(
    "--stop-token-file",
    metavar="FILE",
    help=f"Where the token is; otherwise in the environment variable {TOKEN_VARIABLE}.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="What is logged on stderr.",
)
@click.version_option(package_name="framelet", message="framelet-server %(version)s")
def command(  # noqa: PLR0913 - one parameter for each option
    *,
    host: str | None,
    port: int | None,
    unix: str | None,
    handler: str | None,
    handle: Sequence[str],
    stop: str,
    stop_token_file: str | None,
    log_level: str,
    **limits: Any,  # noqa: ANN401 - the options made from ServerLimits
) -> int:
    """Answer Framelet clients, many at once, until a STOP or a signal.

    When it is ready it prints one line with its address on stdout.  SIGTERM, SIGINT and an allowed STOP let
    it answer what it has received and then exit with status 0; a second signal cuts that short.
    """
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    server = Server(
        _address(host, port, unix),
        _load(handler) if handler else reverse,
        handlers=dict(_parse_handle(text) for text in handle),
        limits=ServerLimits(**limits),
        stop_policy=_stop_policy(StopKind(stop), stop_token_file),
    )
    _raise_descriptor_limit(limits["max_connections"])
    with server:
        _drain_on_signals(server)
        _announce(server)
        while not server.wait(_SIGNAL_CHECK):
            pass
    if server.stuck:
        # Threads that never return from a handler would keep the interpreter from ending.
        logging.shutdown()
        os._exit(0)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status: 0 after a drain, 1 when it cannot serve, 2 for wrong usage."""
    try:
        return int(command.main(arguments, prog_name="framelet-server", standalone_mode=False) or 0)
    except click.ClickException as error:
        return _complain(error.format_message() + " (see framelet-server --help)", error.exit_code)
    except (AddressError, ConfigurationError) as error:
        return _complain(str(error), 2)
    except FrameletError as error:
        return _complain(str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        return 130


def _announce(server: Server) -> None:
    """Print the one line that says where the server listens, if stdout is open."""
    if sys.stdout is None:
        return
    line = f"framelet-server listening on {', '.join(map(str, server.addresses))}\n"
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


def _parse_handle(text: str) -> tuple[int, Handler]:
    number, _, handler = text.partition("=")
    try:
        return int(number, 0), _load(handler)
    except ValueError:
        message = f"--handle {text!r} names no type: expected a number, as in 0xC0=module:function"
        raise click.UsageError(message) from None


def _stop_policy(kind: StopKind, file: str | None) -> StopPolicy:
    if kind is not StopKind.TOKEN:
        if file is not None:
            message = f"--stop-token-file goes with --stop token, not --stop {kind.value}"
            raise click.UsageError(message)
        return StopPolicy(kind)
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


def _drain_on_signals(server: Server) -> None:
    """Drain on SIGTERM and SIGINT; a second signal hastens it."""
    signals = itertools.count()

    def on_signal(number: int, frame: object) -> None:
        del frame
        # A signal handler interrupts the main thread anywhere, also while it holds a lock; so the work
        # is done on a thread of its own.
        hasten = next(signals) > 0  # in one step, as another signal can interrupt this function too
        _in_background(lambda: _drain(server, signal.Signals(number).name, hasten=hasten))

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def _drain(server: Server, reason: str, *, hasten: bool) -> None:
    server.begin_drain(reason)
    if hasten:  # the thread that was to begin the drain may not have got so far; now it has begun
        server.hasten()


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="framelet-signal").start()
