"""What the connections of one server share, as a connection sees it."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_server.config import ServerLimits
    from framelet_server.net.peer import Peer
    from framelet_server.net.poller import Poller
    from framelet_server.net.timers import Timers
    from framelet_server.observe.counters import ConnectionStats
    from framelet_server.service.handlers import Handlers, Service


_FIRST_READ = 65_536


class Connected(Protocol):
    """One client's connection, as the pool sees it; every method may be called from any thread."""

    cut: bool
    """Whether answers were dropped."""

    @property
    def peer(self) -> Peer:
        """Who the client is."""
        ...

    @property
    def refused(self) -> bool:
        """Whether it is told to go, and does not count as a client."""
        ...

    @property
    def close_reason(self) -> str:
        """How it has ended."""
        ...

    @property
    def pending(self) -> int:
        """How many answers are being made elsewhere."""
        ...

    def stats(self) -> ConnectionStats:
        """What was counted so far."""
        ...

    def drain(self) -> None:
        """Answer what was received, then end."""

    def send_stopped(self) -> None:
        """Answer the STOP that was allowed, with the drain's outcome (REQ-STOP-8)."""

    def abort(self) -> None:
        """End by force."""


class Memory(Protocol):
    """The memory that all clients take together."""

    exceeded: bool

    def note(self, holder: Holder, octets: int) -> None:
        """Take down how many octets are held for a client now."""


class Holder(Protocol):
    """A client for which octets are held."""

    def wake(self) -> None:
        """Have a worker look at it soon."""

    def shed(self) -> None:
        """End it, and free what is held."""


class AdmissionView(Protocol):
    """Who may come in."""

    def move(self, old: str, new: Peer) -> tuple[str, bool] | None:
        """Count a client for another address than its relay's.

        None, or why it is refused for that, and whether there is no room even to tell it.
        """
        ...


class StopView(Protocol):
    """Who may stop the server."""

    def refusal(self, peer: Peer, token: str) -> float | None:
        """Decide on a STOP: None where it is allowed, else the seconds to keep the refusal back."""
        ...


class EndListener(Protocol):
    """Whom connections tell of their ends; each may be told of the same more than once."""

    ends_at: float
    """When what is left will be cut off, on the monotonic clock; infinity while nothing ends."""

    @property
    def outcome(self) -> tuple[int, int]:
        """How many connections were closed, and how many cut: what STOPPED says."""
        ...

    def stop_allowed(self, channel: Connected) -> None:
        """A client's STOP was allowed."""

    def finished(self, channel: Connected) -> None:
        """A connection has sent its last octet."""

    def closed(self, channel: Connected) -> None:
        """A connection is gone."""


def _nobody(_number: int) -> None:
    """Call nobody: there are no workers yet."""


@dataclasses.dataclass(slots=True)
class Context:
    """What the connections of one server share."""

    limits: ServerLimits
    handlers: Handlers
    timers: Timers
    poller: Poller
    memory: Memory
    admission: AdmissionView
    stops: StopView
    drain: EndListener
    call_worker: Callable[[int], None] = _nobody
    """Has a worker take a turn of the channel with this descriptor soon, whatever its socket is ready for."""
    keep_armed: bool = False
    """Whether sockets stay armed between turns, as is best while one worker serves all."""
    first_read: int = dataclasses.field(init=False)
    """Octets asked for in the first read of a turn: answered while the client sends on."""

    process: int = dataclasses.field(init=False, default_factory=os.getpid)
    """Whose connections these are."""

    request: Service = dataclasses.field(init=False)
    """The handler of REQUEST."""

    def __post_init__(self) -> None:
        """Work out what each turn asks for."""
        self.first_read = min(_FIRST_READ, self.limits.turn_octets)
        self.request = self.handlers.request
