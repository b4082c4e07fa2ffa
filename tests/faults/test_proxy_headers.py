"""PROXY headers that are late, wrong or forged, and relays that nobody named, against a real server."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, encode
from framelet_server import ProxyPolicy, StopPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Peer

    from framelet_server import Server

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]
    Until = Callable[[Callable[[], Any]], None]

HERE = ProxyPolicy(["127.0.0.1", "::1", "unix"])
ELSEWHERE = ProxyPolicy(["192.0.2.0/24"])
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
PING, STOP = encode(FrameType.PING), encode(FrameType.STOP)
PONG = encode(FrameType.PONG)


def header(host: str = "203.0.113.7", port: int = 5555) -> bytes:
    return f"PROXY TCP4 {host} 192.0.2.1 {port} 6666\r\n".encode()


def end_of(peer: Peer) -> bytes:
    """What came until the server closed, by FIN or RST."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := peer.sock.recv(65_536):
            received += data
    return received


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "framelet_server")


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.DEBUG) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# Who may come.


def test_who_is_no_relay_is_closed_at_the_door_and_cannot_fill_the_log(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(proxy=ELSEWHERE)
    for _ in range(50):
        peer = connect(server)
        with contextlib.suppress(ConnectionError):
            peer.send(header() + PING)
        assert end_of(peer) == b""
    refused = lines(caplog, logging.WARNING)
    assert refused[0].startswith("127.0.0.1:")
    assert refused[0].endswith(": refused: PROXY headers are not accepted from there")
    server.stop()
    assert server.metrics().refusals == {"layer": 50}
    further = sum(int(line.split()[2]) for line in lines(caplog, logging.WARNING) if "further lines" in line)
    assert further == server.metrics().log_lines_suppressed >= 20


def test_a_client_that_comes_around_the_relay_is_not_served(serve: Serve, connect: Connect) -> None:
    peer = connect(serve(proxy=HERE))
    peer.send(PING)
    assert end_of(peer) == b""


def test_a_relay_may_come_by_a_unix_socket(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    peer = connect(serve(address=f"unix:{tmp_path / 's'}", proxy=HERE))
    peer.send(header())
    assert peer.ask("ab") == "ba"
    other = serve(address=f"unix:{tmp_path / 't'}", proxy=ELSEWHERE)
    assert end_of(connect(other)) == b""


# Headers that are late or wrong.


@pytest.mark.parametrize("start", [b"", b"PROXY TCP4 203.0.113.7", LOCAL[:13]])
def test_a_header_that_does_not_come_costs_the_handshake_timeout(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, start: bytes
) -> None:
    peer = connect(serve(proxy=HERE, handshake_timeout=0.2, idle_timeout=60.0))
    peer.send(start)
    began = time.monotonic()
    assert end_of(peer) == b""
    assert time.monotonic() - began < 10
    assert any("handshake-timeout" in line for line in lines(caplog, logging.INFO))


def test_a_header_octet_by_octet_gains_no_time(serve: Serve, connect: Connect) -> None:
    peer = connect(serve(proxy=HERE, handshake_timeout=0.3))
    peer.sock.settimeout(0.02)
    sent = 0
    with contextlib.suppress(ConnectionError):
        for octet in b"PROXY UNKNOWN ".ljust(107, b"f"):  # takes two seconds
            peer.send(bytes([octet]))
            sent += 1
            with contextlib.suppress(TimeoutError):
                assert peer.sock.recv(1) == b""
                break
    assert 0 < sent < 100


def test_a_header_in_single_octets_that_comes_in_time_is_a_header(serve: Serve, connect: Connect) -> None:
    peer = connect(serve(proxy=HERE))
    for octet in header() + encode(FrameType.REQUEST, b"ab"):
        peer.send(bytes([octet]))
        peer.await_receipt()
    assert peer.replies(1) == ["ba"]


@pytest.mark.req("REQ-TIME-3")
def test_silence_behind_the_header_is_idleness(serve: Serve, connect: Connect) -> None:
    peer = connect(serve(proxy=HERE, handshake_timeout=30.0, idle_timeout=0.2))
    peer.send(header())
    assert peer.error() == 505


@pytest.mark.parametrize(
    "wrong",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00",
        b"PROXY TCP9 a b c d\r\n",
        LOCAL[:12] + b"\x21\x11\xff\xff",
    ],
)
def test_a_wrong_header_is_closed_without_a_word(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, wrong: bytes
) -> None:
    server = serve(proxy=HERE)
    peer = connect(server)
    peer.send(wrong)
    assert end_of(peer) == b""
    (line,) = [
        line for line in lines(caplog, logging.INFO) if "127.0.0.1:" in line and "layer-failed" in line
    ]
    assert "PROXY header" in line
    assert lines(caplog, logging.WARNING) == []
    assert "HTTP" not in line  # nothing of what was sent


def test_a_reset_of_the_relays_own_is_no_news(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    server = serve(proxy=HERE)
    for sent in (b"", LOCAL + PING):
        peer = connect(server)
        peer.send(sent)
        if sent:
            assert peer.sock.recv(5) == PONG
        name = "{}:{}".format(*peer.sock.getsockname())
        peer.reset()
        until(lambda: any(name in line for line in lines(caplog)))  # noqa: B023 - called here
        assert not any(name in line for line in lines(caplog, logging.INFO))


def test_the_reset_of_a_client_is(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    peer = connect(serve(proxy=HERE))
    peer.send(header())
    assert peer.ask("ab") == "ba"
    peer.reset()
    until(lambda: any("203.0.113.7:5555 via 127.0.0.1:" in line for line in lines(caplog, logging.INFO)))


def test_a_drain_does_not_wait_for_headers(serve: Serve, connect: Connect) -> None:
    server = serve(proxy=HERE, drain_timeout=60.0)
    silent, slow = connect(server), connect(server)
    slow.send(b"PROXY TCP4 ")
    known = connect(server)
    known.send(header())
    assert known.ask("ab") == "ba"  # the others have been let in
    server.begin_drain()
    assert [end_of(peer) for peer in (silent, slow, known)] == [b""] * 3
    known.close()
    assert server.wait(20)


# What the address decides.


@pytest.mark.req("REQ-STOP-1", "REQ-STOP-3")
@pytest.mark.parametrize(
    "claim",
    [
        header("127.0.0.1"),
        header("203.0.113.7"),
        b"PROXY TCP6 ::1 ::1 1 1\r\n",
        b"PROXY TCP6 ::ffff:127.0.0.1 ::1 1 1\r\n",
        b"PROXY UNKNOWN\r\n",
        LOCAL,
        LOCAL[:12] + b"\x21\x31\x00\xd8" + bytes(216),
    ],
    ids=["loopback", "elsewhere", "loopback 6", "mapped", "unknown", "relay", "unix"],
)
def test_no_header_makes_a_client_local(serve: Serve, connect: Connect, claim: bytes) -> None:
    peer = connect(serve(proxy=HERE, stop_policy=StopPolicy.local()))
    peer.send(claim + STOP)
    assert peer.error() == 403
    assert peer.ask("ab") == "ba"


def test_a_token_stops_the_server_through_a_relay_too(serve: Serve, connect: Connect) -> None:
    server = serve(proxy=HERE, stop_policy=StopPolicy.with_token("secret"))
    peer = connect(server)
    peer.send(header() + encode(FrameType.STOP, b"secret"))
    assert peer.take(1)[0].type == FrameType.STOPPED
    peer.close()
    assert server.wait(20)


def test_wrong_tokens_are_held_against_the_client_and_not_against_the_relay(
    serve: Serve, connect: Connect
) -> None:
    server = serve(proxy=HERE, stop_policy=StopPolicy.with_token("secret"))
    for host in ("203.0.113.7", "203.0.113.8"):
        peer = connect(server)
        peer.send(header(host) + encode(FrameType.STOP, b"wrong"))
        assert peer.error() == 403
    assert [*server._running().stops._wrong_tokens._hosts] == ["203.0.113.7", "203.0.113.8"]


@pytest.mark.req("REQ-FLOW-6")
def test_the_limit_per_address_is_that_of_the_client_and_not_of_the_relay(
    serve: Serve, connect: Connect, until: Until
) -> None:
    server = serve(proxy=HERE, max_connections_per_address=1)

    def come(host: str) -> Peer:
        peer = connect(server)
        peer.send(header(host) + encode(FrameType.REQUEST, b"ab"))
        return peer

    silent = [connect(server) for _ in range(3)]  # count for nobody until they say who they are
    first, second = come("203.0.113.7"), come("203.0.113.8")
    assert first.replies(1) == second.replies(1) == ["ba"]
    assert come("203.0.113.7").error() == 507
    first.close()

    def comes_in() -> bool:
        frame = come("203.0.113.7").receive()
        return frame is not None and frame.type == FrameType.REPLY

    until(comes_in)
    assert len(silent) == 3


@pytest.mark.req("REQ-FLOW-6")
def test_those_who_are_refused_behind_a_relay_are_bounded(
    serve: Serve, connect: Connect, until: Until
) -> None:
    server = serve(proxy=HERE, max_connections_per_address=1, linger_timeout=1_000)
    first = connect(server)
    first.send(header())
    assert first.ask("ab") == "ba"
    ends = []
    for _ in range(100):
        peer = connect(server)
        peer.send(header())
        ends.append(end_of(peer)[5:8])
    assert ends == [b"507"] * 64 + [b""] * 36
    until(lambda: server.metrics().connections_open == 65)
    other = connect(server)
    other.send(header("203.0.113.8"))
    assert first.ask("ab") == other.ask("ab") == "ba"
    admission = server._running().admission
    assert (admission._open, admission._told) == (2, 64)


@pytest.mark.req("REQ-FLOW-6")
def test_the_last_place_is_for_whoever_has_it(serve: Serve, connect: Connect) -> None:
    server = serve(proxy=HERE, max_connections=1)
    peer = connect(server)
    peer.send(header())
    assert peer.ask("ab") == "ba"
    late = connect(server)
    late.send(header("203.0.113.8") + PING)
    assert late.error() == 507
    assert peer.ask("ab") == "ba"


@pytest.mark.req("REQ-FLOW-6")
def test_one_that_was_refused_before_its_header_takes_and_leaves_no_place(
    serve: Serve, connect: Connect, until: Until
) -> None:
    server = serve(proxy=HERE, max_connections=1, max_connections_per_address=3)
    peer = connect(server)
    peer.send(header())
    assert peer.ask("ab") == "ba"
    for _ in range(5):  # more often than it would have places
        late = connect(server)
        late.send(header("203.0.113.8") + PING)
        assert late.error() == 507
        late.close()
    until(lambda: server.metrics().connections_open == 1)
    peer.close()
    until(lambda: server.metrics().connections_open == 0)
    other = connect(server)
    other.send(header("203.0.113.8"))
    assert other.ask("ab") == "ba"
    assert server.metrics().refusals == {"connections": 5}
    admission = server._running().admission
    assert (admission._open, admission._told, dict(admission._hosts)) == (1, 0, {"203.0.113.8": 1})


def test_a_check_of_the_relay_is_answered(serve: Serve, connect: Connect) -> None:
    peer = connect(serve(proxy=HERE))
    peer.send(LOCAL + PING)
    assert peer.take(1)[0].type == FrameType.PONG
    peer.sock.shutdown(socket.SHUT_WR)
    assert end_of(peer) == b""
