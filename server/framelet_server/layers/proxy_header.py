"""The PROXY header, versions 1 and 2: what a relay says in front of the frames about who its client is.

The form is that of HAProxy's document proxy-protocol.txt.  Extensions (TLV) are skipped, the CRC among them.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from typing import TYPE_CHECKING, Any

from framelet_server.net.peer import Peer, peer_of
from framelet_server.net.transport import LayerError

if TYPE_CHECKING:
    Source = tuple[int, Any]
    """The family and the socket address of a client."""

_LINE_START = b"PROXY "
_LINE_MOST = 107
"""Octets of the longest header of version 1, with its CR LF."""

_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: .*)?"
    rb"|(TCP[46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n",
    re.DOTALL,
)
_PORT_MOST = 65_535

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = 16
"""Octets of version 2 in front of the addresses."""

_ADDRESSES_MOST = 4_096
"""Octets of addresses and extensions accepted in version 2: more than relays send, and little to hold."""

_LOCAL, _PROXY = 0x20, 0x21
"""Version and command: the relay speaks for itself, or for a client."""

_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_ADDRESSES = {
    _UNSPECIFIED: struct.Struct(""),
    _TCP4: struct.Struct("!4s4sHH"),
    _TCP6: struct.Struct("!16s16sHH"),
    _UNIX: struct.Struct("108s108s"),
}
"""For each family and transport of a stream: the client's address, the relay's, and their ports if any."""


class ProxyHeader:
    """Takes one header off the front of a connection: a layer."""

    __slots__ = ("_buffer", "_peer", "_sender", "relay")

    def __init__(self, sender: Peer) -> None:
        """Expect a header from a peer."""
        # Limits per address are for clients.  And no client is local, not even one that the relay knows by a
        # loopback address: another relay in front of it may have made it look so.
        self.relay: Peer = sender._replace(host="", local=False, relay=True)
        self._buffer = bytearray()
        self._peer: Peer | None = None
        self._sender = sender

    @property
    def established(self) -> bool:
        """Whether the header has come."""
        return self._peer is not None

    @property
    def ended(self) -> bool:
        """Never: the header says nothing about the end."""
        return False

    def receive(self, data: bytes) -> bytes:
        """Take octets in, and return those after the header; raises LayerError for a malformed one."""
        if self._peer is not None:
            return data
        self._buffer += data
        size = _size(self._buffer)
        if not 0 < size <= len(self._buffer):
            return b""
        header, rest = bytes(self._buffer[:size]), bytes(self._buffer[size:])
        self._peer = self._client(_source(header))
        self._buffer.clear()
        return rest

    def send(self, pieces: list[bytes]) -> list[bytes]:
        """Nothing is said in return."""
        return pieces

    def end(self) -> bytes:
        """Nothing is written after the last octet."""
        return b""

    def identify(self, peer: Peer) -> Peer:
        """The client that the header names; the relay itself where it names none."""
        return self._peer or peer

    def _client(self, source: Source | None) -> Peer:
        if source is None:
            return self.relay._replace(host=self._sender.host)
        client = peer_of(*source)
        return client._replace(name=f"{client.name} via {self._sender.name}", local=False)


def _size(start: bytearray) -> int:
    """Octets of the header that begins so, or 0 where that cannot be told yet; raises LayerError."""
    if start[: len(_LINE_START)] == _LINE_START[: len(start)]:
        end = start.find(b"\r\n", 0, _LINE_MOST)
        if end >= 0:
            return end + 2
        if len(start) >= _LINE_MOST:
            raise _too_long(_LINE_MOST)
        return 0
    if start[: len(_SIGNATURE)] != _SIGNATURE[: len(start)]:
        raise LayerError("it did not begin with a PROXY header")
    if len(start) < _FIXED:
        return 0
    command, family, length = start[12], start[13], int.from_bytes(start[14:_FIXED])
    if command not in (_LOCAL, _PROXY):
        raise LayerError("its PROXY header has an unknown version or command")
    if length > _ADDRESSES_MOST:
        raise _too_long(_FIXED + _ADDRESSES_MOST)
    if command == _PROXY and (family not in _ADDRESSES or length < _ADDRESSES[family].size):
        raise _malformed()
    return _FIXED + length


def _too_long(most: int) -> LayerError:
    return LayerError(f"its PROXY header is longer than {most} octets")


def _malformed() -> LayerError:
    return LayerError("its PROXY header is malformed")


def _source(header: bytes) -> Source | None:
    """The client that a header names, of which ``_size`` has found the size; raises LayerError.

    None stands for a connection of the relay's own, as for its health checks, and for an unknown client.
    """
    if header.startswith(_LINE_START):
        return _read_line(header)
    command, family = header[12], header[13]
    if command == _LOCAL or family == _UNSPECIFIED:
        return None
    if family == _UNIX:
        return socket.AF_UNIX, ""  # a path says nothing about who it is
    host, _, port, _ = _ADDRESSES[family].unpack_from(header, _FIXED)
    ip = ipaddress.ip_address(host)
    return socket.AF_INET if family == _TCP4 else socket.AF_INET6, (str(ip), port)


def _read_line(header: bytes) -> Source | None:
    line = _LINE.fullmatch(header)
    if line is None:
        raise _malformed()
    protocol, *fields = line.groups()
    if protocol is None:
        return None
    family, kind = (
        (socket.AF_INET, ipaddress.IPv4Address)
        if protocol == b"TCP4"
        else (socket.AF_INET6, ipaddress.IPv6Address)
    )
    try:
        host, _ = (kind(text.decode()) for text in fields[:2])
    except ValueError:
        raise _malformed() from None
    port, other = map(int, fields[2:])
    if max(port, other) > _PORT_MOST:
        raise _malformed()
    return family, (str(host), port)
