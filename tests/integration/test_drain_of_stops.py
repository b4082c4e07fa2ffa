"""Drains that several STOPs ask for at once, or that a STOP meets: none may hang, spin, or forget a client.

What can happen in more than one order is forced into each of them.  The simulation leaves it to chance.
"""

from __future__ import annotations

import concurrent.futures
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import Frame, FrameType, encode
from framelet_server.connection.channel import Channel
from framelet_server.connection.session import Session
from framelet_server.observe import liveness
from framelet_server.pool.drain import Drain

from .peers import Peer, stopped
from .scripted import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from framelet_server import Server

    from .peers import Command, Connect, Gate, Serve


STOP = encode(FrameType.STOP)
PING = encode(FrameType.PING)
PONG = Frame(FrameType.PONG, b"")
REQUEST = encode(FrameType.REQUEST, b"ab")
REPLY = Frame(FrameType.REPLY, b"ba")

LONG = 1_000
"""Seconds of a drain timeout that no test lives to see."""

WINDOW = 0.1
"""Seconds of watching, in which a worker that spins is woken a thousand times."""

FEW = 20


@pytest.fixture(params=["workers", pytest.param("executor", marks=pytest.mark.slow)])
def executor(request: pytest.FixtureRequest) -> Iterator[concurrent.futures.Executor | None]:
    """What calls the handlers: the workers themselves, or a pool of threads."""
    if request.param == "workers":
        yield None
        return
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def start(serve: Serve, poller: Any, executor: Any) -> Callable[..., Server]:
    """Start a server that would drain for very long."""

    def started(*args: Any, **keywords: Any) -> Server:
        return serve(
            *args, poller=poller, executor=executor, drain_timeout=LONG, linger_timeout=20, **keywords
        )

    return started


@pytest.fixture
def drained() -> Callable[..., None]:
    """See that a server ends, once its clients are gone."""

    def check(server: Server, *peers: Peer) -> None:
        for peer in peers:
            peer.close()
        assert server.wait(PATIENCE), "the server did not end"
        until(lambda: server.metrics().connections_open == 0)

    return check


class Wakes:
    """Counts how often the workers of a poller are woken."""

    def __init__(self, poller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        begin = poller.__init__

        def counted(made: Any) -> None:
            begin(made)
            inner = made.poll

            def poll(timeout: float, most: int) -> Any:
                ready = inner(timeout, most)
                self.count += timeout != 0  # else it is awake anyway
                return ready

            made.poll = poll

        monkeypatch.setattr(poller, "__init__", counted)

    def in_window(self) -> int:
        before = self.count
        threading.Event().wait(WINDOW)  # what happens in this time is what is measured
        return self.count - before


@pytest.fixture
def wakes(poller: Any, monkeypatch: pytest.MonkeyPatch) -> Wakes:
    return Wakes(poller, monkeypatch)


@pytest.fixture(autouse=True)
def _no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no worker woken but for clients: once a second the probe would, and hide what was forgotten."""
    monkeypatch.setattr(liveness, "_EVERY", 1_000)


# Two STOPs at the same moment, in every order.


class Together:
    """Has the first threads that come to a method go on together."""

    def __init__(self, count: int = 2) -> None:
        self._barrier = threading.Barrier(count)
        self._places = threading.Semaphore(count)

    def meet(self) -> None:
        if self._places.acquire(blocking=False):
            self._barrier.wait(PATIENCE)


def decide_together(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Have as many STOPs decided at the same moment."""
    together, decide = Together(count), Session._decide_stop

    def patched(*args: Any) -> None:
        together.meet()
        decide(*args)

    monkeypatch.setattr(Session, "_decide_stop", patched)


@pytest.mark.req("REQ-STOP-8", "REQ-STOP-11")
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("method", ["_decide_stop", "stop_allowed", "begin", "_advance"])
def test_two_stops_are_decided_at_the_same_moment(  # noqa: PLR0913, PLR0917 - fixtures
    start: Callable[..., Server],
    connect: Connect,
    drained: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    moment: str,
) -> None:
    owner = Session if method == "_decide_stop" else Drain
    together = Together()

    received = threading.Event()  # by the system: else the second STOP may come after the drain

    def once_received(*args: Any) -> None:
        assert received.wait(PATIENCE)
        decide(*args)

    decide = Session._decide_stop
    monkeypatch.setattr(Session, "_decide_stop", once_received)
    inner = getattr(owner, method)

    def patched(*args: Any) -> None:
        if moment == "before":
            together.meet()
        inner(*args)
        if moment == "after":
            together.meet()

    server = start()
    first, second, idle = (connect(server) for _ in range(3))
    assert [peer.ask("ab") for peer in (first, second, idle)] == ["ba"] * 3
    monkeypatch.setattr(owner, method, patched)
    for peer in (first, second):
        peer.send(PING, REQUEST, STOP)
        peer.await_receipt()
    received.set()
    assert idle.rest() == []
    assert [peer.rest() for peer in (first, second)] == [[PONG, REPLY, stopped(1)]] * 2
    drained(server, first, second, idle)


@pytest.mark.req("REQ-STOP-8", "REQ-STOP-11")
def test_stopped_is_due_before_the_second_stop_is_through(
    start: Callable[..., Server],
    connect: Connect,
    drained: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The second one counts as allowed, and its worker comes no further until the drain is at its end.
    begin, first_in, second_in = Drain.begin, threading.Lock(), threading.Event()

    def in_order(drain: Drain, reason: str) -> None:
        if first_in.acquire(blocking=False):
            assert second_in.wait(PATIENCE)
        else:
            second_in.set()
            until(lambda: drain._concluded)
        begin(drain, reason)

    server = start()
    first, second, idle = (connect(server) for _ in range(3))
    assert [peer.ask("ab") for peer in (first, second, idle)] == ["ba"] * 3
    monkeypatch.setattr(Drain, "begin", in_order)
    decide_together(monkeypatch, 2)
    for peer in (first, second):
        peer.send(REQUEST, STOP)
    assert [peer.rest() for peer in (first, second)] == [[REPLY, stopped(1)]] * 2
    assert idle.rest() == []
    drained(server, first, second, idle)


@pytest.mark.req("REQ-STOP-8")
def test_stopped_is_asked_for_once(
    start: Callable[..., Server],
    connect: Connect,
    drained: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second note can come when STOPPED has left; then it is an error of the server's own."""
    told: list[Channel] = []
    tell = Channel.send_stopped

    def counted(channel: Channel) -> None:
        told.append(channel)
        tell(channel)

    monkeypatch.setattr(Channel, "send_stopped", counted)
    server = start()
    peer = connect(server)  # alone: the drain ends while its STOP is being allowed
    peer.send(REQUEST, STOP)
    assert peer.rest() == [REPLY, stopped(0)]
    drained(server, peer)
    assert len(told) == 1


# A note that comes while the owner of a channel is in its turn.


@pytest.mark.req("REQ-STOP-7", "REQ-STOP-8")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_drain_begins_while_a_stop_is_decided(  # noqa: PLR0913, PLR0917 - fixtures
    start: Callable[..., Server],
    connect: Connect,
    drained: Callable[..., None],
    wakes: Wakes,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    server = start()
    decide = Session._decide_stop

    def patched(*args: Any) -> None:
        if moment == "before":
            server.begin_drain()
        decide(*args)
        if moment == "after":
            server.begin_drain()

    monkeypatch.setattr(Session, "_decide_stop", patched)
    peer, idle = connect(server), connect(server)
    assert idle.ask("ab") == "ba"
    peer.send(PING, REQUEST, STOP)
    assert peer.rest() == [PONG, REPLY, stopped(1)]
    assert idle.rest() == []
    assert wakes.in_window() < FEW
    drained(server, peer, idle)


@pytest.mark.req("REQ-STOP-7", "REQ-STOP-8", "REQ-STOP-10")
def test_notes_for_clients_whose_handlers_block(  # noqa: PLR0913, PLR0917 - fixtures
    serve: Serve, poller: Any, connect: Connect, drained: Callable[..., None], gate: Gate, wakes: Wakes
) -> None:
    server = serve(gate, poller=poller, drain_timeout=LONG, linger_timeout=20)
    busy, asker, first, idle = (connect(server) for _ in range(4))
    assert [peer.ask("ab") for peer in (busy, asker, first, idle)] == ["ba"] * 4
    busy.request("block", "ab")
    gate.await_entry()
    asker.request("block")  # its STOP comes when the drain has begun
    asker.send(STOP)
    gate.await_entry()
    asker.await_receipt()
    first.send(PING, REQUEST, STOP)
    assert first.take(2) == [PONG, REPLY]
    assert idle.rest() == []
    until(lambda: server._running().drain.begun)
    assert wakes.in_window() < FEW
    gate.open()
    assert busy.rest() == [Frame(FrameType.REPLY, b"kcolb"), REPLY]
    assert asker.rest() == [Frame(FrameType.REPLY, b"kcolb"), stopped(2)]
    assert first.rest() == [stopped(2)]
    assert wakes.in_window() < FEW
    drained(server, busy, asker, first, idle)


# STOP meets a drain.


@pytest.mark.req("REQ-STOP-7", "REQ-STOP-8")
def test_a_stop_that_was_received_before_the_drain_began(
    start: Callable[..., Server], connect: Connect, drained: Callable[..., None], gate: Gate, wakes: Wakes
) -> None:
    server = start(gate, threads=1, max_in_flight=1)
    asker, idle = connect(server), connect(server)
    assert [peer.ask("ab") for peer in (asker, idle)] == ["ba"] * 2
    asker.request("block")
    gate.await_entry()
    asker.send(PING, REQUEST, STOP)  # nobody reads it for now
    asker.await_receipt()
    server.begin_drain()
    gate.open()
    assert asker.rest() == [Frame(FrameType.REPLY, b"kcolb"), PONG, REPLY, stopped(1)]
    assert idle.rest() == []
    assert wakes.in_window() < FEW
    drained(server, asker, idle)


@pytest.mark.req("REQ-STOP-7")
def test_a_stop_that_comes_when_the_drain_has_begun_is_not_taken(
    start: Callable[..., Server], connect: Connect, drained: Callable[..., None], gate: Gate, wakes: Wakes
) -> None:
    server = start(gate)
    busy, late, asker = (connect(server) for _ in range(3))
    assert [peer.ask("ab") for peer in (busy, late, asker)] == ["ba"] * 3
    busy.request("block")
    gate.await_entry()
    asker.send(STOP)
    assert late.rest() == []
    late.send(STOP, STOP)
    assert wakes.in_window() < FEW
    gate.open()
    assert busy.rest() == [Frame(FrameType.REPLY, b"kcolb")]
    assert asker.rest() == [stopped(2)]
    drained(server, busy, late, asker)


@pytest.mark.req("REQ-STOP-6", "REQ-STOP-8", "REQ-DRAIN-3", "REQ-DRAIN-4")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_the_drain_of_a_signal(
    command: Callable[..., Command], connect: Connect, tmp_path: Path, number: signal.Signals
) -> None:
    # The handler says that it was called, and goes on when somebody opens the other end of a pipe.
    os.mkfifo(tmp_path / "door")
    (tmp_path / "waiting.py").write_text(
        "def handler(text):\n"
        "    print('called', flush=True)\n"
        "    open('door').close()\n"
        "    return text[::-1]\n"
    )
    server = command("--handler", "waiting:handler", "--threads", "1", "--drain-timeout", "1000")
    address = server.address()
    asker, idle = connect(address), connect(address)
    asker.send(PING)
    assert asker.take(1) == [PONG]
    idle.send(PING)
    assert idle.take(1) == [PONG]
    asker.send(REQUEST)
    assert server.line() == "called\n"
    asker.send(STOP)
    asker.await_receipt()
    server.process.send_signal(number)
    with (tmp_path / "door").open("w"):
        pass
    assert asker.rest() == [REPLY, stopped(1)]
    assert idle.rest() == []
    asker.close()
    idle.close()
    assert server.finish() == (0, "")


# Several STOPs on one connection, and much before them.


@pytest.mark.req("REQ-STOP-10", "REQ-STOP-11")
def test_a_second_stop_on_one_connection_changes_nothing(
    start: Callable[..., Server], connect: Connect, drained: Callable[..., None], gate: Gate, wakes: Wakes
) -> None:
    server = start(gate)
    busy, asker = connect(server), connect(server)
    busy.request("block")
    gate.await_entry()
    asker.send(STOP, STOP)
    asker.await_receipt()
    asker.send(PING, STOP, REQUEST)
    asker.await_receipt()
    assert wakes.in_window() < FEW
    gate.open()
    assert busy.rest() == [Frame(FrameType.REPLY, b"kcolb")]
    assert asker.rest() == [stopped(1)]
    drained(server, busy, asker)


@pytest.mark.req("REQ-ORDER-2", "REQ-STOP-8")
@pytest.mark.parametrize("count", [1, 3])
def test_stops_behind_a_thousand_requests(
    start: Callable[..., Server],
    connect: Connect,
    drained: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    server = start()
    peers = [connect(server) for _ in range(count)]
    decide_together(monkeypatch, count)
    for peer in peers:
        peer.send(REQUEST * 1_000, STOP)
    for peer in peers:
        assert peer.rest() == [*[REPLY] * 1_000, stopped(0)]
    drained(server, *peers)


# Those who have connected when it begins.


@pytest.mark.req("REQ-DRAIN-2", "REQ-STOP-7")
def test_clients_that_wait_to_be_accepted_are_answered(
    start: Callable[..., Server], connect: Connect, drained: Callable[..., None], gate: Gate
) -> None:
    server = start(gate, threads=1)
    busy = connect(server)
    busy.request("block")
    gate.await_entry()
    waiting = [connect(server) for _ in range(5)]  # the only worker is held up
    for peer in waiting[:3]:
        peer.send(PING, REQUEST)
        peer.await_receipt()
    server.begin_drain()
    gate.open()
    assert [peer.rest() for peer in waiting] == [[PONG, REPLY]] * 3 + [[]] * 2
    assert busy.rest() == [Frame(FrameType.REPLY, b"kcolb")]
    drained(server, busy, *waiting)
