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
        why="tells a stalled reader from a slow one, and frees its memory soon",
    )
    handshake_timeout: float = limit(
        10.0,
        "seconds",
        SHORTEST,
        DAY,
        purpose="time for everything before the first frame: a PROXY header, the TLS handshake",
        why="several round trips between continents, with a lost packet among them",
    )
    drain_timeout: float = limit(
        30.0,
        "seconds",
        SHORTEST,
        DAY,
        purpose="time for a drain; what is left after it is cut off",
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
        why="no bound in addition: many clients may share an address behind a relay",
    )
    max_age: float = limit(
        0.0,
        "seconds",
        0.0,
        365 * DAY,
        purpose="age at which a connection is ended in order, give or take a tenth; 0: never",
        why="useful only behind load balancers, where long connections then move to new servers",
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
        purpose="unsent answers of one client, above which the server reads no more from it",
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
        purpose="calls of one client in an executor, above which the server reads no more from it",
        why="keeps a pool busy with one client, and its queue short",
    )
    turn_octets: int = limit(
        262_144,
        "octets",
        1,
        MAX_LENGTH,
        purpose="input of one connection that is served before others get their turn",
        why="a few milliseconds of work, so that a busy client does not hold up the rest",
    )
    busy_poll: float = limit(
        0.0001,
        "seconds",
        0.0,
        1.0,
        purpose="time that a worker polls before it sleeps, while clients come that often; 0: none",
        why="twice what it takes to sleep and to be woken; tried less often if no client comes in time",
    )
