"""The decoder against the Construct grammar, on any octets in any pieces."""

from __future__ import annotations

import sys
from bisect import bisect_right
from typing import TYPE_CHECKING

from framelet import Frame, FrameDecoder, FrameTooLargeError, encode

from . import inputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .inputs import Found

MAX_BODY = 1_000
_ONE_BY_ONE, _ALL = 0x40, 0x80  # what is taken behind the piece; neither of them leaves the frames for later
_OBJECTS = 500  # octets that an empty decoder takes


def check(data: bytes) -> None:
    """Feed the stream in pieces as the steps say; raises AssertionError where decoder and grammar differ."""
    steps, stream = inputs.read(data)
    reading = Reading(stream)
    decoder = FrameDecoder(MAX_BODY)
    taken = fed = 0
    for number, step in enumerate([*steps, _ALL]):
        piece = stream[fed:] if number == len(steps) else stream[fed : fed + _size(step)]
        completed = feed(decoder, piece, number, reading.refused(fed), waiting=reading.whole(fed) > taken)
        assert completed == reading.whole(fed + len(piece)) - reading.whole(fed)
        fed += len(piece)
        check_part(decoder, reading, fed)
        check_size(decoder, reading, fed, taken)
        if step & (_ONE_BY_ONE | _ALL):
            frames = take(decoder, reading.refused(fed), one_by_one=bool(step & _ONE_BY_ONE))
            assert all(type(frame.body) is bytes for frame in frames)
            assert frames == reading.frames[taken : reading.whole(fed)]
            taken += len(frames)
    assert stream.startswith(b"".join(encode(*frame) for frame in reading.frames[:taken]))


def seeds() -> Iterator[bytes]:
    """What to begin with: the streams of the vectors, whole and in pieces."""
    for role in ("server", "client"):
        for vector in inputs.vectors(role):
            yield inputs.write(b"", vector.stream)
            yield inputs.write(bytes([_ONE_BY_ONE | 1, 3, _ALL | 2, 5, _ALL | 40]), vector.stream)


class Reading:
    """What the grammar finds in a stream, asked for each length of its beginning."""

    def __init__(self, stream: bytes) -> None:
        self.frames: list[Frame] = []
        self.last: Found | None = None  # too large, or without all of its body
        self._ends: list[int] = []
        for found in inputs.frames_of(stream):
            if found.length > MAX_BODY or found.body is None:
                self.last = found
                break
            self.frames.append(Frame(found.type, found.body))
            self._ends.append(found.end)

    def whole(self, fed: int) -> int:
        """How many frames have come whole."""
        return bisect_right(self._ends, fed)

    def refused(self, fed: int) -> Found | None:
        """The header that is too large, once it has come."""
        last = self.last
        return last if last and last.length > MAX_BODY and last.header_end <= fed else None

    def part(self, fed: int) -> tuple[bool, tuple[int, int] | None, int]:
        """Whether a frame is under way, its type and length, and the octets that its header or body lacks."""
        whole = self.whole(fed)
        start = self._ends[whole - 1] if whole else 0
        if fed < start + 5:
            return fed > start, None, start + 5 - fed if fed > start else 0
        if whole < len(self.frames):
            frame = self.frames[whole]
            return True, (frame.type, len(frame.body)), self._ends[whole] - fed
        assert self.last is not None
        return True, (self.last.type, self.last.length), self.last.end - fed


def feed(decoder: FrameDecoder, piece: bytes, number: int, refused: Found | None, *, waiting: bool) -> int:
    """Hand a piece over, now and then in a buffer that is used again; how many frames it completed."""
    buffer = bytearray(piece)
    completed = 0
    try:
        completed = decoder.receive_data((piece, buffer, memoryview(buffer))[number % 3])
    except FrameTooLargeError as error:
        assert not waiting
        check_refusal(error, refused)
    else:
        assert refused is None or waiting
    buffer[:] = bytes(len(buffer))
    return completed


def take(decoder: FrameDecoder, refused: Found | None, *, one_by_one: bool) -> list[Frame]:
    """All frames there are; behind them the refusal again and again, where there is one."""
    frames: list[Frame] = []
    try:
        if one_by_one:
            while (frame := decoder.next_frame()) is not None:
                frames.append(frame)
        else:
            frames += decoder.take_frames()
            frames += decoder.take_frames()
    except FrameTooLargeError as error:
        check_refusal(error, refused)
        for again in (decoder.take_frames, decoder.next_frame):
            try:
                again()
            except FrameTooLargeError as same:
                assert same is error  # noqa: PT017 - the same object each time
            else:
                raise AssertionError("the decoder goes on behind a refused header") from None
    else:
        assert refused is None
    return frames


def check_refusal(error: FrameTooLargeError, refused: Found | None) -> None:
    """The error names the header that the grammar finds too large."""
    assert refused is not None
    assert (error.type, error.length) == (refused.type, refused.length)


def check_part(decoder: FrameDecoder, reading: Reading, fed: int) -> None:
    """The decoder knows as much of the frame under way."""
    if reading.refused(fed) is None:
        assert (decoder.inside_frame, decoder.pending_header, decoder.lacking) == reading.part(fed)


def check_size(decoder: FrameDecoder, reading: Reading, fed: int, taken: int) -> None:
    """It holds what has come and was not taken, and sets nothing aside for what has not (REQ-SIZE-5)."""
    if reading.refused(fed) is None:
        assert decoder.size == fed - sum(len(encode(*frame)) for frame in reading.frames[:taken])
    under_way = sys.getsizeof(decoder._body) - sys.getsizeof(b"")
    assert under_way <= 2 * min(fed, MAX_BODY) + _OBJECTS


def _size(step: int) -> int:
    """Octets in the piece of a step: 0 to 31, or up to 1,024 in multiples of 32."""
    size = step & 0x3F
    return size if size < 32 else (size - 31) * 32
