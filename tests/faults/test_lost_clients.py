"""Clients that reset at any stage cost nobody else anything, and leave no descriptor and no thread behind."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, encode
from framelet_server.connection.channel import Channel
from framelet_server.connection.event_turn import EventTurn
from framelet_server.connection.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Gate, Peer

    from framelet_server import Server

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]

BIG = encode(FrameType.REQUEST, b"x" * 1_000_000)
SMALL = (socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the number is wanted


def channels() -> int:
    gc.collect()
    return sum(isinstance(found, Channel) for found in gc.get_objects())


def before_any_octet(peer: Peer, gate: Gate) -> None:
    del peer, gate


def inside_a_header(peer: Peer, gate: Gate) -> None:
    del gate
    peer.send(BIG[:3])


def inside_a_body(peer: Peer, gate: Gate) -> None:
    del gate
    peer.send(BIG[:500_000])


def after_an_answer(peer: Peer, gate: Gate) -> None:
    del gate
    assert peer.ask("ab") == "ba"


def while_a_handler_runs(peer: Peer, gate: Gate) -> None:
    peer.request("block", "behind")
    gate.await_entry()


def while_answers_are_written(peer: Peer, gate: Gate) -> None:
    del gate
    peer.send(BIG * 4)
    peer.sock.recv(1)


def while_answers_wait_and_more_comes(peer: Peer, gate: Gate) -> None:
    del gate
    peer.send(BIG * 6)
    peer.sock.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            peer.sock.send(BIG)


def after_a_fatal_error(peer: Peer, gate: Gate) -> None:
    del gate
    peer.send(encode(0x00))
    assert peer.error() == 501


def after_a_half_close(peer: Peer, gate: Gate) -> None:
    peer.request("block")
    gate.await_entry()
    peer.end()


STAGES = [
    before_any_octet,
    inside_a_header,
    inside_a_body,
    after_an_answer,
    while_a_handler_runs,
    while_answers_are_written,
    while_answers_wait_and_more_comes,
    after_a_fatal_error,
    after_a_half_close,
]


@pytest.mark.parametrize("how", ["reset", pytest.param("close", marks=pytest.mark.slow)])
@pytest.mark.parametrize("stage", STAGES, ids=[stage.__name__ for stage in STAGES])
def test_a_client_that_is_lost(  # noqa: PLR0913 - a matrix
    serve: Serve, connect: Connect, gate: Gate, until: Any, *, stage: Any, how: str, poller: Any
) -> None:
    server = serve(gate, poller=poller, threads=4, max_unsent=2_000_000)
    other = connect(server)
    assert other.ask("ab") == "ba"
    threads, before, known = threading.active_count(), descriptors(), channels()
    lost = [connect(server, SMALL) for _ in range(3)]
    for peer in lost:
        stage(peer, gate)
    for peer in lost:
        getattr(peer, how)()
    assert other.ask("ab") == "ba"
    gate.open()
    until(lambda: descriptors() == before)
    assert threading.active_count() == threads
    assert other.ask("ab") == "ba"
    until(lambda: channels() == known)


def test_clients_that_reset_right_after_connecting(
    serve: Serve, connect: Connect, until: Any, poller: Any, listen_on: Any
) -> None:
    server = serve(poller=poller, address=listen_on)
    other = connect(server)
    assert other.ask("ab") == "ba"
    before = descriptors()
    for _ in range(300):
        connect(server).reset()
    assert other.ask("ab") == "ba"
    until(lambda: descriptors() == before)


def test_numbers_of_descriptors_that_are_used_again_do_not_mix_clients_up(
    serve: Serve, connect: Connect, poller: Any
) -> None:
    # RPyC served one client with what was another's, when its number had been used again.
    server = serve(poller=poller, threads=4)
    failures: list[str] = []

    def come_and_go(name: str) -> None:
        for number in range(60):
            peer = connect(server)
            text = f"{name} {number}"
            try:
                if peer.ask(text) != text[::-1]:
                    failures.append(text)
            finally:
                (peer.reset if number % 2 else peer.close)()

    threads = [threading.Thread(target=come_and_go, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not failures


def test_a_client_that_leaves_as_the_listener_is_about_to_accept_it(
    serve: Serve, connect: Connect, gate: Gate, until: Any, poller: Any
) -> None:
    # With its only worker busy, the listener finds a queue of clients that have all gone.
    server = serve(gate, poller=poller, threads=1)
    busy = connect(server)
    busy.request("block")
    gate.await_entry()
    before = descriptors()
    for _ in range(50):
        connect(server).reset()
    gate.open()
    assert busy.replies(1) == ["kcolb"]
    assert connect(server).ask("ab") == "ba"
    until(lambda: descriptors() <= before + 2)


def test_a_client_that_is_cut_off_as_its_turn_ends_is_closed(
    serve: Serve, connect: Connect, until: Any, poller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server's end comes between the last look at the client and the moment it is let go of: after
    # that no worker is woken any more.
    turn = Session.turn
    before = descriptors()
    server = serve(poller=poller)

    def last_turn(self: Session, *args: Any) -> None:
        turn(self, *args)
        if self.fin_sent:
            server._running().drain._end()

    monkeypatch.setattr(Session, "turn", last_turn)
    peer = connect(server)
    peer.send(encode(0x00))
    assert peer.error() == 501
    server.begin_drain()
    assert server.wait(20)
    peer.close()
    until(lambda: descriptors() == before)


def test_a_reset_in_the_middle_of_a_drain_counts_the_client_out(
    serve: Serve, connect: Connect, gate: Gate, poller: Any
) -> None:
    server = serve(gate, poller=poller)
    lost, stopper = connect(server), connect(server)
    lost.request("block")
    gate.await_entry()
    stopper.send(encode(FrameType.STOP))
    stopper.await_receipt()
    lost.reset()
    gate.open()
    assert stopper.take(1)[0].type == FrameType.STOPPED


@pytest.mark.req("REQ-STOP-1")
def test_a_stop_is_obeyed_though_its_client_is_lost_in_the_same_turn(
    serve: Serve, connect: Connect, poller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = EventTurn._decide_stop

    def decide_and_fail(self: EventTurn, *args: Any) -> None:
        decide(self, *args)
        raise ConnectionResetError

    monkeypatch.setattr(EventTurn, "_decide_stop", decide_and_fail)
    server = serve(poller=poller)
    peer, other = connect(server), connect(server)
    assert other.ask("ab") == "ba"
    peer.send(encode(FrameType.STOP))
    assert other.receive() is None
    other.close()
    assert server.wait(20)
    assert not server._running().drain._stoppers


def test_what_was_said_of_another_client_that_is_gone_ends_nobody(
    serve: Serve, connect: Connect, gate: Gate, until: Any, poller: Any
) -> None:
    """A descriptor is used again at once, and a worker may come to an older word of the poller later."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        server = serve(gate, poller=poller, executor=executor)
        peer = connect(server)
        peer.request("block")
        peer.end()  # so that it is not read any more
        gate.await_entry()
        parts = server._running()
        [channel] = parts.table.all()
        assert isinstance(channel, Channel)
        until(lambda: not (channel.owned or channel.session.wants()[0]))
        channel.owned = True
        channel.take_turn(parts.workers.all[0].calls, gone=True)
        gate.open()
        assert peer.replies(1) == ["kcolb"]
