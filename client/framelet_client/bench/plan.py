"""What a measurement is to do: which requests, on how many connections, and when.  No I/O."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from framelet import ClientConnection, encode_text, escape, reverse
from framelet.limits import without_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_client.config import ClientLimits

ALPHABETS = {
    "ascii": "".join(map(chr, range(0x20, 0x7F))),
    "mixed": "abc éñß Ωжя अआक 漢字仮 한국 😀🚀",  # one to four octets each
}
"""What the texts are made of, by the names that ``--text`` takes."""

EXPECTATIONS: dict[str, Callable[[str], str] | None] = {"reverse": reverse, "echo": str, "any": None}
"""The reply to a text, by the names that ``--expect`` takes; None if it is not compared."""

_VARIANTS = 16  # texts of each size, so that answers out of order do not go unnoticed
_POOL = 4_194_304  # octets that the variants of one size may take, as far as there is more than one
_SNIPPET = 40  # characters of a wrong reply that are shown
_BLOCK = 1_009  # characters at random, repeated in larger texts; a prime, so that nothing lines up


class Request(NamedTuple):
    """A text, the reply expected to it (None for any), and its size in octets."""

    text: str
    reply: str | None
    octets: int

    def difference(self, reply: str) -> str:
        """What was expected, and what came instead, in a line that is safe to show."""
        expected = self.reply or ""
        place = next(
            (index for index, (one, other) in enumerate(zip(expected, reply, strict=False)) if one != other),
            min(len(expected), len(reply)),
        )
        shown = [escape(text[place : place + _SNIPPET]) for text in (expected, reply)]
        return f"{shown[1]!r} instead of {shown[0]!r} from character {place} on"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A measurement, as the command line describes it.

    Either ``duration`` in seconds or ``count`` in requests says how long it goes on after ``warmup``
    seconds that do not count.  Without ``rate`` it is a closed loop: each connection keeps ``window``
    requests in flight.  With ``rate`` it is an open loop: so many requests a second are due, on all
    connections together, and a connection has at most ``window`` of them in flight.
    """

    host: str
    port: int | None
    limits: ClientLimits
    tls: dict[str, Any] | None  # arguments of ClientTls, which cannot be sent to another process
    connections: int
    window: int
    rate: float | None
    sizes: tuple[int, ...]
    text: str
    expect: str
    duration: float | None
    count: int | None
    warmup: float
    processes: int
    interval: float = math.inf  # seconds of each part of the series
    connection: type[ClientConnection] = ClientConnection

    def connections_of(self, process: int) -> int:
        """How many of the connections belong to one process; processes are counted from 0."""
        return len(range(process, self.connections, self.processes))

    def count_of(self, process: int) -> int | None:
        """How many of the requests belong to one process; None if their number is not given."""
        return None if self.count is None else len(range(process, self.count, self.processes))

    def numbers_of(self, process: int) -> range:
        """Which requests of an open loop belong to one process; numbers below 0 are the warm-up."""
        rate = self.rate or 0.0
        earliest = -math.floor(self.warmup * rate)
        return range(earliest + (process - earliest) % self.processes, self.total, self.processes)

    @property
    def total(self) -> int:
        """How many requests of an open loop count."""
        return math.ceil((self.duration or 0.0) * (self.rate or 0.0)) if self.count is None else self.count

    def requests(self) -> list[Request]:
        """What is sent, in turn: all sizes equally often."""
        dice = random.Random(0)  # noqa: S311 - the same texts in each run
        texts = {size: make_texts(size, ALPHABETS[self.text], dice) for size in self.sizes}
        answer = EXPECTATIONS[self.expect]
        requests = {
            size: [Request(text, answer(text) if answer else None, size) for text in some]
            for size, some in texts.items()
        }
        return [
            requests[size][turn % len(requests[size])] for turn in range(_VARIANTS) for size in self.sizes
        ]


def make_texts(size: int, alphabet: str, dice: random.Random) -> list[str]:
    """Texts of exactly ``size`` octets, as different as so few octets allow."""
    return [_make_text(size, alphabet, dice) for _ in range(max(1, min(_VARIANTS, _POOL // max(size, 1))))]


def _make_text(size: int, alphabet: str, dice: random.Random) -> str:
    block = encode_text("".join(dice.choices(alphabet, k=min(size, _BLOCK))))
    whole = (block * math.ceil(size / len(block)))[:size].decode(errors="ignore") if size else ""
    return whole + "." * (size - len(encode_text(whole)))  # instead of a character that was cut


class Schedule:
    """When the requests of an open loop are due: number n at ``begin + n / rate``, however late others are.

    Numbers below 0 are the warm-up.  Times are in seconds on the caller's clock.
    """

    def __init__(self, begin: float, rate: float, numbers: range) -> None:
        """Schedule the requests of these numbers, the first one next."""
        self._begin = begin
        self._rate = rate
        self._left = numbers
        self.next_due: float = self._due()

    @property
    def counts(self) -> bool:
        """Whether the next request comes after the warm-up."""
        return self._left.start >= 0

    def advance(self) -> None:
        """Take the next request as sent, and go on to the one after it."""
        self._left = self._left[1:]
        self.next_due = self._due()

    def skip_warmup(self) -> None:
        """Drop what was not sent of the warm-up: it would delay the requests that count."""
        if not self.counts:
            step = self._left.step
            self._left = range(self._left.start % step, self._left.stop, step)
            self.next_due = self._due()

    def overdue(self, now: float) -> int:
        """How many requests that count are due and were not sent."""
        first = self._left.start if self.counts else self._left.start % self._left.step
        behind = min(self._left.stop, math.floor((now - self._begin) * self._rate) + 1)
        return len(range(first, behind, self._left.step))

    def _due(self) -> float:
        """When the next request is due; infinity if there is none."""
        return self._begin + self._left.start / self._rate if self._left else math.inf


def parse_sizes(text: str) -> tuple[int, ...]:
    """Sizes in octets, separated by commas; raises ValueError."""
    parts = [without_unit(part, "octets") for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        message = f"{text!r} is not a size: expected octets, as in 64 or 16,64,1k"
        raise ValueError(message)
    return tuple(map(int, parts))
