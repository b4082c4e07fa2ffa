"""Frames to octets and back, fast: derived from the grammar, and proven equal to it by property tests.

Construct takes microseconds for a header that ``struct`` reads in a fraction of one.  So the layout of the
header is read off the grammar's ``FrameHeader`` once, at import, into a ``struct.Struct``: change the
grammar and the codec follows.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from . import grammar, limits
from .errors import ConnectionStateError, FrameTooLargeError, IllFormedTextError

if TYPE_CHECKING:
    from construct import Struct
    from typing_extensions import Buffer


class Frame(NamedTuple):
    """One whole frame: the type octet, and the body's octets."""

    type: int
    body: bytes


def _header_of(definition: Struct) -> struct.Struct:
    """The ``struct`` equivalent of a Construct Struct of fixed-size numbers, all big-endian."""
    formats = [field.subcon.fmtstr for field in definition.subcons]
    names = [field.name for field in definition.subcons]
    if names != ["type", "length"] or any(not fmt.startswith(">") for fmt in formats):
        message = f"the codec cannot be derived from a header of {names} with formats {formats}"
        raise ConnectionStateError(message)
    return struct.Struct(">" + "".join(fmt[1:] for fmt in formats))


_HEADER = _header_of(grammar.FrameHeader)
HEADER_SIZE = _HEADER.size
"""Octets in a header."""


def encode(frame_type: int, body: bytes = b"") -> bytes:
    """Build the octets of one frame (REQ-FRAME-1 to 3).

    ``frame_type`` is 0 to 255 and ``body`` at most 4,294,967,295 octets; both are sent as they are.
    Raises FrameTooLargeError for a longer body.
    """
    if len(body) > limits.MAX_LENGTH:
        raise FrameTooLargeError(frame_type, len(body), limits.MAX_LENGTH)
    return _HEADER.pack(frame_type, len(body)) + body


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


class FrameDecoder:
    """Finds the frames in a stream that arrives in pieces of any size (REQ-FRAME-4).

    Feed octets with ``receive_data``; take all whole frames with ``take_frames``, or one with
    ``next_frame``.  Work and memory are linear in the octets received; a length that a header merely claims
    reserves nothing (REQ-SIZE-5).  A length above ``max_body`` octets is refused on the last octet of the
    header (REQ-SIZE-4); once the frames before it have been taken the decoder is poisoned: every call
    raises that same error.
    """

    __slots__ = ("_error", "_frames", "_header", "_max_body", "_needed", "_partial")

    def __init__(self, max_body: int = limits.DEFAULT_MAX_BODY) -> None:
        """Decode frames with bodies of up to ``max_body`` octets."""
        self._max_body = max_body
        self._frames: deque[Frame] = deque()
        self._partial = bytearray()  # the frame under way, from its first octet
        self._header: tuple[int, int] | None = None  # its type and length, once known
        self._needed = HEADER_SIZE  # octets that _partial must hold before it is worth a look
        self._error: FrameTooLargeError | None = None

    @property
    def inside_frame(self) -> bool:
        """Whether the octets received so far end inside a frame."""
        return bool(self._partial)

    @property
    def pending_header(self) -> tuple[int, int] | None:
        """Type and length of the frame under way, once its header is complete."""
        return self._header

    def receive_data(self, data: Buffer) -> int:
        """Take in octets as they came, and return how many frames they completed.

        What follows a refused header is dropped; raises the refusal once the decoder is poisoned.
        """
        before = len(self._frames)
        if self._error is not None:
            if not before:
                raise self._error
        elif self._partial:
            self._partial += data
            if len(self._partial) >= self._needed:
                self._decode(self._finish_partial())
        else:
            self._decode(bytes(data))  # no copy where it is bytes already
        return len(self._frames) - before

    def take_frames(self) -> list[Frame]:
        """All frames that are complete, in order; an empty list where there is none.

        Raises FrameTooLargeError where the next frame is too large.
        """
        if not self._frames and self._error is not None:
            raise self._error
        frames = list(self._frames)
        self._frames.clear()
        return frames

    def next_frame(self) -> Frame | None:
        """The next complete frame, or None; raises as take_frames does."""
        if self._frames:
            return self._frames.popleft()
        if self._error is not None:
            raise self._error
        return None

    def _decode(self, data: bytes) -> None:
        """Split octets that begin at a boundary into frames; keep a part at their end."""
        unpack, max_body, append = _HEADER.unpack_from, self._max_body, self._frames.append
        start, size = 0, len(data)
        while size - start >= HEADER_SIZE:
            frame_type, length = unpack(data, start)
            if length > max_body:
                self._refuse(frame_type, length)
                return
            end = start + HEADER_SIZE + length
            if end > size:
                self._header, self._needed = (frame_type, length), HEADER_SIZE + length
                break
            append(Frame(frame_type, data[start + HEADER_SIZE : end]))
            start = end
        if start < size:
            self._partial += memoryview(data)[start:]

    def _finish_partial(self) -> bytes:
        """Advance the frame under way; once it is whole, return the octets behind it."""
        partial = self._partial
        if self._header is None:
            frame_type, length = _HEADER.unpack_from(partial)
            if length > self._max_body:
                self._refuse(frame_type, length)
                return b""
            self._header, self._needed = (frame_type, length), HEADER_SIZE + length
            if len(partial) < self._needed:
                return b""
        with memoryview(partial) as view:
            self._frames.append(Frame(self._header[0], bytes(view[HEADER_SIZE : self._needed])))
            behind = bytes(view[self._needed :])
        self._partial, self._header, self._needed = bytearray(), None, HEADER_SIZE
        return behind

    def _refuse(self, frame_type: int, length: int) -> None:
        self._error = FrameTooLargeError(frame_type, length, self._max_body)
        self._partial, self._header = bytearray(), None
