"""How connections end, and what is known of one at its end."""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framelet_server.net.peer import Peer
    from framelet_server.observe.counters import ConnectionStats

_log = logging.getLogger("framelet_server")


class CloseReason(enum.StrEnum):
    """How a connection ends without a fatal ERROR; a fatal ERROR is named by its title in the registry."""

    CLIENT = "client"  # it closed its stream, at a boundary
    DRAIN = "drain"  # in order, as the server ends
    AGE = "age"  # in order, at the maximum age
    LOST = "lost"  # reset by the client, or by the system
    WRITE_TIMEOUT = "write-timeout"
    HANDSHAKE_TIMEOUT = "handshake-timeout"
    HANDSHAKE_FAILED = "handshake-failed"  # it closed its stream before that was complete
    LAYER_FAILED = "layer-failed"  # TLS or a PROXY header was not right
    CUT = "cut"  # by force, as the server ends


class SessionEnded(Exception):  # noqa: N818 - an end, and not always an error
    """The connection has to be closed at once."""

    def __init__(self, how: str, reason: str, *, cut: bool = False) -> None:
        """``how`` is a CloseReason, or the title of a fatal error; ``cut`` says that answers are dropped."""
        super().__init__(reason)
        self.how = how
        self.cut = cut


def log_end(peer: Peer, how: str, reason: str, stats: ConnectionStats, seconds: float) -> None:
    """Log the one line that each connection leaves."""
    # A relay checks the health of its servers every few seconds.
    quiet = peer.relay and how in (CloseReason.CLIENT, CloseReason.HANDSHAKE_FAILED, CloseReason.LOST)
    level = logging.DEBUG if quiet else logging.INFO
    if not _log.isEnabledFor(level):
        return
    fields = {
        "peer": peer.name,
        "ended": how,
        "reason": reason,
        "frames": stats.frames,
        "octets_in": stats.octets_in,
        "answers": stats.answers,
        "octets_out": stats.octets_out,
        "seconds": round(seconds, 6),
    }
    message = (
        "%(peer)s: %(ended)s%(reason)s; %(frames)d frames and %(octets_in)d octets in, "
        "%(answers)d answers and %(octets_out)d octets out, %(seconds).3f seconds"
    )
    shown = {**fields, "reason": f" ({reason})" if reason else ""}
    _log.log(level, message, shown, extra={"event": "connection", **fields})
