"""Vectors on order, PING and extension (sections 6, 8 and 16)."""

from __future__ import annotations

from .build import (
    DEFAULT_MAX,
    HELLO,
    SMALL_MAX,
    STOP,
    Run,
    answer,
    error,
    frame,
    hello,
    ping,
    pong,
    raw,
    reply,
    request,
    server,
)

DEFAULT, SMALL = {"max_body": DEFAULT_MAX}, {"max_body": SMALL_MAX}
NO_HANDLER, SERVED = {"application": "none"}, {"application": "reverse"}
LOCAL, OFF, TOKEN = {"stop": "local"}, {"stop": "off"}, {"stop": "token:secret"}

PIPELINED = "REQ-ORDER-1 REQ-ORDER-2 REQ-ORDER-4"

ORDER = [
    server(
        "order-requests",
        "three requests at once",
        PIPELINED,
        [request("ab"), request("cd"), request("ef")],
        [reply("ba"), reply("dc"), reply("fe")],
    ),
    server(
        "order-ping-first",
        "a PING does not overtake, nor is it overtaken",
        PIPELINED,
        [ping(b"1"), request("ab"), ping(b"2"), ping(b"3"), request("cd")],
        [pong(b"1"), reply("ba"), pong(b"2"), pong(b"3"), reply("dc")],
    ),
    server(
        "order-long-then-short",
        "a long request does not let a short one pass",
        PIPELINED,
        [request(Run(b"ab", 30_000)), request("x"), ping(b"end")],
        [reply(Run(b"ba", 30_000)), reply("x"), pong(b"end")],
    ),
    server(
        "order-every-type",
        "every type that asks for an answer",
        PIPELINED,
        [request("ab"), frame(0xC5, "cd"), frame(HELLO, "framelet/1"), ping(b"1"), frame(STOP, "x")],
        [reply("ba"), error(404), hello(), pong(b"1"), error(403)],
        needs=DEFAULT | NO_HANDLER | OFF,
    ),
    server(
        "order-errors-in-place",
        "recoverable ERRORs stand in the places of their frames",
        f"{PIPELINED} REQ-ERROR-4",
        [
            request("ab"),
            request(b"\xff"),
            ping(b"p" * 65),
            frame(HELLO, "hello"),
            frame(HELLO, "framelet/2"),
            frame(0xC0),
            frame(STOP),
            request("cd"),
        ],
        [
            reply("ba"),
            error(400),
            error(413),
            error(422),
            error(426),
            error(404),
            error(403),
            reply("dc"),
        ],
        valid=False,
        needs=NO_HANDLER | OFF,
    ),
    server(
        "order-discarded-between",
        "an ignorable frame takes no place",
        f"{PIPELINED} REQ-TYPE-3",
        [request("ab"), frame(0x80, b"\xff"), frame(0xBF), request("cd")],
        [reply("ba"), reply("dc")],
    ),
    server(
        "order-same-body",
        "equal frames get an answer each",
        PIPELINED,
        [ping(b"x"), ping(b"x"), ping(b"x")],
        [answer(7, "x", times=3)],
    ),
    server(
        "order-application",
        "application frames keep their place",
        f"{PIPELINED} REQ-TYPE-5",
        [frame(0xC1, "ab"), request("cd"), frame(0xC0, "ef")],
        [answer(0xC1, "ba"), reply("dc"), answer(0xC0, "fe")],
        needs=SERVED,
    ),
    server(
        "order-deep",
        "ten thousand PINGs at once",
        PIPELINED,
        [raw(Run(b"\x06\0\0\0\x01x", 10_000))],
        [answer(7, "x", times=10_000)],
    ),
]

PINGS = [
    *(
        server(
            f"ping-{size}",
            f"a PING of {size} octets",
            "REQ-PING-1",
            [ping(b"p" * size)],
            [pong(b"p" * size)],
        )
        for size in (0, 1, 63, 64)
    ),
    server(
        "ping-64-wide",
        "64 octets are the bound, not 64 scalar values",
        "REQ-PING-1",
        [ping("😀".encode() * 16)],
        [pong("😀".encode() * 16)],
    ),
    *(
        server(
            f"ping-{size}",
            f"a PING of {size:,} octets is too long, and the connection goes on",
            "REQ-PING-2 REQ-ERROR-4",
            [ping(Run(b"p", size)), ping(b"next")],
            [error(413), pong(b"next")],
            valid=False,
        )
        for size in (65, 66, 128, 1_024, 65_536)
    ),
    server(
        "ping-65-wide",
        "17 scalar values of 68 octets are too long",
        "REQ-PING-2",
        [ping("😀".encode() * 17)],
        [error(413)],
        valid=False,
    ),
    server(
        "ping-65-nul",
        "a PING does not end at NUL",
        "REQ-PING-2",
        [ping(b"p\0" + b"x" * 63)],
        [error(413)],
        valid=False,
    ),
    server(
        "ping-not-reversed",
        "a PONG carries the body as it came",
        "REQ-PING-1",
        [ping(b"abc")],
        [pong(b"abc")],
    ),
    server(
        "ping-all-ascii",
        "control characters are echoed too",
        "REQ-PING-1 REQ-TEXT-4",
        [ping(bytes(range(64))), ping(bytes(range(64, 128)))],
        [pong(bytes(range(64))), pong(bytes(range(64, 128)))],
    ),
]

EXTENSION = [
    server(
        "extension-ignorable-first",
        "a stream that begins with an ignorable frame",
        "REQ-TYPE-3 REQ-ORDER-3",
        [frame(0x80), request("ab")],
        [reply("ba")],
    ),
    server(
        "extension-ignorable-only",
        "nothing but ignorable frames: no answer at all",
        "REQ-TYPE-3 REQ-ORDER-3",
        [raw(Run(b"\xa0\0\0\0\x01x", 1000))],
        [],
    ),
    server(
        "extension-ignorable-eof",
        "an ignorable frame, then the end of the stream",
        "REQ-TYPE-3 REQ-CLOSE-1",
        [frame(0xBF, b"\xfe")],
        [],
        eof=True,
    ),
    server(
        "extension-ignorable-looks-like-frames",
        "the body of a discarded frame is not searched for frames",
        "REQ-TYPE-3 REQ-FRAME-4",
        [frame(0x81, b"\x06\0\0\0\x01!" * 3), ping(b"next")],
        [pong(b"next")],
    ),
    server(
        "extension-ignorable-inside-hello",
        "ignorable frames around a HELLO",
        "REQ-TYPE-3 REQ-HELLO-1",
        [frame(0x90), frame(HELLO, "framelet/1"), frame(0x91)],
        [hello()],
        needs=DEFAULT,
    ),
    server(
        "extension-application-empty",
        "an empty application frame without a handler",
        "REQ-TYPE-6",
        [frame(0xC0)],
        [error(404)],
        needs=NO_HANDLER,
    ),
    server(
        "extension-application-served-empty",
        "an empty application frame with a handler",
        "REQ-TYPE-5 REQ-FRAME-5",
        [frame(0xC0)],
        [answer(0xC0)],
        needs=SERVED,
    ),
    server(
        "extension-application-recoverable",
        "404 does not end the connection",
        "REQ-TYPE-6 REQ-ERROR-4",
        [frame(0xC0, "a"), frame(0xFF, "b"), request("cd")],
        [error(404, times=2), reply("dc")],
        needs=NO_HANDLER,
    ),
    server(
        "extension-critical-behind-answers",
        "an unassigned critical type ends the connection behind the answers owed",
        "REQ-TYPE-1 REQ-ERROR-5",
        [request("ab"), frame(0x80), ping(b"1"), frame(0x40)],
        [reply("ba"), pong(b"1"), error(501)],
        closed=True,
        valid=False,
    ),
]

TOPICS = {"order": ORDER, "ping": PINGS, "extension": EXTENSION}
