"""Every limit of a client, once: those of its connections, and its own.

The fields carry unit, range and reason: command-line options and the tables in the documentation are
generated from them.
"""

from __future__ import annotations

import dataclasses

from framelet.limits import DAY, MAX_LENGTH, SHORTEST, ClientConnectionLimits, limit


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits(ClientConnectionLimits):
    """The limits of a client: those of its connections, and its own (sockets, pipelines)."""

    connect_timeout: float = limit(
        10.0,
        "seconds",
        SHORTEST,
        DAY,
        purpose="time to reach the server",
        why="longer than three lost packets",
    )
    window: int = limit(
        1_024,
        "frames",
        1,
        1_000_000,
        purpose="frames that a pipeline keeps unanswered at once",
        why="hides the round trip on usual links",
    )
    max_unsent: int = limit(
        1_048_576,
        "octets",
        1,
        MAX_LENGTH,
        purpose="frames waiting to be written, above which a pipeline takes no further input",
        why="keeps a fast link busy in constant memory",
    )
    busy_poll: float = limit(
        0.0,
        "seconds",
        0.0,
        1.0,
        purpose="time that a call polls for its answer before it sleeps; 0: none",
        why="takes a whole core meanwhile; worth it where round trips count",
    )
