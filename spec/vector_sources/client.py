"""Vectors for the other end: what a client makes of answers and ERRORs (sections 6 and 7)."""

from __future__ import annotations

from . import client_faults
from .build import (
    ERROR,
    FAILED,
    HELLO,
    PING,
    PONG,
    REPLY,
    REQUEST,
    SMALL_MAX,
    STOP,
    STOPPED,
    Asked,
    Expected,
    Frame,
    Run,
    Vector,
    answer,
    asked,
    client,
    error,
    frame,
    hello,
    pong,
    raw,
    reply,
    stopped,
)

ONE = [asked(REQUEST, "ab")]
TWO = [asked(REQUEST, "ab"), asked(REQUEST, "cd")]
ORDER = "REQ-ORDER-6"


def _good(  # noqa: PLR0913, PLR0917 - the columns of the vectors
    name: str,
    title: str,
    requirements: str,
    asks: list[Asked],
    send: list[Frame],
    expect: list[Expected],
    *,
    valid: bool = True,
) -> Vector:
    """The client reports answers, and the connection goes on."""
    return client(f"client-{name}", title, requirements, asks, send, expect, valid=valid)


ANSWERS = [
    _good("reply", "a REPLY", ORDER, ONE, [frame(REPLY, "ba")], [reply("ba")]),
    _good("reply-empty", "an empty REPLY", "REQ-FRAME-5", ONE, [frame(REPLY)], [reply()]),
    _good(
        "reply-any-text",
        "a client does not judge what the service made of its text",
        ORDER,
        ONE,
        [frame(REPLY, "something else")],
        [reply("something else")],
    ),
    _good(
        "reply-large",
        "a REPLY of 65,536 octets",
        "REQ-SIZE-1",
        ONE,
        [frame(REPLY, Run(b"a", 65_536))],
        [reply(Run(b"a", 65_536))],
    ),
    *(
        _good(f"reply-{name}", title, "REQ-TEXT-4 REQ-TEXT-5", ONE, [frame(REPLY, text)], [reply(text)])
        for name, title, text in (
            ("nul", "NUL is kept", "a\0b\0"),
            ("bom", "U+FEFF at the start is kept", "\ufeffab"),
            ("crlf", "line ends are kept", "\r\na\n\r"),
            ("spaces", "spaces are kept", "  ab "),
            ("nfc-and-nfd", "nothing is normalised", "\xe9e\u0301"),
            ("noncharacters", "noncharacters are kept", "\ufdd0\ufffe\uffff\U0010ffff"),
            ("escape", "control characters are delivered", "\x1b[2J\x9b"),
        )
    ),
    _good(
        "two",
        "two answers, for the oldest frame first",
        f"{ORDER} REQ-ORDER-4",
        TWO,
        [frame(REPLY, "ba"), frame(REPLY, "dc")],
        [reply("ba"), reply("dc")],
    ),
    _good("pong", "a PONG", "REQ-PING-1", [asked(PING, "xy")], [frame(PONG, "xy")], [pong(b"xy")]),
    _good("pong-empty", "an empty PONG", "REQ-PING-1", [asked(PING)], [frame(PONG)], [pong()]),
    _good(
        "hello",
        "a HELLO",
        "REQ-HELLO-1",
        [asked(HELLO)],
        [frame(HELLO, "framelet/1 max-body=16777216")],
        [hello()],
    ),
    _good(
        "hello-all-keys",
        "a HELLO with all keys of version 1",
        "REQ-HELLO-1",
        [asked(HELLO)],
        [frame(HELLO, "framelet/1 max-body=70000 frame-timeout-ms=30000 idle-timeout-ms=300000")],
        [hello(70_000)],
    ),
    _good(
        "hello-without-max-body",
        "a HELLO that lacks max-body is taken",
        "REQ-HELLO-9",
        [asked(HELLO)],
        [frame(HELLO, "framelet/1")],
        [{"type": "HELLO", "parameters": {}}],
    ),
    _good(
        "hello-unknown-key",
        "an unknown key of a HELLO is ignored",
        "REQ-HELLO-2",
        [asked(HELLO)],
        [frame(HELLO, "framelet/1 a=b max-body=65536 new-thing=!")],
        [hello(SMALL_MAX)],
    ),
    _good(
        "stopped",
        "a STOPPED",
        "REQ-STOP-9",
        [asked(STOP)],
        [frame(STOPPED, "closed=3 cut=1")],
        [stopped(3, 1)],
    ),
    _good(
        "stopped-1024-octets",
        "a STOPPED of 1,024 octets",
        "REQ-STOP-17",
        [asked(STOP)],
        [frame(STOPPED, "closed=0 cut=0 a=" + "x" * 1_007)],
        [stopped()],
    ),
    *(
        _good(
            f"stopped-{number}",
            f"a STOPPED that counts {number:,}",
            "REQ-STOP-9",
            [asked(STOP)],
            [frame(STOPPED, f"closed={number} cut={number}")],
            [stopped(number, number)],
        )
        for number in (255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 9_999_999_999)
    ),
    _good(
        "stopped-more",
        "a STOPPED with further keys, in another order",
        "REQ-STOP-9",
        [asked(STOP, "secret")],
        [frame(STOPPED, "cut=0 reason=bored closed=12")],
        [stopped(12, 0)],
    ),
    *(
        _good(
            f"application-{octet:02x}",
            f"an answer of type {octet:02X}",
            "REQ-TYPE-5",
            [asked(octet, "ab")],
            [frame(octet, "xyz")],
            [answer(octet, "xyz")],
        )
        for octet in (0xC0, 0xFF)
    ),
    _good(
        "all-kinds",
        "an answer of each kind, in order",
        ORDER,
        [asked(HELLO), asked(REQUEST, "ab"), asked(PING, "1"), asked(0xC0, "x")],
        [frame(HELLO, "framelet/1 max-body=65536"), frame(REPLY, "ba"), frame(PONG, "1"), frame(0xC0)],
        [hello(SMALL_MAX), reply("ba"), pong(b"1"), answer(0xC0)],
    ),
    _good(
        "many",
        "a thousand answers",
        ORDER,
        [asked(REQUEST, "ab") for _ in range(1000)],
        [raw(Run(b"\x02\0\0\0\x02ba", 1000))],
        [answer(REPLY, "ba", times=1000)],
    ),
    *(
        _good(
            f"ignorable-{octet:02x}",
            f"a frame of type {octet:02X} is discarded, and takes nobody's place",
            "REQ-TYPE-3",
            ONE,
            [frame(octet, b"\xff\xfe"), frame(REPLY, "ba"), frame(octet)],
            [reply("ba")],
        )
        for octet in (0x80, 0xBF)
    ),
    _good(
        "ignorable-unasked",
        "an ignorable frame where nothing was asked",
        "REQ-TYPE-3",
        [],
        [frame(0x80)],
        [],
    ),
]

RECOVERABLE = [
    *(
        _good(
            f"error-{code}",
            f"ERROR {code} answers the oldest frame",
            "REQ-ERROR-12",
            TWO,
            [frame(ERROR, f"{code} some words"), frame(REPLY, "dc")],
            [error(code), reply("dc")],
        )
        for code in (400, 403, 404, 413, 422, 426, 450, 451)
    ),
    *(
        _good(
            f"error-{code}",
            f"ERROR {code} is unknown, and recoverable by its class",
            "REQ-ERROR-10 REQ-ERROR-12",
            TWO,
            [frame(ERROR, f"{code} new"), frame(REPLY, "dc")],
            [error(code), reply("dc")],
        )
        for code in (401, 418, 459)
    ),
    *(
        _good(
            f"error-{code}",
            f"ERROR {code} belongs to the application, and is handed on",
            "REQ-ERROR-16 REQ-ERROR-10 REQ-ERROR-12",
            TWO,
            [frame(ERROR, f"{code} the application's words"), frame(REPLY, "dc")],
            [error(code), reply("dc")],
        )
        for code in (460, 481, 499)
    ),
    *(
        _good(
            f"error-for-{name.lower()}",
            f"an ERROR in the place of the answer to {name}",
            "REQ-ERROR-12",
            [asks, asked(PING, "2")],
            [frame(ERROR, "400 no"), frame(PONG, "2")],
            [error(400), pong(b"2")],
        )
        for name, asks in (
            ("PING", asked(PING, "1")),
            ("HELLO", asked(HELLO)),
            ("application-C0", asked(0xC0, "ab")),
        )
    ),
    _good(
        "error-for-stop",
        "STOP refused: the connection goes on",
        "REQ-ERROR-12 REQ-STOP-3",
        [asked(STOP), asked(REQUEST, "ab")],
        [frame(ERROR, "403 not you"), frame(REPLY, "ba")],
        [error(403), reply("ba")],
    ),
    *(
        _good(
            f"error-text-{name}",
            f"the text of an ERROR decides nothing: {title}",
            "REQ-ERROR-1 REQ-ERROR-13",
            TWO,
            [frame(ERROR, body), frame(REPLY, "dc")],
            [error(400), reply("dc")],
        )
        for name, title, body in (
            ("empty", "no text", "400 "),
            ("other-code", "another code", "400 503 frame-too-large"),
            ("fatal", "the word fatal", "400 fatal: goodbye"),
            ("control", "control characters", "400 \x1b[2J\0\r\n"),
            ("wide", "beyond ASCII", "400 \u6587\u5b57"),
            ("longest", "1,024 octets in all", "400 " + "x" * 1_020),
        )
    ),
]


def _fatal(code: int, name: str, title: str, asks: list[Asked], send: list[Frame]) -> Vector:
    """A fatal ERROR ends the connection, with nothing answered from there on."""
    return client(
        f"client-fatal-{name}",
        title,
        "REQ-ERROR-10 REQ-ERROR-12",
        asks,
        send,
        [FAILED] * len(asks),
        closed=True,
        fatal=code,
    )


FATAL = [
    *(
        _fatal(code, f"{code}", f"ERROR {code}: no frame was answered", TWO, [frame(ERROR, f"{code} x")])
        for code in (500, 501, 502, 503, 504, 505, 507)
    ),
    *(
        _fatal(
            code,
            f"{code}",
            f"ERROR {code} is unknown, and fatal by its class",
            ONE,
            [frame(ERROR, f"{code} x")],
        )
        for code in (509, 550, 599)
    ),
    _fatal(507, "unasked", "a fatal ERROR may come where nothing was asked", [], [frame(ERROR, "507 full")]),
    _fatal(
        503,
        "then-reply",
        "what follows a fatal ERROR means nothing",
        ONE,
        [frame(ERROR, "503 x"), frame(REPLY, "ba")],
    ),
    client(
        "client-fatal-behind-reply",
        "answers before a fatal ERROR hold",
        "REQ-ERROR-12",
        TWO,
        [frame(REPLY, "ba"), frame(ERROR, "504 late")],
        [reply("ba"), FAILED],
        closed=True,
        fatal=504,
    ),
    client(
        "client-fatal-eof",
        "a fatal ERROR, then the end of the stream",
        "REQ-ERROR-12 REQ-CLOSE-3",
        ONE,
        [frame(ERROR, "500 x")],
        [FAILED],
        eof=True,
        fatal=500,
    ),
]

TOPICS = {"client": [*ANSWERS, *RECOVERABLE, *FATAL, *client_faults.VECTORS]}
