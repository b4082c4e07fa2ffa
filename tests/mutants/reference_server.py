"""The reference server: SPEC.md and nothing else, one thread for each connection, and a switch for each bug.

    python -m tests.mutants.reference_server --port 0 [--bug NAME] ...

It is what the conformance suite is tried on.  It prints `listening on 127.0.0.1:PORT` when it is ready, and
ends after an allowed STOP, SIGTERM or SIGINT, when the drain is over.
"""

import argparse
import contextlib
import hmac
import os
import pathlib
import signal
import socket
import sys
import threading
import time
from typing import Any

from . import bugs
from .bugs import bug
from .server_answers import Options
from .server_connection import TICK, Connection, State
from .wire import wait


def allows(options: Options, token: bytes) -> bool:
    """REQ-STOP-1.  Every address here is a loopback address, so `local` allows every client."""
    expected = options.stop_token.encode()
    match options.stop:
        case "local":
            return True
        case "token":
            if bug("stop-any-token"):
                return True
            if bug("stop-empty-token") and not token:
                return True
            if bug("stop-token-prefix") and token:
                return expected.startswith(token)
            return bool(token) and hmac.compare_digest(token, expected)
        case _:
            return bug("stop-off-obeyed")


class ReferenceServer:
    """Listens on a loopback address, and drains when it is told to (section 10)."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.drain_deadline: float | None = None  # on the monotonic clock, once the drain has begun
        self._connections: list[Connection] = []
        self._let_in = False  # the drain has begun, and all are there whom it has to wait for
        self._closed = 0
        self._cut = 0
        self._accepted = 0
        self._waiting: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", options.port))
        self._listener.settimeout(0.0)
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Accept until the drain begins, then wait until every connection has ended."""
        with self._listener:
            while self.drain_deadline is None:
                self._accept()
            while self._accept(0.0):
                pass  # they had connected before (REQ-DRAIN-2)
            if not bug("drain-goes-on-accepting"):
                self.stop_listening()
            self._let_in = True
            while any(each.state is not State.CLOSED for each in self._connections):
                if bug("drain-goes-on-accepting"):
                    self._accept()
                time.sleep(TICK)

    def _accept(self, patience: float = TICK) -> bool:
        """Whether somebody was there to be let in."""
        if not any(wait(self._listener, read=True, write=False, timeout=patience)):
            return False
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return False  # the client has gone again, or a refused STOP ended the listening
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections = [each for each in self._connections if each.state is not State.CLOSED]
        counted = {State.OPEN, State.DRAINING, *([] if bug("lingering-do-not-count") else [State.CLOSING])}
        held = sum(each.state in counted and not each.refused for each in self._connections)
        self._accepted += 1
        if bug("connection-257-waits") and self._accepted == 257:
            self._waiting.append(sock)
            return True
        limit = self.options.max_connections + bug("one-connection-too-many")
        if bug("connections-of-8-bits"):
            held &= 0xFF
            limit = min(limit, 0xFF)
        if bug("refused-connections-count"):
            held = len(self._connections)
        connection = Connection(self, sock, refused=held >= limit)
        self._connections.append(connection)
        connection.start()
        return True

    def may_stop(self, token: bytes) -> bool:
        """Whether this token, or none, ends the server."""
        return allows(self.options, token)

    def begin_drain(self) -> None:
        """Each connection sees the deadline and drains, and no more are accepted (REQ-STOP-6, REQ-STOP-12)."""
        with self._lock:
            if self.drain_deadline is None:
                self.drain_deadline = time.monotonic() + self.options.drain_timeout

    def stop_listening(self) -> None:
        """Refuse further connections at once, though another thread may wait for one."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

    def count_drained(self, *, cut: bool) -> None:
        """Count a connection that the drain closed in order, or cut off."""
        with self._lock:
            self._cut += cut
            self._closed += not cut

    def others_ended(self) -> bool:
        """REQ-STOP-8; a connection counts as closed when the server has sent FIN."""
        ended = {State.CLOSED} if bug("stopped-waits-for-close") else {State.CLOSING, State.CLOSED}
        return bug("stopped-too-early") or (
            self._let_in
            and all(connection.stop_allowed or connection.state in ended for connection in self._connections)
        )

    def stopped_body(self) -> bytes:
        """REQ-STOP-9."""
        separator = ", " if bug("stopped-malformed") else " "
        closed, cut = self._closed, self._cut
        if bug("stopped-swaps-counts"):
            closed, cut = cut, closed
        return f"closed={closed}{separator}cut={cut}".encode()


def options() -> argparse.ArgumentParser:
    """The command line; times in seconds, sizes in octets."""
    parser = argparse.ArgumentParser(description="Framelet reference server, correct or with a bug.")
    default = Options()
    parser.add_argument("--port", type=int, default=default.port)
    parser.add_argument("--max-body", type=int, default=default.max_body)
    for name in ("frame", "idle", "linger", "write", "drain"):
        parser.add_argument(f"--{name}-timeout", type=float, default=getattr(default, f"{name}_timeout"))
    parser.add_argument("--stop", choices=("local", "off", "token"), default=default.stop)
    parser.add_argument("--stop-token", default=default.stop_token)
    parser.add_argument("--stop-token-file", type=pathlib.Path)
    parser.add_argument("--echo-type", type=lambda text: int(text, 0), help="answer it with the same body")
    parser.add_argument("--application", choices=("none", "reverse"), default=default.application)
    parser.add_argument("--max-connections", type=int, default=default.max_connections)
    bugs.add_options(parser)
    return parser


def read_options(given: dict[str, Any]) -> dict[str, Any]:
    """What ``Options`` takes; a token that stands in a file is read."""
    if (file := given.pop("stop_token_file")) is not None:
        token = file.read_text(encoding="utf-8")
        given["stop_token"] = token if bug("token-file-line-end") else token.rstrip("\r\n")
    return given


def main() -> int:
    """Run the server that the command line describes."""
    given = vars(options().parse_args())
    if bugs.use_options("server", given):
        return 0
    threading.stack_size(1 << 18)  # many connections must not look like much memory
    server = ReferenceServer(Options(**read_options(given)))
    rash = {"SIGTERM": bug("signal-without-drain"), "SIGINT": bug("sigint-without-drain")}
    for name, exits in rash.items():
        signal.signal(
            signal.Signals[name], lambda *_, exits=exits: os._exit(0) if exits else server.begin_drain()
        )
    sys.stdout.write(f"listening on 127.0.0.1:{server.port}\n")
    sys.stdout.flush()
    server.serve()
    while bug("process-stays"):
        time.sleep(TICK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
