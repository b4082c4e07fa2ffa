"""Who a client is: its name in the log, and what its address allows."""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any, NamedTuple

_SITE = 64
"""Leading bits of an IPv6 address that name one customer: addresses with the same count as one host."""


class Peer(NamedTuple):
    """The other end of a connection.

    ``name`` is for the log; ``host`` is what limits per address count by, empty for a unix socket; ``local``
    says that the address cannot be another machine's; ``roles`` are those of a verified certificate; ``ip``
    is the whole address, None for a unix socket; ``relay`` marks a relay that speaks for itself, as in its
    health checks.
    """

    name: str
    host: str
    local: bool
    roles: frozenset[str] = frozenset()
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    relay: bool = False

    def with_roles(self, roles: Iterable[str]) -> Peer:
        """The same peer, with the roles of its certificate."""
        return self._replace(roles=frozenset(roles))


def peer_of(family: int, address: Any) -> Peer:  # noqa: ANN401 - socket addresses have a form per family
    """The peer at a socket address."""
    if family == socket.AF_UNIX:
        return Peer("unix", "", local=True)
    text, port = address[:2]
    name = f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
    ip, host, local = _known(text)
    return Peer(name, host, local, ip=ip)


def is_local(family: int, address: Any) -> bool:  # noqa: ANN401 - socket addresses have a form per family
    """Whether a socket address cannot be reached from, or come from, another machine."""
    return family == socket.AF_UNIX or _ip(address[0]).is_loopback


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(text.partition("%")[0])
    return getattr(ip, "ipv4_mapped", None) or ip


@functools.lru_cache(1024)
def _known(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, str, bool]:
    """The address, the host, and whether it is this machine's.

    Kept, as parsing takes time and many clients come from the same address.
    """
    ip = _ip(text)
    return ip, _host(ip), ip.is_loopback


def _host(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int = _SITE) -> str:
    """What limits per address count by: an IPv4 address, or the network of an IPv6 address."""
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ipaddress.IPv6Network((ip, bits), strict=False))
