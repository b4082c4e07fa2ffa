"""Deadlines on real sockets: what ends a connection, what does not, and that the last word arrives."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from framelet import Frame, FrameType, encode
from framelet_server.connection.channel import Channel

from .peers import sessions
from .scripted import until

if TYPE_CHECKING:
    from tests.integration.conftest import Gate, Peer

    from .peers import Connect, Serve


REQUEST = encode(FrameType.REQUEST, b"ab")
REPLY = Frame(FrameType.REPLY, b"ba")
BIG = encode(FrameType.REQUEST, b"x" * 1_000_000)
SMALL = (socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)


def pass_time(seconds: float) -> None:
    """Let a deadline that must not strike have its chance."""
    threading.Event().wait(seconds)


def take_until_silence(peer: Peer, seconds: float) -> list[Frame]:
    """The frames that come until nothing comes for a while."""
    frames: list[Frame] = []
    peer.sock.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        while (frame := peer.receive()) is not None:
            frames.append(frame)
    peer.sock.settimeout(20)
    return frames


class TestFrame:
    """The frame timeout."""

    @pytest.mark.req("REQ-TIME-1", "REQ-ERROR-8")
    @pytest.mark.parametrize("part", [1, 4, 5, 6])
    def test_a_frame_that_is_not_completed(
        self, serve: Serve, connect: Connect, poller: Any, part: int
    ) -> None:
        peer = connect(serve(poller=poller, frame_timeout=0.2))
        peer.send(REQUEST, REQUEST[:part])
        assert peer.take(1) == [REPLY]
        assert peer.error() == 504
        assert peer.receive() is None

    @pytest.mark.req("REQ-TIME-2")
    def test_octets_that_trickle_in_do_not_extend_it(
        self, serve: Serve, connect: Connect, poller: Any
    ) -> None:
        peer = connect(serve(poller=poller, frame_timeout=0.3))
        refused = threading.Event()

        def trickle() -> None:
            with contextlib.suppress(ConnectionError):
                for octet in BIG:
                    if refused.wait(0.01):
                        return
                    peer.send(bytes([octet]))

        start = time.monotonic()
        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert peer.error() == 504
            assert time.monotonic() - start >= 0.3
            assert peer.receive() is None
        finally:
            refused.set()
            thread.join()

    @pytest.mark.req("REQ-TIME-1")
    @pytest.mark.parametrize("size", [5, 65_526], ids=["same-read", "next-read"])
    def test_the_time_of_a_handler_does_not_count(
        self, serve: Serve, connect: Connect, gate: Gate, poller: Any, size: int
    ) -> None:
        peer = connect(serve(gate, poller=poller, frame_timeout=0.6, idle_timeout=0.6))
        text = b"block".ljust(size, b"-")
        peer.send(encode(FrameType.REQUEST, text), encode(FrameType.REQUEST), REQUEST[:3])
        gate.await_entry()
        peer.await_receipt()
        pass_time(0.8)
        gate.open()
        assert [len(reply) for reply in peer.replies(2)] == [size, 0]
        pass_time(0.1)
        peer.send(REQUEST[3:])
        assert peer.take(1) == [REPLY]

    @pytest.mark.req("REQ-TIME-1")
    def test_a_frame_that_came_in_time_is_served_however_late_the_workers_are(
        self, serve: Serve, connect: Connect, gate: Gate, poller: Any
    ) -> None:
        server = serve(gate, poller=poller, threads=1, frame_timeout=0.8, idle_timeout=0.8)
        begun, fresh, busy = connect(server), connect(server), connect(server)
        begun.send(REQUEST[:3])
        assert fresh.ask("ab") == "ba"
        busy.request("block")
        gate.await_entry()
        begun.send(REQUEST[3:])
        fresh.send(REQUEST)
        pass_time(1.0)
        gate.open()
        assert begun.take(1) == [REPLY]
        assert fresh.take(1) == [REPLY]

    @pytest.mark.req("REQ-CLOSE-1", "REQ-CLOSE-2")
    def test_a_stream_that_ended_in_time_gets_no_error_however_late_the_workers_are(
        self, serve: Serve, connect: Connect, gate: Gate, poller: Any
    ) -> None:
        server = serve(gate, poller=poller, threads=1, frame_timeout=0.8, idle_timeout=0.8)
        begun, fresh, busy = connect(server), connect(server), connect(server)
        begun.send(REQUEST, REQUEST[:3])
        assert begun.take(1) == [REPLY]
        assert fresh.ask("ab") == "ba"
        busy.request("block")
        gate.await_entry()
        begun.end()
        fresh.end()
        pass_time(1.0)
        gate.open()
        assert [begun.receive(), fresh.receive()] == [None, None]


class TestIdle:
    """The idle timeout."""

    @pytest.mark.req("REQ-TIME-3", "REQ-ERROR-8")
    @pytest.mark.parametrize("first", [b"", REQUEST, encode(0x80, b"discarded")])
    def test_a_client_that_says_nothing_more(
        self, serve: Serve, connect: Connect, poller: Any, first: bytes
    ) -> None:
        peer = connect(serve(poller=poller, idle_timeout=0.5))
        peer.send(first)
        assert [REPLY] * (first == REQUEST) == peer.take(int(first == REQUEST))
        assert peer.error() == 505
        assert peer.receive() is None

    @pytest.mark.req("REQ-TIME-3")
    def test_it_is_not_put_off_by_the_deadline_of_a_frame_that_was_completed(
        self, serve: Serve, connect: Connect, poller: Any
    ) -> None:
        server = serve(poller=poller, idle_timeout=0.5, frame_timeout=1_000.0)
        peer = connect(server)
        peer.send(REQUEST[:6])
        until(lambda: [session.connection.input_size for session in sessions(server)] == [6])
        pass_time(0.7)  # so that the timer of the time before the frame has fired
        peer.send(REQUEST[6:])
        assert peer.take(1) == [REPLY]
        assert peer.error() == 505

    @pytest.mark.req("REQ-TIME-4")
    def test_a_client_whose_handler_works_is_not_idle(
        self, serve: Serve, connect: Connect, gate: Gate, poller: Any
    ) -> None:
        peer = connect(serve(gate, poller=poller, idle_timeout=0.5))
        peer.request("block")
        gate.await_entry()
        pass_time(0.7)
        gate.open()
        assert peer.replies(1) == ["kcolb"]
        assert peer.error() == 505


class TestWrite:
    """The write timeout."""

    @pytest.mark.req("REQ-TIME-5", "REQ-FLOW-1")
    def test_a_client_that_takes_nothing_is_cut_off_and_its_memory_freed(
        self, serve: Serve, connect: Connect, poller: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        channels = remember_channels(monkeypatch)
        server = serve(poller=poller, write_timeout=0.2, max_unsent=100_000_000)
        peer = connect(server, SMALL)
        peer.send(BIG * 12)
        until(lambda: channels and not gc.collect() and all(channel() is None for channel in channels))
        with pytest.raises(ConnectionResetError):
            peer.rest()
        assert connect(server).ask("ab") == "ba"

    @pytest.mark.req("REQ-TIME-5")
    def test_a_client_that_takes_a_little_now_and_then_is_served(
        self, serve: Serve, connect: Connect, poller: Any
    ) -> None:
        peer = connect(serve(poller=poller, write_timeout=2, max_unsent=100_000_000), SMALL)
        peer.send(BIG * 12)
        for _ in range(6):
            assert len(peer.take(2)[0].body) == 1_000_000
            pass_time(0.4)
        assert peer.ask("ab") == "ba"

    @pytest.mark.slow
    @pytest.mark.req("REQ-TIME-5")
    def test_a_client_is_not_cut_off_because_the_workers_are_busy(
        self, serve: Serve, connect: Connect, gate: Gate, poller: Any
    ) -> None:
        server = serve(gate, poller=poller, threads=1, write_timeout=2, max_unsent=100_000_000)
        peer, busy = connect(server, SMALL), connect(server)
        peer.send(BIG * 14)
        assert len(peer.take(1)[0].body) == 1_000_000
        peer.await_receipt()
        assert busy.ask("ab") == "ba"
        busy.request("block")
        gate.await_entry()
        # It takes all that the system holds, and cannot get the rest before a worker is free.
        took = take_until_silence(peer, 2.5)
        gate.open()
        took += peer.take(13 - len(took))
        assert {len(frame.body) for frame in took} == {1_000_000}

    @pytest.mark.req("REQ-FLOW-3", "REQ-TIME-1")
    def test_the_time_in_which_it_is_not_read_does_not_count(
        self, serve: Serve, connect: Connect, poller: Any
    ) -> None:
        peer = connect(serve(poller=poller, frame_timeout=1.5, idle_timeout=1.5, max_unsent=1_000), SMALL)
        sender = threading.Thread(target=peer.send, args=(BIG * 8 + REQUEST[:3],))
        sender.start()
        pass_time(1.8)
        assert [len(frame.body) for frame in peer.take(8)] == [1_000_000] * 8
        sender.join()
        peer.send(REQUEST[3:])
        assert peer.take(1) == [REPLY]


class TestLinger:
    """The linger timeout."""

    @pytest.mark.req("REQ-ERROR-8")
    def test_an_error_can_be_read_although_more_was_on_its_way(
        self, serve: Serve, connect: Connect, poller: Any, listen_on: Any
    ) -> None:
        # Without the discarding, closing would send RST, and that takes unread answers from the client.
        peer = connect(serve(poller=poller, address=listen_on, linger_timeout=20))
        peer.send(REQUEST * 100, b"\x01\xff\xff\xff\xff", b"x" * 3_000_000)
        assert peer.take(100) == [REPLY] * 100
        assert peer.error() == 503
        assert peer.receive() is None

    @pytest.mark.req("REQ-ERROR-8")
    def test_a_client_that_does_not_close_is_closed(
        self, serve: Serve, connect: Connect, poller: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        channels = remember_channels(monkeypatch)
        peer = connect(serve(poller=poller, linger_timeout=0.2))
        peer.send(b"\x00" * 5)
        assert peer.error() == 501
        assert peer.receive() is None
        until(lambda: not gc.collect() and channels[0]() is None)
        with pytest.raises(ConnectionError):
            until(lambda: peer.send(b"x"))  # the first octet to a closed socket brings RST, the next meets it

    @pytest.mark.req("REQ-ERROR-8")
    def test_a_client_that_sends_for_ever_is_closed_too(
        self, serve: Serve, connect: Connect, poller: Any
    ) -> None:
        peer = connect(serve(poller=poller, linger_timeout=0.2))
        peer.send(b"\x00" * 5)
        finish = time.monotonic() + 20
        with pytest.raises(ConnectionError):  # noqa: PT012 - the loop is what ends by it
            while time.monotonic() < finish:
                peer.send(b"x" * 10_000)

    @pytest.mark.req("REQ-ERROR-8", "REQ-STOP-7")
    @pytest.mark.parametrize("how", ["fatal error", "drain"])
    def test_a_client_that_takes_long_and_goes_on_sending_gets_its_last_answers(
        self, serve: Serve, connect: Connect, how: str
    ) -> None:
        # The system has taken all answers, but the client has not: closing now would reset them away.
        server = serve(linger_timeout=3)
        peer = connect(server, SMALL)
        peer.send(BIG * 3)
        peer.await_receipt()
        if how == "drain":
            server.begin_drain()
        else:
            peer.send(encode(0x00))
        ended = threading.Event()

        def go_on() -> None:
            with contextlib.suppress(ConnectionError):
                while not ended.wait(0.01):
                    peer.send(encode(0x80, b"discarded"))

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            for _ in range(3):
                pass_time(1.2)
                assert len(peer.take(1)[0].body) == 1_000_000
            if how == "fatal error":
                assert peer.error() == 501
            assert peer.receive() is None
        finally:
            ended.set()
            thread.join()

    @pytest.mark.req("REQ-ERROR-8", "REQ-TIME-5")
    def test_a_client_that_takes_a_little_again_and_again_is_not_waited_for_without_end(
        self, serve: Serve, connect: Connect
    ) -> None:
        server = serve(linger_timeout=0.1, write_timeout=0.3)
        peer = connect(server, SMALL)
        peer.send(BIG, encode(0x00))
        until(lambda: any(session.fin_sent for session in sessions(server)))

        def closed() -> bool:
            peer.sock.recv(100)
            return server.metrics().connections_open == 0

        until(closed)  # at this pace it would take an hour

    @pytest.mark.req("REQ-CLOSE-1", "REQ-CLOSE-2")
    @pytest.mark.parametrize("part", [b"", REQUEST[:3]])
    def test_a_client_that_has_closed_is_not_waited_for(
        self, serve: Serve, connect: Connect, poller: Any, part: bytes
    ) -> None:
        peer = connect(serve(poller=poller, linger_timeout=1_000))
        peer.send(REQUEST, part)
        peer.end()
        assert peer.rest() == [REPLY]


def remember_channels(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Channel]]:
    """Weak references to all channels made from now on."""
    made: list[weakref.ref[Channel]] = []

    class Remembered(Channel):
        def __init__(self, *args: Any, **keywords: Any) -> None:
            super().__init__(*args, **keywords)
            made.append(weakref.ref(self))

    monkeypatch.setattr("framelet_server.pool.acceptor.Channel", Remembered)
    return made
