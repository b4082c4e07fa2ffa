"""Vectors on the frame itself: its layout and its size (sections 2 and 3)."""

from __future__ import annotations

from .build import (
    DEFAULT_MAX,
    HELLO,
    PING,
    REPLY,
    REQUEST,
    SMALL_MAX,
    STOP,
    Run,
    answer,
    error,
    frame,
    header,
    ping,
    pong,
    raw,
    reply,
    request,
    server,
)

SMALL = {"max_body": SMALL_MAX}
DEFAULT = {"max_body": DEFAULT_MAX}
NO_HANDLER = {"application": "none"}

LAYOUT = "REQ-FRAME-1 REQ-FRAME-2 REQ-FRAME-3 REQ-FRAME-4"

FRAMING = [
    server("framing-one", "one frame", LAYOUT, [request("hello")], [reply("olleh")]),
    server("framing-one-octet", "a body of one octet", LAYOUT, [request("x")], [reply("x")]),
    server(
        "framing-empty",
        "an empty body, and a full one behind",
        "REQ-FRAME-5 REQ-REV-2",
        [request(), request("ab")],
        [reply(), reply("ba")],
    ),
    server(
        "framing-empty-row",
        "a thousand empty frames on end: boundaries with nothing between the headers",
        "REQ-FRAME-4 REQ-FRAME-5 REQ-ORDER-1",
        [raw(Run(b"\x01\0\0\0\0", 1000))],
        [answer(REPLY, times=1000)],
    ),
    server(
        "framing-row",
        "a thousand small frames on end",
        "REQ-FRAME-4 REQ-ORDER-1 REQ-ORDER-2",
        [raw(Run(b"\x01\0\0\0\x02ab", 1000))],
        [answer(REPLY, "ba", times=1000)],
    ),
    server(
        "framing-length-256",
        "length 00000100: the third octet counts 256",
        "REQ-FRAME-2",
        [request(Run(b"a", 256))],
        [reply(Run(b"a", 256))],
    ),
    server(
        "framing-length-258",
        "length 00000102: the octets of the length differ",
        "REQ-FRAME-2",
        [request(Run(b"ab", 129))],
        [reply(Run(b"ba", 129))],
    ),
    server(
        "framing-length-65536",
        "length 00010000: the second octet counts 65,536",
        "REQ-FRAME-2 REQ-SIZE-1",
        [request(Run(b"a", 65_536))],
        [reply(Run(b"a", 65_536))],
    ),
    server(
        "framing-length-little-endian",
        "length 01000000 under a maximum of 65,536: one octet only to who reads it backwards",
        "REQ-FRAME-2 REQ-SIZE-2",
        [header(REQUEST, 0x01000000), raw(b"a")],
        [error(503)],
        closed=True,
        valid=False,
        needs=SMALL,
    ),
    server(
        "framing-length-unsigned",
        "length 80000000 is large, not negative",
        "REQ-FRAME-2 REQ-SIZE-2",
        [header(REQUEST, 0x80000000)],
        [error(503)],
        closed=True,
        valid=False,
        needs=DEFAULT,
    ),
    server(
        "framing-length-of-octets",
        "the length counts octets, not scalar values",
        "REQ-FRAME-3",
        [request("éé€€"), ping(b"next")],
        [reply("€€éé"), pong(b"next")],
    ),
    server(
        "framing-length-excludes-header",
        "a length that counted the header would take the next frame in",
        "REQ-FRAME-3",
        [request("abcde"), ping(b"fghij")],
        [reply("edcba"), pong(b"fghij")],
    ),
    server(
        "framing-frame-inside-body",
        "a body that looks like frames is a body",
        "REQ-FRAME-4 REQ-FRAME-6",
        [request(b"\x03\0\0\0\0\x06\0\0\0\x01!")],
        [reply(b"!\x01\0\0\0\x06\0\0\0\0\x03")],
    ),
    server(
        "framing-no-separator",
        "LF behind a frame is the type octet of the next one",
        "REQ-FRAME-1 REQ-TYPE-1",
        [request("ab"), raw(b"\n\0\0\0\0")],
        [reply("ba"), error(501)],
        closed=True,
        valid=False,
    ),
    server(
        "framing-no-terminator",
        "NUL behind a frame is the type octet of the next one",
        "REQ-FRAME-1 REQ-TYPE-1",
        [request("ab"), raw(b"\0\0\0\0\0")],
        [reply("ba"), error(501)],
        closed=True,
        valid=False,
    ),
    server(
        "framing-empty-then-full",
        "empty and full bodies in turn",
        "REQ-FRAME-5 REQ-ORDER-2",
        [request(), request("ab"), ping(), ping(b"z"), request()],
        [reply(), reply("ba"), pong(), pong(b"z"), reply()],
    ),
]

OVER = "a body one octet over the maximum"
AT_HEADER = "REQ-SIZE-2 REQ-SIZE-4 REQ-ERROR-2"

SIZES = [
    *(
        server(
            f"sizes-request-{size}",
            f"a REQUEST of {size:,} octets, within what every receiver accepts",
            "REQ-SIZE-1",
            [request(Run(b"a", size))],
            [reply(Run(b"a", size))],
        )
        for size in (127, 128, 255, 1_023, 1_024, 1_025, 32_768, 65_535)
    ),
    server(
        "sizes-request-65536-wide",
        "65,536 octets of four-octet scalar values",
        "REQ-SIZE-1 REQ-REV-1",
        [request(Run("😀🙂".encode(), 8_192))],
        [reply(Run("🙂😀".encode(), 8_192))],
    ),
    server(
        "sizes-ignorable-65536",
        "an ignorable frame of 65,536 octets, discarded",
        "REQ-SIZE-1 REQ-TYPE-3",
        [frame(0x80, Run(b"\xff", 65_536)), ping(b"next")],
        [pong(b"next")],
    ),
    server(
        "sizes-application-65536",
        "an application frame of 65,536 octets",
        "REQ-SIZE-1 REQ-TYPE-6",
        [frame(0xC0, Run(b"a", 65_536))],
        [error(404)],
        needs=NO_HANDLER,
    ),
    server(
        "sizes-small-at-maximum",
        "a body of exactly the maximum",
        "REQ-SIZE-2",
        [request(Run(b"a", SMALL_MAX)), ping(b"next")],
        [reply(Run(b"a", SMALL_MAX)), pong(b"next")],
        needs=SMALL,
    ),
    server(
        "sizes-small-over-header",
        f"{OVER}, refused at its header",
        AT_HEADER,
        [header(REQUEST, SMALL_MAX + 1)],
        [error(503)],
        closed=True,
        valid=False,
        needs=SMALL,
    ),
    server(
        "sizes-small-over-body",
        f"{OVER}, with its body behind: discarded unread",
        AT_HEADER + " REQ-ERROR-7 REQ-ERROR-8",
        [request(Run(b"a", SMALL_MAX + 1)), ping(b"never")],
        [error(503)],
        closed=True,
        needs=SMALL,
    ),
    server(
        "sizes-default-at-maximum",
        "a body of 16,777,216 octets under the default maximum",
        "REQ-SIZE-2 REQ-SIZE-3",
        [request(Run(b"a", DEFAULT_MAX))],
        [reply(Run(b"a", DEFAULT_MAX))],
        needs=DEFAULT,
    ),
    server(
        "sizes-default-over-header",
        "a length of 16,777,217 octets under the default maximum",
        AT_HEADER,
        [header(REQUEST, DEFAULT_MAX + 1)],
        [error(503)],
        closed=True,
        valid=False,
        needs=DEFAULT,
    ),
    server(
        "sizes-largest-length",
        "the largest length there is, although no octet of the body came",
        AT_HEADER,
        [header(REQUEST, 0xFFFFFFFF)],
        [error(503)],
        closed=True,
        valid=False,
        needs=DEFAULT,
    ),
    *(
        server(
            f"sizes-over-{name.lower()}",
            f"the maximum holds for {name} as for any type",
            AT_HEADER + more,
            [header(octet, SMALL_MAX + 1)],
            [error(503)],
            closed=True,
            valid=False,
            needs=SMALL,
        )
        for octet, name, more in (
            (PING, "PING", ""),
            (HELLO, "HELLO", ""),
            (STOP, "STOP", ""),
            (0x80, "ignorable-80", " REQ-TYPE-4"),
            (0xBF, "ignorable-BF", " REQ-TYPE-4"),
            (0xC0, "application-C0", ""),
            (0xFF, "application-FF", ""),
        )
    ),
    server(
        "sizes-over-behind-answers",
        "what came whole before the refused header is answered first",
        AT_HEADER + " REQ-ERROR-5",
        [request("ab"), ping(b"1"), header(REQUEST, SMALL_MAX + 1)],
        [reply("ba"), pong(b"1"), error(503)],
        closed=True,
        valid=False,
        needs=SMALL,
    ),
    server(
        "sizes-over-then-eof",
        "a refused header, then the end of the stream",
        AT_HEADER + " REQ-ERROR-6",
        [header(REQUEST, SMALL_MAX + 1)],
        [error(503)],
        eof=True,
        valid=False,
        needs=SMALL,
    ),
]

TOPICS = {"framing": FRAMING, "sizes": SIZES}
