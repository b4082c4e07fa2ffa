"""What a client must refuse to send: text that is ill-formed, types that do not exist, bodies too large."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from framelet.registry import TypeRange, type_kinds
from framelet_conformance.expectations import error
from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, Scenario, asked, maybe, read, send
from framelet_conformance.wire.frames import ERROR, REPLY, frame

from .shapes import (
    HELLO_BODY,
    NEXT_PING,
    NEXT_PONG,
    NEXT_PONG_OCTETS,
    REQUEST,
    body,
    echo,
    exchange,
    hello_of,
    perform,
)

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.scenario import Asked


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
    for name in ("PING", "STOP", "C0"):
        perform(play, _withheld(asked(name, b"\xff"), _FIRST))


@case(
    "client.sends.withheld-in-pipeline",
    "no answer is awaited for a frame that it refused to send",
    "REQ-ORDER-6",
    "REQ-TEXT-1",
)
def case_withheld_in_pipeline(play: Play) -> None:
    """The second of three; the third is sent or not."""
    perform(
        play,
        Scenario(
            ask=(REQUEST, asked("REQUEST", b"\xff"), asked("REQUEST", "cd")),
            steps=(read(), send(frame(REPLY, "ba")), maybe(frame(REPLY, "dc"))),
            expect=(body(REPLY, "ba"), FAILED, [body(REPLY, "dc"), FAILED]),
            then="closed",
            skips=frozenset({1}),
        ),
    )


@case(
    "client.sends.no-reserved-type",
    "it refuses to send types that are never assigned, or not yet",
    "REQ-TYPE-8",
)
def case_reserved_types(play: Play) -> None:
    """Some alone; and all in turn, where a client that goes on after the first is found out."""
    for octet in (0x00, 0x09, 0x16, 0x47, 0x7F):
        perform(play, _withheld(asked(f"{octet:02X}", "ab"), _FIRST))
    unassigned = {TypeRange.NEVER, TypeRange.CRITICAL}
    octets = [octet for octet, kind in type_kinds.items() if kind in unassigned]
    alone = _withheld(asked("00", "ab"))
    perform(
        play,
        dataclasses.replace(
            alone,
            ask=(*(asked(f"{octet:02X}", "ab") for octet in octets), NEXT_PING),
            expect=(*(FAILED,) * len(octets), alone.expect[-1]),
            skips=frozenset(range(len(octets))),
        ),
    )


@case(
    "client.sends.limit-stays",
    "a HELLO without max-body leaves the limit of an earlier one in force",
    "REQ-HELLO-9",
    "REQ-SIZE-6",
)
def case_limit_stays(play: Play) -> None:
    """The larger REQUEST must not be sent; without any limit it must be."""
    stated = hello_of()
    silent = hello_of("framelet/1")
    perform(play, _withheld(asked("REQUEST", b"a" * 65_537), stated, silent))
    perform(play, exchange([silent, echo(asked("REQUEST", b"a" * 65_537))], pipeline=False))


@case(
    "client.sends.no-larger-than-announced",
    "it sends no body larger than the max-body of the server's HELLO",
    "REQ-SIZE-6",
)
def case_announced(play: Play) -> None:
    """65,537 octets to a server that takes 65,536; exactly 65,536 pass, and more to one that takes more.

    It is octets that count, the key may stand anywhere, a refused HELLO and other answers change nothing, a
    later HELLO may take some of the limit back, and what only looks like the key is none.
    """
    hello = hello_of()
    refused = (asked("HELLO"), frame(ERROR, "426 no"), error(426))
    later = hello_of(f"framelet/1 a=b {HELLO_BODY[11:]}")
    wide = asked("REQUEST", "\xe9" * 32_769)  # 65,538 octets
    large = asked("C0", b"a" * 65_537)
    perform(play, _withheld(asked("REQUEST", b"a" * 65_537), hello))
    perform(play, _withheld(wide, hello))
    perform(play, _withheld(large, later))
    malformed = (asked("HELLO"), frame(ERROR, "422 no"), error(422))
    perform(play, _withheld(large, _FIRST, hello, refused, malformed, _FIRST))
    for name in ("PING", "STOP", "FF"):
        perform(play, _withheld(asked(name, b"a" * 65_537), hello))
    wider = hello_of("framelet/1 max-body=70000")
    perform(play, _withheld(large, wider, hello))
    for body_ in (b"a" * 65_536, "\xe9" * 32_768):
        perform(play, exchange([hello, echo(asked("REQUEST", body_))], pipeline=False))
    alike = "framelet/1 a=max-body=65536 max-body-=65536 x-max-body=65536 max-body=70000 z=max-body=65536"
    wider = hello_of(alike)
    perform(play, exchange([wider, echo(asked("REQUEST", b"a" * 65_537))], pipeline=False))
    for number in (2**16 + 1, 2**24, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1):
        wider = hello_of(f"framelet/1 max-body={number}")
        perform(play, exchange([wider, echo(asked("REQUEST", b"a" * 65_537))], pipeline=False))
