"""What is asked for: texts, and the octets of a request and its reply in each framing."""

from __future__ import annotations

import random
import string
from functools import cache
from typing import TYPE_CHECKING

from .peers.common import HANDLERS, REPLY, REQUEST, frame

if TYPE_CHECKING:
    from collections.abc import Callable

MEBI = 1 << 20
SEED = 2_718_281_828

# Scripts of one to four octets for each scalar value, as runs of code points.
_SCRIPTS = (
    string.ascii_lowercase,
    "".join(map(chr, range(0xE0, 0xFF))),  # Latin with accents
    "".join(map(chr, range(0x3B1, 0x3CA))),  # Greek
    "".join(map(chr, range(0x430, 0x450))),  # Cyrillic
    "".join(map(chr, range(0x5D0, 0x5EB))),  # Hebrew
    "".join(map(chr, range(0x4E00, 0x4F00))),  # Han
    "".join(map(chr, range(0xAC00, 0xAD00))),  # Hangul
    "".join(map(chr, range(0x1F600, 0x1F640))),  # emoji
)


def words(scripts: tuple[str, ...], octets: int) -> str:
    """Words of random lengths, each in one of the scripts; exactly so many octets, the same each time.

    Random, because a branch predictor learns a text that repeats itself, and then no longer shows what a
    loop over octets costs.
    """
    chance = random.Random(SEED)  # noqa: S311 - not for secrets
    parts: list[str] = []
    left = octets
    while left > 0:
        word = "".join(chance.choices(chance.choice(scripts), k=chance.randint(2, 9))) + " "
        if len(word.encode()) > left:
            word = "." * left
        parts.append(word)
        left -= len(word.encode())
    return "".join(parts)


@cache
def ascii_text(octets: int) -> str:
    """ASCII of that size: a mebioctet of words, repeated where it is larger."""
    text = words((string.ascii_letters,), min(octets, MEBI))
    return (text * -(-octets // MEBI))[:octets] if octets else ""


@cache
def mixed_text(octets: int) -> str:
    """Words in many scripts, of that size."""
    return words(_SCRIPTS, octets)


def framelet_frames(text: str, answer: str) -> tuple[bytes, bytes]:
    """Type, length, body."""
    return frame(REQUEST, text.encode()), frame(REPLY, answer.encode())


def int32_frames(text: str, answer: str) -> tuple[bytes, bytes]:
    """Length, body."""
    request, reply = text.encode(), answer.encode()
    return len(request).to_bytes(4) + request, len(reply).to_bytes(4) + reply


FRAMINGS: dict[str, Callable[[str, str], tuple[bytes, bytes]]] = {
    "framelet": framelet_frames,
    "int32": int32_frames,
}


def exchange(framing: str, text: str, handler: str) -> tuple[bytes, bytes]:
    """The octets of a request, and of the reply that the handler makes to it."""
    return FRAMINGS[framing](text, HANDLERS[handler](text))
