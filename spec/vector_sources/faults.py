"""Vectors on errors and their precedence, and on closing (sections 7 and 11)."""

from __future__ import annotations

from .build import (
    DEFAULT_MAX,
    ERROR,
    HELLO,
    PING,
    PONG,
    REPLY,
    REQUEST,
    SMALL_MAX,
    STOP,
    STOPPED,
    Frame,
    Run,
    Vector,
    error,
    frame,
    head_of,
    header,
    hello,
    ping,
    pong,
    raw,
    reply,
    request,
    server,
)

SMALL = {"max_body": SMALL_MAX}
NO_HANDLER = {"application": "none"}
OVER = SMALL_MAX + 1


def _first(name: str, title: str, what: Frame, code: int, **needs: object) -> Vector:
    """Two conditions in one frame, of which the registry decides for one."""
    return server(
        f"errors-{name}",
        title,
        "REQ-ERROR-2 REQ-ERROR-3",
        [what],
        [error(code)],
        closed=code >= 500,  # noqa: PLR2004 - the class of a code is its first digit
        valid=False,
        needs=needs,
    )


ERRORS = [
    _first("00-too-large", "501 before 503: type 00", header(0x00, OVER), 501, **SMALL),
    _first("09-too-large", "501 before 503: type 09", header(0x09, OVER), 501, **SMALL),
    _first("47-too-large", "501 before 503: HTTP", raw(b"GET / HTTP/1.1\r\n\r\n"), 501, **SMALL),
    _first("reply-too-large", "502 before 503: REPLY", header(REPLY, OVER), 502, **SMALL),
    _first("pong-too-large", "502 before 503: PONG", header(PONG, OVER), 502, **SMALL),
    _first("stopped-too-large", "502 before 503: STOPPED", header(STOPPED, OVER), 502, **SMALL),
    _first("00-ill-formed", "501 before 400", frame(0x00, b"\xff"), 501),
    _first("critical-ill-formed", "501 before 400", frame(0x7F, b"\xff"), 501),
    _first("reply-ill-formed", "502 before 400", frame(REPLY, b"\xff"), 502),
    _first("stopped-malformed", "502, whatever the body", frame(STOPPED, "x"), 502),
    _first("pong-too-long", "502, whatever the body", frame(PONG, "p" * 65), 502),
    _first(
        "request-too-large-ill-formed",
        "503 before 400",
        frame(REQUEST, Run(b"\xff", OVER)),
        503,
        **SMALL,
    ),
    _first("ping-too-large", "503 before 413", frame(PING, Run(b"a", OVER)), 503, **SMALL),
    _first("hello-too-large", "503 before 422", frame(HELLO, Run(b"a", OVER)), 503, **SMALL),
    _first(
        "hello-too-large-version", "503 before 426", header(HELLO, OVER) + raw(b"framelet/2 v="), 503, **SMALL
    ),
    _first("stop-too-large-off", "503 before 403", header(STOP, OVER), 503, stop="off", **SMALL),
    _first("stop-too-large", "503 before an allowed STOP", header(STOP, OVER), 503, stop="local", **SMALL),
    _first("application-too-large", "503 before 404", header(0xC0, OVER), 503, **SMALL, **NO_HANDLER),
    _first("ping-ill-formed-too-long", "400 before 413", frame(PING, b"\xff" * 65), 400),
    _first("ping-cut-too-long", "400 before 413: cut short", frame(PING, b"p" * 64 + b"\xc3"), 400),
    _first("hello-ill-formed", "400 before 422", frame(HELLO, b"framelet\xff"), 400),
    _first(
        "hello-ill-formed-too-long",
        "400 before 422: too long",
        frame(HELLO, b"framelet/1 v=" + b"\xff" * 1_100),
        400,
    ),
    _first("hello-ill-formed-version", "400 before 426", frame(HELLO, b"framelet/2 v=\x80"), 400),
    _first("hello-malformed-version", "422 before 426", frame(HELLO, "framelet/2 "), 422),
    _first("application-ill-formed", "400 before 404", frame(0xC0, b"\xc0\x80"), 400, **NO_HANDLER),
    _first("stop-ill-formed", "400 before an allowed STOP", frame(STOP, b"\xff"), 400, stop="local"),
    _first("stop-ill-formed-off", "400 before 403", frame(STOP, b"\xff"), 400, stop="off"),
    _first("stop-ill-formed-token", "400 before 403", frame(STOP, b"secret\xff"), 400, stop="token:secret"),
    *(
        server(
            f"errors-{code}-before-451-{name}",
            f"{code} before 451: {name} above the client's max-body",
            "REQ-ERROR-3 REQ-ERROR-2",
            [frame(HELLO, "framelet/1 max-body=65536"), what, ping(b"next")],
            [hello(), error(code), pong(b"next")],
            valid=code in {403, 404},
            needs={"max_body": DEFAULT_MAX, **needs},
        )
        for name, what, code, needs in (
            ("request", frame(REQUEST, Run(b"\xff", OVER)), 400, {}),
            ("application-ill-formed", frame(0xC0, Run(b"\xff", OVER)), 400, NO_HANDLER),
            ("ping", frame(PING, Run(b"a", OVER)), 413, {}),
            ("hello", frame(HELLO, Run(b"a", OVER)), 422, {}),
            ("application", frame(0xC0, Run(b"a", OVER)), 404, NO_HANDLER),
            ("stop", frame(STOP, Run(b"a", OVER)), 403, {"stop": "off"}),
        )
    ),
    server(
        "errors-503-before-451",
        "503 before 451: a request over the server's maximum",
        "REQ-ERROR-3",
        [frame(HELLO, "framelet/1 max-body=65536"), header(REQUEST, OVER)],
        [{"type": "HELLO", "parameters": {"max-body": "65536"}}, error(503)],
        closed=True,
        valid=False,
        needs=SMALL,
    ),
    server(
        "errors-none-of-applications",
        "no condition of the protocol has a code from 460 to 499",
        "REQ-ERROR-15 REQ-ERROR-2",
        [
            request(b"\xff"),
            ping(b"p" * 65),
            frame(HELLO, "hello"),
            frame(HELLO, "framelet/2"),
            frame(0xC0, "x"),
            frame(STOP),
            request("ab"),
        ],
        [error(400), error(413), error(422), error(426), error(404), error(403), reply("ba")],
        valid=False,
        needs={**NO_HANDLER, "stop": "off"},
    ),
    server(
        "errors-ignorable-is-none",
        "an ignorable frame has no condition but its size",
        "REQ-TYPE-3 REQ-ERROR-2",
        [frame(0x80, b"\xff" * 100), ping(b"next")],
        [pong(b"next")],
    ),
    server(
        "errors-answers-first",
        "answers, recoverable ERRORs among them, go before a fatal ERROR",
        "REQ-ERROR-5 REQ-ORDER-2",
        [request("ab"), request(b"\xff"), ping(b"1"), frame(REPLY, "x")],
        [reply("ba"), error(400), pong(b"1"), error(502)],
        closed=True,
        valid=False,
    ),
    *(
        server(
            f"errors-nothing-behind-{name}",
            f"nothing behind the fault is acted on: {title}",
            "REQ-ERROR-6 REQ-ERROR-7 REQ-STATE-1",
            [fault, request("ab"), frame(STOP), ping(b"x")],
            [error(code)],
            closed=True,
            valid=valid,
            needs={"stop": "local"},
        )
        for name, title, fault, code, valid in (
            ("501", "an unknown type", frame(0x00), 501, False),
            ("502", "an unexpected type", frame(REPLY, "x"), 502, True),
        )
    ),
    server(
        "errors-one-fatal",
        "three faults, one fatal ERROR",
        "REQ-ERROR-6",
        [frame(0x00), frame(REPLY, "x"), header(REQUEST, 0xFFFFFFFF)],
        [error(501)],
        closed=True,
        valid=False,
    ),
    server(
        "errors-fatal-eof",
        "a fault, then the end of the stream",
        "REQ-ERROR-6 REQ-CLOSE-1",
        [ping(b"1"), frame(0x00)],
        [pong(b"1"), error(501)],
        eof=True,
        valid=False,
    ),
    *(
        server(
            f"errors-{code}-before-506",
            f"{code} before 506: the end of the stream inside a frame that its header has refused",
            "REQ-ERROR-3 REQ-CLOSE-2",
            [ping(b"1"), what],
            [pong(b"1"), error(code)],
            eof=True,
            valid=False,
            needs=needs,
        )
        for code, what, needs in (
            (501, header(0x00, 5), None),
            (502, header(REPLY, 5), None),
            (503, header(REQUEST, 0xFFFFFFFF), SMALL),
        )
    ),
    server(
        "errors-received-inside",
        "the end of the stream behind the header of an ERROR",
        "REQ-ERROR-9 REQ-CLOSE-2",
        [ping(b"1"), header(ERROR, 10)],
        [pong(b"1")],
        eof=True,
        valid=False,
    ),
    server(
        "errors-received-before-stop",
        "a STOP behind an ERROR stops nothing",
        "REQ-ERROR-9 REQ-ERROR-7",
        [frame(ERROR, "400 no"), frame(STOP)],
        [],
        closed=True,
        needs={"stop": "local"},
    ),
    *(
        server(
            f"errors-received-{name}",
            title,
            "REQ-ERROR-9",
            send,
            expect,
            closed=True,
            valid=valid,
        )
        for name, title, send, expect, valid in (
            ("recoverable", "an ERROR 400 from the client", [frame(ERROR, "400 no")], [], True),
            ("fatal", "an ERROR 501 from the client", [frame(ERROR, "501 no")], [], True),
            ("malformed", "an ERROR of no form", [frame(ERROR, "no")], [], False),
            ("ill-formed", "an ERROR of no text", [frame(ERROR, b"\xff")], [], False),
            ("empty", "an empty ERROR", [frame(ERROR)], [], False),
            ("twice", "two ERRORs", [frame(ERROR, "400 no"), frame(ERROR, "400 no")], [], True),
            (
                "behind-answers",
                "answers go before",
                [request("ab"), frame(ERROR, "400 no")],
                [reply("ba")],
                True,
            ),
            ("before-others", "the rest is discarded", [frame(ERROR, "400 no"), request("ab")], [], True),
        )
    ),
    server(
        "errors-received-header",
        "the header of an ERROR is enough",
        "REQ-ERROR-9",
        [request("ab"), header(ERROR, 10)],
        [reply("ba")],
        closed=True,
        valid=False,
    ),
    server(
        "errors-received-too-large",
        "an ERROR that is too large is an ERROR first",
        "REQ-ERROR-9 REQ-ERROR-3",
        [header(ERROR, 0xFFFFFFFF)],
        [],
        closed=True,
        valid=False,
    ),
    server(
        "errors-fatal-then-error",
        "no ERROR answers an ERROR behind a fault",
        "REQ-ERROR-6 REQ-ERROR-9",
        [frame(0x00), frame(ERROR, "400 no")],
        [error(501)],
        closed=True,
        valid=False,
    ),
    server(
        "errors-hundred-recoverable",
        "recoverable ERRORs are not counted against a client",
        "REQ-ERROR-4",
        [*(ping(b"p" * 65) for _ in range(100)), request("ab")],
        [error(413, times=100), reply("ba")],
        valid=False,
    ),
]

CUT = "REQ-CLOSE-2 REQ-FRAME-6"


def _cut_everywhere(
    name: str,
    title: str,
    whole: Frame,
    first: int = 1,
    needs: dict[str, str] | None = None,
) -> list[Vector]:
    """The end of the stream at every place inside a frame from ``first`` on, behind a PING."""
    size = sum(len(field) for field in whole)
    return [
        server(
            f"close-inside-{name}-{octets}",
            f"the end of the stream behind {octets} of the {size} octets of {title}",
            CUT,
            [ping(b"1"), head_of(whole, octets)],
            [pong(b"1")],
            eof=True,
            valid=False,
            needs=needs,
        )
        for octets in range(first, size)
    ]


CLOSE = [
    server(
        "close-at-once",
        "the end of the stream and nothing else",
        "REQ-CLOSE-1 REQ-ORDER-3",
        [],
        [],
        eof=True,
    ),
    server(
        "close-behind-one",
        "the end of the stream behind a frame",
        "REQ-CLOSE-1 REQ-CLOSE-5",
        [request("hello")],
        [reply("olleh")],
        eof=True,
    ),
    server(
        "close-behind-many",
        "every frame is answered before the server closes",
        "REQ-CLOSE-1 REQ-CLOSE-5 REQ-ORDER-2",
        [request("ab"), ping(b"1"), frame(0xC0), request(b"\xff"), request("cd")],
        [reply("ba"), pong(b"1"), error(404), error(400), reply("dc")],
        eof=True,
        valid=False,
        needs=NO_HANDLER,
    ),
    server(
        "close-behind-large",
        "a long answer is sent in full after the end of the client's stream",
        "REQ-CLOSE-1 REQ-CLOSE-5",
        [request(Run(b"ab", 30_000))],
        [reply(Run(b"ba", 30_000))],
        eof=True,
    ),
    server(
        "close-behind-empty",
        "the end of the stream behind an empty frame is at a boundary",
        "REQ-CLOSE-1 REQ-FRAME-5",
        [ping()],
        [pong()],
        eof=True,
    ),
    *_cut_everywhere("request", "a REQUEST", request("hello")),
    *_cut_everywhere("wide", "a REQUEST of wide scalar values", request("\u20ac\U0001f600"), 5),
    *_cut_everywhere("ping", "a PING", ping(b"ab")),
    *_cut_everywhere("hello", "a HELLO", frame(HELLO, "framelet/1")),
    *_cut_everywhere("stop", "a STOP: nothing is stopped", frame(STOP, "x"), needs={"stop": "local"}),
    *_cut_everywhere("ignorable", "an ignorable frame", frame(0x80, b"\xff\xfe")),
    *_cut_everywhere("application", "an application frame", frame(0xC0, "ab"), needs=NO_HANDLER),
    *_cut_everywhere("unknown", "a header that would be refused for its type", header(0x00, 0)),
    *_cut_everywhere("reply", "a header that would be refused for its direction", header(REPLY, 0)),
    *_cut_everywhere(
        "large", "a header that would be refused for its length", header(REQUEST, 0xFFFFFFFF), 2
    ),
    *_cut_everywhere("error", "the header of an ERROR", header(ERROR, 0)),
    server(
        "close-inside-http",
        "four octets of HTTP are no header yet",
        CUT,
        [raw(b"GET ")],
        [],
        eof=True,
        valid=False,
    ),
    server(
        "close-inside-large-body",
        "the end of the stream inside a long body",
        CUT,
        [header(REQUEST, 65_536), raw(Run(b"a", 65_535))],
        [],
        eof=True,
        valid=False,
    ),
    server(
        "close-inside-ill-formed",
        "an ill-formed part is not answered either",
        CUT,
        [header(REQUEST, 4), raw(b"\xff\xff\xff")],
        [],
        eof=True,
        valid=False,
    ),
    server(
        "close-inside-behind-many",
        "the frames before the part are answered, each in its place",
        f"{CUT} REQ-ORDER-2",
        [request("ab"), request(b"\xff"), frame(0x80), ping(b"1"), header(REQUEST, 1)],
        [reply("ba"), error(400), pong(b"1")],
        eof=True,
        valid=False,
    ),
]

TOPICS = {"errors": ERRORS, "close": CLOSE}
