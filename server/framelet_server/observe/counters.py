"""What is counted for each client, and added up for all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framelet import ErrorCode, ServerConnection
    from framelet_server.net.transport import Transport


class ConnectionStats(NamedTuple):
    """Frames and octets of one client, as they were on the wire."""

    frames: int
    answers: int
    octets_in: int
    octets_out: int
    errors: Mapping[ErrorCode, int]

    @classmethod
    def of(cls, connection: ServerConnection, transport: Transport) -> Self:
        """What has been counted so far; may be called from any thread."""
        return cls(
            connection.frames_received,
            connection.frames_sent,
            transport.received,
            transport.sent,
            connection.errors,
        )


class TotalStats:
    """The sum over many clients; it has no lock of its own."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.frames: int = 0
        self.answers: int = 0
        self.octets_in: int = 0
        self.octets_out: int = 0
        self.errors: Counter[ErrorCode] = Counter()

    def add(self, stats: ConnectionStats) -> None:
        """Add one client's."""
        self.frames += stats.frames
        self.answers += stats.answers
        self.octets_in += stats.octets_in
        self.octets_out += stats.octets_out
        if stats.errors:
            self.errors.update(stats.errors)

    def copy(self) -> TotalStats:
        """The sum so far, to be added to without changing this one."""
        copy = TotalStats()
        copy.add(ConnectionStats(self.frames, self.answers, self.octets_in, self.octets_out, self.errors))
        return copy
