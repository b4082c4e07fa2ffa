"""A wire log as lines to read: time, direction, offset, octets, and the frames that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from framelet import HEADER_SIZE, escape
from framelet.registry import FrameType, TypeRange, type_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from framelet_conformance.wire.log import Entry, Log

_SHOWN = 32
_TEXT = 48


class Line(NamedTuple):
    """One line; ``way`` is ``sent``, ``received`` or ``event``, ``time`` in seconds."""

    time: float
    way: str
    offset: int | None
    octets: str
    meaning: str


class _Stream:
    """Finds the frames in the octets of one direction, as far as the log has kept them."""

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self._lost = False

    def read(self, entry: Entry) -> Iterator[tuple[int, int, bytes, str]]:
        """Offset, size, octets and meaning of each piece of a frame in an entry."""
        place = 0
        while place < entry.size:
            if self._lost:
                yield entry.offset + place, entry.size - place, entry.octets[place:], ""
                return
            start = place
            if self._left:
                size = min(self._left, entry.size - place)
                self._left -= size
                place += size
                yield entry.offset + start, size, entry.octets[start:place], "the body goes on"
                continue
            while len(self._header) < HEADER_SIZE and place < len(entry.octets):
                self._header += entry.octets[place : place + 1]
                place += 1
            if len(self._header) < HEADER_SIZE:
                self._lost = place < entry.size
                if place > start:
                    octets = entry.octets[start:place]
                    yield entry.offset + start, place - start, octets, "part of a header"
                continue
            length = int.from_bytes(self._header[1:], "big")
            size = min(length, entry.size - place)
            body = entry.octets[place : place + size]
            place += size
            self._left = length - size
            meaning = _meaning(self._header[0], length, body)
            self._header = b""
            yield entry.offset + start, place - start, entry.octets[start:place], meaning


def _meaning(octet: int, length: int, body: bytes) -> str:
    kind = type_kinds[octet]
    name = kind.name if isinstance(kind, FrameType) else f"{kind.value} type {octet:02X}"
    if len(body) < length:
        more = f", {len(body):,} of them here" if body else ""
        return f"{name}, {length:,} octets{more}"
    if kind is TypeRange.IGNORABLE:
        return f"{name}, {length:,} octets"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"{name}, ill-formed text of {length:,} octets"
    shown = escape(text[:_TEXT])
    return f'{name} "{shown}"' + (f" ... ({length:,} octets)" if len(text) > _TEXT else "")


def lines(log: Log, *, joined: bool = True, shown: int = _SHOWN) -> Iterator[Line]:
    """The lines of a log; ``joined`` puts what was sent in segments together.

    ``shown`` is how many octets of a line are written out.
    """
    streams = {"sent": _Stream(), "received": _Stream()}
    for entry, segments in _joined(log) if joined else ((entry, 1) for entry in log.entries):
        if entry.way == "event":
            yield Line(entry.time, entry.way, None, "", entry.note)
            continue
        if segments > 1:
            yield Line(
                entry.time, "event", None, "", f"the next {entry.size:,} octets in {segments} segments"
            )
        for offset, size, octets, meaning in streams[entry.way].read(entry):
            yield Line(entry.time, entry.way, offset, show(octets, size, shown), meaning)


def show(octets: bytes, size: int, shown: int = _SHOWN) -> str:
    """Octets as hexadecimal, cut short."""
    text = octets[:shown].hex(" ")
    return text if size <= min(shown, len(octets)) else f"{text} ... +{size - min(len(octets), shown):,}"


def _joined(log: Log) -> Iterator[tuple[Entry, int]]:
    """Entries with what the suite sent in segments put together; the waits between them are left out."""
    held: Entry | None = None
    segments = 0
    for entry in log.entries:
        if held is not None and entry.note.startswith("waited"):
            continue
        if held is not None and entry.way == "sent" and len(held.octets) == held.size:
            held.octets += entry.octets
            held.size += entry.size
            segments += 1
            continue
        if held is not None:
            yield held, segments
            held = None
        if entry.way == "sent":
            held, segments = type(entry)(entry.time, "sent", entry.octets, "", entry.offset, entry.size), 1
        else:
            yield entry, 1
    if held is not None:
        yield held, segments
