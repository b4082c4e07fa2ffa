"""A server under test: how it is set up, where it is, and what it said that it can do."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from framelet_conformance.verdicts import Skipped
from framelet_conformance.wire.conversation import Conversation

from . import launch

if TYPE_CHECKING:
    import socket

    from framelet_conformance.wire.times import Times


@dataclasses.dataclass(frozen=True, slots=True)
class Setup:
    """How a server must be set up for a case; None where any setting will do.

    Times are in seconds, ``max_body`` in octets.  ``stop`` is ``local``, ``off`` or ``token:TOKEN``;
    ``application`` is ``none`` or ``reverse``.
    """

    max_body: int | None = None
    stop: str | None = None
    application: str | None = None
    frame_timeout: float | None = None
    idle_timeout: float | None = None
    linger_timeout: float | None = None
    write_timeout: float | None = None
    drain_timeout: float | None = None
    max_connections: int | None = None
    fresh: bool = False

    def values(self) -> dict[str, object]:
        """The placeholders of a launch template that this setup needs, with their values."""
        values = {
            key: value
            for key, value in dataclasses.asdict(self).items()
            if value is not None and key != "fresh"
        }
        if self.stop is not None:
            policy, _, token = self.stop.partition(":")
            values["stop"] = policy
            if token:
                values["stop_token"] = token
        if self.application == "none":
            del values["application"]  # a server has no handlers unless it is told to
        return values


@dataclasses.dataclass(slots=True)
class ServerUnderTest:
    """A server that can be spoken to; ``process`` is None for one that the suite did not launch.

    ``spare`` holds the connection by which the suite saw that it listens, until a conversation takes it.
    """

    address: tuple[str, int] | str
    process: launch.Process | None = None
    setup: Setup = Setup()
    parameters: dict[str, str] = dataclasses.field(default_factory=dict)
    application: dict[int, str] = dataclasses.field(default_factory=dict)
    spare: list[socket.socket] = dataclasses.field(default_factory=list)

    @property
    def max_body(self) -> int | None:
        """Its maximum body size as its HELLO states it, in octets."""
        value = self.parameters.get("max-body")
        return int(value) if value is not None else None

    def seconds(self, key: str) -> float | None:
        """A timeout that its HELLO states."""
        value = self.parameters.get(f"{key}-ms")
        return int(value) / 1000 if value is not None else None

    def connect(self, times: Times, name: str = "", *, receive_buffer: int = 0) -> Conversation:
        """A new connection; raises SetupFailed where it cannot be reached."""
        if self.spare and not receive_buffer:
            return Conversation(self.spare.pop(), times, name)
        return Conversation.connect(self.address, times, name, receive_buffer=receive_buffer)

    def memory(self) -> int:
        """What its process takes, in octets; raises Skipped where that cannot be known."""
        if self.process is None:
            raise Skipped("needs a server that the suite launched (--launch), to see its memory")
        return launch.memory(self.process.pid)
