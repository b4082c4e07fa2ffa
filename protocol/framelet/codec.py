"""Frames to octets and back, fast: derived from the grammar, and proven equal to it by property tests.

Construct takes microseconds for a header that ``struct`` reads in a fraction of one.  So the layout of the
header is read off the grammar's ``FrameHeader`` once, at import, into a ``struct.Struct``: change the
grammar and the codec follows.
"""

from __future__ import annotations

import io
import struct
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from . import grammar, limits
from .errors import ConfigurationError, ConnectionStateError, FrameTooLargeError, IllFormedTextError

if TYPE_CHECKING:
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

_NO_BODY = io.BytesIO()


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
    """The UTF-8 octets of a text (REQ-TEXT-1); raises IllFormedTextError for a lone surrogate."""
    try:
        return text.encode("utf-8")
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


class Body(Protocol):
    """A whole body: its octets, or something that can give them."""

    def __len__(self) -> int:
        """How many octets it has."""
        ...

    def __bytes__(self) -> bytes:
        """The octets."""
        ...


class Gatherer(Protocol):
    """What the octets of a body are gathered in as they come: an ``io.BytesIO`` is one."""

    def write(self, data: Buffer, /) -> object:
        """Add octets."""

    def getvalue(self) -> Body:
        """The body, once it is whole."""
        ...


class FrameDecoder:
    """Finds the frames in a stream that arrives in pieces of any size (REQ-FRAME-4).

    Feed octets with ``receive_data``; take all whole frames with ``take_frames``, or one with
    ``next_frame``.  Work and memory are linear in the octets received; a length that a header merely claims
    reserves nothing (REQ-SIZE-5).  A length above ``max_body`` octets is refused on the last octet of the
    header (REQ-SIZE-4); once the frames before it have been taken the decoder is poisoned: every call
    raises that same error.
    """

    __slots__ = ("_body", "_error", "_head", "_header", "_max_body", "_missing", "frames")

    def __init__(self, max_body: int = limits.DEFAULT_MAX_BODY) -> None:
        """Decode frames with bodies of up to ``max_body`` octets."""
        self._max_body = max_body
        self.frames: deque[tuple[int, Body]] = deque()
        """Type and body of the frames that are complete: for a connection, which spares itself the Frame."""
        self._head = b""  # the first octets of a header that is not complete
        self._header: tuple[int, int] | None = None  # type and length of the frame under way
        self._body: Gatherer = _NO_BODY  # what has come of its body
        self._missing = 0  # octets that have not
        self._error: FrameTooLargeError | None = None

    @property
    def inside_frame(self) -> bool:
        """Whether the octets received so far end inside a frame."""
        return self._header is not None or bool(self._head)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is held, and nothing was refused: what comes next begins a frame."""
        return not (self.frames or self._head or self._header is not None or self._error is not None)

    @property
    def pending_header(self) -> tuple[int, int] | None:
        """Type and length of the frame under way, once its header is complete."""
        return self._header

    @property
    def under_way(self) -> int:
        """Octets received of the frame under way, its header included."""
        return len(self._head) if self._header is None else HEADER_SIZE + self._header[1] - self._missing

    @property
    def size(self) -> int:
        """Octets held: those of the frame under way, and of the whole frames that were not taken."""
        if not self.frames:  # as a rule, and asked after every turn
            return self.under_way
        return self.under_way + sum(HEADER_SIZE + len(body) for _, body in self.frames)

    @property
    def lacking(self) -> int:
        """Octets to the end of the header or body under way; 0 where a frame is to begin."""
        if self._header is not None:
            return self._missing
        return HEADER_SIZE - len(self._head) if self._head else 0

    @property
    def missing(self) -> int:
        """Octets that the body under way still lacks; 0 where none is under way."""
        return self._missing

    def gather_in(self, kind: type[Gatherer]) -> None:
        """Gather the body under way, and what has come of it, in one of that kind, if it is not already."""
        if not isinstance(self._body, kind):
            gathered, self._body = self._body, kind()
            self._body.write(bytes(gathered.getvalue()))

    def drop(self, count: int) -> None:
        """Take so many of the complete frames, and forget them."""
        if count == len(self.frames):
            self.frames.clear()
        else:
            for _ in range(count):
                self.frames.popleft()

    def clear(self) -> None:
        """Forget all that was received, and free its memory."""
        self.frames.clear()
        self._head, self._header, self._body, self._missing = b"", None, _NO_BODY, 0

    def receive_data(self, data: Buffer) -> int:
        """Take in octets as they came, and return how many frames they completed.

        What follows a refused header is dropped; raises the refusal once the decoder is poisoned.
        """
        before = len(self.frames)
        if self._error is not None:
            if not before:
                raise self._error
        elif self._header is not None:
            self._continue(memoryview(data).cast("B"))
        elif self._head:
            self._decode(self._head + bytes(data))
        else:
            self._decode(bytes(data))  # no copy where it is bytes already
        return len(self.frames) - before

    def take_frames(self) -> list[Frame]:
        """All frames that are complete, in order; an empty list where there is none.

        Raises FrameTooLargeError where the next frame is too large.
        """
        if not self.frames and self._error is not None:
            raise self._error
        frames = [Frame(frame_type, bytes(body)) for frame_type, body in self.frames]
        self.frames.clear()
        return frames

    def next_frame(self) -> Frame | None:
        """The next complete frame, or None; raises as take_frames does."""
        if self.frames:
            frame_type, body = self.frames.popleft()
            return Frame(frame_type, bytes(body))
        if self._error is not None:
            raise self._error
        return None

    def _decode(self, data: bytes) -> None:
        """Split octets that begin at a boundary into frames; keep a part at their end."""
        unpack, max_body, append = HEADER.unpack_from, self._max_body, self.frames.append
        start, size = 0, len(data)
        last = size - HEADER_SIZE  # where the last header may begin
        self._head = b""
        while start <= last:
            frame_type, length = unpack(data, start)
            if length > max_body:
                self._error = FrameTooLargeError(frame_type, length, max_body)
                return
            body = start + HEADER_SIZE
            start = body + length
            if start > size:
                self._header, self._body, self._missing = (frame_type, length), io.BytesIO(), start - size
                self._body.write(memoryview(data)[body:])
                return
            append((frame_type, data[body:start]))
        self._head = data[start:]

    def _continue(self, data: memoryview) -> None:
        """Add to the body under way; when it is whole, go on with what follows it."""
        part = data[: self._missing]
        # A BytesIO grows as octets come, in linear time, and gives its bytes away without a copy.
        self._body.write(part)
        self._missing -= len(part)
        if not self._missing and self._header is not None:
            self.frames.append((self._header[0], self._body.getvalue()))
            self._header, self._body = None, _NO_BODY
            self._decode(bytes(data[len(part) :]))
