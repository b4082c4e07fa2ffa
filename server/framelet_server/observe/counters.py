"""What is counted for each client, and added up for all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framelet import ErrorCode, ServerConnection
    from framelet_server.net.transport import Transport


class ConnectionStats(NamedTuple):
    """Frames and octets of one client; octets are those on the wire."""

    frames: int
    answers: int
    octets_in: int
    octets_out: int
    errors: Mapping[ErrorCode, int]

    @classmethod
    def of(cls, connection: ServerConnection, transport: Transport) -> Self:
        """What has been counted by now; may be called from any thread."""
        return cls(
            connection.frames_received,
            connection.frames_sent,
            transport.received,
            transport.sent,
            connection.errors,
        )


class TotalStats:
    """The sum of tallies; guarded by whoever has it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.frames = self.answers = self.octets_in = self.octets_out = 0
        self.errors: Counter[ErrorCode] = Counter()

    def add(self, tally: ConnectionStats) -> None:
        """Add one client's."""
        self.frames += tally.frames
        self.answers += tally.answers
        self.octets_in += tally.octets_in
        self.octets_out += tally.octets_out
        self.errors.update(tally.errors)

    def copy(self) -> TotalStats:
        """The sum so far, to go on from."""
        copy = TotalStats()
        copy.add(ConnectionStats(self.frames, self.answers, self.octets_in, self.octets_out, self.errors))
        return copy
