"""Vectors on HELLO, the versions and the limits that it states (section 9)."""

from __future__ import annotations

from .build import (
    DEFAULT_MAX,
    HELLO,
    SMALL_MAX,
    Run,
    Vector,
    error,
    frame,
    hello,
    ping,
    pong,
    reply,
    request,
    server,
)

DEFAULT, SMALL = {"max_body": DEFAULT_MAX}, {"max_body": SMALL_MAX}


def _hello(name: str, title: str, body: str, requirements: str = "REQ-HELLO-1 REQ-HELLO-2") -> Vector:
    """A HELLO that the server accepts."""
    answers = [hello()]
    return server(f"hello-{name}", title, requirements, [frame(HELLO, body)], answers, needs=DEFAULT)


def _refused(name: str, title: str, body: str | bytes) -> Vector:
    """A HELLO that breaks its form."""
    return server(f"hello-{name}", title, "REQ-HELLO-3", [frame(HELLO, body)], [error(422)], valid=False)


HELLOS = [
    _hello("plain", "version 1, no parameter", "framelet/1", "REQ-HELLO-1"),
    _hello("max-body", "a maximum body size", "framelet/1 max-body=16777216", "REQ-HELLO-1"),
    _hello("max-body-least", "the least max-body", "framelet/1 max-body=65536", "REQ-HELLO-3"),
    _hello("max-body-most", "the greatest max-body", "framelet/1 max-body=4294967295", "REQ-HELLO-3"),
    _hello(
        "timeouts",
        "a server's keys are known",
        "framelet/1 frame-timeout-ms=0 idle-timeout-ms=9999999999",
        "REQ-HELLO-8",
    ),
    _hello("unknown-key", "an unknown key is ignored", "framelet/1 colour=blue"),
    _hello("unknown-keys", "several, before and behind", "framelet/1 a=1 max-body=70000 z=2 b-c=3"),
    _hello("key-with-digits", "digits and hyphens in a key", "framelet/1 a-0-9-=x"),
    _hello("key-32", "a key of 32 octets", f"framelet/1 {'k' * 32}=x"),
    _hello("value-range", "a value from 21 to 7E", "framelet/1 v=!~"),
    _hello("value-equals", "an equals sign inside a value", "framelet/1 v=a=b=="),
    _hello("keys-of-stopped", "the keys of STOPPED mean nothing in HELLO", "framelet/1 closed=x cut=-1"),
    _hello("key-case-of-value", "a value keeps its case", "framelet/1 v=AbC"),
    _hello("longest", "1,024 octets", "framelet/1 v=" + "x" * 1_011),
    _refused("too-long", "1,025 octets", "framelet/1 v=" + "x" * 1_012),
    _refused("far-too-long", "10,000 octets", "framelet/1 v=" + "x" * 9_987),
    _refused("empty", "an empty body", ""),
    _refused("no-version", "no version", "framelet/"),
    _refused("no-slash", "no slash", "framelet1"),
    _refused("name-only", "the name alone", "framelet"),
    _refused("other-name", "another name", "http/1"),
    _refused("name-upper-case", "literals do not ignore case", "FRAMELET/1"),
    _refused("name-capital", "one capital", "Framelet/1"),
    _refused("version-zero", "version 0", "framelet/0"),
    _refused("version-leading-zero", "a leading zero", "framelet/01"),
    _refused("version-six-digits", "a version of six digits", "framelet/100000"),
    _refused("version-sign", "a sign", "framelet/+1"),
    _refused("version-point", "a point", "framelet/1.0"),
    _refused("version-letter", "a letter behind the version", "framelet/1a"),
    _refused("version-fullwidth", "a digit that is not ASCII", "framelet/\uff11"),
    _refused("version-arabic-digit", "another digit that is not ASCII", "framelet/\u0661"),
    _refused("space-first", "a space in front", " framelet/1"),
    _refused("space-last", "a space at the end", "framelet/1 "),
    _refused("space-twice", "two spaces", "framelet/1  a=b"),
    _refused("space-tab", "a tab for the space", "framelet/1\ta=b"),
    _refused("newline-last", "LF at the end", "framelet/1\n"),
    _refused("parameter-newline-last", "LF behind a parameter", "framelet/1 a=b\n"),
    _refused("crlf-last", "CR LF at the end", "framelet/1\r\n"),
    _refused("nul-last", "NUL at the end", "framelet/1\0"),
    _refused("bom-first", "U+FEFF in front", "\ufeffframelet/1"),
    _refused("no-equals", "a key without value", "framelet/1 max-body"),
    _refused("value-empty", "an empty value", "framelet/1 a="),
    _refused("key-empty", "an empty key", "framelet/1 =x"),
    _refused("key-33", "a key of 33 octets", f"framelet/1 {'k' * 33}=x"),
    _refused("key-upper-case", "capitals in a key", "framelet/1 Max-Body=70000"),
    _refused("key-digit-first", "a key that begins with a digit", "framelet/1 1a=x"),
    _refused("key-hyphen-first", "a key that begins with a hyphen", "framelet/1 -a=x"),
    _refused("key-underscore", "an underscore in a key", "framelet/1 max_body=70000"),
    _refused("key-accent", "a letter that is not ASCII in a key", "framelet/1 caf\xe9=x"),
    _refused("value-accent", "a letter that is not ASCII in a value", "framelet/1 a=caf\xe9"),
    _refused("value-delete", "DEL in a value", "framelet/1 a=\x7f"),
    _refused("value-control", "a control character in a value", "framelet/1 a=\x1b"),
    _refused("comma", "a comma for the space", "framelet/1,a=b"),
    _refused("max-body-small", "max-body below its range", "framelet/1 max-body=65535"),
    _refused("max-body-zero", "max-body of nothing", "framelet/1 max-body=0"),
    _refused("max-body-large", "max-body above its range", "framelet/1 max-body=4294967296"),
    _refused("max-body-eleven-digits", "eleven digits", "framelet/1 max-body=10000000000"),
    _refused("max-body-leading-zero", "a leading zero", "framelet/1 max-body=065536"),
    _refused("max-body-sign", "a sign", "framelet/1 max-body=+65536"),
    _refused("max-body-negative", "a negative number", "framelet/1 max-body=-65536"),
    _refused("max-body-hex", "another base", "framelet/1 max-body=0x10000"),
    _refused("max-body-fraction", "a fraction", "framelet/1 max-body=65536.0"),
    _refused("max-body-word", "a word", "framelet/1 max-body=all"),
    _refused("max-body-underscore", "digits apart", "framelet/1 max-body=65_536"),
    _refused("timeout-word", "a timeout that is no number", "framelet/1 idle-timeout-ms=never"),
    _refused(
        "timeout-eleven-digits", "a timeout of eleven digits", "framelet/1 frame-timeout-ms=10000000000"
    ),
    _refused("timeout-leading-zero", "a timeout with a leading zero", "framelet/1 idle-timeout-ms=01"),
    _refused("timeout-negative", "a negative timeout", "framelet/1 frame-timeout-ms=-1"),
    _refused("timeout-twice", "a timeout twice", "framelet/1 idle-timeout-ms=1 idle-timeout-ms=1"),
    _refused("key-twice", "a known key twice", "framelet/1 max-body=70000 max-body=70000"),
    _refused("unknown-key-twice", "an unknown key twice", "framelet/1 a=1 b=2 a=3"),
    _refused("version-2-key-twice", "malformed goes before version", "framelet/2 a=1 a=2"),
    _refused("version-2-max-body-small", "out of range goes before version", "framelet/2 max-body=1"),
    _refused("version-2-too-long", "too long goes before version", "framelet/2 v=" + "x" * 1_012),
    *(
        server(
            f"hello-version-{version}",
            f"version {version} is not spoken",
            "REQ-HELLO-4",
            [frame(HELLO, f"framelet/{version}"), ping(b"next")],
            [error(426), pong(b"next")],
        )
        for version in (2, 9, 10, 11, 255, 256, 257, 32_769, 65_535, 65_536, 65_537, 99_999)
    ),
    server(
        "hello-version-2-parameters",
        "another version with parameters",
        "REQ-HELLO-4",
        [frame(HELLO, "framelet/2 max-body=70000 new=thing")],
        [error(426)],
    ),
    server(
        "hello-answer-small-server",
        "the answer states the server's own maximum, not the client's",
        "REQ-HELLO-1",
        [frame(HELLO, "framelet/1 max-body=1000000")],
        [hello(SMALL_MAX)],
        needs=SMALL,
    ),
    server(
        "hello-later",
        "HELLO behind other frames",
        "REQ-HELLO-6 REQ-ORDER-2",
        [request("ab"), frame(HELLO, "framelet/1"), request("cd")],
        [reply("ba"), hello(), reply("dc")],
        needs=DEFAULT,
    ),
    server(
        "hello-often",
        "HELLO three times",
        "REQ-HELLO-6 REQ-ORDER-1",
        [frame(HELLO, "framelet/1"), frame(HELLO, "framelet/1 a=b"), frame(HELLO, "framelet/1")],
        [hello(), hello(), hello()],
        needs=DEFAULT,
    ),
]

_AROUND = [number + more for number in (2**8, 2**16, 2**31, 2**32) for more in (-1, 0, 1)]
_WRAPPED = (1, 255, 256, 257, 2**32 + 1, 2**32 + 65_536, 2**33 - 1)
_LIMITS = (2**17, 2**24, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1)

_SMALL_HELLO = frame(HELLO, "framelet/1 max-body=65536")
_LARGE = Run(b"a", 65_537)

HELLOS += [
    *(
        server(
            f"hello-limit-{number}",
            f"a max-body of {number:,} allows an answer of 65,537 octets",
            "REQ-HELLO-5 REQ-HELLO-1",
            [frame(HELLO, f"framelet/1 max-body={number}"), request(_LARGE)],
            [hello(), reply(_LARGE)],
            needs=DEFAULT,
        )
        for number in _LIMITS
    ),
    *(
        _refused(f"max-body-{number}", f"a max-body of {number:,}", f"framelet/1 max-body={number}")
        for number in _WRAPPED
    ),
    server(
        "hello-answer-fits",
        "an answer of exactly the client's max-body",
        "REQ-HELLO-5",
        [_SMALL_HELLO, request(Run(b"a", 65_536))],
        [hello(), reply(Run(b"a", 65_536))],
        needs=DEFAULT,
    ),
    server(
        "hello-timeouts-in-range",
        "timeouts around the powers of two, each of which a number can state",
        "REQ-HELLO-8 REQ-HELLO-1",
        [
            frame(HELLO, f"framelet/1 frame-timeout-ms={number} idle-timeout-ms={number}")
            for number in _AROUND
        ],
        [hello()] * len(_AROUND),
        needs=DEFAULT,
    ),
    server(
        "hello-answer-fits-wide",
        "the client's max-body counts octets: characters of two that just fit",
        "REQ-HELLO-5",
        [_SMALL_HELLO, request(Run("\xe9".encode(), 32_768))],
        [hello(), reply(Run("\xe9".encode(), 32_768))],
        needs=DEFAULT,
    ),
    server(
        "hello-answer-too-large-wide",
        "the client's max-body counts octets: characters of two that do not fit",
        "REQ-HELLO-5",
        [_SMALL_HELLO, request(Run("\xe9".encode(), 32_769)), ping(b"next")],
        [hello(), error(451), pong(b"next")],
        needs=DEFAULT,
    ),
    server(
        "hello-answer-too-large",
        "an answer above the client's max-body becomes an ERROR in its place",
        "REQ-HELLO-5 REQ-ERROR-4",
        [_SMALL_HELLO, request(_LARGE), ping(b"next")],
        [hello(), error(451), pong(b"next")],
        needs=DEFAULT,
    ),
    server(
        "hello-application-answer-too-large",
        "the client's max-body holds for application answers",
        "REQ-HELLO-5",
        [_SMALL_HELLO, frame(0xC0, _LARGE)],
        [hello(), error(451)],
        needs=DEFAULT | {"application": "reverse"},
    ),
    server(
        "hello-holds-from-its-place",
        "a HELLO lowers the limit for the frames behind it, not for those before it",
        "REQ-HELLO-5 REQ-ORDER-2",
        [request(_LARGE), _SMALL_HELLO, request(_LARGE), ping(b"next")],
        [reply(_LARGE), hello(), error(451), pong(b"next")],
        needs=DEFAULT,
    ),
    server(
        "hello-raises-from-its-place",
        "a HELLO raises the limit for the frames behind it, not for those before it",
        "REQ-HELLO-5 REQ-HELLO-6",
        [_SMALL_HELLO, request(_LARGE), frame(HELLO, "framelet/1 max-body=65537"), request(_LARGE)],
        [hello(), error(451), hello(), reply(_LARGE)],
        needs=DEFAULT,
    ),
    server(
        "hello-last-holds",
        "a later HELLO raises max-body again",
        "REQ-HELLO-6 REQ-HELLO-5",
        [_SMALL_HELLO, frame(HELLO, "framelet/1 max-body=70000"), request(_LARGE)],
        [hello(), hello(), reply(_LARGE)],
        needs=DEFAULT,
    ),
    server(
        "hello-without-max-body-lifts-it",
        "a later HELLO without max-body lifts the limit",
        "REQ-HELLO-6 REQ-HELLO-5",
        [_SMALL_HELLO, frame(HELLO, "framelet/1"), request(_LARGE)],
        [hello(), hello(), reply(_LARGE)],
        needs=DEFAULT,
    ),
    server(
        "hello-other-version-changes-nothing",
        "a HELLO of another version leaves the limits in force",
        "REQ-HELLO-4 REQ-HELLO-6",
        [_SMALL_HELLO, frame(HELLO, "framelet/2 max-body=70000"), request(_LARGE)],
        [hello(), error(426), error(451)],
        needs=DEFAULT,
    ),
    server(
        "hello-malformed-changes-nothing",
        "a malformed HELLO leaves the limits in force",
        "REQ-HELLO-6 REQ-HELLO-5",
        [_SMALL_HELLO, frame(HELLO, "framelet/1 max-body=70000 "), request(_LARGE)],
        [hello(), error(422), error(451)],
        valid=False,
        needs=DEFAULT,
    ),
]

TOPICS = {"hello": HELLOS}
