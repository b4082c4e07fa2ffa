"""The bounds of the protocol, each once: its default, unit, range and reason.

The constants are fixed by version 1 of the protocol.  The two dataclasses hold what a program may choose
for one end of a connection; the ``config`` modules of server and client add what is theirs (threads,
sockets, memory).  The fields carry unit, range and reason: command-line options and the tables in the
documentation are generated from them.
"""

from __future__ import annotations

import dataclasses
import re
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

MAX_STOPPED_BODY = 1_024
"""Largest body of a STOPPED, in octets (REQ-STOP-17)."""

RATE_GRACE = 5.0
"""Seconds that every frame has before a minimum rate is asked of it (REQ-TIME-7)."""

DAY = 86_400.0
"""Seconds in a day: the longest of most timeouts."""

SHORTEST = 0.001
"""Seconds of the shortest timeout: what a clock resolves everywhere."""


_FACTORS = {
    "octets": {
        "k": 1024.0,
        "m": 1024.0**2,
        "g": 1024.0**3,
        "kib": 1024.0,
        "mib": 1024.0**2,
        "gib": 1024.0**3,
    },
    "seconds": {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0},
}


def without_unit(text: str, unit: str) -> str:
    """A number with a suffix as one of ``unit``: ``16M`` octets are 16777216, ``5m`` are 300 seconds.

    Octets take k, M and G, each 1,024 times the one before; seconds take ms, s, m or min, and h.  Any other
    text is returned as it is: text that is not a number is reported when it is read as one.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-z]*)", text.strip().lower())
    factor = _FACTORS.get(unit, {}).get(found[2]) if found else None
    if found is None or factor is None:
        return text
    return f"{float(found[1]) * factor:.12g}"


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

    def fault(self, value: object) -> str:
        """What is wrong with a value, and what is expected; empty if it is within the limit."""
        if isinstance(value, bool) or not isinstance(value, (int, self.kind)):
            return f"is {value!r}: expected a number of {self.unit}"
        if not self.minimum <= value <= self.maximum:
            return f"is {value}: expected {self.minimum:g} to {self.maximum:.10g} {self.unit}"
        return ""

    def option_settings(self) -> dict[str, Any]:
        """How the option is parsed and shown, as keywords of ``click.option`` and its like."""
        return {
            "type": self.kind,
            "default": self.default,
            "show_default": True,
            "metavar": self.unit.upper(),
            "help": f"{self.purpose[0].upper()}{self.purpose[1:]}.",
        }


def limit(  # noqa: PLR0913 - each keyword is one column of the limits table
    default: float,
    unit: str,
    minimum: float,
    maximum: float,
    *,
    purpose: str,
    why: str,
) -> Any:  # noqa: ANN401 - stands for the field's own type, as dataclasses.field does
    """Define a field of a ``Limits`` dataclass: one row of the limits table."""
    info = {
        "default": default,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "purpose": purpose,
        "why": why,
    }
    return dataclasses.field(default=default, metadata=info)


def _max_body(why: str) -> Any:  # noqa: ANN401 - as ``limit``
    """The field that both ends have, each with its own reason."""
    return limit(
        DEFAULT_MAX_BODY,
        "octets",
        MIN_MAX_BODY,
        MAX_LENGTH,
        purpose="largest body accepted or sent",
        why=why,
    )


class Limits:
    """The base of all dataclasses of limits: checks each field against its range, describes the fields."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __post_init__(self) -> None:
        """Raise ConfigurationError for a value of the wrong kind or out of range."""
        for info in self.describe():
            value = getattr(self, info.name)
            if fault := info.fault(value):
                message = f"{info.name} {fault}"
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
class ConnectionLimits(Limits):
    """The limits that the server's end of a connection enforces, on octets and time alone."""

    max_body: int = _max_body(
        "holds any text a person wrote, and a thousand peers at once still fit in memory"
    )
    frame_timeout: float = limit(
        30.0,
        "seconds",
        SHORTEST,
        DAY,
        purpose="time for one whole frame, from its first octet to its last",
        why="a body of the maximum size arrives in time on 5 Mbit/s",
    )
    min_rate: int = limit(
        0,
        "octets/second",
        0,
        MAX_LENGTH,
        purpose="lowest average rate of a frame after its first 5 seconds; 0: none",
        why="the frame timeout is enough until that is raised for large bodies",
    )
    idle_timeout: float = limit(
        300.0,
        "seconds",
        SHORTEST,
        100 * DAY,
        purpose="time at a frame boundary with nothing owed, before the server ends the connection",
        why="longer than the keep-alives of usual relays, short enough to shed dead peers",
    )
    linger_timeout: float = limit(
        2.0,
        "seconds",
        SHORTEST,
        DAY,
        purpose="time to read and discard after the last answer, until the client closes",
        why="several round trips between continents",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClientConnectionLimits(Limits):
    """The limits that the client's end of a connection enforces, on octets and time alone."""

    max_body: int = _max_body("the default of every server")
    answer_timeout: float = limit(
        60.0,
        "seconds",
        SHORTEST,
        365 * DAY,
        purpose="time to wait for the next answer",
        why="leaves a slow handler its time",
    )
