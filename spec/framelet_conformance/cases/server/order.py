"""One answer for each frame, in order; nothing before, between or after."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.judging.server_model import Facts, predict
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed
from framelet_conformance.wire import frames
from framelet_conformance.wire.frames import SAMPLE, frame, text_of

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_FIRST = {
    "request": (frame(frames.REQUEST, "ab"), [reply("ab")]),
    "empty-request": (frame(frames.REQUEST), [reply("")]),
    "ping": (frame(frames.PING, "p"), [pong("p")]),
    "hello": (frame(frames.HELLO, "framelet/1"), [{"type": "HELLO", "parameters": {}}]),
    "ignorable": (frame(frames.IGNORABLE, b"\xff"), []),
}


@case("order.no-greeting", "a server says nothing before it is asked", "REQ-ORDER-3", "REQ-ORDER-5")
def case_no_greeting(play: Play) -> None:
    """Quiet for a while, then an ordinary answer."""
    with play.dial() as conversation:
        conversation.pause(play.times.quiet)
        if conversation.waiting:
            message = f"octets came before anything was sent: {conversation.waiting[:32].hex(' ')}"
            raise Failed(message)
        conversation.send(frame(1, "ab"))
        judge(conversation, [reply("ab")], "open", play=play)


@case(
    "order.nothing-behind", "nothing follows the answers while nothing is asked", "REQ-ORDER-1", "REQ-ORDER-3"
)
def case_nothing_behind(play: Play) -> None:
    """Every answer, then quiet."""
    with play.dial() as conversation:
        conversation.send(frame(1, "ab") + frame(6, "p") + frame(0x80, "i") + frame(1, b"\xff"))
        judge(conversation, [reply("ab"), pong("p"), error(400)], "open")
        conversation.pause(play.times.quiet)
        if conversation.waiting:
            message = f"octets came that answer nothing: {conversation.waiting[:32].hex(' ')}"
            raise Failed(message)
        judge(conversation, [], "open", play=play)


@pytest.mark.parametrize(
    ("sent", "expect"),
    [
        pytest.param(
            sent,
            expect,
            marks=case(f"order.first-{name}", f"{name} may be the first frame", "REQ-ORDER-5", "REQ-ORDER-1"),
        )
        for name, (sent, expect) in _FIRST.items()
    ],
)
def case_first(play: Play, sent: bytes, expect: list[dict[str, Any]]) -> None:
    """No other frame before it."""
    with play.dial() as conversation:
        conversation.send(sent)
        judge(conversation, expect, "open", play=play)


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(
            seed,
            marks=case(
                f"order.mixed-{seed}",
                "2,000 frames of all kinds in one pipeline, each answered in its place",
                "REQ-ORDER-1",
                "REQ-ORDER-2",
                "REQ-ORDER-4",
                "REQ-FRAME-1",
            ),
        )
        for seed in range(1, 4)
    ],
)
def case_mixed(play: Play, seed: int) -> None:
    """Long and short, good and bad, cut at random places."""
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    server = play.target.server()
    parts = []
    for number in range(2_000):
        size = chance.choice([0, 1, 7, 50, 50, 300, 300, 3_000])
        parts.append(
            chance.choice(
                [
                    frame(frames.REQUEST, text_of(size, number)),
                    frame(frames.PING, f"{number}"),
                    frame(frames.REQUEST, f"{number}".encode() + b"\xff"),
                    frame(0x80 + number % 64, b"\xff" * size),
                    frame(frames.PING, "x" * 65),
                    frame(frames.HELLO, "framelet/2"),
                ]
            )
        )
    sent = b"".join(parts)
    outcome = predict(sent, Facts(server.max_body or 65_536), eof=False)
    with play.open(server) as conversation:
        place = 0
        while place < len(sent):
            step = chance.choice([1, 5, 100, 5_000, 50_000])
            conversation.send(sent[place : place + step])
            place += step
        judge(conversation, outcome.expect, "open", play=play)


@case(
    "order.long-before-short",
    "the answer to a large REQUEST comes before those to small ones behind it",
    "REQ-ORDER-2",
)
def case_long_before_short(play: Play) -> None:
    """What is quickly answered must wait."""
    long = text_of(65_536)
    with play.dial() as conversation:
        conversation.send(frame(1, long) + frame(6, "p") + frame(1, SAMPLE) + frame(1, long) + frame(6, "q"))
        expect = [reply(long), pong("p"), reply(SAMPLE), reply(long), pong("q")]
        judge(conversation, expect, "open", play=play)


@case(
    "order.error-in-place",
    "each recoverable ERROR stands in the place of its frame",
    "REQ-ORDER-2",
    "REQ-TEXT-2",
    "REQ-ERROR-4",
    "REQ-PING-2",
    "REQ-HELLO-4",
    "REQ-HELLO-3",
)
def case_error_in_place(play: Play) -> None:
    """Good ones between bad ones."""
    bad = [
        (frame(1, b"\xc0\x80"), 400),
        (frame(6, "x" * 65), 413),
        (frame(8, "framelet/2"), 426),
        (frame(8, "framelet"), 422),
    ]
    sent = b""
    expect: list[dict[str, Any]] = []
    for number in range(100):
        octets, code = bad[number % 4]
        sent += frame(1, f"n{number}") + octets
        expect += [reply(f"n{number}"), error(code)]
    with play.dial() as conversation:
        conversation.send(sent)
        judge(conversation, expect, "open", play=play)
