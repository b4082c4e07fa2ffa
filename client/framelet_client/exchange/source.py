"""Where the frames of an exchange come from."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from framelet import ClientConnection

_SLICE = 0.002


class Source(Protocol):
    """Queues frames on a connection, a few at a time, as the exchange has room for them."""

    exhausted: bool
    """Whether there will be no further frames."""

    error: Exception | None
    """What made the source end early, to be raised once all that came before it is answered."""

    def fileno(self) -> int | None:
        """The descriptor to wait for before ``feed`` is called, or None where it can go on at once."""

    def feed(self, connection: ClientConnection, frames: int, octets: int) -> None:
        """Queue at most ``frames`` frames; stop when ``octets`` octets are queued."""


class Texts:
    """Requests from any iterable, which may be endless, slow, or raise."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Take the texts; none is asked for before the first ``feed``."""
        self.exhausted = False
        self.error: Exception | None = None
        self._texts = iter(texts)

    def fileno(self) -> None:
        """Nothing can tell whether an iterable would block."""

    def feed(self, connection: ClientConnection, frames: int, octets: int) -> None:
        """Queue what comes within a short time, so that a slow iterable gets its texts sent one by one."""
        try:
            connection.send_requests(self._soon(frames, time.monotonic() + _SLICE), octets)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised in its place
            self.exhausted = True
            self.error = error

    def _soon(self, most: int, until: float) -> Iterator[str]:
        """Up to so many texts, as long as it is not too late."""
        left = most
        for text in self._texts:
            yield text
            left -= 1
            if not left or time.monotonic() >= until:
                return
        self.exhausted = True
