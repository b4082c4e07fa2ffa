"""The first octets of other protocols, sent here by mistake or by malice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet_conformance.expectations import error
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.wire.frames import frame

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_TLS_HELLO = bytes.fromhex(
    "1603010075010000710303000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0006130113021303"
    "01000022002b0003020304000d0006000404030804000a00040002001d0033000200000000"
)
_SMUGGLED = frame(3) + frame(1, "smuggled") + frame(6, "smuggled")
FIRST_OCTETS = {
    "tls": _TLS_HELLO,
    "http-get": b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "http-head": b"HEAD / HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "http-post": b"POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(_SMUGGLED), _SMUGGLED),
    "http-put": b"PUT /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(_SMUGGLED), _SMUGGLED),
    "http-options": b"OPTIONS * HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "http-delete": b"DELETE /x HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "http-connect": b"CONNECT example.test:443 HTTP/1.1\r\n\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "smtp": b"EHLO example.test\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "memcached": b"get key\r\n",
    "socks-4-none": b"\x00\x5a\x00\x00\x00\x00\x00\x00",
    "json": b'{"jsonrpc":"2.0","method":"x","id":1}\n',
    "proxy": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
    "proxy-2": b"\x0d\x0a\x0d\x0a\x00\x0d\x0aQUIT\x0a",
    "newline": b"\n\n\n\n\n\n",
    "zeros": bytes(64),
}


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(
            octets,
            marks=case(
                f"foreign.{name}",
                f"the first octets of {name} are refused at the header, and nothing in them is acted on",
                "REQ-TYPE-1",
                "REQ-ERROR-7",
                "REQ-ERROR-6",
            ),
        )
        for name, octets in FIRST_OCTETS.items()
    ],
)
def case_foreign(play: Play, octets: bytes) -> None:
    """Whole, and its header alone."""
    for sent in (octets, octets[:5]):
        with play.dial() as conversation:
            conversation.send(sent)
            judge(conversation, [error(501)], "closed", play=play)
