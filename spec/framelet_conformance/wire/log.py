"""The record of one connection: what was said on it, and how the peer ended it."""

from __future__ import annotations

import dataclasses
import enum
import time
from typing import Any

_JOINED = 1 << 16  # octets up to which what arrives at once is one entry
_AT_ONCE = 0.001  # seconds
_MOST_RECEIVED = 1 << 18  # octets kept of what a peer sends, which may be without end; all are counted


class Ending(enum.StrEnum):
    """How the peer ended a connection."""

    OPEN = "open"
    FIN = "FIN"
    RST = "RST"
    SILENCE = "silence"


@dataclasses.dataclass(slots=True)
class Entry:
    """A line of a log: when (seconds from the start), which way (``sent``, ``received`` or ``event``).

    ``offset`` is the place of the first octet in its direction; ``size`` the number of octets, of which
    ``octets`` may hold only the first.
    """

    time: float
    way: str
    octets: bytes = b""
    note: str = ""
    offset: int = 0
    size: int = 0


class Log:
    """What was said on one connection."""

    def __init__(self, name: str = "") -> None:
        """``name`` says which connection it is, where a case has several."""
        self.name = name
        self.entries: list[Entry] = []
        self._start = time.monotonic()
        self._offsets = {"sent": 0, "received": 0}

    def octets(self, way: str, data: bytes) -> None:
        """Note octets that were sent or received; what arrives at once in one direction is joined."""
        now = time.monotonic() - self._start
        size = len(data)
        if way == "received":
            data = data[: max(0, _MOST_RECEIVED - self._offsets[way])]
        last = self.entries[-1] if self.entries else None
        joins = last is not None and last.way == way == "received" and last.size < _JOINED
        if last is not None and joins and now - last.time < _AT_ONCE:
            last.octets += data
            last.size += size
        else:
            self.entries.append(Entry(now, way, data, "", self._offsets[way], size))
        self._offsets[way] += size

    def event(self, note: str) -> None:
        """Note what happened besides octets."""
        self.entries.append(Entry(time.monotonic() - self._start, "event", note=note))

    def stream(self, way: str) -> bytes:
        """All octets of one direction that are kept."""
        return b"".join(entry.octets for entry in self.entries if entry.way == way)

    def size(self, way: str) -> int:
        """How many octets there were in one direction."""
        return self._offsets[way]

    def trim(self, kept: int) -> None:
        """Keep no more than so many octets of each entry."""
        for entry in self.entries:
            entry.octets = entry.octets[:kept]

    def as_document(self) -> dict[str, Any]:
        """The log as plain data."""
        return {
            "name": self.name,
            "entries": [
                {
                    "time": round(entry.time, 4),
                    "way": entry.way,
                    **(
                        {"note": entry.note}
                        if entry.way == "event"
                        else {"offset": entry.offset, "size": entry.size, "octets": entry.octets.hex()}
                    ),
                }
                for entry in self.entries
            ],
        }
