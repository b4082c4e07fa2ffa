"""Who may come in: how many connections there are, in all and from each address (REQ-FLOW-6)."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from framelet_server.config import ServerLimits
    from framelet_server.net.peer import Peer
    from framelet_server.observe.log_limit import LogLimit

_TOLD = 64
"""Clients beyond the maximum that are told so at a time; further ones are closed without an answer."""


class Refusal(NamedTuple):
    """Why a client is not let in: ``text`` for it, and whether there is room to tell it at all."""

    text: str
    silent: bool


class Admission:
    """Counts the connections, and decides on new ones before anything is built for them.

    Those who are refused and have not left yet take no room from others.  All methods may be called from any
    thread; ``_lock`` guards everything, and nothing is called under it.
    """

    def __init__(self, limits: ServerLimits, limited_log: LogLimit) -> None:
        """Begin with no connection."""
        self._limits = limits
        self._limited_log = limited_log
        self._lock = threading.Lock()
        self._open = 0
        self._told = 0  # those who are being told that they are refused
        self._hosts: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()

    def enter(self, peer: Peer) -> Refusal | None:
        """Count a new client, or say why it cannot come in.

        ``leave`` undoes it, unless the refusal is silent.
        """
        with self._lock:
            reason, text = self._crowded(peer.host)
            if not text:
                self._open += 1
                self._hosts[peer.host] += 1
                return None
            silent = self._told >= _TOLD
            self._told += not silent
        self.record_refusal(peer, reason, text)
        return Refusal(text, silent)

    def move(self, old: str, new: Peer) -> Refusal | None:
        """Count a client for another address than its relay's, or say why it is refused for that.

        ``leave`` undoes it in either case.
        """
        with self._lock:
            self._leave_host(old)
            self._open -= 1
            reason, text = self._crowded(new.host)
            if not text:
                self._open += 1
                self._hosts[new.host] += 1
                return None
            silent = self._told >= _TOLD
            self._told += 1
        self.record_refusal(new, reason, text)
        return Refusal(text, silent)

    def leave(self, host: str, *, refused: bool) -> None:
        """Forget a client."""
        with self._lock:
            if refused:
                self._told -= 1
            else:
                self._open -= 1
                self._leave_host(host)

    def record_refusal(self, peer: Peer, reason: str, words: str) -> None:
        """Take down that a client was refused."""
        with self._lock:
            self._refusals[reason] += 1
        self._limited_log.warning("refused clients", "%s: refused: %s", peer.name, words, peer=peer.name)

    def refusals(self) -> dict[str, int]:
        """How many were refused so far, by reason."""
        with self._lock:
            return dict(self._refusals)

    def _crowded(self, host: str) -> tuple[str, str]:
        """Why there is no room for one more from a host, in a word and in many, or nothing."""
        assert self._lock.locked()
        if self._open >= self._limits.max_connections:
            return "connections", f"connection limit ({self._limits.max_connections}) reached"
        most = self._limits.max_connections_per_address
        if host and self._hosts[host] >= most:
            return "address", f"per-address connection limit ({most}) reached"
        return "", ""

    def _leave_host(self, host: str) -> None:
        assert self._lock.locked()
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]
