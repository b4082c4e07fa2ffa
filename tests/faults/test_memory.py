"""What clients make the server hold is bounded, for each of them and for all together.

redis let clients take memory before they had shown who they are (CVE-2021-32675, CVE-2025-21605); Thrift
allocated what a length announced (CVE-2026-43868).
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.scripted import until

from framelet import FrameType, encode, parse_address
from framelet_server.connection import event_turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Command, Gate, Peer

    from framelet_server import Server

    Connect = Callable[..., Peer]
    Serve = Callable[..., Server]
    Start = Callable[..., Command]

MIB = 1_048_576
LARGEST = b"\x01" + (16 * MIB).to_bytes(4, "big")
"""The header of a REQUEST of the largest size."""
SMALL = (socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)


def resident(pid: int) -> int:
    """Octets of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def part(size: int) -> bytes:
    """The beginning of a large frame."""
    return LARGEST + bytes(size)


@pytest.mark.req("REQ-SIZE-5")
def test_a_thousand_clients_that_announce_16_mib_and_send_1_kib(command: Start, connect: Connect) -> None:
    server = command()
    address = parse_address(server.address())
    assert connect(address).ask("ab") == "ba"
    before = resident(server.process.pid)
    crowd = [connect(address) for _ in range(1_000)]
    for peer in crowd:
        peer.send(part(1_024))
    for peer in crowd[::100]:
        peer.await_receipt()
    assert connect(address).ask("ab") == "ba"
    assert resident(server.process.pid) - before < 50 * MIB


@pytest.mark.req("REQ-FLOW-1", "REQ-FLOW-2", "REQ-FLOW-8")
def test_a_client_that_pipelines_for_ever_and_never_reads(command: Start, connect: Connect) -> None:
    server = command("--max-unsent", str(MIB))
    address = parse_address(server.address())
    honest = connect(address)
    assert honest.ask("ab") == "ba"
    before = resident(server.process.pid)
    greedy = connect(address, SMALL)
    greedy.sock.settimeout(0.5)
    frame = encode(FrameType.REQUEST, b"a" * 1_000)
    with contextlib.suppress(TimeoutError):  # the end of its share: the server reads no more
        for _ in range(200):
            greedy.send(frame * 1_000)
        pytest.fail("two hundred megabytes were taken in")
    assert honest.ask("ab") == "ba"
    assert resident(server.process.pid) - before < 16 * MIB


@pytest.mark.req("REQ-FLOW-7")
def test_above_the_budget_the_largest_client_is_shed_with_an_error(
    serve: Serve, connect: Connect, until: Any, poller: Any
) -> None:
    server = serve(poller=poller, max_memory=4 * MIB, threads=2)
    budget = server._running().memory
    honest, largest, other = connect(server), connect(server), connect(server)
    largest.send(part(5 * MIB // 2))
    other.send(part(MIB))
    until(lambda: budget.total > 3 * MIB)
    assert not budget.exceeded
    # Not all of this is read before the first client is shed: then there is room again.
    other.send(bytes(2 * MIB))
    for _ in range(20):
        assert honest.ask("ab") == "ba"
    assert largest.error() == 509
    assert largest.receive() is None
    other.send(bytes(13 * MIB))  # the rest, which must not be refused for what is over
    assert other.error() == 509  # alone it exceeds the budget, so it goes as well
    until(lambda: budget.total == 0)
    assert not budget.exceeded
    assert budget.shed == 2
    assert honest.ask("ab") == "ba"


@pytest.mark.req("REQ-FLOW-7")
def test_above_the_budget_no_client_is_read_that_holds_something(
    serve: Serve, connect: Connect, until: Any, poller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framelet_server.pool.memory._GRACE", 60.0)  # nobody is shed
    server = serve(poller=poller, max_memory=4 * MIB, threads=2)
    budget = server._running().memory
    honest, large, small = connect(server), connect(server), connect(server)
    small.send(part(1_000))
    large.send(part(5 * MIB))
    until(lambda: budget.exceeded)
    held = budget.total
    small.send(bytes(50_000))
    for _ in range(20):
        assert honest.ask("ab") == "ba"
    assert budget.total == held


@pytest.mark.req("REQ-FLOW-7", "REQ-FLOW-3")
def test_a_client_that_was_not_read_for_the_sake_of_all_is_read_again(
    serve: Serve, connect: Connect, until: Any, poller: Any
) -> None:
    server = serve(poller=poller, max_memory=4 * MIB, threads=2, frame_timeout=20.0)
    budget = server._running().memory
    large, small = connect(server), connect(server)
    large.send(part(7 * MIB // 2))
    until(lambda: budget.total > 3 * MIB)
    body = b"ab" * (MIB // 2)
    small.send(encode(FrameType.REQUEST, body))  # crosses the budget on its way
    assert large.error() == 509
    assert small.take(1)[0].body == body[::-1]


@pytest.mark.req("REQ-FLOW-7")
def test_a_client_that_takes_nothing_is_shed_by_force(
    serve: Serve, connect: Connect, until: Any, poller: Any
) -> None:
    server = serve(poller=poller, max_memory=MIB, max_unsent=64 * MIB, write_timeout=60.0)
    peer = connect(server, SMALL)

    def send_without_reading() -> None:
        peer.send(*[encode(FrameType.REQUEST, b"a" * MIB)] * 8)
        until(lambda: server._running().memory.shed)
        peer.rest()

    with pytest.raises(ConnectionResetError):  # while it still sends, or later
        send_without_reading()
    assert server._running().memory.shed == 1
    until(lambda: server._running().memory.total == 0)
    assert connect(server).ask("ab") == "ba"


@pytest.mark.req("REQ-FLOW-7")
def test_a_client_at_whose_handler_a_worker_is_busy_is_shed_when_it_returns(
    serve: Serve, connect: Connect, gate: Gate, until: Any, poller: Any
) -> None:
    server = serve(gate, poller=poller, max_memory=4 * MIB, threads=3)
    budget = server._running().memory
    busy, first, second = (connect(server) for _ in range(3))
    frame = encode(FrameType.REQUEST, b"block" + bytes(2 * MIB))
    busy.send(frame[: 2 * MIB])
    until(lambda: budget.total >= 2 * MIB)
    busy.send(frame[2 * MIB :])
    gate.await_entry()
    first.send(part(3 * MIB // 2))
    until(lambda: budget.total > 3 * MIB)
    second.send(part(3 * MIB // 4))
    # The busy one is the largest; while it cannot be shed, another goes in its place.
    assert first.error() == 509
    gate.open()
    assert len(busy.take(1)[0].body) == 2 * MIB + 5
    assert busy.error() == 509
    assert busy.receive() is None
    until(lambda: MIB // 2 < budget.total < MIB)  # the second is left
    assert connect(server).ask("ab") == "ba"
    assert budget.shed == 2


def test_what_is_held_is_counted_down_when_a_client_is_lost(
    serve: Serve, connect: Connect, until: Any, poller: Any
) -> None:
    server = serve(poller=poller)
    budget = server._running().memory
    peers = [connect(server) for _ in range(5)]
    for peer in peers:
        peer.send(part(100_000))
    until(lambda: 5 * 100_005 <= budget.total < 5 * 101_000)
    for peer in peers[:2]:
        peer.reset()
    peers[2].close()
    until(lambda: 2 * 100_005 <= budget.total < 2 * 101_000)


@pytest.mark.req("REQ-ERROR-8", "REQ-FLOW-7")
def test_a_client_that_is_shed_while_it_is_not_read_lingers_no_longer_than_others(
    serve: Serve, connect: Connect, until: Any, poller: Any
) -> None:
    server = serve(poller=poller, max_memory=MIB, linger_timeout=0.2)
    peer = connect(server)
    peer.send(part(MIB + 100))
    until(lambda: server._running().memory.exceeded)
    peer.send(b"x")
    assert peer.error() == 509
    assert peer.receive() is None  # and it does not close
    until(lambda: server.metrics().connections_open == 0)


@pytest.mark.req("REQ-ERROR-8", "REQ-FLOW-7")
def test_a_client_that_is_shed_while_its_answers_are_made_lingers_no_longer_than_others(
    serve: Serve, connect: Connect, until: Any, gate: Gate, poller: Any
) -> None:
    with ThreadPoolExecutor(1) as executor:
        server = serve(
            gate, executor=executor, poller=poller, max_memory=MIB, max_in_flight=2, linger_timeout=0.2
        )
        peer = connect(server)
        peer.request("block", "x" * MIB)
        assert peer.error() == 509
        assert peer.receive() is None
        until(lambda: server.metrics().connections_open == 0)
        gate.open()


@pytest.mark.req("REQ-STOP-8", "REQ-FLOW-7")
def test_a_client_whose_stop_was_allowed_is_shed_before_the_drain_ends(
    serve: Serve, connect: Connect, gate: Gate, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_turn, "LONGEST", 60.0)  # so that the STOP is served in the turn of the REQUEST
    with ThreadPoolExecutor(2) as executor:
        server = serve(gate, executor=executor, max_memory=MIB, linger_timeout=20.0)
        other, asker = connect(server), connect(server)
        other.request("block")
        gate.await_entry()
        text = "block\N{GRINNING FACE}" + "a" * (MIB // 3)  # as text it is too large, and not before
        octets = encode(FrameType.REQUEST, text.encode()) + encode(FrameType.STOP)
        before = server.metrics().received_bytes
        asker.send(octets[:-100])
        until(lambda: server.metrics().received_bytes == before + len(octets) - 100)
        asker.send(octets[-100:])  # what makes it too large, and the STOP, are read together
        assert asker.error() == 509
        assert asker.receive() is None
        gate.open()
        assert other.replies(1) == ["kcolb"]
        other.close()
        drain = server._running().drain
        until(lambda: drain._concluded)
        asker.close()  # only now: it has lingered until STOPPED was due
        assert server.wait(20)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)], ids=["", "executor"])
def test_answers_that_are_sent_do_not_stay_in_memory(
    serve: Serve, connect: Connect, until: Any, count: int, executor: ThreadPoolExecutor | None
) -> None:
    class Text(str):
        """One that tells when it is gone."""

        __slots__ = ("__weakref__",)

    made: list[weakref.ref[Text]] = []

    def handler(text: str) -> str:
        answer = Text(text)
        made.append(weakref.ref(answer))
        return answer

    peer = connect(serve(handler, executor=executor))
    gc.disable()  # nor until that comes
    try:
        for _ in range(3):
            peer.request(*["ab"] * count)
            assert peer.replies(count) == ["ab"] * count
        until(lambda: [found() for found in made] == [None] * 3 * count)
    finally:
        gc.enable()
