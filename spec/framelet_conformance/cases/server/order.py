"""One answer for each frame, in order; nothing before, between or after; each connection by itself."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.judging.server_model import Facts, predict
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, SetupFailed
from framelet_conformance.wire import frames
from framelet_conformance.wire.frames import ERROR, SAMPLE, frame, header, text_of

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


_MOST = 65_600


@case(
    "order.more-than-65536",
    "of 65,600 frames on one connection each is answered",
    "REQ-ORDER-1",
)
def case_many(play: Play) -> None:
    """Each PING has a number of its own."""
    with play.dial() as conversation:
        numbers = range(_MOST)
        conversation.send(b"".join(frame(frames.PING, f"{number}") for number in numbers))
        judge(conversation, [pong(f"{number}") for number in numbers], "open", play=play)


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        pytest.param(
            octets,
            answer,
            marks=case(
                f"order.more-than-65536.{name}",
                f"65,600 times {name.replace('-', ' ')} on one connection",
                "REQ-ORDER-1",
                *more,
            ),
        )
        for name, octets, answer, more in (
            ("a-request", frame(frames.REQUEST, "ab"), reply("ab"), ()),
            ("an-ignorable-frame", frame(frames.IGNORABLE, "i"), None, ("REQ-TYPE-3",)),
            ("an-ill-formed-text", frame(frames.REQUEST, b"\xff"), error(400), ("REQ-ERROR-4",)),
            ("hello", frame(frames.HELLO, "framelet/1"), _FIRST["hello"][1][0], ("REQ-HELLO-6",)),
        )
    ],
)
def case_many_of_a_kind(play: Play, octets: bytes, answer: dict[str, Any] | None) -> None:
    """Nothing counts them."""
    with play.dial() as conversation:
        conversation.send(octets * _MOST)
        judge(conversation, [] if answer is None else [answer] * _MOST, "open", play=play)


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
    "the answer to a large REQUEST comes before those to small ones after it",
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
    "each recoverable ERROR comes in the order of its frame",
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


# Many connections at once: none sees another's answers, none suffers from another's fault.

_MANY = 64


@case(
    "parallel.no-mixing",
    f"{_MANY} connections, each with its own texts in turns: each gets its own answers",
    "REQ-ORDER-1",
    "REQ-ORDER-2",
    "REQ-REV-1",
    alone=True,
)
def case_no_mixing(play: Play) -> None:
    """All send before anyone reads, in pieces that take turns."""
    conversations = [play.dial(f"connection {number}") for number in range(_MANY)]
    texts = [[text_of(200, 1_000 * number + turn) for turn in range(8)] for number in range(_MANY)]
    streams = [b"".join(frame(1, text) for text in mine) + frame(6, f"c{n}") for n, mine in enumerate(texts)]
    step = 97
    for place in range(0, max(map(len, streams)), step):
        for conversation, stream in zip(conversations, streams, strict=True):
            conversation.send(stream[place : place + step])
    for number, (conversation, mine) in enumerate(zip(conversations, texts, strict=True)):
        expect = [*map(reply, mine), pong(f"c{number}")]
        judge(conversation, expect, "open", play=play)
        conversation.close()


@case(
    "parallel.faults-stay-apart",
    "a fault on one connection changes nothing on the others",
    "REQ-ERROR-2",
    "REQ-STATE-1",
    alone=True,
)
def case_faults_apart(play: Play) -> None:
    """Good connections, opened before and inside a frame while the bad ones fail."""
    good = [play.dial(f"good {number}") for number in range(8)]
    for conversation in good:
        conversation.send(frame(1, "first") + frame(1, "second")[:7])
    for number, octet in enumerate((0x00, 0x16, 0x47, 0x02, 0x07, 0x09, 0x7F, 0x05)):
        with play.dial(f"bad {number}") as bad:
            bad.send(header(octet, 0))
            code = 502 if octet in {0x02, 0x07} else 501
            judge(bad, [] if octet == ERROR else [error(code)], "closed")
    for conversation in good:
        conversation.send(frame(1, "second")[7:])
        judge(conversation, [reply("first"), reply("second")], "open", play=play)
        conversation.close()


@case(
    "parallel.idle-neighbours",
    "connections that say nothing do not hold up one that does",
    "REQ-FLOW-5",
    alone=True,
)
def case_idle_neighbours(play: Play) -> None:
    """Idle ones at a boundary, inside a header and inside a body."""
    idle = [play.dial(f"idle {number}") for number in range(_MANY)]
    for number, conversation in enumerate(idle):
        conversation.send([b"", b"\x01\0", header(1, 100) + b"part"][number % 3])
    with play.dial("busy") as busy:
        for number in range(50):
            busy.send(frame(1, f"n{number}"))
            judge(busy, [reply(f"n{number}")], "open", play=play)
    for conversation in idle:
        if conversation.waiting:
            message = f"an idle connection was sent {conversation.waiting[:32].hex(' ')}"
            raise Failed(message)
        conversation.close()


@case(
    "parallel.come-and-go",
    "clients that leave at once, or by a reset, do not harm the server",
    "REQ-CLOSE-1",
    "REQ-CLOSE-2",
    alone=True,
)
def case_come_and_go(play: Play) -> None:
    """A hundred of them, then an ordinary conversation."""
    try:
        for number in range(100):
            with play.dial(f"guest {number}") as guest:
                guest.send([b"", b"\x01", frame(1, "x" * 1_000), frame(1, "ab") + b"\x01\0"][number % 4])
                if number % 2:
                    guest.reset()
        last = play.dial("last")
    except SetupFailed as error:
        if not play.count:
            raise
        message = f"after {play.count} clients that left: {error.reason}"
        raise Failed(message) from None
    last.send(frame(1, "ab"))
    judge(last, [reply("ab")], "open", play=play)
