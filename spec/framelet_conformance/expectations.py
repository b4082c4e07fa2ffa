"""What is expected of a peer, frame by frame, as vectors write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from framelet import registry
from framelet.registry import FrameType, type_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator


Expectation = dict[str, Any]
"""One frame that is expected, as vectors write it."""


def octets(value: str | list[dict[str, Any]]) -> bytes:
    """The octets that a vector's ``send`` or ``body`` describes."""
    if isinstance(value, str):
        return bytes.fromhex(value)
    return b"".join(
        bytes.fromhex(piece["hex"]) if "hex" in piece else bytes.fromhex(piece["repeat"]) * piece["times"]
        for piece in value
    )


def type_name(octet: int) -> str:
    """What a type is called."""
    kind = type_kinds[octet]
    return kind.name if isinstance(kind, FrameType) else f"{octet:02X}"


def type_octet(name: str) -> int:
    """The octet of a type as vectors name it."""
    return FrameType[name].value if name in FrameType.__members__ else int(name, 16)


def unroll(expect: list[Expectation]) -> Iterator[Expectation]:
    """The frames one by one."""
    for item in expect:
        for _ in range(item.get("times", 1)):
            yield item


def reply(text: str) -> Expectation:
    """The REPLY that reverses a text, as vectors write it."""
    return {"type": "REPLY", "body": text[::-1].encode().hex()}


def pong(text: str) -> Expectation:
    """The PONG of a PING with this text."""
    return {"type": "PONG", "body": text.encode().hex()}


def error(code: int) -> Expectation:
    """An ERROR with this code."""
    return {"type": "ERROR", "code": code}


def is_fatal(item: Expectation) -> bool:
    """Whether it is an ERROR after which its sender closes the connection."""
    return registry.is_fatal(int(item.get("code", 0)))
