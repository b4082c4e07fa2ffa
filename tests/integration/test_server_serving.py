"""The server answers: every transport and poller, every cut of the stream, the sizes at which peers broke."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import Frame, FrameType, encode
from framelet_server import StopPolicy
from framelet_server.connection.channel import Channel

from .scripted import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Gate, Peer

    from .peers import Connect, Serve


MIXED = b"".join(
    [
        encode(FrameType.REQUEST, b"ab"),
        encode(FrameType.REQUEST, b"\xc0\x80"),
        encode(0x80, b"\xff\x00"),
        encode(FrameType.PING, b"end"),
        encode(0xC0, b"nobody"),
        encode(FrameType.HELLO, b"framelet/1"),
        encode(FrameType.REQUEST),
    ]
)
"""A frame of each kind: served, refused, discarded, answered by the connection itself, without handler."""


def check_mixed(frames: list[Frame]) -> None:
    assert [(frame.type, frame.body[:3]) for frame in frames] == [
        (FrameType.REPLY, b"ba"),
        (FrameType.ERROR, b"400"),
        (FrameType.PONG, b"end"),
        (FrameType.ERROR, b"404"),
        (FrameType.HELLO, b"fra"),
        (FrameType.REPLY, b""),
    ]


@pytest.mark.req("REQ-ORDER-1", "REQ-ORDER-2", "REQ-ORDER-4", "REQ-ORDER-5", "REQ-CLOSE-1", "REQ-REV-1")
def test_every_transport_and_poller_answers_in_order(
    serve: Serve, connect: Connect, listen_on: Any, poller: Any
) -> None:
    peer = connect(serve(address=listen_on, poller=poller))
    peer.send(MIXED)
    peer.end()
    check_mixed(peer.rest())


@pytest.mark.req("REQ-REV-1", "REQ-TEXT-4", "REQ-TEXT-5")
def test_every_scalar_value_is_reversed(serve: Serve, connect: Connect) -> None:
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    texts = [every[start : start + 5_000] for start in range(0, len(every), 5_000)]
    peer = connect(serve(turn_octets=5_000, max_unsent=20_000))
    threading.Thread(target=peer.request, args=texts).start()
    assert peer.replies(len(texts)) == [text[::-1] for text in texts]


@pytest.mark.req("REQ-FRAME-4")
def test_a_stream_sent_octet_by_octet_is_answered_the_same(
    serve: Serve, connect: Connect, poller: Any
) -> None:
    peer = connect(serve(poller=poller))
    for octet in MIXED:
        peer.send(bytes([octet]))
    check_mixed(peer.take(6))


@pytest.mark.req("REQ-FRAME-4", "REQ-SIZE-1")
@pytest.mark.parametrize("received", [4_096, 8_192, 65_536, 131_072])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_part_of_a_frame_that_fills_the_receive_size_exactly(
    serve: Serve, connect: Connect, received: int, more: int
) -> None:
    # Thrift's non-blocking server closed a healthy connection when a read returned exactly what it asked
    # for and the frame went on.
    peer = connect(serve())
    frame = encode(FrameType.REQUEST, b"x" * (received + more) + b"tail")
    peer.send(frame[: received + more])
    peer.await_receipt()
    peer.send(frame[received + more :])
    assert peer.replies(1) == ["liat" + "x" * (received + more)]


@pytest.mark.req("REQ-FRAME-4")
@pytest.mark.parametrize("size", [8_187, 8_192, 65_531, 65_536, 262_139, 262_144])
def test_whole_frames_of_the_size_of_a_read_or_of_a_turn(serve: Serve, connect: Connect, size: int) -> None:
    peer = connect(serve())
    for letter in "ab":
        assert peer.ask(letter + "x" * (size - 1)) == "x" * (size - 1) + letter


@pytest.mark.req("REQ-FLOW-5")
def test_a_body_larger_than_a_turn(serve: Serve, connect: Connect, poller: Any) -> None:
    peer = connect(serve(poller=poller, turn_octets=1_000))
    text = "abc" * 30_000
    threading.Thread(target=peer.request, args=(text,)).start()
    assert peer.replies(1) == [text[::-1]]


@pytest.mark.req("REQ-FLOW-5")
def test_turns_of_one_octet(serve: Serve, connect: Connect) -> None:
    peer = connect(serve(turn_octets=1, max_unsent=1))
    peer.send(MIXED)
    peer.end()
    check_mixed(peer.rest())


@pytest.mark.req("REQ-FLOW-5")
def test_a_client_that_floods_does_not_hold_up_another(serve: Serve, connect: Connect, poller: Any) -> None:
    server = serve(poller=poller, threads=1)
    flood, other = connect(server), connect(server)
    ended = threading.Event()

    def write() -> None:
        piece = encode(FrameType.REQUEST, b"x" * 100) * 1_000
        while not ended.is_set():
            flood.send(piece)
        flood.end()

    counted: list[Frame] = []
    threads = [threading.Thread(target=write), threading.Thread(target=lambda: counted.extend(flood.rest()))]
    for thread in threads:
        thread.start()
    try:
        for number in range(50):
            assert other.ask(f"{number}") == f"{number}"[::-1]
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert {frame.body for frame in counted} == {b"x" * 100}


@pytest.mark.req("REQ-FLOW-5")
def test_a_client_with_much_to_serve_lets_others_in_between(
    serve: Serve, connect: Connect, gate: Gate, poller: Any
) -> None:
    server = serve(gate, poller=poller, threads=1, turn_octets=5_000)
    busy, flood, other = connect(server), connect(server), connect(server)
    assert [flood.ask("first"), other.ask("first")] == ["tsrif"] * 2
    busy.request("block")
    gate.await_entry()
    flood.request(*["flood" * 20] * 4_000)  # all of it is there when the only worker has time for it
    other.request("other")
    other.await_receipt()
    gate.open()
    assert other.replies(1) == ["rehto"]
    assert flood.replies(4_000) == ["doolf" * 20] * 4_000
    assert gate.seen.index("other") < 300  # a turn serves fifty, one read of the usual size six hundred


COSTLY = {
    "refused STOPs": encode(FrameType.STOP),
    "malformed HELLO": encode(FrameType.HELLO, b"\xff\xff"),
    "ill-formed UTF-8": encode(FrameType.REQUEST, b"\xff"),
    "PING": encode(FrameType.PING),
}


@pytest.mark.req("REQ-FLOW-5")
@pytest.mark.parametrize("frame", COSTLY.values(), ids=COSTLY)
def test_a_turn_is_bounded_in_time_whatever_its_frames_cost(
    serve: Serve, connect: Connect, gate: Gate, poller: Any, frame: bytes
) -> None:
    answers_before: list[int] = []

    def handler(text: str) -> str:
        if text == "other":
            answers_before.append(server.metrics().answers)
        return gate(text)

    count = 200_000 // len(frame)
    server = serve(handler, poller=poller, threads=1, stop_policy=StopPolicy.off(), max_unsent=100_000_000)
    busy, flood, other = connect(server), connect(server), connect(server)
    assert [flood.ask("first"), other.ask("first")] == ["tsrif"] * 2
    busy.request("block")
    gate.await_entry()
    flood.send(frame * count)  # a read of it, and more, is there when the only worker has time for it
    other.request("other")
    other.await_receipt()
    gate.open()
    assert other.replies(1) == ["rehto"]
    flood.end()
    assert len(flood.rest()) == count
    assert answers_before[0] < 65_536 // len(frame)  # where a turn served the whole of its first read


@pytest.mark.req("REQ-FLOW-1", "REQ-FLOW-2", "REQ-FLOW-3")
@pytest.mark.parametrize("max_unsent", [1, 20_000, 1_048_576])
def test_a_client_that_reads_late_is_not_read_and_then_gets_everything(
    serve: Serve, connect: Connect, poller: Any, max_unsent: int
) -> None:
    server = serve(poller=poller, max_unsent=max_unsent)
    peer = connect(server, (socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096))
    frame = encode(FrameType.REQUEST, b"abcdefgh" * 128)
    peer.sock.setblocking(False)  # noqa: FBT003 - its only parameter
    # Backpressure: without it, the server would take everything that comes and hold the answers.
    sent = write_until_stuck(peer, frame * 4_096)
    assert sent < 48_000_000
    peer.sock.settimeout(20)
    whole, part = divmod(sent, len(frame))
    if part:
        threading.Thread(target=peer.send, args=(frame[part:],)).start()
        whole += 1
    assert peer.replies(whole) == ["hgfedcba" * 128] * whole
    assert peer.ask("on") == "no"


@pytest.mark.req("REQ-FLOW-1")
def test_small_answers_that_wait_cost_what_they_hold(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One piece for each answer would take thirty times as much, and be one system call and packet each.
    channels: list[Channel] = []
    begin = Channel.begin

    def remember(self: Channel, **keywords: Any) -> None:
        channels.append(self)
        begin(self, **keywords)

    monkeypatch.setattr(Channel, "begin", remember)
    # A unix socket holds little by itself, so that the server has to.
    peer = connect(serve(str.upper, address=f"unix:{tmp_path / 'server.sock'}", max_unsent=100_000))
    thread = threading.Thread(target=peer.request, args=["ab"] * 50_000)
    thread.start()
    # Either there are too many of them, or a turn's time is up with the socket full.
    until(lambda: channels and channels[0].session.transport.unsent and not channels[0].owned)
    assert len(channels[0].session.transport._pieces or ()) < 10
    assert peer.replies(50_000) == ["AB"] * 50_000
    thread.join()


def write_until_stuck(peer: Peer, data: bytes) -> int:
    """Write without reading until nothing was taken for a while; the octets taken."""
    sent, idle, pause = 0, 0, threading.Event()
    while idle < 20 and sent < 48_000_000:
        try:
            sent += peer.sock.send(memoryview(data)[sent % len(data) :])
            idle = 0
        except BlockingIOError:
            idle += 1
            pause.wait(0.01)
    return sent


def test_a_handler_that_blocks_holds_its_own_worker_only(
    serve: Serve, connect: Connect, gate: Gate, poller: Any
) -> None:
    server = serve(gate, poller=poller, threads=3)
    blocked = [connect(server) for _ in range(2)]
    for peer in blocked:
        peer.request("block")
        gate.await_entry()
    others = [connect(server) for _ in range(20)]
    assert [peer.ask("ab") for peer in others] == ["ba"] * 20
    gate.open()
    assert [peer.replies(1) for peer in blocked] == [["kcolb"]] * 2


def test_the_number_of_threads_does_not_depend_on_the_clients(
    serve: Serve, connect: Connect, poller: Any
) -> None:
    before = threading.active_count()
    server = serve(poller=poller, threads=3)
    assert threading.active_count() == before + 3 + 1  # the workers, and that of the timers
    peers = [connect(server) for _ in range(50)]
    assert [peer.ask("ab") for peer in peers] == ["ba"] * 50
    assert threading.active_count() == before + 3 + 1
    server.begin_drain()
    for peer in peers:
        peer.close()
    assert server.wait(20)
    assert threading.active_count() == before
