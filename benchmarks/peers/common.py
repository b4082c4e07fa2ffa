"""What the peers share: the work itself, and how a client's exchange is timed."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WINDOW = 1_000
"""Requests that a pipelining client keeps under way."""

REQUEST, REPLY = 1, 2
HEADER = 5


@dataclass(frozen=True)
class Options:
    """How a peer is to serve."""

    threads: int | None = None
    """Where it has a pool; None: as it comes."""
    delay: float = 0.0
    """Seconds that its handler blocks."""
    busy_poll: float | None = None
    """Seconds that Framelet's worker stays awake; None: as it comes."""

    def handler(self) -> Callable[[str], str]:
        """The work: text in, reversed text out."""
        if not self.delay:
            return reverse

        def slow(text: str) -> str:
            time.sleep(self.delay)
            return text[::-1]

        return slow


@dataclass(frozen=True)
class Exchange:
    """What came back, and in how many seconds."""

    seconds: float
    replies: list[str]


def reverse(text: str) -> str:
    """The work."""
    return text[::-1]


def announce(port: int) -> None:
    """Say that clients can connect."""
    print(f"listening {port}", flush=True)


def frame(frame_type: int, body: bytes) -> bytes:
    """A frame, as a user writes it who does not install Framelet."""
    return frame_type.to_bytes() + len(body).to_bytes(4) + body


def one_by_one(request: Callable[[str], str], texts: Sequence[str]) -> Exchange:
    """Ask for one reply at a time."""
    started = time.perf_counter()
    replies = [request(text) for text in texts]
    return Exchange(time.perf_counter() - started, replies)


def windows(texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """So many texts at a time as may be under way."""
    rest = iter(texts)
    while part := tuple(itertools.islice(rest, WINDOW)):
        yield part
