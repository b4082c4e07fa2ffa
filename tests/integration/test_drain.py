"""The drain: what is answered, what is cut, and that no reply is lost."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from framelet import Frame, FrameType, decode_text, encode
from framelet_server.connection import event_turn
from framelet_server.pool.stall_detector import StallDetector

from .peers import refuses_connections, stopped
from .scripted import until

if TYPE_CHECKING:
    from .peers import Connect, Gate, Peer, Serve


STOP = encode(FrameType.STOP)
PING = encode(FrameType.PING)
PONG = Frame(FrameType.PONG, b"")
BIG = encode(FrameType.REQUEST, b"x" * 1_000_000)
SMALL = (socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)


class TestDrain:
    """What happens to everybody (REQ-STOP-6 to 12)."""

    @pytest.mark.req("REQ-STOP-6", "REQ-STOP-7", "REQ-STOP-8", "REQ-STOP-9")
    def test_everything_received_before_is_answered_and_stopped_comes_last(
        self, serve: Serve, connect: Connect, gate: Gate, poller: Any
    ) -> None:
        server = serve(gate, poller=poller, threads=2)
        busy, queued, idle, partial, stopper = (connect(server) for _ in range(5))
        for peer in (idle, partial, queued):
            assert peer.ask("ab") == "ba"
        busy.request("block")
        gate.await_entry()
        busy.request(*[f"request {number}" for number in range(500)])
        busy.await_receipt()
        partial.send(encode(FrameType.REQUEST, b"whole"), encode(FrameType.REQUEST, b"part")[:-1])
        partial.await_receipt()
        stopper.request("before")
        stopper.send(STOP)
        assert stopper.replies(1) == ["erofeb"]
        assert idle.receive() is None
        assert partial.rest() == [Frame(FrameType.REPLY, b"elohw")]
        assert queued.receive() is None
        until(lambda: refuses_connections(server.address))
        stopper.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            stopper.receive()
        stopper.sock.settimeout(20)
        gate.open()
        assert busy.replies(501) == ["kcolb", *[f"request {number}"[::-1] for number in range(500)]]
        assert busy.receive() is None
        assert stopper.rest() == [stopped(4)]

    @pytest.mark.req("REQ-STOP-7")
    def test_what_comes_after_the_drain_began_is_not_needed_to_end_it(
        self, serve: Serve, connect: Connect, poller: Any
    ) -> None:
        server = serve(poller=poller, threads=2)
        flood = connect(server)
        ended = threading.Event()

        def send() -> None:
            try:
                while not ended.is_set():
                    flood.request(*["ab"] * 1_000)
            except ConnectionError:
                pass

        counted: list[Frame] = []
        threads = [
            threading.Thread(target=send),
            threading.Thread(target=lambda: counted.extend(flood.rest())),
        ]
        for thread in threads:
            thread.start()
        stopper = connect(server)
        stopper.send(STOP)
        assert stopper.rest() == [stopped(1)]
        ended.set()
        for thread in threads:
            thread.join(20)
        assert {frame.body for frame in counted} <= {b"ba"}

    @pytest.mark.req("REQ-STOP-8", "REQ-STOP-11")
    @pytest.mark.parametrize("count", [2, 5])
    def test_every_client_whose_stop_was_allowed_gets_stopped(
        self, serve: Serve, connect: Connect, gate: Gate, count: int
    ) -> None:
        server = serve(gate, threads=8)
        blocked = [connect(server) for _ in range(count)]
        for peer in blocked:
            peer.request("block")
            peer.send(STOP)
            peer.await_receipt()
            gate.await_entry()
        first = connect(server)
        assert first.ask("ab") == "ba"
        first.send(STOP)
        until(lambda: server._running().drain.begun)
        gate.open()
        for peer in blocked:
            assert peer.replies(1) == ["kcolb"]
        # Nobody but those who asked is left, and still the drain must come to its end at once.
        begun = time.monotonic()
        assert first.rest() == [stopped(0)]
        assert [peer.rest() for peer in blocked] == [[stopped(0)]] * count
        assert time.monotonic() - begun < 15  # the drain timeout is twice that

    @pytest.mark.req("REQ-STOP-8")
    def test_stopped_comes_after_others_have_their_answers_however_slow_they_read(
        self, serve: Serve, connect: Connect
    ) -> None:
        server = serve(max_unsent=100_000_000)
        slow, stopper = connect(server, SMALL), connect(server)
        slow.send(BIG * 12)
        slow.await_receipt()
        stopper.send(STOP)
        stopper.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            stopper.receive()
        stopper.sock.settimeout(20)
        assert [len(frame.body) for frame in slow.rest()] == [1_000_000] * 12
        assert stopper.rest() == [stopped(1)]

    def test_a_client_that_asked_and_went_away_holds_nothing_up(
        self, serve: Serve, connect: Connect, gate: Gate, poller: Any
    ) -> None:
        server = serve(gate, poller=poller)
        busy, gone, reset = connect(server), connect(server), connect(server)
        assert [gone.ask("ab"), reset.ask("ab")] == ["ba", "ba"]
        busy.request("block")
        gate.await_entry()
        for peer in (gone, reset):
            peer.send(STOP)
            peer.await_receipt()
        gone.close()
        reset.reset()
        gate.open()
        assert busy.replies(1) == ["kcolb"]
        busy.close()
        assert server.wait(20)

    @pytest.mark.req("REQ-STOP-12", "REQ-STOP-8", "REQ-DRAIN-1", "REQ-CLOSE-6")
    def test_a_client_that_never_reads_is_cut_at_the_deadline(
        self, serve: Serve, connect: Connect, poller: Any
    ) -> None:
        server = serve(poller=poller, drain_timeout=0.3, max_unsent=100_000_000)
        deaf, idle, stopper = connect(server, SMALL), connect(server), connect(server)
        assert idle.ask("ab") == "ba"
        deaf.send(BIG * 12)
        deaf.await_receipt()
        stopper.send(STOP)
        assert stopper.rest() == [stopped(1, 1)]
        with pytest.raises(ConnectionResetError):
            deaf.rest()

    @pytest.mark.req("REQ-STOP-12")
    def test_a_stopper_that_never_reads_does_not_keep_the_server_from_ending(
        self, serve: Serve, connect: Connect, poller: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # After a turn whose time is up, as on a busy machine, the STOP would wait for the client to read.
        monkeypatch.setattr(event_turn, "LONGEST", 60)
        server = serve(poller=poller, drain_timeout=0.2, linger_timeout=0.1, max_unsent=100_000_000)
        deaf = connect(server, SMALL)
        deaf.send(BIG * 12, STOP)
        assert server.wait(60)

    @pytest.mark.req("REQ-STOP-12")
    def test_a_handler_that_is_stuck_for_ever_does_not_hold_the_end(
        self, serve: Serve, connect: Connect, gate: Gate, poller: Any
    ) -> None:
        server = serve(gate, poller=poller, drain_timeout=0.2, linger_timeout=0.1, threads=2)
        stuck, stopper = connect(server), connect(server)
        stuck.request("block")
        gate.await_entry()
        stopper.send(STOP)
        assert stopper.rest() == [stopped(0, 1)]
        stopper.close()
        assert server.wait(20)
        assert server.stuck == 1
        assert stuck.receive() is None
        gate.open()
        until(lambda: server.stuck == 0)

    @pytest.mark.req("REQ-STOP-12")
    def test_all_workers_stuck_do_not_hold_the_end(
        self, serve: Serve, connect: Connect, gate: Gate, poller: Any
    ) -> None:
        server = serve(gate, poller=poller, drain_timeout=0.2, linger_timeout=0.1, threads=2)
        stuck = [connect(server) for _ in range(2)]
        for peer in stuck:
            peer.request("block")
            gate.await_entry()
        waiting = connect(server)
        waiting.request("never served")
        server.begin_drain()
        assert server.wait(20)
        assert server.stuck == 2
        gate.open()
        until(lambda: server.stuck == 0)
        assert "never served" not in gate.seen

    def test_workers_that_stand_by_end_though_the_only_active_one_is_stuck(
        self, serve: Serve, connect: Connect, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = serve(gate, threads=4)
        workers = server._running().workers
        peer = connect(server)
        until(lambda: peer.ask("ab") == "ba" and workers.active == 1)
        looked = threading.Event()  # and does not again: the end comes before its next look
        monkeypatch.setattr(StallDetector, "_look", lambda _: looked.set())
        assert looked.wait(20)
        peer.request("block")
        gate.await_entry()
        server.begin_drain()
        server.force()
        assert server.wait(20)
        assert server.stuck == 1
        gate.open()
        until(lambda: server.stuck == 0)

    @pytest.mark.req("REQ-STOP-6")
    def test_nobody_is_let_in_any_more_even_while_all_workers_are_busy(
        self, serve: Serve, connect: Connect, gate: Gate, poller: Any
    ) -> None:
        server = serve(gate, poller=poller, threads=1)
        busy = connect(server)
        busy.request("block")
        gate.await_entry()
        server.begin_drain()
        until(lambda: refuses_connections(server.address))
        gate.open()
        assert busy.replies(1) == ["kcolb"]

    @pytest.mark.req("REQ-STOP-7", "REQ-STOP-12")
    def test_clients_that_do_not_close_hold_the_end_for_the_linger_timeout_only(
        self, serve: Serve, connect: Connect, poller: Any
    ) -> None:
        # CPython's and hypercorn's servers waited for an idle client for ever.
        server = serve(poller=poller, drain_timeout=1_000, linger_timeout=0.1, idle_timeout=1_000)
        idle, served, partial = connect(server), connect(server), connect(server)
        assert [served.ask("ab"), partial.ask("ab")] == ["ba"] * 2
        partial.send(encode(FrameType.REQUEST, b"ab")[:3])
        partial.await_receipt()
        server.begin_drain()
        assert server.wait(20)
        assert [peer.receive() for peer in (idle, served, partial)] == [None] * 3

    def test_hastening_ends_a_drain_that_would_take_long(
        self, serve: Serve, connect: Connect, poller: Any
    ) -> None:
        server = serve(poller=poller, drain_timeout=1_000, write_timeout=1_000, max_unsent=100_000_000)
        deaf, stopper = connect(server, SMALL), connect(server)
        deaf.send(BIG * 12)
        deaf.await_receipt()
        stopper.send(STOP)
        stopper.await_receipt()
        assert not server.wait(0.1)
        server.force()
        assert stopper.rest() == [stopped(0, 1)]
        stopper.close()
        assert server.wait(20)

    def test_hastening_without_a_drain_does_nothing(self, serve: Serve, connect: Connect) -> None:
        server = serve()
        peer = connect(server)
        assert peer.ask("ab") == "ba"
        server.force()
        assert not server.wait(0.05)
        assert peer.ask("ab") == "ba"

    def test_clients_that_had_been_refused_or_were_about_to_close_are_not_counted(
        self, serve: Serve, connect: Connect
    ) -> None:
        server = serve()
        refused, idle, stopper = connect(server), connect(server), connect(server)
        refused.send(encode(0x00))
        assert refused.error() == 501
        assert idle.ask("ab") == "ba"
        until(lambda: (len(server._running().table), len(server._running().drain._finished)) == (3, 1))
        stopper.send(STOP)
        assert stopper.rest() == [stopped(1)]


class TestUnderLoad:
    """Twenty clients pipeline as fast as they can when STOP comes."""

    @pytest.mark.req("REQ-STOP-7", "REQ-ORDER-2", "REQ-STOP-8")
    @pytest.mark.parametrize(
        "limits", [{}, {"max_unsent": 1_000, "turn_octets": 1_000}], ids=["wide", "narrow"]
    )
    def test_no_reply_is_lost(
        self, serve: Serve, connect: Connect, poller: Any, limits: dict[str, int]
    ) -> None:
        called: list[str] = []

        def handler(text: str) -> str:
            called.append(text)
            return text[::-1]

        server = serve(handler, poller=poller, threads=4, linger_timeout=20, **limits)
        loads = [Load(connect(server), number) for number in range(20)]
        for load in loads:
            load.start()
        until(lambda: len(called) > 5_000)
        stopper = connect(server)
        stopper.send(PING, STOP, PING)
        frames = stopper.rest()
        for load in loads:
            load.join()
        for load in loads:
            assert load.replies == [load.text(number)[::-1] for number in range(len(load.replies))]
        assert sorted(called) == sorted(itertools.chain(*(load.requests() for load in loads)))
        assert frames == [PONG, stopped(20)]
        stopper.close()
        for load in loads:
            load.peer.close()
        assert server.wait(20)


class Load:
    """A client that writes numbered requests until it is told that the server ends, and reads on its own."""

    def __init__(self, peer: Peer, number: int) -> None:
        self.peer = peer
        self.number = number
        self.replies: list[str] = []
        self._window = threading.Semaphore(1_000)  # more in flight would only make the test longer
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._write), threading.Thread(target=self._read)]

    def text(self, number: int) -> str:
        return f"client {self.number} request {number}"

    def requests(self) -> list[str]:
        """Those that were answered."""
        return [self.text(number) for number in range(len(self.replies))]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(40)
            assert not thread.is_alive()

    def _write(self) -> None:
        numbers = itertools.count()
        while not self._ended.is_set():
            for _ in range(50):
                self._window.acquire()
            self.peer.request(*(self.text(next(numbers)) for _ in range(50)))

    def _read(self) -> None:
        for frame in self.peer.rest():
            assert frame.type == FrameType.REPLY
            self.replies.append(decode_text(frame.body))
            self._window.release()
        self._ended.set()
        self._window.release(1_000)
