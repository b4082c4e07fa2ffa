"""Every limit of a server, once: those of its connections, and its own.

The fields carry unit, range and reason: command-line options and the tables in the documentation are
generated from them.
"""

from __future__ import annotations

import dataclasses

from framelet.limits import DAY, MAX_LENGTH, SHORTEST, ConnectionLimits, limit


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits(ConnectionLimits):
    """The limits of a server: those of its connections, and its own (threads, sockets, memory)."""

    write_timeout: float = limit(
        30.0,
        "seconds",
        SHORTEST,
        DAY,
        purpose="time in which a client with answers waiting must take at least one octet",
        why="a stalled reader is told from a slow one without holding its memory for long",
    )
    handshake_timeout: float = limit(
        10.0,
        "seconds",
        SHORTEST,
        DAY,
        purpose="time for what precedes the frames: a PROXY header, the handshake of TLS",
        why="several round trips between continents, with a lost packet among them",
    )
    drain_timeout: float = limit(
        30.0,
        "seconds",
        SHORTEST,
        DAY,
        purpose="time for a drain, before what is left is cut off",
        why="service managers wait 90 seconds before they kill",
    )
    threads: int = limit(
        8,
        "threads",
        1,
        4_096,
        purpose="worker threads",
        why="enough for handlers that wait now and then; idle connections need none",
    )
    max_connections: int = limit(
        10_000,
        "connections",
        1,
        10_000_000,
        purpose="connections at once; further ones are refused",
        why="an idle connection costs a few KiB and one descriptor",
    )
    max_connections_per_address: int = limit(
        10_000,
        "connections",
        1,
        10_000_000,
        purpose="connections at once from one IPv4 address, or one IPv6 network of 64 bits",
        why="no bound of its own: many clients may share an address behind a relay",
    )
    max_age: float = limit(
        0.0,
        "seconds",
        0.0,
        365 * DAY,
        purpose="age at which a connection is ended in order, give or take a tenth; 0: never",
        why="wanted behind balancers alone, so that long connections move to new servers",
    )
    backlog: int = limit(
        1_024,
        "connections",
        1,
        65_535,
        purpose="connections that the system may hold before they are accepted",
        why="absorbs the burst after a restart; the system caps it at its own maximum",
    )
    max_unsent: int = limit(
        1_048_576,
        "octets",
        1,
        MAX_LENGTH,
        purpose="answers waiting for one client, above which it is not read any further",
        why="keeps a fast link busy; one answer more than this can be waiting",
    )
    max_memory: int = limit(
        268_435_456,
        "octets",
        1,
        1 << 50,
        purpose="octets held for all clients together, above which the largest are shed",
        why="sixteen of the largest bodies, and thousands of usual ones, on any machine",
    )
    max_in_flight: int = limit(
        128,
        "answers",
        1,
        1_000_000,
        purpose="answers that an executor may be making for one client, above which it is not read",
        why="keeps a pool busy with one client, and its queue short",
    )
    turn_octets: int = limit(
        262_144,
        "octets",
        1,
        MAX_LENGTH,
        purpose="input that one connection may have served before others get their turn",
        why="a few milliseconds of work, so that a busy client does not hold up the rest",
    )
    busy_poll: float = limit(
        0.0001,
        "seconds",
        0.0,
        1.0,
        purpose="time that a worker stays awake for the next client, where others came within it; 0: none",
        why="twice what it takes to sleep and to be woken; tried less often if no client comes in time",
    )
