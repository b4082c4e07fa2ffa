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


REVERSE, OWN, ECHO = "reverse", "own", "echo"
"""The handlers: the one that comes with Framelet, one as a user writes it, and none, for the limit."""


def reverse(text: str) -> str:
    """What Framelet does as it comes."""
    return text[::-1]


def own(text: str) -> str:
    """A handler of one's own."""
    return text.upper()


HANDLERS: dict[str, Callable[[str], str]] = {REVERSE: reverse, OWN: own, ECHO: str}


@dataclass(frozen=True)
class Options:
    """How a peer is to serve."""

    handler_name: str = REVERSE
    """One of ``HANDLERS``."""
    threads: int | None = None
    """Where it has a pool; None: as it comes."""
    delay: float = 0.0
    """Seconds that its handler blocks."""
    busy_poll: float | None = None
    """Seconds that Framelet's worker stays awake; None: as it comes."""
    tls: str | None = None
    """The file of Framelet's certificate and key, where it is to speak TLS."""

    def handler(self) -> Callable[[str], str]:
        """The work: text in, text out."""
        handle = HANDLERS[self.handler_name]
        if not self.delay:
            return handle

        def slow(text: str) -> str:
            time.sleep(self.delay)
            return handle(text)

        return slow


@dataclass(frozen=True)
class Exchange:
    """What came back, and in how many seconds."""

    seconds: float
    replies: list[str]


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
