"""What goes wrong in the middle of a turn costs one client at the most, and never a worker."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, encode
from framelet_server import EpollPoller
from framelet_server.connection.channel import Channel
from framelet_server.connection.session import Session
from framelet_server.net.transport import Transport
from framelet_server.service.calls import HandlerCalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Gate, Peer

    from framelet_server import Server

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]


class Owners(dict[int, object]):
    """What a poller knows of its sockets; the next channel is aborted just after it was looked up."""

    aborts = False

    def get(self, number: int, default: Any = None) -> Any:
        owner = super().get(number, default)
        if self.aborts and isinstance(owner, Channel):
            self.aborts = False
            owner.abort()  # as another thread does, at this moment
        return owner


def test_a_client_that_is_closed_just_before_its_turn_costs_nothing(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    poller = EpollPoller()
    poller.owners = owners = Owners()
    server = serve(threads=1, poller=lambda: poller)
    peer, other = connect(server), connect(server)
    assert [peer.ask("ab") for _ in range(3)] == ["ba"] * 3
    channels: list[Any] = server._running().table.all()
    assert all(channel.kept for channel in channels)
    owners.aborts = True
    peer.request("ab")
    with pytest.raises(ConnectionError):
        peer.receive()
    assert other.ask("ab") == "ba"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_fault_at_the_end_of_a_turn_costs_no_worker(  # noqa: PLR0913, PLR0917 - fixtures
    serve: Serve,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    until: Any,
    threads: int,
) -> None:
    release = Channel.release

    def faulty(self: Channel) -> None:
        release(self)
        if self.closed:
            raise ZeroDivisionError("a fault of the server")

    server = serve(threads=threads)
    other = connect(server)
    assert other.ask("ab") == "ba"
    monkeypatch.setattr(Channel, "release", faulty)
    for _ in range(5):  # more often than there are threads to lose
        peer = connect(server)
        assert peer.ask("ab") == "ba"
        peer.end()
        assert peer.receive() is None
        assert other.ask("ab") == "ba"
    until(lambda: caplog.text.count("a worker failed in its turn") == 5)


def test_nothing_is_sent_early_for_a_client_whose_turn_is_over(
    serve: Serve, connect: Connect, gate: Gate, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_for: list[Session] = []
    looks: list[float] = []
    send_early = HandlerCalls.send_early

    def looking(self: HandlerCalls, now: float) -> None:
        send_early(self, now)
        looks.append(now)

    monkeypatch.setattr(Session, "send_early", lambda self, *_: sent_for.append(self))
    monkeypatch.setattr(HandlerCalls, "send_early", looking)
    server = serve(gate, threads=1)
    earlier, peer = connect(server), connect(server)
    for _ in range(20):  # the handler is known as quick
        assert [earlier.ask("ab"), peer.ask("ab")] == ["ba", "ba"]
    earlier.send(encode(FrameType.PING), encode(FrameType.REQUEST, b"ab"))
    assert len(earlier.take(2)) == 2
    server._running().workers.detector.wake()
    peer.request("block")
    gate.await_entry()
    until(lambda: looks)
    gate.open()
    assert peer.replies(1) == ["kcolb"]
    assert sent_for == []


@pytest.mark.req("REQ-ORDER-1", "REQ-ORDER-2")
@pytest.mark.parametrize(
    "fault",
    [OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)), ZeroDivisionError()],
    ids=["ENOBUFS", "fault"],
)
def test_no_answer_takes_the_place_of_one_that_could_not_be_sent_early(  # noqa: PLR0913 - fixtures
    serve: Serve,
    connect: Connect,
    gate: Gate,
    until: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    fault: Exception,
) -> None:
    write = Transport.write
    left = [fault]

    def failing(self: Transport, pieces: list[bytes]) -> None:
        if left and threading.current_thread().name == "framelet-timers":
            raise left.pop()
        write(self, pieces)

    server = serve(gate, threads=2)
    peer, other = connect(server), connect(server)
    for _ in range(20):  # the handler is known as quick
        assert peer.ask("ab") == "ba"
    monkeypatch.setattr(Transport, "write", failing)
    peer.request("first", "block", "last")
    gate.await_entry()
    until(lambda: not left)
    assert other.ask("ab") == "ba"
    other.request("first", "block", "last")  # the detector goes on for others
    assert other.replies(1) == ["tsrif"]
    gate.open()
    with contextlib.suppress(ConnectionError):
        assert peer.receive() is None
    assert other.replies(2) == ["kcolb", "tsal"]
