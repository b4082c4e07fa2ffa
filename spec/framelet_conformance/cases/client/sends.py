"""What a client sends: well-formed frames, octet for octet those that its program asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from framelet_conformance.expectations import error
from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, FIN, Scenario, asked, maybe, read, send
from framelet_conformance.wire.frames import ERROR, HELLO, REPLY, SAMPLE, STOPPED, frame, text_of

from .shapes import HELLO_BODY, NEXT_PING, NEXT_PONG, NEXT_PONG_OCTETS, body, echo, exchange, perform

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.scenario import Asked

_FORM = ("REQ-FRAME-1", "REQ-FRAME-2", "REQ-FRAME-3")
_HELLO = {"type": "HELLO", "parameters": {}}


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
    hello = (asked("HELLO"), frame(HELLO, HELLO_BODY), _HELLO)
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


# What a client must refuse to send.


def _withheld(item: Asked, *first: tuple[Asked, bytes, dict[str, Any]]) -> Scenario:
    """The second frame must not be sent; afterwards the client may go on or not."""
    return Scenario(
        ask=(*(ask for ask, _, _ in first), item, NEXT_PING),
        steps=(
            *(step for _, octets, _ in first for step in (read(), send(octets))),
            maybe(NEXT_PONG_OCTETS),
        ),
        expect=(*(expect for _, _, expect in first), FAILED, [NEXT_PONG, FAILED]),
        then="closed",
        pipeline=False,
        skips=frozenset({len(first)}),
    )


_FIRST = echo(asked("REQUEST", "ab"))


@case("client.sends.no-ill-formed-text", "it refuses to send what is not well-formed UTF-8", "REQ-TEXT-1")
def case_ill_formed(play: Play) -> None:
    """Each class alone."""
    for octets in ("ff", "80", "c080", "eda080", "f4908080", "6162c3"):
        perform(play, _withheld(asked("REQUEST", bytes.fromhex(octets)), _FIRST))


@case(
    "client.sends.no-reserved-type",
    "it refuses to send types that are never assigned, or not yet",
    "REQ-TYPE-8",
)
def case_reserved_types(play: Play) -> None:
    """Some of them."""
    for octet in (0x00, 0x09, 0x16, 0x47, 0x7F):
        perform(play, _withheld(asked(f"{octet:02X}", "ab"), _FIRST))


@case(
    "client.sends.limit-stays",
    "a HELLO without max-body leaves the limit of an earlier one in force",
    "REQ-HELLO-9",
    "REQ-SIZE-6",
)
def case_limit_stays(play: Play) -> None:
    """The larger REQUEST must not be sent; without any limit it must be."""
    stated = (asked("HELLO"), frame(HELLO, HELLO_BODY), _HELLO)
    silent = (asked("HELLO"), frame(HELLO, "framelet/1"), _HELLO)
    perform(play, _withheld(asked("REQUEST", b"a" * 65_537), stated, silent))
    perform(play, exchange([silent, echo(asked("REQUEST", b"a" * 65_537))], pipeline=False))


@case(
    "client.sends.no-larger-than-announced",
    "it sends no body larger than the max-body of the server's HELLO",
    "REQ-SIZE-6",
)
def case_announced(play: Play) -> None:
    """65,537 octets to a server that takes 65,536; exactly 65,536 pass, and more to one that takes more.

    It is octets that count, the key may stand anywhere, a refused HELLO changes nothing, and a later one may
    take some of the limit back.
    """
    hello = (asked("HELLO"), frame(HELLO, HELLO_BODY), _HELLO)
    refused = (asked("HELLO"), frame(ERROR, "426 no"), error(426))
    later = (asked("HELLO"), frame(HELLO, f"framelet/1 a=b {HELLO_BODY[11:]}"), _HELLO)
    wide = asked("REQUEST", "\xe9" * 32_769)  # 65,538 octets
    large = asked("C0", b"a" * 65_537)
    perform(play, _withheld(asked("REQUEST", b"a" * 65_537), hello))
    perform(play, _withheld(wide, hello))
    perform(play, _withheld(large, later))
    perform(play, _withheld(large, hello, refused))
    wider = asked("HELLO"), frame(HELLO, "framelet/1 max-body=70000"), _HELLO
    perform(play, _withheld(large, wider, hello))
    for body_ in (b"a" * 65_536, "\xe9" * 32_768):
        perform(play, exchange([hello, echo(asked("REQUEST", body_))], pipeline=False))
    for number in (2**16 + 1, 2**24, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1):
        wider = asked("HELLO"), frame(HELLO, f"framelet/1 max-body={number}"), _HELLO
        perform(play, exchange([wider, echo(asked("REQUEST", b"a" * 65_537))], pipeline=False))
