"""Frames with a header of your own: any Construct Struct of fixed size with a length; no I/O.

Framelet's own framing is one of these (``codec.FORMAT``).  A program that has to read a protocol that exists
already says what its header is, in Construct, and has a decoder that takes a stream in pieces of any size.
"""

# construct ships no types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import struct
from typing import Any, Literal, NamedTuple

from construct import (
    Bytes,
    BytesInteger,
    Const,
    Construct,
    ConstructError,
    FormatField,
    Renamed,
    Struct,
)

from .errors import ConfigurationError, ConnectionStateError, HeaderRefusedError, TruncatedFrameError

Octets = bytes | bytearray | memoryview
"""What octets are received in."""

_UNSIGNED = "BHILQ"


def no_octets() -> ConfigurationError:
    """The error for a read that was the end of the stream."""
    return ConfigurationError("no octets were received: at the end of the stream call receive_eof()")


class FormatFrame(NamedTuple):
    """One whole frame: the named fields of its header but for length and constants, and its body."""

    header: dict[str, Any]
    body: bytes


class FrameFormat:
    """A header, the length in it, and the largest body: makes frames, and decoders for streams of them.

    ``header`` is a Construct Struct of fixed size.  Its field ``length`` is an unsigned integer of 1 to 8
    octets, in either order, and counts the octets of the body, or of the ``"frame"``, header included.
    Constants (``Const``) are checked; all other named fields are handed out.  A length beyond ``max_body``
    octets is refused when the header is complete.  Raises ConfigurationError for a header of another kind.
    """

    __slots__ = ("_counts_header", "_length", "_names", "header", "header_size", "layout", "max_body")

    def __init__(
        self,
        header: Construct,
        *,
        max_body: int,
        length: str = "length",
        counts: Literal["body", "frame"] = "body",
    ) -> None:
        """Take the header apart."""
        if not isinstance(header, Struct):
            message = f"a header is a construct.Struct, not {type(header).__name__}"
            raise ConfigurationError(message)
        if counts not in ("body", "frame"):
            message = f"counts is {counts!r}: a length counts the 'body' or the 'frame'"
            raise ConfigurationError(message)
        if not isinstance(max_body, int) or isinstance(max_body, bool) or max_body < 0:
            message = f"max_body is {max_body!r}: expected a number of octets"
            raise ConfigurationError(message)
        try:
            self.header_size: int = header.sizeof()
        except ConstructError as error:
            message = f"the header has no fixed size: {str(error).splitlines()[-1]}"
            raise ConfigurationError(message) from None
        fields = [_parts(field) for field in header.subcons]
        if not any(
            name == length and constant is None and _is_unsigned(kind) for name, kind, constant in fields
        ):
            message = f"the header has no field {length!r} that is an unsigned integer of 1 to 8 octets"
            raise ConfigurationError(message)
        self.header: Construct = header
        self.max_body: int = max_body
        self.layout: struct.Struct | None = _layout(fields)
        """The same header for ``struct``, which is many times faster; None where that has no such header."""
        self._length = length
        self._counts_header = counts == "frame"
        self._names = [(name, constant) for name, _, constant in fields]

    def encode(self, body: Octets, **fields: Any) -> bytes:  # noqa: ANN401 - of whatever kinds the header has
        """Build one frame from its body, and the named fields of its header but for length and constants.

        Raises ConfigurationError for a body too large, and for fields that do not fit or that there are not.
        """
        body = memoryview(body).cast("B")  # raises TypeError for what holds no octets
        given = {name for name, constant in self._names if constant is None and name != self._length}
        if unknown := fields.keys() - given:
            message = f"the header has no field {min(unknown)!r} to be given"
            raise ConfigurationError(message)
        if len(body) > self.max_body:
            message = f"a body of {len(body)} octets exceeds the maximum of {self.max_body}"
            raise ConfigurationError(message)
        fields[self._length] = len(body) + self.header_size * self._counts_header
        try:
            header: bytes = self.header.build(fields)
        except (ConstructError, KeyError) as error:
            message = f"the header cannot be built: {str(error).splitlines()[-1]}"
            raise ConfigurationError(message) from None
        return header + body

    def decoder(self) -> FormatDecoder:
        """A decoder for one stream."""
        return FormatDecoder(self)

    def read_header(self, octets: Octets, start: int = 0) -> tuple[dict[str, Any], int]:
        """The fields of a whole header, and the size of its body; raises HeaderRefusedError."""
        end = start + self.header_size
        if self.layout is not None:
            fields = {}
            for (name, constant), value in zip(
                self._names, self.layout.unpack_from(octets, start), strict=True
            ):
                if constant is None:
                    if name is not None:
                        fields[name] = value
                elif value != constant:
                    message = f"expected {constant!r}, not {value!r}"
                    raise HeaderRefusedError(message)
        else:
            try:
                parsed: Any = self.header.parse(bytes(octets[start:end]))
            except ConstructError as error:
                raise HeaderRefusedError(str(error).splitlines()[-1]) from None
            fields = {
                name: parsed[name] for name, constant in self._names if name is not None and constant is None
            }
        size = fields.pop(self._length) - self.header_size * self._counts_header
        if size < 0:
            raise HeaderRefusedError("the length is less than the header, which it counts")
        if size > self.max_body:
            message = f"a body of {size} octets exceeds the maximum of {self.max_body}"
            raise HeaderRefusedError(message)
        return fields, size


class FormatDecoder:
    """Finds the frames of one format in a stream that arrives in pieces of any size.

    Work and memory are linear in the octets received; a length that a header merely claims reserves nothing.
    A header that is refused is the end: where the next frame begins is never guessed, and every further call
    raises the same error.
    """

    __slots__ = ("_buffer", "_ended", "_format", "_lacking", "fault")

    def __init__(self, frame_format: FrameFormat) -> None:
        """Begin at a boundary."""
        self._format = frame_format
        self._buffer = bytearray()
        self._lacking = frame_format.header_size  # octets in the buffer before there can be something new
        self._ended = False
        self.fault: HeaderRefusedError | None = None
        """Why nothing further is decoded; visible at once, and raised by the next call."""

    @property
    def rest(self) -> bytes:
        """The octets received that are not a whole frame; after a fault, all from the refused header on."""
        return bytes(self._buffer)

    def receive_data(self, data: Octets) -> list[FormatFrame]:
        """Take in octets, and return the frames that they complete.

        A header that is refused after such frames is raised by the next call; ``fault`` tells of it at once.
        Raises ConfigurationError for none: what a socket reads at its end is for ``receive_eof``.
        """
        if self.fault is not None:
            raise self.fault
        if self._ended:
            raise ConnectionStateError("data after the end of the stream")
        octets = memoryview(data).cast("B")  # raises TypeError for what holds no octets
        if not octets:
            raise no_octets()
        self._buffer += octets
        if len(self._buffer) < self._lacking:
            return []
        frames: list[FormatFrame] = []
        buffer, start, size = self._buffer, 0, self._format.header_size
        try:
            while len(buffer) - start >= size:
                fields, length = self._format.read_header(buffer, start)
                end = start + size + length
                if end > len(buffer):
                    self._lacking = end - start
                    break
                frames.append(FormatFrame(fields, bytes(buffer[start + size : end])))
                start, self._lacking = end, size
        except HeaderRefusedError as error:
            self.fault = error
        del buffer[:start]
        if self.fault is not None and not frames:
            raise self.fault
        return frames

    def receive_eof(self) -> None:
        """Take note of the end of the stream; raises TruncatedFrameError inside a frame, and the fault."""
        if self.fault is not None:
            raise self.fault
        self._ended = True
        if self._buffer:
            message = f"the stream ended inside a frame, {len(self._buffer)} octets into it"
            raise TruncatedFrameError(message)


_Part = tuple[str | None, Any, Any]


def _parts(field: Any) -> _Part:  # noqa: ANN401 - construct has no types
    """The name of a field, what it is, and its constant if it has one."""
    name = constant = None
    while isinstance(field, (Renamed, Const)):
        if isinstance(field, Const):
            constant = field.value
        else:
            name = field.name
        field = field.subcon
    return name, field, constant


def _is_unsigned(kind: Any) -> bool:  # noqa: ANN401 - construct has no types
    if isinstance(kind, FormatField):
        return kind.fmtstr[-1] in _UNSIGNED
    return isinstance(kind, BytesInteger) and not kind.signed and 1 <= kind.sizeof() <= 8  # noqa: PLR2004 - u64


def _layout(fields: list[_Part]) -> struct.Struct | None:
    """The equivalent of fields that ``struct`` knows, in one order of octets; None where there is none."""
    order, codes = "", []
    for _, kind, _ in fields:
        if isinstance(kind, FormatField):
            prefix, code = kind.fmtstr[:-1], kind.fmtstr[-1]
            if code not in "Bb?":  # of one octet
                order = order or prefix
                if prefix != order:
                    return None
            codes.append(code)
        elif isinstance(kind, Bytes) and isinstance(kind.length, int):
            codes.append(f"{kind.length}s")
        else:
            return None
    return struct.Struct((order or ">") + "".join(codes))
