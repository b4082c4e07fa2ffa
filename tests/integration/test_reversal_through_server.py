"""The service end to end: many clients at once, any text, any cut of the stream, faults in between.

Each example gives several clients a script of frames.  Every client writes its script on a thread of its
own, cut into segments anywhere, without waiting for answers, and every answer is compared octet for octet
and in order.  The texts of ERROR frames are for people; of those the code is compared.
"""

from __future__ import annotations

import concurrent.futures
import socket
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framelet import Frame, FrameDecoder, FrameType, TcpAddress, encode
from framelet_server import EpollPoller, SelectorPoller, Server, ServerLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

HANDLED, UNHANDLED = 0xC0, 0xC1


class Exchange(NamedTuple):
    """A frame as it is sent, and what must come back: type and octets, none for a frame without answer."""

    sent: bytes
    answer: tuple[int, bytes] | None


def error(code: int) -> tuple[int, bytes]:
    return FrameType.ERROR, b"%d " % code


def request(text: str) -> Exchange:
    return Exchange(encode(FrameType.REQUEST, text.encode()), (FrameType.REPLY, text[::-1].encode()))


def application(text: str) -> Exchange:
    return Exchange(encode(HANDLED, text.encode()), (HANDLED, (text + text).encode()))


def ping(body: str) -> Exchange:
    octets = body.encode()
    answer = (int(FrameType.PONG), octets) if len(octets) <= 64 else error(413)
    return Exchange(encode(FrameType.PING, octets), answer)


def unhandled(text: str) -> Exchange:
    return Exchange(encode(UNHANDLED, text.encode()), error(404))


def ignorable(octets: bytes) -> Exchange:
    return Exchange(encode(0x80 + len(octets) % 0x40, octets), None)


def ill_formed(frame_type: int, before: str, octets: bytes) -> Exchange:
    # What stands before is well-formed, and none of the endings can become so by it.
    return Exchange(encode(frame_type, before.encode() + octets), error(400))


texts = st.text(st.characters(codec="utf-8"), max_size=30)
"""Any scalar values: NUL, BOM, noncharacters and private use among them, surrogates not."""

large_texts = st.builds(lambda text, count: text * count, texts, st.integers(1_000, 3_000))

bad_octets = st.sampled_from(
    [
        b"\x80",
        b"\xc0\x80",
        b"\xc3",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98",
        b"\xf4\x90\x80\x80",
        b"\xff",
    ]
)

exchanges = st.one_of(
    texts.map(request),
    texts.map(application),
    texts.map(ping),
    texts.map(unhandled),
    st.binary(max_size=40).map(ignorable),
    st.builds(ill_formed, st.sampled_from([0x01, 0x03, 0x06, HANDLED, UNHANDLED]), texts, bad_octets),
    large_texts.map(request),
)

scripts = st.tuples(
    st.lists(exchanges, max_size=25),
    st.lists(st.integers(1, 4_000), min_size=1, max_size=20),
    st.booleans(),
)
"""Frames, the sizes of the segments in which they are sent, in turn, and whether the client half-closes."""


@pytest.fixture(scope="module", params=[EpollPoller, SelectorPoller])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Small turns and bounds, so that ordinary scripts exceed them."""
    limits = ServerLimits(threads=4, turn_octets=5_000, max_unsent=20_000, linger_timeout=0.2)
    handlers = {HANDLED: lambda text: text + text}
    started = Server(("127.0.0.1", 0), handlers=handlers, limits=limits, poller=request.param)
    with started:
        yield started


def play(address: TcpAddress, script: tuple[list[Exchange], list[int], bool]) -> list[Frame]:
    """Send a script from one thread, and read from this one as many frames as must come."""
    exchanges, sizes, ends = script
    stream = b"".join(exchange.sent for exchange in exchanges)
    count = sum(exchange.answer is not None for exchange in exchanges)
    with socket.create_connection((address.host, address.port), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer = threading.Thread(target=write, args=(sock, stream, sizes, ends))
        writer.start()
        decoder, frames = FrameDecoder(), list[Frame]()
        while (ends or len(frames) < count) and (data := sock.recv(65_536)):
            decoder.receive_data(data)
            frames += decoder.take_frames()
        writer.join()
        assert not decoder.inside_frame
        return frames


def write(sock: socket.socket, stream: bytes, sizes: list[int], ends: bool) -> None:  # noqa: FBT001 - a thread's target
    start, turn = 0, 0
    while start < len(stream):
        size = sizes[turn % len(sizes)]
        sock.sendall(stream[start : start + size])
        start, turn = start + size, turn + 1
    if ends:
        sock.shutdown(socket.SHUT_WR)


def comparable(frame: Frame) -> tuple[int, bytes]:
    """A frame without what is for people only."""
    return (frame.type, frame.body[:4]) if frame.type == FrameType.ERROR else (frame.type, frame.body)


@pytest.mark.req(
    "REQ-REV-1", "REQ-REV-2", "REQ-ORDER-1", "REQ-ORDER-2", "REQ-FRAME-4", "REQ-TEXT-4", "REQ-TEXT-5"
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(scripts, min_size=1, max_size=8))
def test_every_answer_comes_in_order_and_octet_for_octet(server: Server, clients: list[Any]) -> None:
    assert isinstance(server.address, TcpAddress)
    address = server.address
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        received = list(pool.map(lambda script: play(address, script), clients))
    for (exchanges, _, _), frames in zip(clients, received, strict=True):
        expected = [exchange.answer for exchange in exchanges if exchange.answer is not None]
        assert [comparable(frame) for frame in frames] == expected


@pytest.mark.req("REQ-REV-1", "REQ-TEXT-4")
def test_every_scalar_value_is_reversed(server: Server) -> None:
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    assert isinstance(server.address, TcpAddress)
    pieces = [every[start : start + 5_000] for start in range(0, len(every), 5_000)]
    frames = play(server.address, ([request(piece) for piece in pieces], [65_536], True))
    assert b"".join(frame.body for frame in reversed(frames)) == every[::-1].encode()
