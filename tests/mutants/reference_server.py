"""The reference server: SPEC.md and nothing else, one thread for each connection, and a switch for each bug.

    python -m tests.mutants.reference_server --port 0 [--bug NAME] ...

It is what the conformance suite is tried on.  It prints `listening on 127.0.0.1:PORT` when it is ready, and
ends after an allowed STOP, SIGTERM or SIGINT, when the drain is over.
"""

import argparse
import contextlib
import hmac
import os
import select
import signal
import socket
import sys
import threading
import time

from . import bugs
from .bugs import bug
from .server_answers import Options
from .server_connection import TICK, Connection, State


class ReferenceServer:
    """Listens on a loopback address, and drains when it is told to (section 10)."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.drain_deadline: float | None = None  # on the monotonic clock, once the drain has begun
        self._connections: list[Connection] = []
        self._closed = 0
        self._cut = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", options.port))
        self._listener.settimeout(0.0)
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Accept until the drain begins, then wait until every connection has ended."""
        with self._listener:
            while self.drain_deadline is None:
                self._accept()
            while any(each.state is not State.CLOSED for each in self._connections):
                if bug("drain-goes-on-accepting"):
                    self._accept()
                time.sleep(TICK)

    def _accept(self) -> None:
        if not select.select([self._listener], [], [], TICK)[0]:
            return
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # the client has gone again, or a drain ended the listening
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections = [each for each in self._connections if each.state is not State.CLOSED]
        held = sum(connection.state in {State.OPEN, State.DRAINING} for connection in self._connections)
        limit = self.options.max_connections + bug("one-connection-too-many")
        connection = Connection(self, sock, refused=held >= limit)
        self._connections.append(connection)
        connection.start()

    def may_stop(self, token: bytes) -> bool:
        """REQ-STOP-1.  Every address here is a loopback address, so `local` allows every client."""
        expected = self.options.stop_token.encode()
        match self.options.stop:
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

    def begin_drain(self) -> None:
        """Stop accepting; each connection sees the deadline and drains (REQ-STOP-6, REQ-STOP-12)."""
        with self._lock:
            if self.drain_deadline is None:
                self.drain_deadline = time.monotonic() + self.options.drain_timeout
        if not bug("drain-goes-on-accepting"):
            self.stop_listening()

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
        return bug("stopped-too-early") or all(
            connection.stop_allowed or connection.state in {State.CLOSING, State.CLOSED}
            for connection in self._connections
        )

    def stopped_body(self) -> bytes:
        """REQ-STOP-9."""
        separator = ", " if bug("stopped-malformed") else " "
        return f"closed={self._closed}{separator}cut={self._cut}".encode()


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
    parser.add_argument("--echo-type", type=lambda text: int(text, 0), help="answer it with the same body")
    parser.add_argument("--application", choices=("none", "reverse"), default=default.application)
    parser.add_argument("--max-connections", type=int, default=default.max_connections)
    bugs.add_options(parser)
    return parser


def main() -> int:
    """Run the server that the command line describes."""
    given = vars(options().parse_args())
    if bugs.use_options("server", given):
        return 0
    threading.stack_size(1 << 18)  # many connections must not look like much memory
    server = ReferenceServer(Options(**given))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0) if bug("signal-without-drain") else server.begin_drain())
    sys.stdout.write(f"listening on 127.0.0.1:{server.port}\n")
    sys.stdout.flush()
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
