"""Frames to octets and back, fast: derived from the grammar, and proven equal to it by property tests.

Construct takes microseconds for a header that ``struct`` reads in a fraction of one.  So the layout of the
header is read off the grammar's ``FrameHeader`` once, at import, into a ``struct.Struct``: change the
grammar and the codec follows.
"""

from __future__ import annotations

import io
import struct
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from . import grammar, limits
from .errors import ConfigurationError, ConnectionStateError, FrameTooLargeError, IllFormedTextError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from construct import Struct
    from typing_extensions import Buffer


class Frame(NamedTuple):
    """One whole frame: the type octet, and the body's octets."""

    type: int
    body: bytes


def _header_of(definition: Struct) -> struct.Struct:
    """The ``struct`` equivalent of a Construct Struct of fixed-size numbers, all big-endian."""
    formats = [
        str(getattr(field.subcon, "fmtstr", type(field.subcon).__name__)) for field in definition.subcons
    ]
    names = [field.name for field in definition.subcons]
    if names != ["type", "length"] or any(not fmt.startswith(">") for fmt in formats):
        message = f"the codec cannot be derived from a header of {names} with formats {formats}"
        raise ConnectionStateError(message)
    return struct.Struct(">" + "".join(fmt[1:] for fmt in formats))


HEADER = _header_of(grammar.FrameHeader)
"""Type and length of a frame."""

HEADER_SIZE = HEADER.size
"""Octets in a header."""

_SHORT = 4_096  # characters


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

    Raises IllFormedTextError for a lone surrogate, and ConfigurationError for what is no str.
    """
    return _encoded(text, "utf-8")


def check_text(text: str) -> None:
    """See that a text has a UTF-8 form; raises as ``encode_text`` does.

    UTF-32 has the same texts, and CPython makes it five times as fast, but not where they are short.
    """
    _encoded(text, "utf-8" if len(text) < _SHORT else "utf-32-le")


def _encoded(text: str, encoding: str) -> bytes:
    try:
        return str.encode(text, encoding)  # as a str, whatever a subclass makes of it
    except TypeError:
        message = f"a text is a str, not {type(text).__name__}"
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


class FrameDecoder:
    """Finds the frames in a stream that arrives in pieces of any size (REQ-FRAME-4).

    Feed octets with ``receive_data``; take all whole frames with ``take_frames``, or one with
    ``next_frame``.  Work and memory are linear in the octets received; a length that a header merely claims
    reserves nothing (REQ-SIZE-5).  A length above ``max_body`` octets is refused on the last octet of the
    header (REQ-SIZE-4), and ``refused`` says so at once; once the frames before it have been taken the
    decoder is poisoned: every call raises that same error, until ``clear``.
    """

    __slots__ = ("_body", "_head", "_max_body", "_waiting", "frames", "pending_header", "refused")

    def __init__(self, max_body: int = limits.DEFAULT_MAX_BODY) -> None:
        """Decode frames with bodies of up to ``max_body`` octets."""
        self._max_body = max_body
        # A server holds thousands of idle decoders, and an empty deque takes 760 octets: there is one only
        # while it holds something.
        self.frames: deque[tuple[int, bytes]] | None = None
        """Type and body of the frames that are complete; for a connection, which needs no Frame of each."""
        self._waiting = 0  # octets in those, counted as they come and go
        self._head = b""  # the first octets of a header that is not complete
        self.pending_header: tuple[int, int] | None = None
        """Type and length of the frame under way, once its header is complete."""
        self._body: io.BytesIO | None = None  # what has come of its body
        self.refused: FrameTooLargeError | None = None
        """The error of a header that was refused: it comes after the frames that are complete."""

    @property
    def inside_frame(self) -> bool:
        """Whether the octets received so far end inside a frame."""
        return self.pending_header is not None or bool(self._head)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is held, and nothing was refused: what comes next begins a frame."""
        return not (self.frames or self.inside_frame or self.refused)

    @property
    def under_way(self) -> int:
        """Octets received of the frame under way, its header included."""
        return len(self._head) if self._body is None else HEADER_SIZE + self._body.tell()

    @property
    def size(self) -> int:
        """Octets held: those of the frame under way, and of the whole frames that were not taken."""
        return self._waiting + self.under_way

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
        else:
            self.frames, self._waiting = None, 0
        return frame

    def drop(self, count: int) -> None:
        """Take so many of the complete frames, and forget them."""
        if count == len(self.frames or ()):  # as nearly always
            self.frames, self._waiting = None, 0
        else:
            for _ in range(count):
                self.pop()

    def put_back(self, frames: Sequence[tuple[int, bytes]]) -> None:
        """Let frames that were taken come again, in this order and before all others."""
        if frames:
            self.frames = self.frames or deque()
            self.frames.extendleft(reversed(frames))
            self._waiting += sum(HEADER_SIZE + len(body) for _, body in frames)

    def clear(self) -> None:
        """Forget all that was received, the refusal included, and free its memory."""
        self.frames = self.pending_header = self._body = self.refused = None
        self._head, self._waiting = b"", 0

    def receive_data(self, data: Buffer) -> int:
        """Take in octets as they came, and return how many frames they completed.

        What follows a refused header is dropped; raises the refusal once the decoder is poisoned, and
        TypeError for what holds no octets, as a number does.
        """
        if type(data) is not bytes:
            data = memoryview(data)  # bytes(12) would be twelve octets
        if self.refused is not None:
            if not self.frames:
                raise self.refused
            return 0
        before = len(self.frames or ())
        if self.pending_header is not None:
            self._continue(memoryview(data).cast("B"))
        elif self._head:
            self._decode(self._head + bytes(data))
        else:
            self._decode(bytes(data))  # no copy where it is bytes already
        return len(self.frames or ()) - before

    def take_frames(self) -> list[Frame]:
        """All frames that are complete, in order; an empty list where there is none.

        Raises FrameTooLargeError where the next frame is too large.
        """
        if not self.frames and self.refused is not None:
            raise self.refused
        frames = [Frame(*frame) for frame in self.frames or ()]
        self.frames, self._waiting = None, 0
        return frames

    def next_frame(self) -> Frame | None:
        """The next complete frame, or None; raises as take_frames does."""
        if self.frames:
            return Frame(*self.pop())
        if self.refused is not None:
            raise self.refused
        return None

    def _decode(self, data: bytes) -> None:
        """Split octets that begin at a boundary into frames; keep a part at their end."""
        unpack, max_body, frames = HEADER.unpack_from, self._max_body, self.frames or deque()
        start, size = 0, len(data)
        last = size - HEADER_SIZE  # where the last header may begin
        self._head = b""
        while start <= last:
            frame_type, length = unpack(data, start)
            if length > max_body:
                self.refused = FrameTooLargeError(frame_type, length, max_body)
                break
            body = start + HEADER_SIZE
            end = body + length
            if end > size:
                self.pending_header, self._body = (frame_type, length), io.BytesIO()
                self._body.write(memoryview(data)[body:])
                break
            frames.append((frame_type, data[body:end]))
            start = end
        else:
            self._head = data[start:]
        if frames:
            self.frames = frames
            self._waiting += start

    def _continue(self, data: memoryview) -> None:
        """Add to the body under way; when it is whole, go on with what follows it."""
        header, body = self.pending_header, self._body
        if header is None or body is None:
            raise ConnectionStateError("there is no body under way")
        lacking = header[1] - body.tell()
        # A BytesIO grows as octets come, in linear time, and gives its bytes away without a copy.
        body.write(data[:lacking])
        if len(data) >= lacking:
            self.pending_header = self._body = None
            self.frames = self.frames or deque()
            self.frames.append((header[0], body.getvalue()))
            self._waiting += HEADER_SIZE + header[1]
            self._decode(bytes(data[lacking:]))
