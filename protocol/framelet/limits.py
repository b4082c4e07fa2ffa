"""Every bound of Framelet, once: its default, unit, range and reason.

The constants are fixed by version 1 of the protocol.  The three dataclasses hold what an operator or a
program may choose; their fields carry unit, range and reason, from which the command-line options and the
tables in the documentation are made.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple, Self

from .errors import ConfigurationError

MAX_LENGTH = 0xFFFF_FFFF
"""Largest length that a header can state, in octets (REQ-FRAME-2)."""

MIN_MAX_BODY = 65_536
"""Body size that every receiver accepts, in octets (REQ-SIZE-1)."""

DEFAULT_MAX_BODY = 16_777_216
"""Largest body that an endpoint accepts unless told otherwise, in octets (REQ-SIZE-3)."""

MAX_PING_BODY = 64
"""Largest body of a PING, in octets (REQ-PING-2)."""

MAX_HELLO_BODY = 1_024
"""Largest body of a HELLO, in octets (REQ-HELLO-3)."""

MAX_ERROR_BODY = 1_024
"""Largest body of an ERROR, in octets (REQ-ERROR-14)."""

RATE_GRACE = 5.0
"""Seconds that every frame has before a minimum rate is asked of it (REQ-TIME-7)."""

_DAY = 86_400.0
_SHORTEST = 0.001


class LimitInfo(NamedTuple):
    """Describes one adjustable limit, for options and tables.

    ``name`` is the field's name; ``kind`` is ``int`` or ``float``; ``unit`` is a word such as "octets";
    ``minimum`` and ``maximum`` are inclusive; ``why`` gives the reason for the default.
    """

    name: str
    kind: type[int | float]
    default: float
    unit: str
    minimum: float
    maximum: float
    purpose: str
    why: str

    @property
    def option(self) -> str:
        """The command-line option for this limit, as in ``--max-body``."""
        return "--" + self.name.replace("_", "-")


def _limit(  # noqa: PLR0913 - each keyword is one column of the limits table
    default: float,
    unit: str,
    minimum: float,
    maximum: float,
    *,
    purpose: str,
    why: str,
) -> Any:  # noqa: ANN401 - stands for the field's own type, as dataclasses.field does
    info = {
        "default": default,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "purpose": purpose,
        "why": why,
    }
    return dataclasses.field(default=default, metadata=info)


class _Limits:
    """What the dataclasses below have in common: checks every field against its range, and describes them."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __post_init__(self) -> None:
        """Raise ConfigurationError for a value of the wrong kind or out of range."""
        for info in self.describe():
            value = getattr(self, info.name)
            if isinstance(value, bool) or not isinstance(value, (int, info.kind)):
                message = f"{info.name} is {value!r}: expected a number of {info.unit}"
                raise ConfigurationError(message)
            if not info.minimum <= value <= info.maximum:
                message = (
                    f"{info.name} is {value}: expected {info.minimum:g} to {info.maximum:.10g} {info.unit}"
                )
                raise ConfigurationError(message)

    @classmethod
    def describe(cls) -> list[LimitInfo]:
        """The fields in order, each as a LimitInfo."""
        return [
            LimitInfo(
                name=field.name,
                kind=int if field.type == "int" else float,
                **field.metadata,
            )
            for field in dataclasses.fields(cls)
        ]

    def replace(self, **changes: float) -> Self:
        """A copy with some limits changed; raises ConfigurationError as construction does."""
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits(_Limits):
    """The limits that a connection enforces by itself, on octets and time alone."""

    max_body: int = _limit(
        DEFAULT_MAX_BODY,
        "octets",
        MIN_MAX_BODY,
        MAX_LENGTH,
        purpose="largest body accepted or sent",
        why="holds any text a person wrote, and a thousand peers at once still fit in memory",
    )
    frame_timeout: float = _limit(
        30.0,
        "seconds",
        _SHORTEST,
        _DAY,
        purpose="time for one whole frame, from its first octet to its last",
        why="a body of the maximum size arrives in time on 5 Mbit/s",
    )
    min_rate: int = _limit(
        0,
        "octets/second",
        0,
        MAX_LENGTH,
        purpose="rate that a frame must come with on average after its first 5 seconds; 0: any",
        why="the frame timeout is enough until that is raised for large bodies",
    )
    idle_timeout: float = _limit(
        300.0,
        "seconds",
        _SHORTEST,
        100 * _DAY,
        purpose="time at a frame boundary with nothing owed, before the server ends the connection",
        why="longer than the keep-alives of usual relays, short enough to shed dead peers",
    )
    linger_timeout: float = _limit(
        2.0,
        "seconds",
        _SHORTEST,
        _DAY,
        purpose="time to read and discard after the last answer, until the client closes",
        why="several round trips between continents",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits(ConnectionLimits):
    """The limits of a server: those of its connections, and its own."""

    write_timeout: float = _limit(
        30.0,
        "seconds",
        _SHORTEST,
        _DAY,
        purpose="time in which a client with answers waiting must take at least one octet",
        why="a stalled reader is told from a slow one without holding its memory for long",
    )
    handshake_timeout: float = _limit(
        10.0,
        "seconds",
        _SHORTEST,
        _DAY,
        purpose="time for what precedes the frames: a PROXY header, the handshake of TLS",
        why="several round trips between continents, with a lost packet among them",
    )
    drain_timeout: float = _limit(
        30.0,
        "seconds",
        _SHORTEST,
        _DAY,
        purpose="time for a drain, before what is left is cut off",
        why="service managers wait 90 seconds before they kill",
    )
    threads: int = _limit(
        8,
        "threads",
        1,
        4_096,
        purpose="worker threads",
        why="enough for handlers that wait now and then; idle connections need none",
    )
    max_connections: int = _limit(
        10_000,
        "connections",
        1,
        10_000_000,
        purpose="connections at once; further ones are refused",
        why="an idle connection costs a few KiB and one descriptor",
    )
    max_connections_per_address: int = _limit(
        10_000,
        "connections",
        1,
        10_000_000,
        purpose="connections at once from one IPv4 address, or one IPv6 network of 64 bits",
        why="no bound of its own: many clients may share an address behind a relay",
    )
    max_age: float = _limit(
        0.0,
        "seconds",
        0.0,
        365 * _DAY,
        purpose="age at which a connection is ended in order, give or take a tenth; 0: never",
        why="wanted behind balancers alone, so that long connections move to new servers",
    )
    backlog: int = _limit(
        1_024,
        "connections",
        1,
        65_535,
        purpose="connections that the system may hold before they are accepted",
        why="absorbs the burst after a restart; the system caps it at its own maximum",
    )
    max_unsent: int = _limit(
        1_048_576,
        "octets",
        1,
        MAX_LENGTH,
        purpose="answers waiting for one client, above which it is not read any further",
        why="keeps a fast link busy; one answer more than this can be waiting",
    )
    max_memory: int = _limit(
        268_435_456,
        "octets",
        1,
        1 << 50,
        purpose="octets held for all clients together, above which the largest are shed",
        why="sixteen of the largest bodies, and thousands of usual ones, on any machine",
    )
    max_in_flight: int = _limit(
        128,
        "answers",
        1,
        1_000_000,
        purpose="answers that an executor may be making for one client, above which it is not read",
        why="keeps a pool busy with one client, and its queue short",
    )
    turn_octets: int = _limit(
        262_144,
        "octets",
        1,
        MAX_LENGTH,
        purpose="input that one connection may have served before others get their turn",
        why="a few milliseconds of work, so that a busy client does not hold up the rest",
    )
    busy_poll: float = _limit(
        0.0001,
        "seconds",
        0.0,
        1.0,
        purpose="time that a worker stays awake for the next client, where others came within it; 0: none",
        why="twice what it takes to sleep and to be woken; tried ever more seldom where nobody comes in time",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits(_Limits):
    """The limits of a client."""

    max_body: int = _limit(
        DEFAULT_MAX_BODY,
        "octets",
        MIN_MAX_BODY,
        MAX_LENGTH,
        purpose="largest body accepted or sent",
        why="the default of every server",
    )
    connect_timeout: float = _limit(
        10.0,
        "seconds",
        _SHORTEST,
        _DAY,
        purpose="time to reach the server",
        why="longer than three lost packets",
    )
    answer_timeout: float = _limit(
        60.0,
        "seconds",
        _SHORTEST,
        365 * _DAY,
        purpose="time to wait for the next answer",
        why="leaves a slow handler its time",
    )
    window: int = _limit(
        1_024,
        "frames",
        1,
        1_000_000,
        purpose="frames that a pipeline keeps unanswered at once",
        why="hides the round trip on usual links",
    )
    max_unsent: int = _limit(
        1_048_576,
        "octets",
        1,
        MAX_LENGTH,
        purpose="frames waiting to be written, above which a pipeline takes no further input",
        why="keeps a fast link busy in constant memory",
    )
    busy_poll: float = _limit(
        0.0,
        "seconds",
        0.0,
        1.0,
        purpose="time for which a call stays awake for its answer; 0: none",
        why="takes a whole core meanwhile; worth it where round trips count",
    )
