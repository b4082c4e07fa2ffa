"""Clients that break TLS, stall in it or misuse it: nobody else is held up, and nothing is left behind."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.peers import sessions

from framelet import ErrorCode, FrameType, TlsAddress, encode
from framelet_client import Client, ClientTls
from framelet_server import Server, ServerTls
from framelet_server.pool.acceptor import Acceptor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Peer

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]

REQUEST = encode(FrameType.REQUEST, b"ab")
SEED = 20_260_101


@pytest.fixture
def tls(certificates: Any) -> ServerTls:
    return ServerTls(certificates.server)


@pytest.fixture
def hello(certificates: Any, tls_socket: Any) -> bytes:
    """The first octets of a client, as OpenSSL makes them."""
    with socket.socket() as nowhere:
        return bytes(tls_socket(nowhere, certificates.context()).hello())


@pytest.fixture
def info(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that is logged from information on."""
    caplog.set_level("INFO", "framelet_server")
    return caplog


# Clients that are silent or slow.


def test_a_client_that_is_silent_in_the_handshake_holds_up_nobody(
    serve: Serve, connect: Connect, connect_tls: Connect, hello: bytes, tls: ServerTls
) -> None:
    """Where the handshake is done by who accepts, one silent client keeps all others out (cheroot #748)."""
    server = serve(tls=tls, threads=1, handshake_timeout=60.0)
    silent = [connect(server) for _ in range(4)]
    for peer, said in zip(silent, (b"", hello[:1], hello[:100], hello), strict=True):
        peer.send(said)
        peer.await_receipt()
    assert connect_tls(server).ask("not held up") == "pu dleh ton"
    assert server.metrics().connections_open == 5  # while all of them were silent


def test_octets_of_a_handshake_do_not_extend_its_time(
    serve: Serve, connect: Connect, hello: bytes, tls: ServerTls
) -> None:
    server = serve(tls=tls, threads=1, handshake_timeout=0.5)
    peer = connect(server)
    ended = threading.Event()

    def drip() -> None:
        for octet in hello:
            try:
                peer.send(bytes([octet]))
            except OSError:
                return
            if ended.wait(0.2):
                return

    dripping = threading.Thread(target=drip)
    began = time.monotonic()
    dripping.start()
    with contextlib.suppress(ConnectionResetError):  # an octet may come behind the end
        assert peer.sock.recv(1) == b""
    ended.set()
    dripping.join()
    # A hello has more than 200 octets: at this pace it would have taken 40 seconds.
    assert 0.5 <= time.monotonic() - began < 30


def test_answers_to_a_handshake_that_are_not_taken_do_not_extend_its_time(
    serve: Serve, connect: Connect, certificates: Any, hello: bytes, until: Any
) -> None:
    # A certificate so long that the system does not take it all for a client that does not read.
    names = [f"{number}.{'x' * 50}.framelet.example" for number in range(900)]
    server = serve(tls=ServerTls(certificates.issue("127.0.0.1", *names)), handshake_timeout=0.5)
    parts = server._running()
    [acceptor] = [owner for owner in parts.context.poller.owners.values() if isinstance(owner, Acceptor)]
    acceptor._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)  # its clients inherit this
    peer = connect(server, (socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048))
    peer.send(hello)
    until(lambda: any(session.transport.unsent for session in sessions(server)))
    until(lambda: not len(parts.table))  # long before the write timeout of 30 seconds


def test_a_hello_may_come_octet_by_octet(serve: Serve, connect_tls: Connect, tls: ServerTls) -> None:
    server = serve(tls=tls, threads=1)
    assert connect_tls(server, step=1).ask("ab") == "ba"


def test_a_client_that_takes_no_answers_is_cut_off(
    serve: Serve, connect_tls: Connect, tls: ServerTls, caplog: pytest.LogCaptureFixture, until: Any
) -> None:
    caplog.set_level("INFO", "framelet_server")
    server = serve(tls=tls, write_timeout=0.5, max_unsent=65_536)
    peer = connect_tls(server)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    body = encode(FrameType.REQUEST, b"x" * 1_000_000)

    def write() -> None:
        for _ in range(40):
            try:
                peer.send(body)
            except OSError:
                return

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: "did not read its answers in time" in caplog.text)
    assert connect_tls(server).ask("ab") == "ba"
    writer.join()


def test_idle_connections_cost_no_thread(serve: Serve, connect_tls: Connect, tls: ServerTls) -> None:
    server = serve(tls=tls, threads=2)
    threads = threading.active_count()
    peers = [connect_tls(server) for _ in range(100)]
    assert threading.active_count() == threads
    for peer in (peers[0], peers[50], peers[99]):
        assert peer.ask("ab") == "ba"
    assert threading.active_count() == threads


# Clients for whom there is no room.


@pytest.mark.req("REQ-FLOW-6")
def test_a_client_beyond_the_maximum_is_told_so_behind_its_handshake(
    serve: Serve, connect_tls: Connect, tls: ServerTls, until: Any
) -> None:
    server = serve(tls=tls, max_connections=1, linger_timeout=5.0)
    first = connect_tls(server)
    assert first.ask("ab") == "ba"
    second = connect_tls(server)
    assert second.error() == ErrorCode.TOO_MANY_CONNECTIONS
    assert second.rest() == []
    assert second.sock.notified
    assert first.ask("ab") == "ba"
    first.close()

    def has_room() -> bool:
        third = connect_tls(server)
        third.request("ab")
        frame = third.receive()
        third.close()
        return frame is not None and frame.type == FrameType.REPLY

    until(has_room)


def test_a_drain_does_not_wait_for_handshakes(
    serve: Serve, connect: Connect, hello: bytes, tls: ServerTls
) -> None:
    server = serve(tls=tls)
    silent = [connect(server) for _ in range(3)]
    silent[1].send(hello)
    silent[1].await_receipt()
    silent[2].send(b"\x16\x03")
    server.begin_drain()
    for peer in silent:
        with contextlib.suppress(ConnectionResetError):
            while peer.sock.recv(65_536):
                pass
    assert server.wait(10)


# Clients that break it.


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def refused(certificates: Any, tls_socket: Any) -> Callable[[Any, Any], None]:
    """Connect with a certificate that the server does not accept."""

    def shake_hands(where: Any, cert: Any) -> None:
        with socket.create_connection(where) as sock:
            peer = tls_socket(sock, certificates.context(cert=cert))
            peer.do_handshake()
            with pytest.raises((ssl.SSLError, ConnectionError)):
                peer.recv(1)

    return shake_hands


def test_handshakes_that_fail_leave_nothing_behind(
    serve: Serve, certificates: Any, refused: Callable[[Any, Any], None], hello: bytes, until: Any
) -> None:
    server = serve(tls=ServerTls(certificates.server, client_ca_file=certificates.ca_file))
    own = ClientTls(ca_file=certificates.ca_file, cert_file=certificates.guest)
    assert isinstance(server.address, TlsAddress)
    where = (server.address.host, server.address.port)
    with Client(str(server.address), tls=own) as client:
        assert client.request("ab") == "ba"
    until(lambda: len(server._running().table) == 0)
    before = descriptors()
    for number in range(60):
        with socket.create_connection(where) as sock:
            sock.settimeout(10)
            sock.sendall((b"", hello, hello[:50], b"GET / HTTP/1.1\r\n\r\n", REQUEST, bytes(500))[number % 6])
            if number % 3 == 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # ends with RST
    for cert in (None, certificates.stranger):
        refused(where, cert)
    until(lambda: len(server._running().table) == 0)
    assert descriptors() == before
    with Client(str(server.address), tls=own) as client:
        assert client.request("ab") == "ba"


def test_no_octets_of_whatever_kind_harm_the_server(
    serve: Serve, hello: bytes, tls: ServerTls, connect_tls: Connect, info: pytest.LogCaptureFixture
) -> None:
    server = serve(tls=tls)
    assert isinstance(server.address, TlsAddress)
    where = (server.address.host, server.address.port)
    chance = random.Random(SEED)  # noqa: S311 - the same octets each time
    for _ in range(150):
        octets = bytearray(hello)
        for _ in range(chance.randrange(1, 6)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        with socket.create_connection(where) as sock:
            sock.sendall(octets[: chance.randrange(1, len(octets) + 1)])
    for _ in range(30):
        peer = connect_tls(server)
        peer.sock.raw.sendall(chance.randbytes(chance.randrange(1, 200)))
        peer.close()
    assert connect_tls(server).ask("ab") == "ba"
    assert [record for record in info.records if record.levelname == "ERROR"] == []


def test_a_record_that_is_no_record_ends_its_connection_alone(
    serve: Serve, tls: ServerTls, connect_tls: Connect, info: pytest.LogCaptureFixture, until: Any
) -> None:
    server = serve(tls=tls)
    broken, good = connect_tls(server), connect_tls(server)
    broken.sock.raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        broken.receive()
    assert good.ask("ab") == "ba"
    until(lambda: "layer-failed (TLS failed: " in info.text)


def test_a_server_that_dies_inside_a_body_is_reported_and_nothing_is_taken_for_an_answer(
    certificates: Any,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def die() -> None:
            raw, _ = listener.accept()
            with context.wrap_socket(raw, server_side=True) as sock:
                sock.recv(7)
                sock.sendall(b"\2\0\0\0\5ol")  # and no close_notify behind it

        thread = threading.Thread(target=die)
        thread.start()
        trusting = ClientTls(ca_file=certificates.ca_file)
        port = listener.getsockname()[1]
        with (
            Client("127.0.0.1", port, tls=trusting) as client,
            pytest.raises(Exception, match=r"inside a frame.*1 frame is unanswered"),
        ):
            client.request("ab")
        thread.join()
