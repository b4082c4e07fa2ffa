"""Ways to cut what is sent into segments."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_EVERY_CUT = 300  # up to this many octets every place is tried


def cut(octets: bytes, places: Iterable[int]) -> list[bytes]:
    """The octets in segments; places beyond their number are taken from the start again."""
    ends = sorted({place % len(octets) for place in places} - {0}) if octets else []
    return [octets[start:end] for start, end in itertools.pairwise([0, *ends, len(octets)])]


def halves(octets: bytes) -> Iterator[list[bytes]]:
    """The octets cut in two at each place; long ones at some."""
    size = len(octets)
    places = range(1, size) if size <= _EVERY_CUT else sorted({1, 4, 5, 6, size // 2, size - 1})
    return (cut(octets, [place]) for place in places)


def octet_by_octet(octets: bytes, *, up_to: int, pieces: int) -> list[bytes]:
    """One octet at a time; above so many octets about so many pieces, of odd sizes."""
    step = 1 if len(octets) <= up_to else max(1, len(octets) // pieces) | 1
    return cut(octets, range(step, len(octets), step))
