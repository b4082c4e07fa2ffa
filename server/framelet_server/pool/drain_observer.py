"""What hears of a drain, and has its say in it where several processes are one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class DrainObserver:
    """Hears of a drain; this one lets it take its course.

    The methods are called from any thread of the server, and must not block.
    """

    def drain_began(self, reason: str) -> None:
        """The server has begun to drain, whoever asked for it."""

    def stop_allowed(self, reason: str) -> None:
        """A client's STOP was allowed; the drain has begun by now."""

    def drained(self, closed: int, cut: int, conclude: Callable[[int, int], None]) -> None:
        """All clients but those whose STOP was allowed have been closed, or cut off.

        Those get STOPPED with the numbers that ``conclude`` is called with, by whichever thread, once.  Until
        then the server waits for it (REQ-STOP-8).
        """
        conclude(closed, cut)
