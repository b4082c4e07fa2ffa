"""How a connection ended is told rightly: nothing of good clients, and each of the others by what it did."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import Frame, FrameType, encode
from framelet_server import ProxyPolicy, Server, ServerTls

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Peer

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]
    Until = Callable[[Callable[[], object]], None]

MANY = 50


def ends(caplog: pytest.LogCaptureFixture) -> set[tuple[str, str]]:
    """How connections have ended, and what more was told of it."""
    return {
        (vars(record)["ended"], vars(record)["reason"])
        for record in caplog.records
        if vars(record).get("event") == "connection"
    }


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("stop", [False, True], ids=["closing", "stopping"])
def test_good_clients_leave_good_lines(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, *, secure: bool, stop: bool
) -> None:
    caplog.set_level("INFO", "framelet_server")
    connect = request.getfixturevalue("connect_tls" if secure else "connect")
    certificates = request.getfixturevalue("certificates")
    serve, until = request.getfixturevalue("serve"), request.getfixturevalue("until")

    def play(clients: int) -> None:
        server = serve(tls=ServerTls(certificates.server) if secure else None)
        for _ in range(clients):
            peer = connect(server)
            assert peer.ask("ab") == "ba"
            if stop:
                peer.send(encode(FrameType.STOP))
                assert peer.take(1)[0].type == FrameType.STOPPED
            else:
                peer.end()  # a good-bye; the server's own then finds the socket closed
            peer.close()
        until(lambda: not server.metrics().connections_open)
        server.stop()

    for clients in [1] * MANY if stop else [MANY]:
        play(clients)
    assert ends(caplog) == {("drain" if stop else "client", "")}


@pytest.mark.parametrize(
    "layer", [("tls", b""), ("tls", b"\x16\x03\x01"), ("proxy", b""), ("proxy", b"PROX")]
)
def test_an_end_before_the_frames_is_a_failed_handshake(
    serve: Serve, connect: Connect, until: Until, certificates: Any, layer: tuple[str, bytes]
) -> None:
    kind, said = layer
    here = ProxyPolicy(["127.0.0.1"])
    server = serve(tls=ServerTls(certificates.server)) if kind == "tls" else serve(proxy=here)
    peer = connect(server)
    peer.send(said)
    peer.sock.shutdown(socket.SHUT_WR)
    until(lambda: server.metrics().connections_ended == {"handshake-failed": 1})


def test_an_age_is_an_age_of_a_client_that_is_never_at_rest(
    serve: Serve, connect: Connect, until: Until, poller: Any
) -> None:
    server = serve(poller=poller, max_age=0.5, threads=2)
    peer = connect(server)
    batch = encode(FrameType.REQUEST, b"x" * 1_000) * 200

    def send() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer.sock.sendall(batch)

    sending = threading.Thread(target=send)
    sending.start()
    answers, reply = 0, Frame(FrameType.REPLY, b"x" * 1_000)
    with contextlib.suppress(ConnectionError):  # after its FIN the server reads a while, and no longer
        while (frame := peer.receive()) is not None:
            assert frame == reply
            answers += 1
    assert server.metrics().received_bytes < 400_000_000
    peer.close()
    sending.join()
    assert answers
    until(lambda: server.metrics().connections_ended == {"age": 1})


def test_what_a_client_sent_is_in_no_debug_line(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "framelet_server")
    peer = connect(serve())
    for body in (
        b"framelet/1 hunter2=1=2\n",
        b"framelet/7hunter2",
        b"framelet/1 max-body=hunter2",
        b"hunter2",
    ):
        peer.send(encode(FrameType.HELLO, body))
        assert peer.error() in {422, 423, 424, 421, 420}
    assert "HELLO" in caplog.text.upper()
    assert "hunter2" not in caplog.text
