"""Text in answers: a client closes at what is ill-formed, and delivers all else octet for octet."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from framelet import HEADER_SIZE
from framelet_conformance.expectations import error, octets
from framelet_conformance.play import case
from framelet_conformance.specification import read_vectors
from framelet_conformance.wire import frames
from framelet_conformance.wire.frames import REPLY, SAMPLE, frame, frame_end

from .shapes import ANSWERS, REQUEST, body, exchange, perform, refused

if TYPE_CHECKING:
    from framelet_conformance.play import Play


@functools.cache
def ill_formed() -> dict[str, dict[str, bytes]]:
    """The ill-formed texts of the vectors, by class and name."""
    found: dict[str, dict[str, bytes]] = {}
    for vector in read_vectors("server"):
        sent = octets(vector["send"])
        alone = sent[:1] == bytes([frames.REQUEST]) and frame_end(sent) == len(sent)
        if alone and vector["id"].startswith("utf8-") and vector["expect"] == [error(400)]:
            words = vector["id"].removeprefix("utf8-").split("-")
            kind = "-".join(words[:-1]) or words[0]
            found.setdefault(kind, {})[vector["id"]] = sent[HEADER_SIZE:]
    return found


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=case(
                f"client.utf8.{kind}",
                f"it closes at an ill-formed REPLY: {kind.replace('-', ' ')}, {len(texts)} alone",
                "REQ-TEXT-6",
                "REQ-TEXT-3",
            ),
        )
        for kind, texts in ill_formed().items()
    ],
)
def case_ill_formed(play: Play, kind: str) -> None:
    """Each text alone, on a connection of its own."""
    perform(play, *(refused(REQUEST, frame(REPLY, text)) for text in ill_formed()[kind].values()))


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=case(f"client.utf8.in-{kind}", f"it closes at an ill-formed text in {kind}", "REQ-TEXT-6"),
        )
        for kind in ("pong", "hello", "stopped", "application", "error")
    ],
)
def case_ill_formed_elsewhere(play: Play, kind: str) -> None:
    """The same in the other answers, inside and at the end."""
    ask, octet, text = ANSWERS[kind]
    bad = [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]
    perform(play, *(refused(ask, frame(octet, text.encode() + end)) for end in bad))


@case(
    "client.utf8.well-formed",
    "it delivers all that is well-formed, octet for octet",
    "REQ-TEXT-4",
    "REQ-TEXT-5",
)
def case_well_formed(play: Play) -> None:
    """The ends of each range, and what careless programs change."""
    edges = (
        "\0\x7f\x80\u07ff\u0800\u0fff\u1000\ud7ff\ue000\ufffd\ufffe\uffff"
        "\U00010000\U0003ffff\U00040000\U0010ffff"
    )
    texts = [
        *edges,
        SAMPLE,
        "\ufeff",
        "\r\n",
        " ",
        "e\u0301",
        "\u212b",
        "\u1100\u1161",
        "\u0130\u00df",
        "\u202e\u2028",
    ]
    perform(play, exchange((REQUEST, frame(REPLY, text), body(REPLY, text)) for text in texts))
