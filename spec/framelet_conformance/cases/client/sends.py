"""What a client sends: well-formed frames, octet for octet those that its program asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet_conformance.play import case
from framelet_conformance.scenario import FIN, Scenario, asked, read, send
from framelet_conformance.wire.frames import REPLY, SAMPLE, STOPPED, frame, text_of

from .shapes import body, echo, exchange, hello_of, perform

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.scenario import Asked

_FORM = ("REQ-FRAME-1", "REQ-FRAME-2", "REQ-FRAME-3")


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(sizes, marks=case(f"client.sends.{name}", f"it sends bodies of {title}", *_FORM, *more))
        for name, title, sizes, more in (
            ("empty", "no octet", [0], ()),
            ("short", "1 to 64 octets", [*range(1, 65)], ()),
            ("one-octet-length", "254 to 257 octets", [254, 255, 256, 257], ()),
            ("two-octet-length", "65,534 to 65,537 octets", [65_534, 65_535, 65_536, 65_537], ()),
            ("three-octet-length", "66,051 and 131,586 octets", [0x010203, 0x020202], ()),
        )
    ],
)
def case_sizes(play: Play, sizes: list[int]) -> None:
    """Lengths in which each octet of the field counts."""
    for name in ("REQUEST", "D5"):
        perform(play, exchange(echo(asked(name, text_of(size, size))) for size in sizes))


_WORDS: tuple[str, ...] = (
    "stop",
    "Stop",
    "STOP",
    "stop\n",
    "ping",
    "hello",
    "quit",
    "",
    "-",
    "@a",
    "/stop",
    "framelet/1",
)
_WORDS += ("400 no", "460 x", "500 over", "closed=0 cut=0", "framelet/1 max-body=65536", "\5\0\0\0\0")


@case(
    "client.sends.words",
    "it sends and takes what looks like a command or an ERROR as any text",
    "REQ-FRAME-1",
    "REQ-ORDER-6",
)
def case_words(play: Play) -> None:
    """As REQUEST, PING and application frame; the answer is the same text."""
    perform(play, exchange(echo(asked(name, word)) for name in ("REQUEST", "PING", "C0") for word in _WORDS))


_TEXTS = {
    "nul": ("NUL", "a\0b\0"),
    "bom": ("U+FEFF at the start and elsewhere", "\ufeffa\ufeff"),
    "line-ends": ("CR, LF and CRLF", "\r\na\nb\rc\r\n"),
    "spaces": ("spaces around", "  \ta  "),
    "normal-forms": ("composed and decomposed letters", "\u00e9e\u0301\u212b\uac00\u1100\u1161"),
    "case": ("letters of both cases", "aA\u00df\u0130\u01c5"),
    "noncharacters": ("noncharacters", "\ufdd0\ufffe\uffff\U0010ffff"),
    "edges": (
        "the ends of what is well-formed",
        "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff",
    ),
    "controls": ("control characters", "".join(map(chr, range(0x20))) + "\x7f\x9b"),
    "mixed": ("all of it", SAMPLE),
}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            text,
            marks=case(
                f"client.sends.text-{name}",
                f"it sends {title} unchanged",
                "REQ-FRAME-1",
                "REQ-TEXT-1",
                "REQ-TEXT-4",
            ),
        )
        for name, (title, text) in _TEXTS.items()
    ],
)
def case_texts(play: Play, text: str) -> None:
    """As REQUEST, as PING and as an application frame; and takes it back unchanged."""
    ping = text.encode()[:64].decode(errors="ignore")
    asks: list[Asked] = [asked("REQUEST", text), asked("PING", ping), asked("C1", text)]
    perform(play, exchange(echo(item) for item in asks))


@case("client.sends.ping", "it sends PINGs of 0 to 64 octets", "REQ-FRAME-1", "REQ-PING-3")
def case_ping(play: Play) -> None:
    """Each with its own PONG."""
    perform(play, exchange(echo(asked("PING", text_of(size, size))) for size in range(65)))


@case("client.sends.application", "it sends each of the 64 application types", "REQ-FRAME-1", "REQ-ORDER-6")
def case_application(play: Play) -> None:
    """Each with an answer of its own type."""
    perform(play, exchange(echo(asked(f"{octet:02X}", f"type {octet}")) for octet in range(0xC0, 0x100)))


@case("client.sends.hello", "its HELLO is of version 1 and well-formed", "REQ-FRAME-1", "REQ-HELLO-6")
def case_hello(play: Play) -> None:
    """First, between other frames, and more than once."""
    hello = hello_of()
    perform(play, exchange([hello, echo(asked("REQUEST", "ab")), hello, hello]))


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(
            token, marks=case(f"client.sends.stop-{name}", f"it sends STOP with {title}", "REQ-FRAME-1")
        )
        for name, title, token in (
            ("empty", "no token", ""),
            ("token", "a token", "secret"),
            ("unicode", "a token beyond ASCII", "s\u00e9cr\u20act \U0001f600"),
            ("untrimmed", "a token with spaces, line ends and NUL", " \t\ufeffs\0\0 \r\n"),
        )
    ],
)
def case_stop(play: Play, token: str) -> None:
    """STOPPED, then the end."""
    perform(
        play,
        Scenario(
            ask=(asked("REQUEST", "ab"), asked("STOP", token)),
            steps=(read(2), send(frame(REPLY, "ba") + frame(STOPPED, "closed=2 cut=1")), FIN),
            expect=(body(REPLY, "ba"), {"type": "STOPPED", "parameters": {"closed": "2", "cut": "1"}}),
            then="closed",
        ),
    )
