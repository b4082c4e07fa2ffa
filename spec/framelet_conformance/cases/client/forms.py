"""The forms that the bodies of HELLO, STOPPED, ERROR and PONG must have, and the codes of ERROR."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet_conformance.expectations import error
from framelet_conformance.play import case
from framelet_conformance.scenario import asked
from framelet_conformance.wire.frames import ERROR, PONG, frame

from .shapes import ANSWERS, REQUEST, exchange, perform, refused, taken

if TYPE_CHECKING:
    from framelet_conformance.expectations import Expectation
    from framelet_conformance.play import Play
    from framelet_conformance.scenario import Asked, Scenario

_HELLOS = {
    "key-twice": "framelet/1 max-body=65536 max-body=65536",
    "unknown-key-twice": "framelet/1 a=1 max-body=65536 a=1",
    "too-small": "framelet/1 max-body=65535",
    "too-large": "framelet/1 max-body=4294967296",
    "leading-zero": "framelet/1 max-body=065536",
    "no-number": "framelet/1 max-body=many",
    "timeout-no-number": "framelet/1 max-body=65536 idle-timeout-ms=soon",
    "trailing-space": "framelet/1 max-body=65536 ",
    "leading-space": " framelet/1 max-body=65536",
    "nul": "framelet/1 max-body=65536\0",
    "bom": "\ufeffframelet/1 max-body=65536",
    "no-value": "framelet/1 max-body",
    "capital-key": "framelet/1 Max-Body=65536",
    "long-key": f"framelet/1 max-body=65536 {'k' * 33}=1",
    "version-leading-zero": "framelet/01 max-body=65536",
    "version-10": "framelet/10 max-body=65536",
    "version-six-digits": "framelet/100000 max-body=65536",
    "too-long": "framelet/1 max-body=65536 x=" + "y" * 1_000,
}
_STOPPEDS = {
    "empty": "",
    "no-cut": "closed=0",
    "no-closed": "cut=0",
    "key-twice": "closed=0 cut=0 cut=0",
    "unknown-key-twice": "closed=0 cut=0 a=1 a=1",
    "leading-zero": "closed=00 cut=0",
    "negative": "closed=-1 cut=0",
    "no-number": "closed=x cut=0",
    "two-spaces": "closed=0  cut=0",
    "trailing-space": "closed=0 cut=0 ",
    "newline": "closed=0 cut=0\n",
    "words": "stopped",
}
_ERRORS = {
    "no-space": "400",
    "colon": "400: x",
    "letter": "400x",
    "hyphen": "400-x",
    "tab": "400\tx",
    "wide-space": "400\u00a0x",
    "digit": "4000",
    "two-digits": "40 x",
    "hexadecimal": "4f0 x",
    "five": "40000 x",
    "class-1": "100 x",
    "class-9": "900 x",
    "arabic-digits": "\u0664\u0660\u0660 x",
    "nul": "400\0x",
    "newline-first": "\n400 x",
}


_NO_NUMBERS = (
    *("", " 70000", "+70000", "-70000", "0x11170", "70_000", "70,000", "70000.0", "7e4", "070000", "00"),
    *("70000;", "70000=", "70000=70000", '"70000"', "'70000'", "70000k", "70000\t", "\t70000", "70000\0"),
    *("70000\n", "70000\r\n", "\uff17\uff10\uff10\uff10\uff10", "7\u0660000", "7\u00b2000", "70000\u00a0"),
    *("10000000000", "18446744073709621616", "1" * 400, "inf", "true", "null", "-0", "+0", "-1", "0x0"),
)
"""What is no number; 18446744073709621616 is 2^64 + 70,000."""

_NO_PARAMETERS = (
    *("a", "a=", "=", "=1", "=a=1", "A=1", "aB=1", "a_b=1", "a.b=1", "1a=1", "-a=1", "\xe9=1", "a\xe9=1"),
    *(
        "a=\xe9",
        "a=\u20ac",
        "a=\x7f",
        "a=\x1f",
        "a=1\0",
        "a\0=1",
        "a=\ufeff",
        "a=\u0661",
        "a=\u00a0",
        "a=1\x80",
    ),
    *(
        "a=1\tb=2",
        "a=1\nb=2",
        "a=1  b=2",
        "a=1 ",
        " a=1",
        "a=1\r\n",
        "a =1",
        "a= 1",
        "a=1 a=1",
        "a=1 b=2 a=3",
    ),
    *("a=1 b", "a=1 b=", "b= a=1", "b a=1", f"{'k' * 33}=1", "max-body", "max-body:1", "MAX-BODY=70000"),
)
_NO_VERSIONS = (
    *(
        "",
        "framelet",
        "framelet/",
        "framelet/0",
        "framelet/00001",
        "framelet/+1",
        "framelet/-1",
        "framelet/1.",
    ),
    *(
        "framelet/1.0",
        "framelet/1_0",
        "framelet/0x1",
        "framelet/\uff11",
        "framelet/\u0661",
        "framelet/\u00b9",
    ),
    *("framelet/ 1", "framelet /1", "framelet 1", "framelet1", "framelet//1", "framelet/1/", "framelet/1;"),
    *("framelet/1,a=1", "framelet/1\ta=1", "framelet/1\na=1", "framelet/1a=1", "framelet/1=1", "xframelet/1"),
    *(
        "Framelet/1",
        "framelets/1",
        "/1",
        "1",
        "framelet/1\0",
        "framelet/1\u00a0",
        "framelet/one",
        "framelet/11",
    ),
    *("framelet/18446744073709551617", "framelet/4294967297"),
)
_PARAMETERS = {
    "hello-max-body": ("hello", [f"framelet/1 max-body={number}" for number in _NO_NUMBERS]),
    "hello-frame-timeout": ("hello", [f"framelet/1 frame-timeout-ms={number}" for number in _NO_NUMBERS]),
    "hello-idle-timeout": ("hello", [f"framelet/1 idle-timeout-ms={number}" for number in _NO_NUMBERS]),
    "hello-parameters": ("hello", [f"framelet/1 {text}" for text in _NO_PARAMETERS]),
    "hello-known-twice": (
        "hello",
        [
            f"framelet/1 {key}=70000 {more}{key}={other}"
            for key in ("max-body", "frame-timeout-ms", "idle-timeout-ms")
            for more in ("", "a=1 ")
            for other in (70_000, 80_000)
        ],
    ),
    "hello-versions": ("hello", _NO_VERSIONS),
    "stopped-closed": ("stopped", [f"closed={number} cut=0" for number in _NO_NUMBERS]),
    "stopped-cut": ("stopped", [f"closed=0 cut={number}" for number in _NO_NUMBERS]),
    "stopped-parameters": ("stopped", [f"closed=0 cut=0 {text}" for text in _NO_PARAMETERS]),
}
_ILL_FORMED = (b"a=\xff", b"a=\xc3", b"a=\xed\xa0\x80", b"\xc0\xbda=1", b"a\xc0\xbd1")


def _forms(kind: str, bodies: dict[str, str], title: str, requirement: str) -> list[object]:
    ask, octet, _ = ANSWERS[kind]
    return [
        pytest.param(
            refused(ask, frame(octet, text)),
            marks=case(
                f"client.form.{kind}-{name}", f"it closes at {title}: {name.replace('-', ' ')}", requirement
            ),
        )
        for name, text in bodies.items()
    ]


@pytest.mark.parametrize(
    "scenario",
    [
        *_forms("hello", _HELLOS, "a HELLO of another form", "REQ-HELLO-7"),
        *_forms("stopped", _STOPPEDS, "a STOPPED of another form", "REQ-STOP-14"),
        *_forms("error", _ERRORS, "an ERROR of another form", "REQ-ERROR-11"),
        *(
            pytest.param(
                refused(asked("PING", ping), frame(PONG, text)),
                marks=case(
                    f"client.form.pong-{name}", f"it closes at a PONG that differs: {name}", "REQ-PING-3"
                ),
            )
            for name, ping, text in (
                ("empty", "x\u20acy", ""),
                ("shorter", "x\u20acy", "x\u20ac"),
                ("longer", "x\u20acy", "x\u20acy "),
                ("reversed", "x\u20acy", "y\u20acx"),
                ("case", "x\u20acy", "X\u20acy"),
                ("other", "x\u20acy", "xxxxx"),
                ("behind-nul", "x\0y", "x\0z"),
                ("normal-form", "\xe9", "e\u0301"),
                ("bom", "x", "\ufeffx"),
                ("not-empty", "", "x"),
                ("last-octet", "x" * 64, "x" * 63 + "y"),
            )
        ),
    ],
)
def case_forms(play: Play, scenario: Scenario) -> None:
    """A body of another form in the right type."""
    perform(play, scenario)


@pytest.mark.parametrize(
    ("kind", "bodies"),
    [
        pytest.param(
            kind,
            bodies,
            marks=case(
                f"client.form.{name}",
                f"it closes at each {kind.upper()} almost of the right form: {name.partition('-')[2]}",
                "REQ-HELLO-7" if kind == "hello" else "REQ-STOP-14",
            ),
        )
        for name, (kind, bodies) in _PARAMETERS.items()
    ],
)
def case_parameters(play: Play, kind: str, bodies: list[str]) -> None:
    """One thing wrong in each."""
    ask, octet, text = ANSWERS[kind]
    wrong = [body.encode() for body in bodies]
    if "parameters" in play.case.id:
        wrong += [f"{text} ".encode() + octets for octets in _ILL_FORMED]
    perform(play, *(refused(ask, frame(octet, body)) for body in wrong))


@case("client.form.hello-good", "it takes every HELLO that is well-formed", "REQ-HELLO-2", "REQ-HELLO-7")
def case_good_hellos(play: Play) -> None:
    """Keys it knows, keys it does not know and keys that are almost known; the largest and the smallest.

    Each on a connection of its own, and all on one, each of them twice.
    """
    ask, octet, _ = ANSWERS["hello"]
    bodies = [
        ("65536", "framelet/1 max-body=65536"),
        ("4294967295", "framelet/1 max-body=4294967295"),
        ("70000", "framelet/1 x=~! max-body=70000 frame-timeout-ms=0 idle-timeout-ms=9999999999"),
        ("70000", "framelet/1 a=b=c== z-=!~ max-body=70000"),
        ("70000", f"framelet/1 {'k' * 32}=1 a-9=b max-body=70000"),
        ("70000", "framelet/1 max-body=70000 x=" + "y" * 994),
        ("70000", "framelet/1 max-bod=1 max-body-=x max-body2=-1 x-max-body=0 maxbody=many max-body=70000"),
        ("70000", "framelet/1 a=max-body=1 b=1,max-body=2 max-body=70000 c=max-body=3 d=framelet/2"),
        ("70000", "framelet/1 frame-timeout=soon idle-timeout-m=x idle-timeout-ms-=-1 max-body=70000"),
        ("70000", "framelet/1 frame-timeout-ms=9999999999 max-body=70000 idle-timeout-ms=0 closed=x cut=-1"),
        ("70000", f'framelet/1 a=-1 b=+0 c=00 d=% e=%20 f=\\n g="" h={"9" * 99} max-body=70000'),
    ]
    found: list[tuple[Asked, bytes, Expectation]] = [
        (ask, frame(octet, text), {"type": "HELLO", "parameters": {"max-body": size}})
        for size, text in bodies
    ]
    perform(play, *(taken(*each) for each in found))
    perform(play, exchange([each for each in found for _ in range(2)], pipeline=False))


@case(
    "client.error.all-recoverable",
    "it takes each code from 400 to 499 as recoverable, and hands it on",
    "REQ-ERROR-10",
    "REQ-ERROR-12",
    "REQ-ERROR-16",
)
def case_recoverable(play: Play) -> None:
    """All hundred, each in place of the answer to one frame."""
    perform(
        play,
        exchange((REQUEST, frame(ERROR, f"{code} text {code}"), error(code)) for code in range(400, 500)),
    )


@case(
    "client.error.all-fatal",
    "it takes each code from 500 to 599 as fatal, and hands it on",
    "REQ-ERROR-10",
    "REQ-ERROR-12",
    "REQ-ERROR-16",
)
def case_fatal(play: Play) -> None:
    """All hundred, each on a connection of its own, and with another ERROR after some."""
    perform(play, *(refused(REQUEST, frame(ERROR, f"{code} 400 x"), fatal=code) for code in range(500, 600)))
    first = frame(ERROR, "501 x")
    perform(play, *(refused(REQUEST, first + frame(ERROR, text), fatal=501) for text in ("502 x", "400 x")))
