"""What is tested, whatever its role: ``servers.Servers``, or ``adapter.Adapter`` for a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.replay import Replay


class UnderTest(Protocol):
    """A peer that cases are run against.

    ``odd`` says how the first plain conversation went wrong, where the cases can show why; None before it.
    """

    odd: str | None

    def sanity(self) -> None:
        """Hold a plain conversation; raises CaseEnded where the peer cannot be tested."""

    def replay(self, play: Play, replay: Replay) -> None:
        """Say again what a replay file says; raises CaseEnded where it fails again."""

    def facts(self) -> dict[str, str]:
        """What was found out about it, for the reports."""
        raise NotImplementedError

    def close(self) -> None:
        """End what was launched."""
