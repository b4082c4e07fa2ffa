"""Octets to send: frames built by hand, and texts that show what a server did to them."""

from __future__ import annotations

from framelet import HEADER_SIZE
from framelet.registry import FrameType

REQUEST, REPLY, STOP, STOPPED = FrameType.REQUEST, FrameType.REPLY, FrameType.STOP, FrameType.STOPPED
ERROR, PING, PONG, HELLO = FrameType.ERROR, FrameType.PING, FrameType.PONG, FrameType.HELLO
IGNORABLE, APPLICATION = 0x80, 0xC0

SAMPLE = "a\u00e9\u20ac\U0001f600\u0301 \0\r\n\ufeff\u00df\u0130"
"""Scalar values of one to four octets, with those that careless programs change."""


def frame(frame_type: int, body: bytes | str = b"") -> bytes:
    """A whole frame."""
    octets = body.encode() if isinstance(body, str) else body
    return header(frame_type, len(octets)) + octets


def header(frame_type: int, length: int) -> bytes:
    """A header, whether or not a body of that length follows."""
    return bytes([frame_type]) + length.to_bytes(4, "big")


def frame_end(octets: bytes | bytearray, start: int = 0) -> int | None:
    """Where the frame that starts there ends, be that beyond the octets; None without its whole header."""
    body = start + HEADER_SIZE
    return body + int.from_bytes(octets[start + 1 : body], "big") if body <= len(octets) else None


def text_of(size: int, seed: int = 0) -> str:
    """A text of so many octets in UTF-8, of mixed scripts, with no period that a copy could hide in."""
    parts, left, count = [], size, seed
    while left > 0:
        part = f"{count:x}:{SAMPLE}"[: left if left < len(SAMPLE) else None]
        octets = len(part.encode())
        if octets > left:
            part, octets = "x" * left, left
        parts.append(part)
        left -= octets
        count += 1
    return "".join(parts)
