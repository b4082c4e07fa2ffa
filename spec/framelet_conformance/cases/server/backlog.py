"""What follows answers that are not ready, or not taken: every kind of answer, and every kind of end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.wire.frames import (
    HELLO,
    IGNORABLE,
    PING,
    REQUEST,
    STOP,
    frame,
    header,
    text_of,
)

from .closing import see_it_linger, strictly_closed
from .deadlines import await_fatal, timed
from .unread.kept import EVENTS
from .unread.rest import LARGE

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_HELLO: dict[str, Any] = {"type": "HELLO", "parameters": {}}


@case(
    "order.every-answer-behind-a-large-one",
    "each kind of answer waits for that to a large REQUEST before it, and stands in its own place",
    "REQ-ORDER-2",
    "REQ-ORDER-1",
    "REQ-STOP-3",
    "REQ-ERROR-4",
)
def case_every_answer(play: Play) -> None:
    """A refusal is ready at once, and must not take the place of an answer that is made elsewhere.

    At last all of them wait for one that is not taken for a while.
    """
    server = play.target.server(stop="off", application="none")
    long = text_of(min(server.max_body or 65_536, LARGE // 2))
    kinds: list[tuple[bytes, Any]] = [
        (frame(STOP, "please"), error(403)),
        (frame(PING, "x" * 65), error(413)),
        (frame(HELLO, "no"), error(422)),
        (frame(HELLO, "framelet/2"), error(426)),
        (frame(0xC5, "nobody"), error(404)),
        (frame(REQUEST, b"\xff"), error(400)),
        (frame(PING, "p"), pong("p")),
        (frame(HELLO, "framelet/1"), _HELLO),
        (frame(REQUEST, "ab"), reply("ab")),
    ]
    with play.open(server) as conversation:
        for octets, answer in kinds:
            conversation.send(
                frame(REQUEST, long) + octets + frame(REQUEST, "cd") + frame(IGNORABLE, "i") + octets
            )
            judge(conversation, [reply(long), answer, reply("cd"), answer], "open", play=play)
    with play.open(server, receive_buffer=8_192) as conversation:
        long = text_of(min(server.max_body or 65_536, LARGE))
        conversation.send(frame(REQUEST, long) + b"".join(octets for octets, _ in kinds), reading=False)
        time.sleep(play.times.quiet)
        judge(conversation, [reply(long), *(answer for _, answer in kinds)], "open", play=play)


@case(
    "closing.backlog.sizes",
    "answers of 64 KiB to 1 MiB that are not taken at once are whole, whatever ends the client's frames",
    "REQ-CLOSE-1",
    "REQ-CLOSE-5",
    "REQ-ERROR-5",
    "REQ-ERROR-9",
    slow=True,
)
def case_backlog_sizes(play: Play) -> None:
    """With some of these sizes a little is left in the server when the system's buffers are full."""
    server = play.target.server()
    sizes = [size for size in range(1 << 16, (1 << 20) + 1, 1 << 16) if size <= (server.max_body or 1 << 16)]
    opened = []
    for name, event in EVENTS.items():
        for size in sizes:
            conversation = play.open(server, f"{name}, {size:,} octets", receive_buffer=8_192)
            conversation.send(frame(REQUEST, text_of(size)) + event.octets)
            if event.fin:
                conversation.send_fin()
            opened.append((conversation, size, event.answers))
    time.sleep(play.times.quiet)
    for conversation, size, answers in opened:
        judge(conversation, [reply(text_of(size)), *answers], "closed", play=play)
        strictly_closed(play, "REQ-CLOSE-1", "REQ-ERROR-5")
        conversation.close()


@pytest.mark.parametrize(
    ("name", "code", "octets"),
    [
        pytest.param(
            name,
            code,
            octets,
            marks=case(
                f"closing.lingers-behind-{code}",
                f"after the ERROR {code} what the client still sends is read and discarded",
                "REQ-ERROR-8",
                slow=True,
            ),
        )
        for name, code, octets in (
            ("frame_timeout", 504, header(REQUEST, 10) + b"part"),
            ("idle_timeout", 505, b""),
        )
    ],
)
def case_lingers_behind_timeout(play: Play, name: str, code: int, octets: bytes) -> None:
    """The rest of the frame, and others, come too late: no answer, and no reset."""
    server, timeout = timed(play, name)
    with play.open(server) as conversation:
        began = time.monotonic()
        conversation.send(octets)
        await_fatal(play, conversation, code, began, timeout)
        see_it_linger(play, conversation)
