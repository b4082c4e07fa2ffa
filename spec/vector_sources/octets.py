"""Vectors on the type octet: all 256 of them (section 5)."""

from __future__ import annotations

from .build import (
    DEFAULT_MAX,
    HELLO,
    PONG,
    REPLY,
    STOP,
    STOPPED,
    answer,
    error,
    frame,
    header,
    hello,
    ping,
    pong,
    raw,
    reply,
    request,
    server,
)

NO_HANDLER = {"application": "none"}

NEVER = (0x00, 0x16, 0x47, 0x50, 0x53)
CRITICAL = [octet for octet in range(0x09, 0x80) if octet not in NEVER]
IGNORABLE, APPLICATION = range(0x80, 0xC0), range(0xC0, 0x100)

TYPES = [
    server("types-01", "REQUEST", "REQ-ORDER-1 REQ-ORDER-5", [request("ab")], [reply("ba")]),
    *(
        server(
            f"types-{octet:02x}",
            f"{name} is for clients only to receive",
            "REQ-TYPE-2 REQ-STATE-1",
            [frame(octet, body)],
            [error(502)],
            closed=True,
        )
        for octet, name, body in (
            (REPLY, "REPLY", "ab"),
            (STOPPED, "STOPPED", "closed=0 cut=0"),
            (PONG, "PONG", "ab"),
        )
    ),
    server(
        "types-03",
        "STOP",
        "REQ-ORDER-1 REQ-ORDER-5 REQ-STOP-3",
        [frame(STOP)],
        [error(403)],
        needs={"stop": "off"},
    ),
    server("types-05", "ERROR: no answer", "REQ-ERROR-9 REQ-STATE-1", [frame(5, "500 no")], [], closed=True),
    server("types-06", "PING", "REQ-ORDER-1 REQ-ORDER-5", [ping(b"ab")], [pong(b"ab")]),
    server(
        "types-08",
        "HELLO",
        "REQ-ORDER-1 REQ-ORDER-5 REQ-HELLO-1",
        [frame(HELLO, "framelet/1 of=types")],
        [hello()],
        needs={"max_body": DEFAULT_MAX},
    ),
    *(
        server(
            f"types-{octet:02x}",
            f"type {octet:02X} is never assigned",
            "REQ-TYPE-1 REQ-STATE-1",
            [frame(octet)],
            [error(501)],
            closed=True,
            valid=False,
        )
        for octet in NEVER
    ),
    *(
        server(
            f"types-{octet:02x}",
            f"type {octet:02X} is critical and unassigned",
            "REQ-TYPE-1 REQ-STATE-1",
            [frame(octet)],
            [error(501)],
            closed=True,
            valid=False,
        )
        for octet in CRITICAL
    ),
    *(
        server(
            f"types-{octet:02x}",
            f"type {octet:02X} is ignorable",
            "REQ-TYPE-3 REQ-STATE-1",
            [frame(octet, b"x")],
            [],
        )
        for octet in (0x80, 0x81, 0xBE, 0xBF)
    ),
    server(
        "types-ignorable-all",
        "every ignorable type in one stream",
        "REQ-TYPE-3 REQ-STATE-1",
        [*(frame(octet, octet.to_bytes(1, "big")) for octet in IGNORABLE), ping(b"next")],
        [pong(b"next")],
    ),
    *(
        server(
            f"types-{octet:02x}",
            f"application type {octet:02X} without a handler",
            "REQ-TYPE-6",
            [frame(octet, b"x"), ping(b"next")],
            [error(404), pong(b"next")],
            needs=NO_HANDLER,
        )
        for octet in (0xC0, 0xC1, 0xFE, 0xFF)
    ),
    server(
        "types-application-all",
        "every application type without a handler",
        "REQ-TYPE-6 REQ-ORDER-1 REQ-STATE-1",
        [frame(octet) for octet in APPLICATION],
        [error(404, times=64)],
        needs=NO_HANDLER,
    ),
    *(
        server(
            f"types-{octet:02x}-served",
            f"application type {octet:02X} is answered with its own type",
            "REQ-TYPE-5",
            [frame(octet, "ab")],
            [answer(octet, "ba")],
            needs={"application": "reverse"},
        )
        for octet in (0xC0, 0xC1, 0xFE, 0xFF)
    ),
    server(
        "types-application-all-served",
        "every application type, each answered with its own",
        "REQ-TYPE-5 REQ-ORDER-2",
        [frame(octet, "ab") for octet in APPLICATION],
        [answer(octet, "ba") for octet in APPLICATION],
        needs={"application": "reverse"},
    ),
    *(
        server(
            f"types-first-octets-{name.lower()}",
            f"{name} by mistake",
            "REQ-TYPE-1",
            [raw(octets)],
            [error(501)],
            closed=True,
            valid=False,
        )
        for name, octets in (
            ("HTTP-GET", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            ("HTTP-POST", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n\x03\0\0\0\0"),
            ("HTTP-PUT", b"PUT / HTTP/1.1\r\n\r\n"),
            ("HTTP-2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            ("SSH", b"SSH-2.0-client\r\n"),
            ("TLS", bytes.fromhex("16 0301 0005 0100000103")),
        )
    ),
    *(
        server(
            f"types-refused-at-header-{octet:02x}",
            f"type {octet:02X} is refused at its header, although no octet of its body came",
            requirement,
            [header(octet, 5)],
            [error(code)],
            closed=True,
            valid=False,
        )
        for octet, requirement, code in (
            (0x00, "REQ-TYPE-1", 501),
            (0x09, "REQ-TYPE-1", 501),
            (0x16, "REQ-TYPE-1", 501),
            (0x7F, "REQ-TYPE-1", 501),
            (REPLY, "REQ-TYPE-2", 502),
            (STOPPED, "REQ-TYPE-2", 502),
            (PONG, "REQ-TYPE-2", 502),
        )
    ),
]

TOPICS = {"types": TYPES}
