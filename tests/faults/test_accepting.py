"""No error on the way in ends a server: RPyC's ended at any accept error that it did not expect."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from framelet_server.connection.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Peer

    from framelet_server import Server

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]


def system_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


ERRNOS = [
    "ECONNABORTED",
    "EPROTO",
    "EPERM",
    "ENETDOWN",
    "EHOSTUNREACH",
    "EMFILE",
    "ENFILE",
    "ENOBUFS",
    "ENOMEM",
]

FAULTS: dict[str, Exception] = {
    **{name: system_error(getattr(errno, name)) for name in ERRNOS},
    "MemoryError": MemoryError("out of memory"),
    "RuntimeError": RuntimeError("a fault of the server"),
}


def is_dropped(peer: Peer) -> bool:
    """Whether the server closes the connection without a word."""
    try:
        return peer.receive() is None
    except ConnectionError:
        return True


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("times", [1, 4])
def test_accept_fails(  # noqa: PLR0913 - a matrix
    serve: Serve,
    connect: Connect,
    until: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    fault: Exception,
    times: int,
) -> None:
    server = serve()
    first = connect(server)
    assert first.ask("ab") == "ba"
    accept = socket.socket.accept
    left = [fault] * times

    def failing(self: socket.socket) -> Any:
        if left:
            raise left.pop()
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", failing)
    until(lambda: connect(server).ask("ab") == "ba" and not left)
    assert first.ask("ab") == "ba"


@pytest.mark.parametrize("fault", [system_error(errno.ENOSPC), MemoryError()], ids=["ENOSPC", "MemoryError"])
def test_a_client_cannot_be_watched(
    serve: Serve, connect: Connect, poller: Any, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    server = serve(poller=poller, max_connections=2)
    first = connect(server)
    assert first.ask("ab") == "ba"
    left = [fault] * 3
    add = poller.add

    def failing(self: Any, sock: socket.socket, owner: Any, **how: bool) -> Any:
        if left:
            raise left.pop()
        return add(self, sock, owner, **how)

    monkeypatch.setattr(poller, "add", failing)
    for _ in range(3):
        assert is_dropped(connect(server))
    # Neither is the room gone that they would have had, nor does the drain wait for them.
    assert connect(server).ask("ab") == "ba"
    server.begin_drain()
    assert first.receive() is None
    first.close()
    assert server.wait(20)


@pytest.mark.req("REQ-FLOW-6")
def test_a_client_that_is_refused_cannot_be_watched(
    serve: Serve, connect: Connect, poller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(poller=poller, max_connections=1)
    first = connect(server)
    assert first.ask("ab") == "ba"
    left = [system_error(errno.ENOSPC)] * 3
    add = poller.add

    def failing(self: Any, sock: socket.socket, owner: Any, **how: bool) -> bool:
        if left:
            raise left.pop()
        return bool(add(self, sock, owner, **how))

    monkeypatch.setattr(poller, "add", failing)
    for _ in range(3):
        assert is_dropped(connect(server))
    # It has left no place, for it had none.
    assert connect(server).error() == 507
    admission = server._running().admission
    assert (admission._open, dict(admission._hosts)) == (1, {"127.0.0.1": 1})


def test_a_channel_cannot_be_made(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    made = Channel
    left = [MemoryError()] * 3

    def failing(*args: Any, **keywords: Any) -> Any:
        if left:
            raise left.pop()
        return made(*args, **keywords)

    monkeypatch.setattr("framelet_server.pool.acceptor.Channel", failing)
    for _ in range(3):
        assert is_dropped(connect(server))
    assert connect(server).ask("ab") == "ba"
