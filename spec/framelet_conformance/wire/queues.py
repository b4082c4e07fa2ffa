"""What the peer's system knows of a connection, as Linux shows it for sockets of this machine (sock_diag)."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import NamedTuple

_NETLINK, _SOCK_DIAG, _BY_FAMILY, _REQUEST, _INFO = 16, 4, 20, 1, 2
_HEADER = "=IHHII"  # length, type, flags, sequence, port
_ASKED = "=BBBBI"  # family, protocol, what more to show, none, states
_ANY = struct.pack("=IQ", 0, 0xFFFF_FFFF_FFFF_FFFF)  # interface, cookie
_QUEUES, _MORE = 16 + 56, 16 + 72  # where they begin in an answer
_ACKED = 120  # where the octets that were confirmed stand in ``tcp_info``
_OPEN = {1, 8}  # established, and where only the other side has sent FIN


class PeerQueues(NamedTuple):
    """The peer's socket.

    ``given`` are all octets that the peer's program has given to its system, ``unread`` those that have come
    to the system and that the program has not read; ``open`` says whether the peer has not ended its side.
    """

    given: int
    unread: int
    open: bool


def queues_of_peer(sock: socket.socket) -> PeerQueues | None:
    """What the system shows of the other end of a connection; None where it shows nothing.

    So it is where that is on another machine, or gone, or no socket of TCP, and where this is not Linux.
    """
    if sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    with contextlib.suppress(OSError, struct.error):
        (there, its), (here, our) = sock.getpeername()[:2], sock.getsockname()[:2]
        hosts = b"".join(socket.inet_pton(sock.family, host).ljust(16, b"\0") for host in (there, here))
        asked = struct.pack(_ASKED, sock.family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0, 0xFFFF_FFFF)
        asked += struct.pack("!HH", its, our) + hosts + _ANY
        with socket.socket(_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as system:
            system.settimeout(1.0)
            system.send(struct.pack(_HEADER, 16 + len(asked), _BY_FAMILY, _REQUEST, 0, 0) + asked)
            answer = system.recv(1 << 13)
        if struct.unpack_from(_HEADER, answer)[1] == _BY_FAMILY:
            unread, unsent = struct.unpack_from("=II", answer, _QUEUES)
            return PeerQueues(_acked(answer) + unsent, unread, answer[17] in _OPEN)
    return None


def _acked(answer: bytes) -> int:
    """The octets that were confirmed; raises struct.error where the system does not say."""
    place = _MORE
    size, kind = struct.unpack_from("=HH", answer, place)
    while kind != _INFO:
        place += max(4, -(-size // 4) * 4)
        size, kind = struct.unpack_from("=HH", answer, place)
    found: int = struct.unpack_from("=Q", answer, place + 4 + _ACKED)[0]
    return found
