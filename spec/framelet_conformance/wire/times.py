"""The bounds of all waits."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Times:
    """The bounds of all waits, in seconds, scaled for slow peers.

    ``answer`` is how long the peer may take to send what is due, ``grace`` how late a deadline of the peer
    may be kept, ``pause`` how long the suite waits between segments so that they arrive apart.  ``haste``
    divides ``answer`` alone.
    """

    scale: float = 1.0
    haste: float = 1.0

    @property
    def answer(self) -> float:
        """Time for the next octet that is due."""
        return 3.0 * self.scale / self.haste

    @property
    def connect(self) -> float:
        """Time to reach the peer."""
        return 5.0 * self.scale

    @property
    def launch(self) -> float:
        """Time for a launched peer to be ready, or to end."""
        return 10.0 * self.scale

    @property
    def grace(self) -> float:
        """How much later than its deadline the peer may act."""
        return 1.5 * self.scale

    @property
    def pause(self) -> float:
        """Between two segments."""
        return 0.002 * self.scale

    @property
    def quiet(self) -> float:
        """How long nothing must come where nothing is due."""
        return 0.25 * self.scale

    @property
    def late(self) -> float:
        """How late the suite itself may be woken before a failure shows nothing."""
        return 0.1 * self.scale

    @property
    def whole(self) -> float:
        """Time for a whole conversation, however busily the peer talks."""
        return 60.0 * self.scale
