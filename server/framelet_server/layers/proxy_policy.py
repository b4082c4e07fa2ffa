"""Who may send PROXY headers to a server: relays such as HAProxy, nginx or stunnel in front of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from framelet import ConfigurationError
from framelet_server.net.peer import Peer
from framelet_server.net.transport import LayerError

from .proxy_header import ProxyHeader


class ProxyPolicy:
    """The relays that may connect; each has to name its client in a PROXY header.

    The header is never guessed at: with a policy every connection begins with one, of version 1 or 2.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        """``sources`` are addresses, networks such as ``10.0.0.0/8``, or ``unix`` for unix sockets.

        Raises ConfigurationError for anything else, and for none.
        """
        named = list(sources)
        self._unix = "unix" in named
        self._networks = [_network(source) for source in named if source != "unix"]
        if not named:
            raise ConfigurationError("no sources of PROXY headers are given: expected networks, or 'unix'")

    def expect(self, peer: Peer) -> ProxyHeader:
        """The layer for a new connection; raises LayerError where its peer may not send the header."""
        if not self._trusts(peer):
            raise LayerError("PROXY headers are not accepted from there")
        return ProxyHeader(peer)

    def _trusts(self, peer: Peer) -> bool:
        if peer.ip is None:
            return self._unix
        return any(peer.ip in network for network in self._networks)


def _network(source: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(source)
    except ValueError as error:
        message = (
            f"cannot accept PROXY headers from {source!r}: {error}; "
            "expected an address, a network such as 10.0.0.0/8, or unix"
        )
        raise ConfigurationError(message) from None
