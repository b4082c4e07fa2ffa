"""PROXY headers: every form of both versions, whole and cut at each octet, and what is none of them."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from tests.each import each

from framelet import ConfigurationError
from framelet_server import ProxyPolicy
from framelet_server.layers.proxy_header import ProxyHeader
from framelet_server.net.peer import Peer, peer_of
from framelet_server.net.transport import LayerError

RELAY = peer_of(socket.AF_INET, ("127.0.0.1", 40000))
ITSELF = Peer("127.0.0.1:40000", "127.0.0.1", local=False, ip=RELAY.ip, relay=True)
BEHIND = b"\x01\0\0\0\x03abc\r\nPROXY "
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_2(command: int, family: int, data: bytes = b"", *, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(data) if length is None else length) + data


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def crc32c(data: bytes) -> int:
    crc = 0xFFFF_FFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return crc ^ 0xFFFF_FFFF


def with_checksum(before: bytes, behind: bytes) -> bytes:
    """A header with its CRC in the middle of other extensions, as HAProxy writes it."""
    blank = version_2(0x21, 0x11, TCP4 + before + tlv(3, bytes(4)) + behind)
    return blank.replace(tlv(3, bytes(4)), tlv(3, struct.pack("!I", crc32c(blank))))


def packed(family: int, *hosts: str, ports: tuple[int, int] = (5555, 443)) -> bytes:
    return b"".join(socket.inet_pton(family, host) for host in hosts) + struct.pack("!HH", *ports)


TCP4 = packed(socket.AF_INET, "203.0.113.7", "198.51.100.1")
TCP6 = packed(socket.AF_INET6, "2001:db8:1:2::7", "2001:db8::1")
UNIX = b"/tmp/\xc3\xa9\n".ljust(108, b"\0") + b"/run/s".ljust(108, b"\0")
EXTENSIONS = tlv(1, b"framelet/1") + tlv(4, b"") + tlv(0x20, b"\x01\0\0\0\0" + tlv(0x21, b"TLSv1.3"))

HEADERS: dict[str, tuple[bytes, str, str]] = {
    # the header, the client's name in the log, what limits per address count by
    "1 TCP4": (b"PROXY TCP4 203.0.113.7 198.51.100.1 5555 443\r\n", "203.0.113.7:5555", "203.0.113.7"),
    "1 TCP6": (b"PROXY TCP6 2001:DB8:1:2::7 ::1 5555 443\r\n", "[2001:db8:1:2::7]:5555", "2001:db8:1:2::/64"),
    "1 mapped": (
        b"PROXY TCP6 ::ffff:203.0.113.7 ::1 0 65535\r\n",
        f"[{ipaddress.ip_address('::ffff:203.0.113.7')}]:0",  # as this version of Python writes it
        "203.0.113.7",
    ),
    "1 longest": (
        b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
        f"[{'ffff:' * 7}ffff]:65535",
        "ffff:ffff:ffff:ffff::/64",
    ),
    "2 TCP4": (version_2(0x21, 0x11, TCP4), "203.0.113.7:5555", "203.0.113.7"),
    "2 TCP6": (version_2(0x21, 0x21, TCP6), "[2001:db8:1:2::7]:5555", "2001:db8:1:2::/64"),
    "2 unix": (version_2(0x21, 0x31, UNIX), "unix", ""),
    "2 extensions": (version_2(0x21, 0x11, TCP4 + EXTENSIONS), "203.0.113.7:5555", "203.0.113.7"),
    "2 checksum": (with_checksum(b"", tlv(1, b"framelet/1")), "203.0.113.7:5555", "203.0.113.7"),
    "2 checksum of other octets": (
        version_2(0x21, 0x11, TCP4 + tlv(3, b"abcd")),
        "203.0.113.7:5555",
        "203.0.113.7",
    ),
    "2 checksum that is none": (
        version_2(0x21, 0x11, TCP4 + tlv(3, b"ab")),
        "203.0.113.7:5555",
        "203.0.113.7",
    ),
    "2 largest": (version_2(0x21, 0x11, TCP4.ljust(4096, b"\xff")), "203.0.113.7:5555", "203.0.113.7"),
}

OWN: dict[str, bytes] = {
    "1 unknown": b"PROXY UNKNOWN\r\n",
    "1 unknown with addresses": b"PROXY UNKNOWN 203.0.113.7 198.51.100.1 5555 443\r\n",
    "1 unknown with anything": b"PROXY UNKNOWN \xff\n\0\r \r\n",
    "1 unknown, longest": b"PROXY UNKNOWN ".ljust(105, b"f") + b"\r\n",
    "2 local": version_2(0x20, 0x00),
    "2 local with addresses": version_2(0x20, 0x11, TCP4),
    "2 local of an unassigned family": version_2(0x20, 0xFF, b"\x03\0\x02ab"),
    "2 unspecified": version_2(0x21, 0x00),
    "2 unspecified with extensions": version_2(0x21, 0x00, EXTENSIONS),
}

MALFORMED, TOO_LONG, UNKNOWN = "malformed", "longer than", "unknown version"
NO_HEADER = "did not begin with a PROXY header"
REFUSED: dict[str, tuple[bytes, str]] = {
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", NO_HEADER),
    "TLS": (b"\x16\x03\x01", NO_HEADER),
    "a frame": (b"\x01\0\0\0\x03abc", NO_HEADER),
    "lower case": (b"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n", NO_HEADER),
    "half of each": (b"PRO\r\n", NO_HEADER),
    "1 of no family": (b"PROXY \r\n", MALFORMED),
    "1 of another family": (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n", MALFORMED),
    "1 of almost no family": (b"PROXY UNKNOWNS\r\n", MALFORMED),
    "1 with few fields": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", MALFORMED),
    "1 with many fields": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n", MALFORMED),
    "1 with a space too many": (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n", MALFORMED),
    "1 with a family that lies": (b"PROXY TCP4 ::1 ::1 1 1\r\n", MALFORMED),
    "1 with leading zeros": (b"PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n", MALFORMED),
    "1 with a port too high": (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n", MALFORMED),
    "1 with a port that Python takes": (b"PROXY TCP4 1.2.3.4 1.2.3.4 +8_0 1\r\n", MALFORMED),
    "1 with a port of leading zeros": (b"PROXY TCP4 1.2.3.4 1.2.3.4 080 1\r\n", MALFORMED),
    "1 with a zone": (b"PROXY TCP6 fe80::1%\x1b[31m fe80::1 1 1\r\n", MALFORMED),
    "1 with a line feed alone": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n" + b"x" * 90, TOO_LONG),
    "1 that does not end": (b"PROXY UNKNOWN " + b"f" * 93, TOO_LONG),
    "1 that ends an octet too late": (b"PROXY UNKNOWN ".ljust(106, b"f") + b"\r\n", TOO_LONG),
    "2 of version 1": (version_2(0x11, 0x11, TCP4), UNKNOWN),
    "2 of another command": (version_2(0x22, 0x11, TCP4), UNKNOWN),
    "2 of a datagram": (version_2(0x21, 0x12, TCP4), MALFORMED),
    "2 of no transport": (version_2(0x21, 0x10, TCP4), MALFORMED),
    "2 of an unassigned family": (version_2(0x21, 0x41, TCP4), MALFORMED),
    "2 of half an address": (version_2(0x21, 0x11, TCP4[:-1]), MALFORMED),
    "2 with the addresses of another family": (version_2(0x21, 0x21, TCP4), MALFORMED),
    "2 with half a path": (version_2(0x21, 0x31, UNIX[:-1]), MALFORMED),
    "2 an octet too long": (version_2(0x21, 0x11, length=4097), TOO_LONG),
    "2 that claims all": (version_2(0x20, 0x00, length=65535), TOO_LONG),
}


def receive(*pieces: bytes) -> tuple[ProxyHeader, bytes]:
    layer = ProxyHeader(RELAY)
    return layer, b"".join(map(layer.receive, pieces))


@each("header name host", HEADERS.values())
def test_a_header_names_the_client(header: bytes, name: str, host: str) -> None:
    layer, rest = receive(header + BEHIND)
    peer = layer.identify(RELAY)
    assert (peer.name, peer.host, peer.local) == (f"{name} via 127.0.0.1:40000", host, False)
    assert not peer.relay
    assert rest == BEHIND


@pytest.mark.parametrize("header", OWN.values(), ids=OWN)
def test_a_relay_that_speaks_for_itself_is_a_client_without_rights(header: bytes) -> None:
    layer, rest = receive(header + BEHIND)
    assert layer.identify(RELAY) == ITSELF
    assert rest == BEHIND


@each("header", [header for header, *_ in HEADERS.values()] + [*OWN.values()])
def test_a_header_may_come_in_any_pieces(header: bytes) -> None:
    whole, _ = receive(header)
    for cut in range(len(header) + 1):
        layer, rest = receive(header[:cut], header[cut:] + BEHIND)
        assert (layer.identify(RELAY), rest) == (whole.identify(RELAY), BEHIND)
    layer = ProxyHeader(RELAY)
    for octet in header[:-1]:
        assert layer.receive(bytes([octet])) == b""
        assert not layer.established
    assert layer.receive(header[-1:]) == b""
    assert layer.established
    assert layer.receive(BEHIND) == BEHIND


@each("start reason", REFUSED.values())
def test_what_is_no_header_is_refused_for_the_same_reason_however_it_is_cut(
    start: bytes, reason: str
) -> None:
    for cut in range(len(start) + 1):
        with pytest.raises(LayerError, match=reason):
            receive(start[:cut], start[cut:])
    with pytest.raises(LayerError, match=reason):
        receive(*(bytes([octet]) for octet in start))


@pytest.mark.parametrize(
    ("start", "enough"),
    [(b"GET / HTTP/1.1\r\n", 1), (b"PROXIED", 5), (version_2(0x21, 0x11, length=65535), 16)],
)
def test_what_can_be_no_header_is_refused_at_the_first_octet_that_shows_it(start: bytes, enough: int) -> None:
    layer, _ = receive(start[: enough - 1])
    with pytest.raises(LayerError):
        layer.receive(start[enough - 1 : enough])


def test_a_header_is_silent_and_knows_nobody_before_it_is_whole() -> None:
    layer = ProxyHeader(RELAY)
    assert layer.identify(RELAY) == RELAY
    assert layer.relay == Peer("127.0.0.1:40000", "", local=False, ip=RELAY.ip, relay=True)
    assert layer.send([b"a", b"b"]) == [b"a", b"b"]
    assert layer.end() == b""
    assert not layer.ended


def test_the_client_stays_who_it_is_when_it_is_asked_for_again() -> None:
    layer, _ = receive(b"PROXY TCP4 203.0.113.7 198.51.100.1 5555 443\r\n")
    once = layer.identify(RELAY)
    assert layer.identify(once) == once


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.req("REQ-STOP-1")
def test_no_client_of_a_relay_is_local(host: str) -> None:
    family = "TCP6" if ":" in host else "TCP4"
    layer, _ = receive(f"PROXY {family} {host} {host} 1 1\r\n".encode())
    assert layer.identify(RELAY).local is False


# Who may send a header.


@pytest.mark.parametrize(
    ("family", "address", "sources"),
    [
        (socket.AF_INET, ("127.0.0.1", 1), ["127.0.0.1"]),
        (socket.AF_INET, ("10.1.2.3", 1), ["unix", "::1", "10.0.0.0/8"]),
        (socket.AF_INET6, ("::1", 1, 0, 0), ["::1"]),
        (socket.AF_INET6, ("::ffff:10.1.2.3", 1, 0, 0), ["10.0.0.0/8"]),
        (socket.AF_INET6, ("fe80::1%lo", 1, 0, 1), ["fe80::/10"]),
        (socket.AF_INET6, ("2001:db8::1", 1, 0, 0), ["::/0"]),
        (socket.AF_UNIX, "", ["unix"]),
    ],
)
def test_a_relay_on_the_list_may(family: int, address: object, sources: list[str]) -> None:
    assert not ProxyPolicy(sources).expect(peer_of(family, address)).established


@pytest.mark.parametrize(
    ("family", "address", "sources"),
    [
        (socket.AF_INET, ("127.0.0.2", 1), ["127.0.0.1"]),
        (socket.AF_INET, ("127.0.0.1", 1), ["unix", "::/0"]),
        (socket.AF_INET6, ("2001:db8::2", 1, 0, 0), ["2001:db8::1"]),  # of the same network of 64 bits
        (socket.AF_UNIX, "", ["0.0.0.0/0", "::/0"]),
    ],
)
def test_nobody_else_may(family: int, address: object, sources: list[str]) -> None:
    with pytest.raises(LayerError, match="not accepted from there"):
        ProxyPolicy(sources).expect(peer_of(family, address))


@pytest.mark.parametrize("source", ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "1.2.3", "UNIX", "::g"])
def test_a_source_that_is_none_is_named(source: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot accept PROXY headers from") as caught:
        ProxyPolicy(["::1", source])
    assert repr(source) in str(caught.value)


def test_a_policy_of_no_sources_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="no sources"):
        ProxyPolicy([])
