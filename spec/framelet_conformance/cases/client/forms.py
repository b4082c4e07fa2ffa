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
    from framelet_conformance.play import Play
    from framelet_conformance.scenario import Scenario

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


@case("client.form.hello-good", "it takes every HELLO that is well-formed", "REQ-HELLO-2", "REQ-HELLO-7")
def case_good_hellos(play: Play) -> None:
    """Keys it knows, keys it does not know, none at all but max-body; the largest and the smallest."""
    ask, octet, _ = ANSWERS["hello"]
    bodies = [
        ("65536", "framelet/1 max-body=65536"),
        ("4294967295", "framelet/1 max-body=4294967295"),
        ("70000", "framelet/1 x=~! max-body=70000 frame-timeout-ms=0 idle-timeout-ms=9999999999"),
        ("70000", "framelet/1 a=b=c== z-=!~ max-body=70000"),
        ("70000", f"framelet/1 {'k' * 32}=1 a-9=b max-body=70000"),
        ("70000", "framelet/1 max-body=70000 x=" + "y" * 994),
    ]
    perform(
        play,
        *(
            taken(ask, frame(octet, text), {"type": "HELLO", "parameters": {"max-body": size}})
            for size, text in bodies
        ),
    )


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
