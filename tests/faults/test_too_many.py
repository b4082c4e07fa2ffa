"""Too many clients from one address, too long a connection, too slow a frame, too many wrong tokens."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.peers import Peer, sessions

from framelet import FrameType, TcpAddress, encode
from framelet_server import StopPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Command

    from framelet_server import Server

    Connect = Callable[..., Peer]
    Serve = Callable[..., Server]
    Start = Callable[..., Command]


def connect_from(source: str, server: Server) -> socket.socket:
    """A connection from a loopback address of one's choice."""
    assert isinstance(server.address, TcpAddress)
    return socket.create_connection(server.address, 20, source_address=(source, 0))


class TestOneAddress:
    """The limit of connections from one address."""

    @pytest.mark.req("REQ-FLOW-6")
    def test_a_further_client_is_told_so_and_others_are_not_affected(
        self, serve: Serve, connect: Connect, until: Any, poller: Any
    ) -> None:
        server = serve(poller=poller, max_connections_per_address=3)
        peers = [connect(server) for _ in range(3)]
        assert [peer.ask("ab") for peer in peers] == ["ba"] * 3
        refused = connect(server)
        frame = refused.take(1)[0]
        assert frame.body == b"507 per-address connection limit (3) reached"
        assert refused.receive() is None
        with connect_from("127.0.0.2", server) as other:
            other.sendall(encode(FrameType.REQUEST, b"ab"))
            assert other.recv(7) == encode(FrameType.REPLY, b"ba")
        peers[0].close()
        until(lambda: len(server._running().table) == 2)
        assert connect(server).ask("ab") == "ba"

    def test_nothing_is_kept_of_those_who_left(self, serve: Serve, connect: Connect, until: Any) -> None:
        server = serve(max_connections_per_address=2)
        for _ in range(20):
            peer = connect(server)
            peer.request("ab")
            peer.reset()
        until(lambda: not server._running().admission._hosts)

    def test_clients_of_a_unix_socket_are_of_no_address(
        self, serve: Serve, connect: Connect, tmp_path: Path
    ) -> None:
        server = serve(address=f"unix:{tmp_path / 'socket'}", max_connections_per_address=1)
        assert [connect(server).ask("ab") for _ in range(5)] == ["ba"] * 5


class TestAge:
    """The age at which a connection is ended."""

    def test_an_old_connection_gets_its_answers_and_then_the_end(
        self, serve: Serve, connect: Connect, poller: Any
    ) -> None:
        server = serve(poller=poller, max_age=0.3)
        peer = connect(server)
        began = time.monotonic()
        assert peer.ask("ab") == "ba"
        assert peer.receive() is None  # no ERROR: there is nothing wrong with it
        assert time.monotonic() - began > 0.25
        assert connect(server).ask("ab") == "ba"

    def test_a_busy_connection_is_ended_between_two_frames(self, serve: Serve, connect: Connect) -> None:
        peer = connect(serve(max_age=0.3))
        asked = 0
        try:
            while True:
                peer.request(str(asked))
                frame = peer.receive()
                if frame is None:
                    break
                assert frame == (FrameType.REPLY, str(asked)[::-1].encode())
                asked += 1
        except ConnectionError:
            pass  # it had gone when the next request was sent
        assert asked > 10

    def test_connections_of_one_moment_do_not_end_in_one(self, serve: Serve, connect: Connect) -> None:
        server = serve(max_age=1_000.0)
        peers = [connect(server) for _ in range(50)]
        assert [peer.ask("ab") for peer in peers] == ["ba"] * 50
        now = time.monotonic()
        ages = sorted(session.retire_at - now for session in sessions(server))
        assert 890 < ages[0] < ages[-1] < 1_110
        assert ages[-1] - ages[0] > 50


@pytest.mark.req("REQ-TIME-7")
def test_a_frame_that_comes_too_slowly(
    serve: Serve, connect: Connect, poller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framelet.server_connection.RATE_GRACE", 0.3)
    server = serve(poller=poller, min_rate=1_000_000_000, frame_timeout=60.0)
    slow = connect(server)
    slow.send(encode(FrameType.REQUEST, b"a" * 100)[:50])
    assert slow.error() == 504
    assert slow.receive() is None
    assert connect(server).ask("ab") == "ba"


class TestWrongTokens:
    """Guessing a token takes time."""

    @pytest.mark.req("REQ-STOP-15", "REQ-STOP-3")
    def test_answers_are_kept_back_from_the_fourth_on(
        self, serve: Serve, connect: Connect, poller: Any
    ) -> None:
        server = serve(poller=poller, stop_policy=StopPolicy.with_token("secret"))
        other = connect(server)
        for _ in range(3):
            peer = connect(server)
            peer.send(encode(FrameType.STOP, b"guess"))
            assert peer.error() == 403
        guesser = connect(server)
        began = time.monotonic()
        guesser.send(encode(FrameType.STOP, b"guess"), encode(FrameType.REQUEST, b"ab"))
        assert other.ask("ab") == "ba"  # nobody else waits
        assert guesser.error() == 403
        assert time.monotonic() - began >= 0.1
        assert guesser.replies(1) == ["ba"]  # and it goes on, in order

    @pytest.mark.req("REQ-STOP-15", "REQ-STOP-7")
    def test_a_right_token_behind_a_wrong_one_waits_for_it(self, serve: Serve, connect: Connect) -> None:
        server = serve(stop_policy=StopPolicy.with_token("secret"))
        peer = connect(server)
        wrong = encode(FrameType.STOP, b"guess")
        began = time.monotonic()
        peer.send(wrong * 5, encode(FrameType.STOP, b"secret"))
        assert [peer.error() for _ in range(5)] == [403] * 5
        assert peer.take(1)[0].type == FrameType.STOPPED
        assert time.monotonic() - began >= 0.3
        assert server.wait(20)

    @pytest.mark.req("REQ-STOP-15")
    def test_a_guesser_that_does_not_wait_for_its_answers_gains_nothing(
        self, serve: Serve, connect: Connect
    ) -> None:
        server = serve(stop_policy=StopPolicy.with_token("secret"))
        for _ in range(50):
            peer = connect(server)
            peer.send(encode(FrameType.STOP, b"guess"))
            peer.close()
        lucky = connect(server)
        lucky.send(encode(FrameType.STOP, b"secret"))
        assert lucky.error() == 403  # it came too soon to be looked at
        elsewhere = Peer(connect_from("127.0.0.2", server))
        elsewhere.send(encode(FrameType.STOP, b"secret"))
        assert elsewhere.take(1)[0].type == FrameType.STOPPED
        elsewhere.sock.close()

    def test_a_guesser_that_goes_away_leaves_nothing_behind(self, serve: Serve, connect: Connect) -> None:
        server = serve(stop_policy=StopPolicy.with_token("secret"))
        for _ in range(6):
            peer = connect(server)
            peer.send(encode(FrameType.STOP, b"guess"))
            peer.close()
        right = connect(server)
        answer = 0
        for _ in range(20):  # those that come too soon are refused, and wait for their answer
            right.send(encode(FrameType.STOP, b"secret"))
            if (answer := right.take(1)[0].type) != FrameType.ERROR:
                break
        assert answer == FrameType.STOPPED
        right.close()
        assert server.wait(20)
