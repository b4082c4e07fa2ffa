"""Which sizes of bodies a client takes, which it refuses, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet import HEADER_SIZE
from framelet.limits import DEFAULT_MAX_BODY, MIN_MAX_BODY
from framelet_conformance.expectations import error
from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, FIN, Scenario, asked, pause, read, send, weigh
from framelet_conformance.verdicts import Failed, NonStrict
from framelet_conformance.wire.frames import ERROR, HELLO, PONG, REPLY, STOPPED, frame, header

from .shapes import REQUEST, body, exchange, hello_of, perform, refused, taken

if TYPE_CHECKING:
    from framelet_conformance.play import Play


@pytest.mark.parametrize(
    "length",
    [
        pytest.param(
            length,
            marks=case(
                f"client.size.{name}", f"it refuses {title} at the header", "REQ-SIZE-2", "REQ-SIZE-4", *more
            ),
        )
        for name, title, length, more in (
            ("maximum-plus-one", "a REPLY of its maximum and one octet", MIN_MAX_BODY + 1, ()),
            ("2-to-24", "a REPLY of 2^24 octets", 1 << 24, ()),
            ("2-to-31-minus-one", "a REPLY of 2^31 - 1 octets", (1 << 31) - 1, ()),
            ("2-to-31", "a REPLY of 2^31 octets", 1 << 31, ("REQ-FRAME-2",)),
            ("2-to-31-plus-one", "a REPLY of 2^31 + 1 octets", (1 << 31) + 1, ("REQ-FRAME-2",)),
            ("2-to-32-minus-one", "a REPLY of 2^32 - 1 octets", (1 << 32) - 1, ("REQ-FRAME-2",)),
        )
    ],
)
def case_too_large(play: Play, length: int) -> None:
    """With a maximum of 65,536 octets; for each type that a server may send, the discarded ones too."""
    types = {
        "REQUEST": (REPLY, ERROR, 0x80),
        "C0": (0xC0,),
        "PING": (PONG,),
        "STOP": (STOPPED,),
        "HELLO": (HELLO,),
    }
    for name, octets_ in types.items():
        ask = asked(name, "" if name in {"STOP", "HELLO"} else "ab")
        perform(play, *(refused(ask, header(octet, length), max_body=MIN_MAX_BODY) for octet in octets_))


@case(
    "client.size.default",
    "it refuses 2^24 + 1 octets when nothing else was chosen",
    "REQ-SIZE-2",
    "REQ-SIZE-3",
)
def case_above_default(play: Play) -> None:
    """A larger maximum may be somebody's choice, so this is not strict."""
    try:
        perform(play, refused(REQUEST, header(REPLY, DEFAULT_MAX_BODY + 1)))
    except Failed as fault:
        message = f"its default maximum is not 16,777,216 octets, as it SHOULD be: {fault.reason}"
        raise NonStrict(message) from None


@pytest.mark.parametrize(
    ("size", "maximum"),
    [
        pytest.param(
            size, maximum, marks=case(f"client.size.{name}", f"it takes {title}", "REQ-SIZE-1", "REQ-SIZE-2")
        )
        for name, title, size, maximum in (
            ("minimum-minus-one", "65,535 octets", MIN_MAX_BODY - 1, MIN_MAX_BODY),
            ("minimum", "65,536 octets", MIN_MAX_BODY, MIN_MAX_BODY),
            ("maximum-minus-one", "its maximum less one octet", 69_999, 70_000),
            ("maximum", "exactly its maximum", 70_000, 70_000),
        )
    ],
)
def case_large_enough(play: Play, size: int, maximum: int) -> None:
    """A REPLY and an ignorable frame of this size."""
    text = "\u20ac" * (size // 3) + "a" * (size % 3)
    noise = frame(0x80, b"\xff" * size)
    perform(play, taken(REQUEST, noise + frame(REPLY, text) + noise, body(REPLY, text), max_body=maximum))


@case(
    "client.size.error",
    "it takes an ERROR of 1,024 octets, and closes at one of 1,025",
    "REQ-ERROR-11",
    "REQ-ERROR-14",
)
def case_error_size(play: Play) -> None:
    """Also where its maximum body size is far above."""
    perform(
        play,
        taken(REQUEST, frame(ERROR, "400 " + "x" * 1_020), error(400)),
        refused(REQUEST, frame(ERROR, "400 " + "x" * 1_021)),
        refused(REQUEST, frame(ERROR, "500 " + "x" * 1_021)),
        refused(REQUEST, frame(ERROR, "400 " + "x" * 30_000)),
    )


@case("client.size.stopped", "it closes at a STOPPED of more than 1,024 octets", "REQ-STOP-17")
def case_stopped_size(play: Play) -> None:
    """Also where its maximum body size is far above."""
    ask = asked("STOP", "")
    perform(
        play, *(refused(ask, frame(STOPPED, "closed=0 cut=0 a=" + "x" * size)) for size in (1_008, 30_000))
    )


@case(
    "client.size.powers-of-two",
    "it takes answers that are as long as reads often are, or an octet more or less",
    "REQ-FRAME-4",
    "REQ-SIZE-1",
)
def case_powers_of_two(play: Play) -> None:
    """Whole frames of 2^9 to 2^18 octets, header included; the next answer waits until each is taken."""
    sizes = [(1 << power) + more - HEADER_SIZE for power in range(9, 19) for more in (-1, 0, 1)]
    replies = ((REQUEST, frame(REPLY, b"a" * size), body(REPLY, b"a" * size)) for size in sizes)
    perform(play, exchange(replies, pipeline=False))


@case("client.size.large", "it takes answers as large as it was told to", "REQ-SIZE-2", "REQ-SIZE-4")
def case_large(play: Play) -> None:
    """Of 1 MiB and one octet, and 2 MiB; an octet more is refused."""
    maximum = 1 << 21
    found = (b"a" * size for size in ((1 << 20) + 1, maximum))
    replies = ((REQUEST, frame(REPLY, octets), body(REPLY, octets)) for octets in found)
    perform(play, exchange(replies, pipeline=False, max_body=maximum))
    perform(play, refused(REQUEST, header(REPLY, maximum + 1), max_body=maximum))


@case(
    "client.size.of-the-server",
    "the max-body of the server's HELLO is no limit for what it sends itself",
    "REQ-SIZE-1",
    "REQ-SIZE-2",
)
def case_limit_of_the_server(play: Play) -> None:
    """A REPLY larger than that is taken; one larger than the client's own maximum is not."""
    reply = b"a" * 70_000
    perform(play, exchange([hello_of(), (REQUEST, frame(REPLY, reply), body(REPLY, reply))], pipeline=False))
    hello, octets, stated = hello_of("framelet/1 max-body=4294967295")
    perform(
        play,
        Scenario(
            ask=(hello, REQUEST),
            steps=(read(), send(octets), read(), send(header(REPLY, MIN_MAX_BODY + 1))),
            expect=(stated, FAILED),
            then="closed",
            pipeline=False,
            max_body=MIN_MAX_BODY,
        ),
    )


@case(
    "client.size.nothing-set-aside",
    "a header that announces 512 MiB takes no memory before the body comes",
    "REQ-SIZE-5",
)
def case_nothing_set_aside(play: Play) -> None:
    """Of a REPLY, and of an ignorable frame; within its maximum; one octet of the body comes."""
    announced = 1 << 29
    for octet in (REPLY, 0x80):
        look = (send(header(octet, announced) + b"x"), pause(0.25), weigh(announced // 4))
        perform(
            play,
            Scenario(
                ask=(REQUEST, REQUEST),
                steps=(read(), send(frame(REPLY, "ba")), read(), weigh(), *look, FIN),
                expect=(body(REPLY, "ba"), FAILED),
                then="closed",
                pipeline=False,
                max_body=announced,
            ),
        )
