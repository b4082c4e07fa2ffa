"""Frames to octets and back, fast: derived from the grammar, and proven equal to it by property tests.

Construct takes microseconds for a header that ``struct`` reads in a fraction of one.  So the layout of the
header is read off the grammar's ``FrameHeader`` once, at import, into a ``struct.Struct``: change the
grammar and the codec follows.
"""

from __future__ import annotations

import io
import struct
import sys
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from construct import Struct

from . import grammar, limits
from .errors import ConfigurationError, ConnectionStateError, FrameTooLargeError, IllFormedTextError
from .frame_format import FrameFormat, Octets


class Frame(NamedTuple):
    """One whole frame: the type octet, and the body's octets."""

    type: int
    body: bytes


def _header_of(definition: Struct) -> struct.Struct:
    """The ``struct`` equivalent of a Construct Struct of a type and a length, both big-endian numbers."""
    names = [field.name for field in definition.subcons]
    try:
        layout = FrameFormat(definition, max_body=limits.MAX_LENGTH).layout
    except ConfigurationError:
        layout = None
    if layout is None or names != ["type", "length"] or layout.format[0] != ">" or "s" in layout.format:
        message = f"the codec cannot be derived from a header of {names}"
        raise ConnectionStateError(message)
    return layout


FORMAT = FrameFormat(grammar.FrameHeader, max_body=limits.MAX_LENGTH)
"""Framelet's own format, as one of those that a FrameFormat can be."""

HEADER = _header_of(grammar.FrameHeader)
"""Type and length of a frame, for the decoder below, which is as fast as it can be for this one format."""

HEADER_SIZE = HEADER.size
"""Octets in a header."""

_SHORT = 4_096  # characters

_EVERY = sys.maxsize  # octets

size_of: Callable[[object], int] = sys.getsizeof

# Octets that Python takes beside those that were received, by what this interpreter says of itself.
_ROUNDING = 16  # of two objects: the allocator rounds up to 16
_FRAME = sys.getsizeof((0, b"")) + sys.getsizeof(b"") + struct.calcsize("P") + _ROUNDING
_QUEUE, _BODY = sys.getsizeof(deque()), sys.getsizeof(io.BytesIO())


def encode_header(frame_type: int, length: int) -> bytes:
    """Build the header of a frame (REQ-FRAME-1 to 3).

    ``frame_type`` is 0 to 255 and ``length`` counts the octets of the body.  Raises FrameTooLargeError for a
    length that four octets cannot hold, and ConfigurationError for another type.
    """
    if length > limits.MAX_LENGTH:
        raise FrameTooLargeError(frame_type, length, limits.MAX_LENGTH)
    try:
        return HEADER.pack(frame_type, length)
    except struct.error:
        message = f"a frame type is a number from 0 to 255, not {frame_type!r}"
        raise ConfigurationError(message) from None


def encode(frame_type: int, body: bytes = b"") -> bytes:
    """Build the octets of one frame; raises as encode_header does."""
    return encode_header(frame_type, len(body)) + body


def encode_text(text: str) -> bytes:
    """The UTF-8 octets of a text (REQ-TEXT-1).

    Raises IllFormedTextError for a lone surrogate, and ConfigurationError for what is not a str.
    """
    return _encoded(text, "utf-8")


def _encoded(text: str, encoding: str) -> bytes:
    try:
        return str.encode(text, encoding)  # as a str, whatever a subclass makes of it
    except TypeError:
        message = f"a text must be a str, not {type(text).__name__}"
        raise ConfigurationError(message) from None
    except UnicodeEncodeError as error:
        message = f"the text holds a lone surrogate at index {error.start}, which has no UTF-8 form"
        raise IllFormedTextError(message) from None


def decode_text(body: bytes) -> str:
    """The text of a body, exactly (REQ-TEXT-3 to 5); raises IllFormedTextError with the first bad octet."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"not well-formed UTF-8: {error.reason} at octet {error.start} of the body"
        raise IllFormedTextError(message) from None


def reverse(text: str) -> str:
    """Reverse a text by Unicode scalar value: the service of section 14.

    ``text`` is any string without lone surrogates; the result has as many scalar values and as many UTF-8
    octets.  Raises IllFormedTextError for a lone surrogate, which is not a scalar value (REQ-REV-1).
    """
    if not text.isascii():  # which is a flag, where the check costs a copy
        # UTF-32 has the same texts, and CPython makes it five times as fast, but not where they are short.
        _encoded(text, "utf-8" if len(text) < _SHORT else "utf-32-le")
    # A str is a sequence of code points, so the slice is the definition itself.
    return text[::-1]


class FrameDecoder:
    """Finds the frames in a stream that arrives in pieces of any size (REQ-FRAME-4).

    Feed octets with ``receive_data``; take all whole frames with ``take_frames``, or one with
    ``next_frame``.  Work and memory are linear in the octets received; a length that a header merely claims
    reserves nothing (REQ-SIZE-5).  A length above ``max_body`` octets is refused on the last octet of the
    header (REQ-SIZE-4), and ``refused`` says so at once; once the frames before it have been taken the
    decoder is poisoned: every call raises that same error, until ``clear``.
    """

    __slots__ = ("_body", "_head", "_max_body", "_rest", "_waiting", "frames", "pending_header", "refused")

    _at_once = _EVERY
    """Octets after which no further frame is made of what was received until those made are taken."""

    def __init__(self, max_body: int = limits.DEFAULT_MAX_BODY) -> None:
        """Decode frames with bodies of up to ``max_body`` octets."""
        self._max_body = max_body
        # A server holds thousands of idle decoders, and an empty deque takes 760 octets: there is one only
        # while it holds something.
        self.frames: deque[tuple[int, bytes]] | None = None
        """Type and body of frames that are complete; for a connection, which needs no Frame of each."""
        # Complete frames after those: octets of whole frames, and frames that are made.
        self._rest: deque[memoryview | tuple[int, bytes]] | None = None
        self._waiting = 0  # octets in all of those, counted as they come and go
        self._head = b""  # the first octets of a header that is not complete
        self.pending_header: tuple[int, int] | None = None
        """Type and length of the frame under way, once its header is complete."""
        self._body: io.BytesIO | None = None  # what has come of its body
        self.refused: FrameTooLargeError | None = None
        """The error of a header that was refused: it comes after the frames that are complete."""

    def __repr__(self) -> str:
        """What it holds."""
        return f"<FrameDecoder {len(self.frames or ())} frames, {self.under_way} octets of the next>"

    @property
    def inside_frame(self) -> bool:
        """Whether the octets received so far end inside a frame."""
        return self.pending_header is not None or bool(self._head)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is held, and nothing was refused: what comes next begins a frame."""
        return not (self.frames or self._head or self.refused or self.pending_header is not None)

    @property
    def under_way(self) -> int:
        """Octets received of the frame under way, its header included."""
        return len(self._head) if self._body is None else HEADER_SIZE + self._body.tell()

    @property
    def size(self) -> int:
        """Octets held: those of the frame under way, and of the whole frames that were not taken."""
        return self._waiting + self.under_way

    @property
    def held(self) -> int:
        """Octets of memory that all this takes, give or take a third."""
        held = self._waiting + self.under_way
        if self._waiting:
            held += _QUEUE + (len(self.frames or ()) + len(self._rest or ())) * _FRAME
        return held if self._body is None else held + _BODY

    @property
    def lacking(self) -> int:
        """Octets to the end of the header or body under way; 0 where a frame is to begin."""
        if self.pending_header is not None:
            return self.pending_header[1] - (self.under_way - HEADER_SIZE)
        return HEADER_SIZE - len(self._head) if self._head else 0

    def pop(self) -> tuple[int, bytes]:
        """Type and body of the next complete frame; for a connection that has seen that there is one."""
        frames = self.frames
        if frames is None:
            raise ConnectionStateError("there is no complete frame")
        frame = frames.popleft()
        if frames:
            self._waiting -= HEADER_SIZE + len(frame[1])
        elif self._rest is None:
            self.frames, self._waiting = None, 0
        else:
            self._waiting -= HEADER_SIZE + len(frame[1])
            self._make_more()
        return frame

    def drop(self, count: int) -> None:
        """Take so many of the complete frames, and forget them."""
        if count == len(self.frames or ()) and self._rest is None:  # as nearly always
            self.frames, self._waiting = None, 0
        else:
            for _ in range(count):
                self.pop()

    def put_back(self, data: bytes) -> None:
        """Let whole frames that were taken come again, before all others."""
        if data:
            self._rest = self._rest or deque()
            self._rest.extendleft(reversed(self.frames or ()))
            self._rest.appendleft(memoryview(data))
            self._waiting += len(data)
            self._make_more()

    def clear(self) -> None:
        """Forget all that was received, the refusal included, and free its memory."""
        self.frames = self._rest = self.pending_header = self._body = self.refused = None
        self._head, self._waiting = b"", 0

    def receive_data(self, data: Octets) -> int:
        """Take in octets as they came, and return how many frames they completed.

        What follows a refused header is dropped; raises the refusal once the decoder is poisoned, and
        TypeError for what holds no octets, as a number does.  An empty piece changes nothing: the end of the
        stream is the caller's to notice, and ``inside_frame`` says then whether a frame was cut off.
        """
        if type(data) is not bytes:
            data = memoryview(data)  # bytes(12) would be twelve octets
        if self.refused is not None:
            if not self.frames:
                raise self.refused
            return 0
        if (header := self.pending_header) is not None and (body := self._body) is not None:
            return self._continue(header, body, memoryview(data).cast("B"))
        return self._decode(self._head + bytes(data))  # no copy where it is bytes already, and all

    def take_frames(self) -> list[Frame]:
        """All frames that are complete, in order; an empty list where there is none.

        Raises FrameTooLargeError where the next frame is too large.
        """
        if not self.frames and self.refused is not None:
            raise self.refused
        frames: list[Frame] = []
        while self.frames:
            frames += [Frame(*frame) for frame in self.frames]
            self._make_more()
        self._waiting = 0
        return frames

    def next_frame(self) -> Frame | None:
        """The next complete frame, or None; raises as take_frames does."""
        if self.frames:
            return Frame(*self.pop())
        if self.refused is not None:
            raise self.refused
        return None

    def _decode(self, data: bytes) -> int:
        """Split octets that begin at a boundary into frames, and keep what follows; returns how many."""
        unpack, max_body, frames = HEADER.unpack_from, self._max_body, self.frames or deque()
        start, size, before, more = 0, len(data), len(frames), 0
        last = size - HEADER_SIZE  # where the last header may begin
        bound = min(last, self._at_once) if self._rest is None else -1
        begun: tuple[int, int] | None = None  # the header of the frame that is not whole, or is refused
        while start <= bound:
            frame_type, length = unpack(data, start)
            body = start + HEADER_SIZE
            end = body + length
            if end > size or length > max_body:
                begun = frame_type, length
                break
            frames.append((frame_type, data[body:end]))
            start = end
        made = start
        while start <= last and begun is None:  # what is left as octets
            frame_type, length = unpack(data, start)
            end = start + HEADER_SIZE + length
            if end > size or length > max_body:
                begun = frame_type, length
            else:
                start = end
                more += 1
        self._head = data[start:] if begun is None else b""
        if begun is not None and begun[1] > max_body:
            self.refused = FrameTooLargeError(*begun, max_body)
        elif begun is not None:
            self.pending_header, self._body = begun, io.BytesIO()
            self._body.write(memoryview(data)[start + HEADER_SIZE :])
        self._waiting += start
        if frames:
            self.frames = frames
        count = len(frames) - before + more
        if more:
            self._rest = self._rest or deque()
            self._rest.append(memoryview(data[made:start]))
        return count

    def _continue(self, header: tuple[int, int], body: io.BytesIO, data: memoryview) -> int:
        """Add to the body under way; when it is whole, go on with what follows it.  How many frames end."""
        lacking = header[1] - body.tell()
        # A BytesIO grows as octets come, in linear time, and gives its bytes away without a copy.
        body.write(data[:lacking])
        if len(data) < lacking:
            return 0
        self.pending_header = self._body = None
        self._waiting += HEADER_SIZE + header[1]
        frame = header[0], body.getvalue()
        if self._rest is None:
            self.frames = self.frames or deque()
            self.frames.append(frame)
        else:
            self._rest.append(frame)
        return 1 + self._decode(bytes(data[lacking:]))

    def _make_more(self) -> None:
        """Make frames of what comes next, now that those made are taken."""
        rest, self.frames = self._rest, None
        if rest is None:
            return
        frames: deque[tuple[int, bytes]] = deque()
        self.frames, item = frames, rest.popleft()
        if isinstance(item, tuple):
            frames.append(item)
        else:
            start, size = 0, len(item)
            while start < size and start <= self._at_once:
                frame_type, length = HEADER.unpack_from(item, start)
                end = start + HEADER_SIZE + length
                frames.append((frame_type, bytes(item[start + HEADER_SIZE : end])))
                start = end
            left = item[start:]
            if 3 * len(left) < 2 * len(item.obj):  # type: ignore[arg-type]  # bytes
                left = memoryview(bytes(left))  # so that a little does not keep much in memory
            if left:
                rest.appendleft(left)
        self._rest = rest or None


class PatientDecoder(FrameDecoder):
    """A decoder for frames that may have to wait: they stay octets, as small ones would grow tenfold."""

    __slots__ = ()

    _at_once = 4_096
