"""Whatever comes where a PROXY header is due: a client, or a refusal, and the same however it is cut."""

from __future__ import annotations

import itertools
import socket
import struct
from typing import TYPE_CHECKING

from hypothesis import event, example, given
from hypothesis import strategies as st

from framelet_server.layers.proxy_header import ProxyHeader
from framelet_server.net.peer import Peer, peer_of
from framelet_server.net.transport import LayerError

if TYPE_CHECKING:
    import ipaddress

RELAY = peer_of(socket.AF_INET, ("127.0.0.1", 40000))
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MOST = 16 + 4096

octets = st.binary(max_size=300)
lines = st.builds(
    lambda fields, end: b"PROXY " + b" ".join(fields) + end,
    st.lists(
        st.sampled_from([b"TCP4", b"TCP6", b"UNKNOWN", b"1.2.3.4", b"::1", b"1.2.3.256", b"", b"0", b"65536"])
        | st.binary(max_size=8),
        max_size=7,
    ),
    st.sampled_from([b"\r\n", b"\n", b""]),
)
fields = st.builds(
    lambda command, family, data, lie: (
        SIGNATURE + struct.pack("!BBH", command, family, max(0, len(data) + lie)) + data
    ),
    st.sampled_from([0x20, 0x21, 0x21, 0x21]) | st.integers(0, 255),
    st.sampled_from([0x00, 0x11, 0x21, 0x31]) | st.integers(0, 255),
    st.binary(max_size=40) | st.binary(min_size=210, max_size=230),
    st.just(0) | st.integers(-40, 5000),
)
addresses = st.ip_addresses(v=4).flatmap(lambda ip: st.tuples(st.just(ip), st.ip_addresses(v=4))) | (
    st.ip_addresses(v=6).flatmap(lambda ip: st.tuples(st.just(ip), st.ip_addresses(v=6)))
)
ports = st.tuples(st.integers(0, 65535), st.integers(0, 65535))


def outcome(pieces: list[bytes]) -> tuple[str | Peer | None, bytes]:
    """The reason for a refusal, or the client as far as it is known, and what came behind its header."""
    layer = ProxyHeader(RELAY)
    rest = b""
    try:
        for piece in pieces:
            rest += layer.receive(piece)
            assert len(layer._buffer) <= MOST
    except LayerError as error:
        return str(error), b""
    return layer.identify(RELAY) if layer.established else None, rest


@given(start=octets | lines | fields, behind=octets, cuts=st.sets(st.integers(0, 600)))
@example(start=b"", behind=b"", cuts=set())
def test_nothing_but_a_layer_error_comes_of_any_octets_and_cuts_do_not_matter(
    start: bytes, behind: bytes, cuts: set[int]
) -> None:
    data = start + behind
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[left:right] for left, right in itertools.pairwise(edges)]
    found = outcome([data])
    event(found[0] if isinstance(found[0], str) else type(found[0]).__name__)
    assert outcome(pieces) == found
    if isinstance(found[0], Peer):
        assert data.endswith(found[1])
        assert not found[0].local
        assert found[0].name.isprintable()


@given(addresses=addresses, ports=ports, behind=octets, version=st.sampled_from([1, 2]), extension=octets)
def test_every_address_is_read_as_it_was_written(
    addresses: tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]
    | tuple[ipaddress.IPv6Address, ipaddress.IPv6Address],
    ports: tuple[int, int],
    behind: bytes,
    version: int,
    extension: bytes,
) -> None:
    (source, target), (port, other) = addresses, ports
    if version == 1:
        header = f"PROXY TCP{source.version} {source} {target} {port} {other}\r\n".encode()
    else:
        data = source.packed + target.packed + struct.pack("!HH", port, other) + extension
        family = 0x11 if source.version == 4 else 0x21
        header = SIGNATURE + struct.pack("!BBH", 0x21, family, len(data)) + data
    peer, rest = outcome([header, behind])
    assert isinstance(peer, Peer)
    name = f"[{source}]:{port}" if source.version == 6 else f"{source}:{port}"
    assert peer.name == f"{name} via {RELAY.name}"
    assert peer.ip == (getattr(source, "ipv4_mapped", None) or source)
    assert rest == behind
