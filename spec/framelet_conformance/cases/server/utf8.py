"""Each class of malformed UTF-8 alone in each type that carries text, and every scalar value there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.wire import frames
from framelet_conformance.wire.frames import frame

if TYPE_CHECKING:
    from framelet_conformance.play import Play

CLASSES = {
    "lone-continuation": "80",
    "lone-lead-2": "c3",
    "cut-3": "e282",
    "cut-4": "f09f98",
    "overlong-2": "c080",
    "overlong-2-end": "c1bf",
    "overlong-3": "e09fbf",
    "overlong-4": "f08fbfbf",
    "surrogate-low-end": "eda080",
    "surrogate-high-end": "edbfbf",
    "surrogate-pair": "eda0bdedb880",
    "above-10ffff": "f4908080",
    "lead-f5": "f5808080",
    "five-octets": "f888808080",
    "six-octets": "fc8480808080",
    "never-fe": "fe",
    "never-ff": "ff",
}
_TYPES = {
    "request": frames.REQUEST,
    "ping": frames.PING,
    "hello": frames.HELLO,
    "stop": frames.STOP,
    "application": frames.APPLICATION,
}
_PLACES = {"alone": b"%s", "first": b"%sz", "last": b"a%s", "between": b"a%sz"}


@pytest.mark.parametrize(
    ("octet", "malformed"),
    [
        pytest.param(
            octet,
            bytes.fromhex(text),
            marks=case(
                f"utf8.{kind}.{name}",
                f"a body of type {octet:02X} with {text}, alone and beside good text, is ill-formed",
                "REQ-TEXT-2",
                "REQ-TEXT-3",
                "REQ-ERROR-4",
            ),
        )
        for kind, text in CLASSES.items()
        for name, octet in _TYPES.items()
    ],
)
def case_malformed(play: Play, octet: int, malformed: bytes) -> None:
    """Each place of the malformed octets in a frame of its own, with its own answer."""
    # A server that takes no notice of the text must not be ended by this STOP.
    server = play.target.server(stop="off") if octet == frames.STOP else play.target.server()
    for place in _PLACES.values():
        prefix = b"framelet/1 k=" if octet == frames.HELLO else b""
        with play.open(server) as conversation:
            conversation.send(frame(octet, prefix + place % malformed) + frame(1, "ab"))
            judge(conversation, [error(400), reply("ab")], "open", play=play)


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(
            size,
            marks=case(
                f"utf8.far-inside.{size}",
                f"malformed octets after {size:,} good ones are found, and so are good ones after them",
                "REQ-TEXT-2",
                "REQ-TEXT-3",
            ),
        )
        for size in (127, 255, 1_023, 4_095, 8_191, 65_530)
    ],
)
def case_far_inside(play: Play, size: int) -> None:
    """Within 65,536 octets; the good ones may be of three octets, so that a piece may end inside one."""
    with play.dial() as conversation:
        for good in (b"a" * size, "\u20ac".encode() * (size // 3)):
            for body in (good + b"\xc3", good + b"\xff"):
                conversation.send(frame(1, body) + frame(1, good + b"b"))
                judge(conversation, [error(400), reply((good + b"b").decode())], "open", play=play)


@case(
    "utf8.errors-are-well-formed",
    "each ERROR is well-formed and short, whatever the frame holds that it answers",
    "REQ-TEXT-1",
    "REQ-ERROR-1",
    "REQ-ERROR-14",
)
def case_errors(play: Play) -> None:
    """Who quotes the first octets of a body, or leaves out its last, must cut between characters.

    Each of these bodies has a character across every other octet, and those at the odd ones in its twin.
    """
    server = play.target.server(stop="off", application="none")
    with play.open(server) as conversation:
        for count in (20, 100, 1_000, 30_000):
            for body in (text := "\u00e9" * count, f"x{text}", f"{text}x", f"x{text}x"):
                for octet, octets, code in (
                    (frames.REQUEST, body.encode() + b"\xff", 400),
                    (frames.PING, body.encode() + b"-" * 64, 413),
                    (frames.HELLO, body.encode(), 422),
                    (frames.APPLICATION, body.encode(), 404),
                    (frames.STOP, body.encode(), 403),
                ):
                    conversation.send(frame(octet, octets))
                    judge(conversation, [error(code)], "silent", play=play)


@pytest.mark.parametrize(
    "character",
    [
        pytest.param(
            character,
            marks=case(
                f"utf8.across-frames.u{ord(character):x}",
                f"a character of {len(character.encode())} octets in two bodies is ill-formed in both",
                "REQ-TEXT-2",
                "REQ-FRAME-3",
            ),
        )
        for character in "\u00e9\u20ac\U0001f600"
    ],
)
def case_across(play: Play, character: str) -> None:
    """No state of the text goes from one frame to the next."""
    octets = character.encode()
    with play.dial() as conversation:
        for cut in range(1, len(octets)):
            conversation.send(frame(1, octets[:cut]) + frame(1, octets[cut:]) + frame(1, octets))
            judge(conversation, [error(400), error(400), reply(character)], "open", play=play)


@case(
    "utf8.every-scalar-value",
    "each of the 1,112,064 scalar values is kept and put in its place",
    "REQ-TEXT-4",
    "REQ-TEXT-5",
    "REQ-REV-1",
    "REQ-SIZE-1",
)
def case_every_scalar(play: Play) -> None:
    """In REQUESTs of up to 65,536 octets, compared octet for octet."""
    values = [*range(0xD800), *range(0xE000, 0x110000)]
    step = 16_384
    with play.dial() as conversation:
        for start in range(0, len(values), step):
            text = "".join(map(chr, values[start : start + step]))
            conversation.send(frame(1, text))
            judge(conversation, [reply(text)], "open", play=play)


@case(
    "utf8.every-scalar-value-echoed",
    "PING keeps scalar values of all planes octet for octet",
    "REQ-PING-1",
    "REQ-TEXT-4",
)
def case_every_echo(play: Play) -> None:
    """Sixteen values at a time, each plane's first and last pages."""
    texts = []
    for plane in range(17):
        for page in (0x0000, 0x0100, 0x0300, 0x1E00, 0x2000, 0xF900, 0xFE00, 0xFF00):
            first = (plane << 16) + page
            texts.append("".join(map(chr, range(first, first + 16))))
    with play.dial() as conversation:
        for text in texts:
            conversation.send(frame(6, text))
        judge(conversation, [pong(text) for text in texts], "open", play=play)
