"""Vectors for the other end: what a client makes of a server that breaks the protocol, or ends."""

from __future__ import annotations

from .build import (
    DEFAULT_MAX,
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
    Body,
    Expected,
    Frame,
    Vector,
    asked,
    client,
    frame,
    head_of,
    header,
    raw,
    reply,
    stopped,
)

ONE = [asked(REQUEST, "ab")]
TWO = [asked(REQUEST, "ab"), asked(REQUEST, "cd")]
NAMES = {1: "REQUEST", 3: "STOP", 6: "PING"}


def _bad(  # noqa: PLR0913, PLR0917 - the columns of the vectors
    name: str,
    title: str,
    requirements: str,
    asks: list[Asked],
    send: list[Frame],
    expect: list[Expected] | None = None,
    *,
    valid: bool = True,
) -> Vector:
    """The client must close; whatever is not answered before has failed."""
    outcome = [*(expect or [])]
    outcome += [FAILED] * (len(asks) - len(outcome))
    return client(f"client-{name}", title, requirements, asks, send, outcome, closed=True, valid=valid)


MALFORMED_ERRORS = [
    *(
        _bad(
            f"error-malformed-{name}",
            f"an ERROR of another form: {title}",
            "REQ-ERROR-11",
            ONE,
            [frame(ERROR, body)],
            valid=False,
        )
        for name, title, body in (
            ("empty", "an empty body", ""),
            ("no-space", "no space", "400"),
            ("two-digits", "two digits", "40 x"),
            ("four-digits", "four digits", "4000 x"),
            ("class-3", "class 3", "399 x"),
            ("class-6", "class 6", "600 x"),
            ("class-0", "class 0", "040 x"),
            ("letters", "no digits", "4xx x"),
            ("tab", "a tab for the space", "400\tx"),
            ("space-first", "a space in front", " 400 x"),
            ("sign", "a sign", "+40 x"),
            ("fullwidth", "digits that are not ASCII", "\uff14\uff10\uff10 x"),
            ("bom", "U+FEFF in front", "\ufeff400 x"),
            ("text-only", "a text alone", "not today"),
        )
    ),
    *(
        _bad(
            f"error-too-long-{name}",
            f"{title} of 1,025 octets",
            "REQ-ERROR-11 REQ-ERROR-14",
            ONE,
            [frame(ERROR, f"{code} " + "x" * 1_021)],
            valid=False,
        )
        for name, title, code in (
            ("recoverable", "a recoverable ERROR", 400),
            ("fatal", "a fatal ERROR", 500),
        )
    ),
    _bad(
        "error-ill-formed",
        "an ERROR whose text is not well-formed",
        "REQ-TEXT-6",
        ONE,
        [frame(ERROR, b"400 \xff")],
        valid=False,
    ),
]

MISMATCHED = [
    _bad("reply-unasked", "a REPLY where nothing was asked", "REQ-ORDER-7", [], [frame(REPLY, "x")]),
    _bad("pong-unasked", "a PONG where nothing was asked", "REQ-ORDER-7", [], [frame(PONG)]),
    _bad("hello-unasked", "a greeting", "REQ-ORDER-7", [], [frame(HELLO, "framelet/1 max-body=65536")]),
    _bad("stopped-unasked", "an unasked STOPPED", "REQ-ORDER-7", [], [frame(STOPPED, "closed=0 cut=0")]),
    _bad("application-unasked", "an unasked application frame", "REQ-ORDER-7", [], [frame(0xC0)]),
    _bad(
        "error-unasked",
        "a recoverable ERROR where nothing was asked",
        "REQ-ORDER-7",
        [],
        [frame(ERROR, "400 x")],
    ),
    _bad(
        "reply-twice",
        "two answers to one frame",
        "REQ-ORDER-7",
        ONE,
        [frame(REPLY, "ba"), frame(REPLY, "ba")],
        [reply("ba")],
    ),
    *(
        _bad(
            f"{name.lower()}-for-{other.lower()}",
            f"{name} where {other} awaits its answer",
            "REQ-ORDER-7",
            [asks],
            [frame(octet, body)],
        )
        for name, other, asks, octet, body in (
            ("PONG", "REQUEST", asked(REQUEST, "ab"), PONG, ""),
            ("HELLO", "REQUEST", asked(REQUEST, "ab"), HELLO, "framelet/1 max-body=65536"),
            ("STOPPED", "REQUEST", asked(REQUEST, "ab"), STOPPED, "closed=0 cut=0"),
            ("C0", "REQUEST", asked(REQUEST, "ab"), 0xC0, "ba"),
            ("REPLY", "PING", asked(PING, "ab"), REPLY, "ab"),
            ("REPLY", "HELLO", asked(HELLO), REPLY, "framelet/1"),
            ("REPLY", "STOP", asked(STOP), REPLY, ""),
            ("REPLY", "C0", asked(0xC0, "ab"), REPLY, "ba"),
            ("C1", "C0", asked(0xC0, "ab"), 0xC1, "ba"),
        )
    ),
    _bad(
        "swapped",
        "answers in the wrong order",
        "REQ-ORDER-7 REQ-ORDER-6",
        [asked(REQUEST, "ab"), asked(PING, "1")],
        [frame(PONG, "1"), frame(REPLY, "ba")],
    ),
]


def _broken(  # noqa: PLR0913, PLR0917 - the columns of the vectors
    name: str,
    title: str,
    requirements: str,
    asks: list[Asked],
    octet: int,
    body: Body,
) -> Vector:
    """An answer of the right type with a body that it must not have."""
    return _bad(name, title, requirements, asks, [frame(octet, body)], valid=False)


BROKEN = [
    *(
        _broken(
            f"ill-formed-{name}",
            f"a REPLY that is not well-formed: {name}",
            "REQ-TEXT-6 REQ-TEXT-3",
            ONE,
            REPLY,
            bytes.fromhex(octets),
        )
        for name, octets in (
            ("lone", "80"),
            ("overlong", "c080"),
            ("surrogate", "eda080"),
            ("pair", "eda0bdedb880"),
            ("too-high", "f4908080"),
            ("truncated", "6162c3"),
            ("latin-1", "63616ce9"),
            ("ff", "ff"),
        )
    ),
    _broken(
        "ill-formed-pong", "a PONG that is not well-formed", "REQ-TEXT-6", [asked(PING, "a")], PONG, b"\xff"
    ),
    _broken(
        "ill-formed-application",
        "an application answer that is not well-formed",
        "REQ-TEXT-6",
        [asked(0xC0, "a")],
        0xC0,
        b"\xc3",
    ),
    _bad(
        "ill-formed-then-good",
        "a good answer behind an ill-formed one is not taken for it, nor for its own",
        "REQ-TEXT-6",
        TWO,
        [frame(REPLY, b"\xff"), frame(REPLY, "dc")],
        valid=False,
    ),
    _bad(
        "pong-differs-behind-nul",
        "a PONG that differs from its PING behind a NUL",
        "REQ-PING-3",
        [asked(PING, "a\0b")],
        [frame(PONG, "a\0c")],
    ),
    *(
        _broken(
            f"error-1025-octets-{code}",
            f"an ERROR {code} of 1,025 octets in 515 characters",
            "REQ-ERROR-11 REQ-ERROR-14",
            ONE,
            ERROR,
            f"{code} x" + "\xe9" * 510,
        )
        for code in (400, 500)
    ),
    *(
        _broken(
            f"hello-max-body-{number}",
            f"a max-body of {number:,}",
            "REQ-HELLO-7",
            [asked(HELLO)],
            HELLO,
            f"framelet/1 max-body={number}",
        )
        for number in (0, 1, 255, 256, 257, 2**32 + 1, 2**32 + 65_536, 2**33 - 1)
    ),
    *(
        _broken(
            f"hello-{name}", f"a HELLO of another form: {title}", "REQ-HELLO-7", [asked(HELLO)], HELLO, body
        )
        for name, title, body in (
            ("empty", "an empty body", ""),
            ("name", "another name", "http/1 max-body=65536"),
            ("capitals", "capitals", "FRAMELET/1 max-body=65536"),
            ("zero", "version 0", "framelet/0 max-body=65536"),
            ("spaces", "two spaces", "framelet/1  max-body=65536"),
            ("newline", "LF at the end", "framelet/1 max-body=65536\n"),
            ("value", "an empty value", "framelet/1 max-body="),
            ("too-long", "1,025 octets", "framelet/1 max-body=65536 v=" + "x" * 997),
            ("key-twice", "a known key twice", "framelet/1 max-body=65536 max-body=65536"),
            ("unknown-key-twice", "an unknown key twice", "framelet/1 a=1 max-body=65536 a=2"),
            ("max-body-small", "max-body below its range", "framelet/1 max-body=65535"),
            ("max-body-large", "max-body above its range", "framelet/1 max-body=4294967296"),
            ("max-body-leading-zero", "a leading zero", "framelet/1 max-body=065536"),
            ("max-body-word", "max-body that is no number", "framelet/1 max-body=all"),
            (
                "timeout-eleven-digits",
                "a timeout of eleven digits",
                "framelet/1 max-body=65536 idle-timeout-ms=10000000000",
            ),
            ("version-leading-zero", "a leading zero of the version", "framelet/01 max-body=65536"),
        )
    ),
    *(
        _bad(
            f"hello-version-{version}",
            f"a HELLO of version {version}, which the client did not ask for",
            "REQ-HELLO-7",
            [asked(HELLO)],
            [frame(HELLO, f"framelet/{version} max-body=65536")],
        )
        for version in (2, 10, 255, 256, 257, 65_535, 65_536, 65_537, 99_999)
    ),
    *(
        _broken(
            f"stopped-{name}",
            f"a STOPPED of another form: {title}",
            "REQ-STOP-14 REQ-STOP-9",
            [asked(STOP)],
            STOPPED,
            body,
        )
        for name, title, body in (
            ("empty", "an empty body", ""),
            ("no-cut", "no cut", "closed=0"),
            ("no-closed", "no closed", "cut=0"),
            ("key-twice", "a known key twice", "closed=0 cut=0 cut=0"),
            ("unknown-key-twice", "an unknown key twice", "closed=0 cut=0 a=1 a=2"),
            ("leading-zero", "a leading zero", "closed=00 cut=0"),
            ("negative", "a negative number", "closed=-1 cut=0"),
            ("word", "a word", "closed=all cut=0"),
            ("eleven-digits", "eleven digits", "closed=10000000000 cut=0"),
            ("comma", "a comma for the space", "closed=0,cut=0"),
            ("space-twice", "two spaces", "closed=0  cut=0"),
            ("space-last", "a space at the end", "closed=0 cut=0 "),
            ("newline-last", "LF at the end", "closed=0 cut=0\n"),
            ("key-upper-case", "a capital in a key", "Closed=0 cut=0"),
            ("no-value", "a key without value", "closed=0 cut=0 a"),
        )
    ),
    _broken(
        "stopped-1025-octets",
        "a STOPPED of 1,025 octets",
        "REQ-STOP-17",
        [asked(STOP)],
        STOPPED,
        "closed=0 cut=0 a=" + "x" * 1_008,
    ),
]

TYPES = [
    *(
        _bad(
            f"type-{octet:02x}",
            f"type {octet:02X} is unknown and critical",
            "REQ-TYPE-7 REQ-STATE-1",
            ONE,
            [frame(octet), frame(REPLY, "ba")],
            valid=False,
        )
        for octet in (0x00, 0x09, 0x16, 0x40, 0x47, 0x50, 0x53, 0x7F)
    ),
    *(
        _bad(
            f"type-{octet:02x}",
            f"a {NAMES[octet]} is for servers only to receive",
            "REQ-TYPE-7 REQ-STATE-1",
            [asked(octet, "ab")],
            [frame(octet, "ab")],
        )
        for octet in (REQUEST, STOP, PING)
    ),
    _bad(
        "type-unknown-large",
        "a header of an unknown type and the largest length",
        "REQ-TYPE-7",
        ONE,
        [header(0x7F, 0xFFFFFFFF)],
        valid=False,
    ),
    *(
        client(
            f"client-large-{name}",
            f"{title} above the client's maximum is refused at its header",
            "REQ-SIZE-2 REQ-SIZE-4" + more,
            ONE,
            [header(octet, length)],
            [FAILED],
            closed=True,
            valid=False,
            needs={"max_body": maximum},
        )
        for name, title, octet, length, maximum, more in (
            ("reply", "a REPLY", REPLY, SMALL_MAX + 1, SMALL_MAX, ""),
            ("reply-default", "a REPLY", REPLY, DEFAULT_MAX + 1, DEFAULT_MAX, " REQ-SIZE-3"),
            ("reply-largest", "a REPLY", REPLY, 0xFFFFFFFF, DEFAULT_MAX, ""),
            ("error", "an ERROR", ERROR, SMALL_MAX + 1, SMALL_MAX, ""),
            ("ignorable", "an ignorable frame", 0x80, SMALL_MAX + 1, SMALL_MAX, " REQ-TYPE-4"),
        )
    ),
    _bad(
        "http",
        "a server that speaks HTTP",
        "REQ-TYPE-7",
        ONE,
        [raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")],
        valid=False,
    ),
]


def _ends(  # noqa: PLR0913 - the columns of the vectors
    name: str, title: str, asks: list[Asked], send: list[Frame], expect: list[Expected], *, valid: bool = True
) -> Vector:
    """The server ends its stream."""
    return client(
        f"client-{name}", title, "REQ-CLOSE-3 REQ-CLOSE-4", asks, send, expect, eof=True, valid=valid
    )


_PARTIAL = frame(REPLY, "\u20acba")

CLOSE = [
    _ends("eof-at-once", "the end of the stream before any answer", TWO, [], [FAILED, FAILED]),
    _ends("eof-unasked", "the end of the stream where nothing was asked", [], [], []),
    _ends(
        "eof-behind-all", "the end of the stream behind all answers", ONE, [frame(REPLY, "ba")], [reply("ba")]
    ),
    _ends(
        "eof-behind-one",
        "the end of the stream behind the first of two answers",
        TWO,
        [frame(REPLY, "ba")],
        [reply("ba"), FAILED],
    ),
    *(
        _ends(
            f"eof-inside-{octets}",
            f"the end of the stream behind {octets} of the 10 octets of a REPLY",
            TWO,
            [frame(REPLY, "ba"), head_of(_PARTIAL, octets)],
            [reply("ba"), FAILED],
            valid=False,
        )
        for octets in range(1, 10)
    ),
    *(
        _ends(
            f"eof-inside-error-{octets}",
            f"the end of the stream behind {octets} of the 10 octets of an ERROR",
            ONE,
            [head_of(frame(ERROR, "400 x"), octets)],
            [FAILED],
            valid=False,
        )
        for octets in range(1, 10)
    ),
    client(
        "client-stop-takes-rest",
        "a frame behind a STOP may get no answer",
        "REQ-STOP-13 REQ-CLOSE-3",
        [asked(REQUEST, "ab"), asked(STOP), asked(REQUEST, "cd")],
        [frame(REPLY, "ba"), frame(STOPPED, "closed=0 cut=0")],
        [reply("ba"), stopped(), FAILED],
        eof=True,
    ),
]

VECTORS = [*MALFORMED_ERRORS, *MISMATCHED, *BROKEN, *TYPES, *CLOSE]
