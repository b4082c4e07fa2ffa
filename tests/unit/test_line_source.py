"""Lines of a descriptor become requests, in constant memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from framelet import ClientConnection, ClientConnectionLimits, FrameDecoder
from framelet_client.cli.line_source import LineSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX = 65_536


class Feed:
    """A source, the pipe it reads from, and a connection that takes its requests."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.skipped: list[tuple[int, str]] = []
        self.source = LineSource(self.read_end, MAX, lambda line, why: self.skipped.append((line, why)))
        self.connection = ClientConnection(ClientConnectionLimits(max_body=MAX), now=0.0)

    def write(self, data: bytes) -> None:
        assert os.write(self.write_end, data) == len(data)

    def end(self) -> None:
        os.close(self.write_end)
        self.write_end = -1

    def take(self, frames: int = 1_000, octets: int = 1_000_000) -> list[bytes]:
        """Feed once; the bodies that became requests."""
        self.source.feed(self.connection, frames, octets)
        decoder = FrameDecoder()
        decoder.receive_data(self.connection.data_to_send(0.0))
        return [frame.body for frame in decoder.take_frames()]

    def close(self) -> None:
        for descriptor in (self.read_end, self.write_end):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def feed() -> Iterator[Feed]:
    feed = Feed()
    yield feed
    feed.close()


def test_only_whole_lines_are_sent(feed: Feed) -> None:
    feed.write(b"hel")
    assert feed.take() == []
    feed.write(b"lo\nwor")
    assert feed.take() == [b"hello"]
    feed.write(b"ld\n\n")
    assert feed.take() == [b"world", b""]
    assert not feed.source.exhausted
    feed.write(b"last")
    feed.end()
    assert feed.take() == []
    assert feed.take() == [b"last"]
    assert feed.source.exhausted
    assert list(feed.source.unanswered) == [1, 2, 3, 4]
    assert feed.source.octets_read == 17


def test_no_more_is_taken_than_there_is_room_for(feed: Feed) -> None:
    feed.write(b"1\n2\n3\n4\n5\n")
    assert feed.source.fileno() == feed.read_end
    assert feed.take(frames=2) == [b"1", b"2"]
    assert feed.source.fileno() is None  # lines are in hand: there is nothing to wait for
    assert feed.take(octets=1) == [b"3"]
    assert feed.take() == [b"4", b"5"]
    assert feed.source.fileno() == feed.read_end


@pytest.mark.parametrize(
    ("size", "sent"), [(MAX - 1, True), (MAX, True), (MAX + 1, False), (10 * MAX, False)]
)
def test_the_longest_line(tmp_path: Path, size: int, *, sent: bool) -> None:
    file = tmp_path / "lines"
    for head, tail in ((b"", b"\nab\n"), (b"", b""), (b"ab\n", b"\n")):
        file.write_bytes(head + b"x" * size + tail)
        skipped: dict[int, str] = {}
        with file.open("rb") as stream:
            source = LineSource(stream.fileno(), MAX, skipped.__setitem__)
            connection = ClientConnection(ClientConnectionLimits(max_body=MAX), now=0.0)
            while not source.exhausted:
                source.feed(connection, 1, 10**9)
        line = 2 if head else 1
        assert skipped == ({} if sent else {line: f"longer than {MAX} octets"})
        lines = (head + b"x" + tail).count(b"\n") + (not tail)
        assert list(source.unanswered) == [number for number in range(1, lines + 1) if sent or number != line]


def test_a_long_line_is_not_held(feed: Feed) -> None:
    held: list[int] = []
    for _ in range(50):
        feed.write(b"x" * 60_000)
        assert feed.take() == []
        held.append(len(feed.source._partial))
    assert max(held) <= MAX
    feed.write(b"\nab\n")
    assert feed.take() == [b"ab"]
    assert feed.skipped == [(1, f"longer than {MAX} octets")]


def test_the_oldest_line_without_answer(feed: Feed) -> None:
    assert feed.source.next_number == 1
    feed.write(b"1\n\xff\n3\n")
    feed.take()
    assert feed.source.next_number == 1
    feed.source.unanswered.popleft()
    assert feed.source.next_number == 3
    feed.source.unanswered.popleft()
    assert feed.source.next_number == 4


def test_input_that_fails_ends_the_source(feed: Feed) -> None:
    feed.write(b"ab")
    assert feed.take() == []
    os.close(feed.read_end)
    feed.read_end = -1
    assert feed.take() == [b"ab"]
    assert feed.source.exhausted
    assert isinstance(feed.source.error, OSError)
