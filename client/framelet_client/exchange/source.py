"""Where the frames of an exchange come from."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol

from framelet import FrameletError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framelet import ClientConnection

_SLICE = 0.002  # seconds that a batch may wait for a slow iterable
_ALL = sys.maxsize  # octets: ``take`` has kept to the bound


class Source(Protocol):
    """Queues frames on a connection, a few at a time, as the exchange has room for them."""

    exhausted: bool
    """Whether there will be no further frames."""

    error: Exception | None
    """What made the source end early; raised once everything before it is answered."""

    def fileno(self) -> int | None:
        """The descriptor to wait for before ``feed`` is called, or None if that may be called at once."""

    def feed(self, connection: ClientConnection, frames: int, octets: int) -> None:
        """Queue at most ``frames`` frames; stop when ``octets`` octets are queued."""


class Texts:
    """Requests from any iterable, which may be endless, slow, or raise."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Take an iterable, from which nothing is taken before the first ``take``."""
        self.exhausted: bool = False
        self.error: Exception | None = None
        self._texts = iter(texts)

    def fileno(self) -> None:
        """None: there is no way to tell whether an iterable would block."""

    def feed(self, connection: ClientConnection, frames: int, octets: int) -> None:
        """Queue what ``take`` returns."""
        self.send(connection, self.take(frames, octets))

    def take(self, most: int, octets: int) -> list[str]:
        """Up to ``most`` texts of about ``octets`` octets: what comes within a short time.

        So a slow iterable gets its texts sent one by one.  Nothing is queued meanwhile: it may do anything,
        with this connection too.
        """
        texts: list[str] = []
        size, until = 0, time.monotonic() + _SLICE
        for _ in range(most):
            try:
                text = next(self._texts)
            except StopIteration:
                self._end(None)
                break
            except Exception as error:  # noqa: BLE001 - raised later, after the answers to earlier texts
                self._end(error)
                break
            texts.append(text)
            size += len(text) if isinstance(text, str) else 0  # what is no text, ``send`` tells
            if size >= octets or time.monotonic() >= until:
                break
        return texts

    def send(self, connection: ClientConnection, texts: list[str]) -> None:
        """Queue texts that were taken; those after one that cannot be sent are dropped, as it ends them."""
        try:
            connection.send_requests(texts, _ALL)
        except FrameletError as error:  # of a text that cannot be sent; any other one is an interruption
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        self.error = error
        self.exhausted = True
