"""Takes a stream of octets apart by the grammar, down to the first octet that breaks it.

It is for people who inspect a stream, from either side of a connection: it reports more than the codec does,
and is much slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from framelet import HEADER_SIZE, FrameType, TypeRange, grammar
from framelet.connection import FIRST_OCTETS
from framelet.limits import MAX_PING_BODY
from framelet.registry import type_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 65_536
REFUSED = {TypeRange.NEVER: "never assigned", TypeRange.CRITICAL: "critical and not assigned"}


class Reader(Protocol):
    """Where the octets come from."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` octets, and fewer only at the end."""
        ...


class DissectedFrame(NamedTuple):
    """A frame, whole or in part.

    ``offset`` counts the octets before it.  ``length`` is None if the header is not complete.
    ``parsed`` is the body as the grammar parses it, None if it does not parse or is not examined.
    """

    offset: int
    header: bytes
    kind: FrameType | TypeRange
    length: int | None
    body: bytes
    parsed: object

    @property
    def name(self) -> str:
        """The type as people read it."""
        if isinstance(self.kind, FrameType):
            return self.kind.name
        return f"{self.kind.value} {self.header[0]:02X}"


class Fault(NamedTuple):
    """The first octet that breaks the protocol or is missing, counted from 0; and why."""

    offset: int
    reason: str


def dissect(reader: Reader, max_body: int) -> Iterator[DissectedFrame | Fault]:
    """All frames of a stream in order; a Fault ends it, after the part of the frame at fault that came.

    A body of more than ``max_body`` octets is a fault, and no more than that is ever in memory.
    """
    offset = 0
    while header := reader.read(HEADER_SIZE):
        frame, fault = _frame(reader, offset, header, max_body)
        yield frame
        if fault is not None:
            yield fault
            return
        offset += HEADER_SIZE + len(frame.body)


def _frame(reader: Reader, offset: int, header: bytes, max_body: int) -> tuple[DissectedFrame, Fault | None]:
    """One frame, in the order in which a receiver judges it: type, length, body (REQ-ERROR-3)."""
    kind = type_kinds[header[0]]
    frame = DissectedFrame(offset, header, kind, None, b"", None)
    if kind in REFUSED:
        other = FIRST_OCTETS.get(header[0])
        hint = f"; it seems to be {other}" if other else ""
        return frame, Fault(offset, f"type {header[0]:02X} is {REFUSED[kind]}{hint}")
    if len(header) < HEADER_SIZE:
        return frame, _truncated(offset + len(header), HEADER_SIZE - len(header), "header")
    length = grammar.parse_body(grammar.FrameHeader, header).length
    frame = frame._replace(length=length)
    if length > max_body:
        return frame, Fault(offset + 1, f"the length is {length}, more than the maximum of {max_body}")
    frame = frame._replace(body=_read(reader, length))
    if len(frame.body) < length:
        end = offset + HEADER_SIZE + len(frame.body)
        return frame, _truncated(end, length - len(frame.body), "body")
    return _parse(frame)


def _parse(frame: DissectedFrame) -> tuple[DissectedFrame, Fault | None]:
    """A whole frame with its body parsed."""
    if frame.kind is TypeRange.IGNORABLE:
        return frame, None  # never examined (section 4)
    start = frame.offset + HEADER_SIZE
    try:
        frame.body.decode()
        return frame._replace(parsed=grammar.parse_body(grammar.BODIES[frame.kind], frame.body)), None
    except UnicodeDecodeError as error:
        octets = frame.body[error.start : error.end].hex(" ").upper()
        return frame, Fault(start + error.start, f"{octets} is not well-formed UTF-8: {error.reason}")
    except ValueError as error:
        # The grammar reports what is wrong, not where: that is the first octet too many, or the body.
        too_long = frame.kind in (FrameType.PING, FrameType.PONG)
        at = start + (MAX_PING_BODY if too_long else 0)
        return frame, Fault(at, f"not a valid {frame.name} body: {error}")


def _read(reader: Reader, length: int) -> bytes:
    """As much of a body as there is; no memory is reserved for a length that is only claimed (REQ-SIZE-5)."""
    body = bytearray()
    while len(body) < length and (piece := reader.read(min(_PIECE, length - len(body)))):
        body += piece
    return bytes(body)


def _truncated(end: int, missing: int, part: str) -> Fault:
    octets = "octet" if missing == 1 else "octets"
    return Fault(end, f"the stream ends inside a {part}: {missing} {octets} missing")
