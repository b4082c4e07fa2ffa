"""Where several things hold for what comes: which one the client acts on, and what it tells its program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet.limits import MIN_MAX_BODY
from framelet_conformance.expectations import error
from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, Scenario, asked, maybe, read, send
from framelet_conformance.wire.frames import ERROR, HELLO, PONG, REPLY, STOPPED, frame, header

from .shapes import ANSWERS, NEXT_PING, NEXT_PONG_OCTETS, REQUEST, answer, body, perform, refused

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_FATAL = frame(ERROR, "500 over")
_FAULTS: dict[str, tuple[bytes, ...]] = {
    "reply": (
        *(frame(0x09, "ba"), frame(0x00), frame(0x01, "ba"), frame(REPLY, b"\xff"), frame(PONG, "ab")),
        *(frame(0xC0, "ba"), frame(ERROR, "400"), frame(ERROR, "600 x"), frame(ERROR, b"500 \xff")),
        *(frame(ERROR, "500 " + "x" * 1_021), frame(REPLY, "a" * (MIN_MAX_BODY + 1))),
    ),
    "pong": (frame(PONG, "other"), frame(PONG, b"\xff"), frame(REPLY, "x\u20acy")),
    "hello": (frame(HELLO, "framelet/2"), frame(HELLO, "framelet/1 a"), frame(HELLO, b"\xff")),
    "application": (frame(0xC1, "ab"), frame(0xC0, b"\xff")),
    "stopped": (frame(STOPPED), frame(STOPPED, b"closed=0 cut=0 a=\xff"), frame(REPLY)),
}
"""By what is asked for, faults at which a client must close."""


@case(
    "client.precedence.fault-before-fatal",
    "nothing behind a fault counts: neither a fatal ERROR nor the answer",
    "REQ-STATE-1",
    "REQ-ERROR-12",
)
def case_fault_before_fatal(play: Play) -> None:
    """They come together; the fault has closed the connection."""
    for kind, faults in _FAULTS.items():
        ask, octet, text = ANSWERS[kind]
        after = frame(octet, text) + _FATAL
        perform(
            play,
            *(
                refused(ask, fault + more, max_body=MIN_MAX_BODY)
                for fault in faults
                for more in (_FATAL, after)
            ),
        )


@case(
    "client.precedence.malformed-fatal",
    "an ERROR of another form is a fault, and no fatal ERROR, where it begins like one",
    "REQ-ERROR-11",
)
def case_malformed_fatal(play: Play) -> None:
    """Other separators, digits and lengths, and a text that is not well-formed."""
    texts: tuple[str, ...] = (
        "500",
        "500:x",
        "500x",
        "500\tx",
        "500\n",
        "500\0",
        "5000 x",
        "50 x",
        "5 x",
        "+500 x",
        " 500 x",
    )
    texts += ("500\xa0x", "\ufeff500 x", "\uff15\uff10\uff10 x", "5.0 x", "5e2 x", "500-x", "0500 x")
    octets = [*(text.encode() for text in texts), b"500 \xff", b"500 x\xc3", b"500 \xed\xa0\x80", b"500\xff"]
    perform(play, *(refused(REQUEST, frame(ERROR, each)) for each in octets))


@case(
    "client.precedence.two-faults",
    "it closes where more than one thing is wrong with a frame",
    "REQ-STATE-1",
    "REQ-SIZE-4",
)
def case_two_faults(play: Play) -> None:
    """The type, the size, the text, the form, and the order."""
    large = MIN_MAX_BODY + 1
    octets = [header(octet, large) for octet in (0x00, 0x09, 0x01, PONG, STOPPED, 0xC0, ERROR)]
    octets += [frame(octet, b"\xff") for octet in (0x09, 0x01, PONG, HELLO, STOPPED, 0xC0, ERROR)]
    octets += [frame(ERROR, b"400\xff"), frame(ERROR, b"600 \xff"), frame(ERROR, b"400 \xff" + b"x" * 1_021)]
    perform(play, *(refused(REQUEST, each, max_body=MIN_MAX_BODY) for each in octets))


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=case(
                f"client.precedence.fatal-for-{kind}",
                f"a fatal ERROR in the place of the answer, or behind it, answers nothing: {kind}",
                "REQ-ERROR-12",
            ),
        )
        for kind in ANSWERS
        if kind != "stopped"
    ],
)
def case_fatal(play: Play, kind: str) -> None:
    """Asked alone, and with more under way; and where nothing is awaited."""
    ask, octet, text = ANSWERS[kind]
    perform(play, refused(ask, _FATAL, fatal=500))
    perform(
        play,
        Scenario(
            ask=(ask, asked("STOP"), NEXT_PING),
            steps=(read(3), send(_FATAL)),
            expect=(FAILED,) * 3,
            then="closed",
            fatal=500,
        ),
        Scenario(
            ask=(ask, asked("STOP"), NEXT_PING),
            steps=(read(3), send(frame(octet, text) + _FATAL)),
            expect=(answer(octet, text), FAILED, FAILED),
            then="closed",
            fatal=500,
        ),
    )
    perform(
        play,
        Scenario(
            ask=(ask, NEXT_PING),
            steps=(read(), send(frame(octet, text) + _FATAL), maybe(NEXT_PONG_OCTETS)),
            expect=(answer(octet, text), FAILED),
            then="closed",
            fatal=500,
            pipeline=False,
        ),
    )


@case(
    "client.precedence.fatal-for-stop",
    "a fatal ERROR is no answer to a STOP",
    "REQ-ERROR-12",
)
def case_fatal_for_stop(play: Play) -> None:
    """Each code of the registry that a server sends, and one that it does not know."""
    codes = (500, 501, 502, 503, 504, 505, 507, 509, 599)
    perform(play, *(refused(asked("STOP"), frame(ERROR, f"{code} x"), fatal=code) for code in codes))


@case(
    "client.precedence.unasked-last",
    "an ERROR that nobody asked for takes no answer away",
    "REQ-ERROR-12",
    "REQ-ORDER-6",
)
def case_unasked_last(play: Play) -> None:
    """It comes with the last answer, and with an answer before others that then do not come."""
    unasked = frame(ERROR, "400 no")
    perform(
        play,
        Scenario(
            ask=(REQUEST,),
            steps=(read(), send(frame(REPLY, "ba") + unasked)),
            expect=(body(REPLY, "ba"),),
            then="closed",
        ),
    )
    perform(
        play,
        Scenario(
            ask=(REQUEST, asked("PING", "x")),
            steps=(read(2), send(frame(REPLY, "ba") + unasked + frame(PONG, "x"))),
            expect=(body(REPLY, "ba"), error(400)),
            then="closed",
        ),
    )
