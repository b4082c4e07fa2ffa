"""A small HTTP endpoint beside a server: its metrics, whether it is alive, and whether it is ready.

It runs on threads of its own, so that it answers while every worker is busy, and it reads only the head of a
request.  It is for the operator's own machines: it has neither users nor TLS.
"""

from __future__ import annotations

import http.server
import ipaddress
import logging
import socket
import socketserver
import threading
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit

from framelet_server.net.forks import tell_of_forks
from framelet_server.net.sockets import ListenError
from framelet_server.net.threads import ThreadLimitError, begin_thread

from .prometheus import HasMetrics, registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .liveness import Health

_log = logging.getLogger("framelet_server")

_MOST = 32
"""Requests at a time.  When one more comes, the oldest is cut off: it is slow or silent by then."""

_SILENCE = 5.0
"""Seconds that one read or write may take."""

_PAUSE = 0.25
"""Seconds without accepting after the system ran out of something."""

_TEXT = "text/plain; charset=utf-8"


class Observed(HasMetrics, Protocol):
    """What can be looked at through an endpoint: a server."""

    @property
    def started(self) -> bool:
        """Whether it has numbers by now."""
        ...

    @property
    def health(self) -> Health:
        """Whether it is alive, and ready for new clients."""
        ...


class Endpoint:
    """Answers ``/metrics``, ``/healthz`` and ``/readyz`` for a server; for ``with``."""

    def __init__(self, server: Observed, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 is any free one.  Raises ListenError, or MissingExtraError without the extra."""
        pages = _pages(server)
        try:
            self._http = _open(host, port, pages)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            message = f"cannot serve metrics on {_shown(host, port)}: {reason}"
            raise ListenError(message) from error
        self.address: tuple[str, int] = self._http.server_address[:2]  # type: ignore[assignment]  # no unix socket
        self._elsewhere = False  # this is a fork of its process
        tell_of_forks(self)

    def __str__(self) -> str:
        """Where it listens, as ``HOST:PORT``."""
        return _shown(*self.address)

    def __enter__(self) -> Self:
        """Start answering; raises ThreadLimitError."""
        try:
            self._thread = begin_thread("framelet-metrics", self._http.serve_forever)
        except ThreadLimitError:
            self._http.server_close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop answering; nothing in a fork."""
        if not self._elsewhere:
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()

    def forked(self) -> None:
        """Close the copies of a fork."""
        self._elsewhere = True
        self._http.forked()


Page = tuple[HTTPStatus, str, bytes]
"""Status, type of content, content."""


def _pages(server: Observed) -> dict[str, Callable[[], Page]]:
    found = registry(server)
    from prometheus_client import exposition  # noqa: PLC0415 - an extra, and ``registry`` says so if it is missing

    def metrics() -> Page:
        if not server.started:
            return _verdict(False, server.health.words)  # noqa: FBT003 - the verdict
        return HTTPStatus.OK, exposition.CONTENT_TYPE_LATEST, exposition.generate_latest(found)

    def alive() -> Page:
        return _verdict(server.health.alive, server.health.words)

    def ready() -> Page:
        return _verdict(server.health.ready, server.health.words)

    return {"/metrics": metrics, "/healthz": alive, "/readyz": ready}


def _verdict(good: bool, words: str) -> Page:  # noqa: FBT001 - a verdict
    return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"{words}\n".encode()


def _open(host: str, port: int, pages: dict[str, Callable[[], Page]]) -> _HttpServer:
    family, _, _, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    return _HttpServer(family, name, pages, host)


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _HttpServer(socketserver.ThreadingTCPServer):
    """A thread for each request, up to a number of them."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, family: int, name: Any, pages: dict[str, Callable[[], Page]], host: str) -> None:  # noqa: ANN401 - socket addresses have a form per family
        self.address_family = family
        self.pages = pages
        self._host = host.lower()
        self._open: OrderedDict[Any, None] = OrderedDict()
        self._lock = threading.Lock()  # guards ``_open``
        self._short = False  # of descriptors, since the last request
        super().__init__(name, _Request)

    def is_called(self, host: str) -> bool:
        """Whether a request may name this host: on the loopback interface an address, localhost or ours.

        A page in a browser of this machine can have a name of its own resolve to 127.0.0.1, and then read
        what comes from there (DNS rebinding).
        """
        if not ipaddress.ip_address(str(self.server_address[0]).partition("%")[0]).is_loopback:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in ("localhost", self._host) or bool(ipaddress.ip_address(name.partition("%")[0]))
        except ValueError:
            return False

    def get_request(self) -> tuple[Any, Any]:
        """Accept a client; after an error, wait a moment: the base class would retry in a busy loop."""
        try:
            return super().get_request()
        except OSError as error:
            if not self._short:
                _log.error("metrics: cannot accept: %s; trying again until it works", error.strerror)
            self._short = True
            time.sleep(_PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base has it
        """Make room, then answer on a thread of its own, or on this one where the system allows no more."""
        self._short = False
        with self._lock:
            self._open[request] = None
            oldest = self._open.popitem(last=False)[0] if len(self._open) > _MOST else None
        if oldest is not None:
            _end(oldest)  # its thread finds the stream ended, and closes it
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self.process_request_thread(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as the base has it
        """Close it, and make room for another."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def forked(self) -> None:
        """Close the copies of a fork."""
        for sock in (self.socket, *self._open):
            sock.close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base has it
        """A client that fails is of interest at debug level alone."""
        del request
        _log.debug("metrics: %s: failed", client_address, exc_info=True)


def _end(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # gone already


class _Request(http.server.BaseHTTPRequestHandler):
    """One request; HTTP/1.0, so that each has a connection of its own."""

    server: _HttpServer  # pyright: ignore[reportIncompatibleVariableOverride]  # what it always is
    timeout = _SILENCE
    server_version = "framelet-server"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with a page."""
        host = self.headers.get("Host")  # which HTTP/1.0 does not ask for, and browsers send
        if host is not None and not self.server.is_called(host):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "unknown host: expected an address or localhost")
            return
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND, "expected /metrics, /healthz or /readyz")
            return
        status, kind, content = page()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815 - the name that the base looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base has
        """Requests are of interest at debug level alone."""
        _log.debug("metrics: %s: " + format, self.address_string(), *args)
