"""How a connection ends: half-close, what follows a fatal ERROR, lingering."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from framelet import ErrorCode
from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, Skipped, Verdict
from framelet_conformance.wire.frames import ERROR, frame, header, text_of
from framelet_conformance.wire.log import Ending

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.wire.conversation import Conversation

FAULTS = {
    "type-zero": (header(0x00, 0), 501),
    "type-unknown": (header(0x09, 5), 501),
    "type-unexpected": (header(0x02, 0), 502),
    "too-large": (header(0x01, 0xFFFF_FFFF), 503),
}


def each_fault(name: str, title: str, **more: tuple[bytes, int]) -> pytest.MarkDecorator:
    """Make a function a case for each fault; ``{code}`` in the title stands for its code."""
    return pytest.mark.parametrize(
        ("fault", "code"),
        [
            pytest.param(
                fault,
                code,
                marks=case(
                    f"closing.{name}.{kind}",
                    title.format(code=code),
                    *(["REQ-ERROR-9"] if fault[:1] == bytes([ERROR]) else []),
                    "REQ-ERROR-8",
                    "REQ-ERROR-7",
                    "REQ-ERROR-6",
                ),
            )
            for kind, (fault, code) in (FAULTS | more).items()
        ],
    )


@each_fault("error-survives-input", "the ERROR {code} can be read although much input follows the fault")
def case_survives(play: Play, fault: bytes, code: int) -> None:
    """The fault, a mebibyte of frames after it, and only then a look at what came."""
    junk = frame(1, "never to be answered") * 40_000
    with play.dial() as conversation:
        conversation.send(frame(1, "ab") + fault + junk[:60_000])
        conversation.send(junk, reading=False, within=play.times.quiet)
        judge(conversation, [reply("ab"), error(code)], "closed", play=play)
    strictly_closed(play, "REQ-ERROR-8")


def strictly_closed(play: Play, *requirements: str) -> None:
    """Do not let pass what is elsewhere only non-strict: here the end itself is the question."""
    if play.close_verdict is not Verdict.PASS:
        message = play.remark or f"the connection ended by {play.close} instead of FIN"
        raise Failed(message, *requirements)


@each_fault(
    "lingers",
    "after the ERROR {code} comes FIN, and what the client still sends is read and discarded",
    peer_error=(frame(ERROR, "400 no"), 400),
)
def case_lingers(play: Play, fault: bytes, code: int) -> None:
    """Frames after the FIN must bring neither answers nor a reset, also where the ERROR was the client's."""
    with play.dial() as conversation:
        conversation.send(fault)
        judge(conversation, [] if code == ErrorCode.ILL_FORMED_TEXT else [error(code)], "closed", play=play)
        strictly_closed(play, "REQ-ERROR-8")
        see_it_linger(play, conversation)


def see_it_linger(play: Play, conversation: Conversation) -> None:
    """Send frames after the server's FIN, and see no reset."""
    for _ in range(5):
        conversation.send(frame(1, "late") * 100)
        if not still_taken(conversation, play.times.pause):
            play.ended(Ending.RST, Verdict.FAIL)
            raise Failed("a reset came for what was sent after the server's FIN")


def still_taken(conversation: Conversation, seconds: float) -> bool:
    """Whether the server has not reset a connection whose stream it has ended."""
    conversation.pause(seconds)
    return conversation.writable


@case(
    "closing.linger-ends",
    "a client that never closes is not lingered for longer than the linger timeout",
    "REQ-ERROR-8",
    slow=True,
)
def case_linger_ends(play: Play) -> None:
    """An octet now and then shows when the server has let go."""
    server = play.target.server(linger_timeout=0.5)
    with play.open(server) as conversation:
        conversation.send(header(0x00, 0))
        judge(conversation, [error(501)], "closed", play=play)
        began = time.monotonic()
        latest = 0.5 * 2 + play.times.grace
        while conversation.writable:
            if time.monotonic() - began > latest:
                message = (
                    f"the server still reads {latest:.3g} s after its FIN, with a linger timeout of 0.5 s"
                )
                raise Failed(message)
            conversation.pause(0.05)
            conversation.send(b"x")


@case(
    "closing.linger-lasts",
    "a client that does not close is lingered for until the linger timeout is over",
    "REQ-ERROR-8",
    "REQ-TIME-9",
    slow=True,
)
def case_linger_lasts(play: Play) -> None:
    """What comes after four fifths of the timeout is still discarded."""
    timeout = 2.0 * play.times.scale
    server = play.target.server(linger_timeout=timeout)
    with play.open(server) as conversation:
        conversation.send(header(0x00, 0))
        judge(conversation, [error(501)], "closed", play=play)
        began = time.monotonic()
        while time.monotonic() - began < 0.8 * timeout:
            conversation.send(b"x")
            taken, waited = still_taken(conversation, 0.02), time.monotonic() - began
            if not taken and waited < 0.8 * timeout:
                message = f"it lingered for {waited:.2f} s, and the timeout is {timeout:.2f} s"
                raise Failed(message)


@case("closing.peer-error", "an ERROR from the client ends the connection, without an ERROR", "REQ-ERROR-9")
def case_peer_error(play: Play) -> None:
    """What came before is answered."""
    with play.dial() as conversation:
        conversation.send(frame(1, "ab") + frame(5, "400 no") + frame(1, "cd"))
        judge(conversation, [reply("ab")], "closed", play=play)
    strictly_closed(play, "REQ-ERROR-9")


@case(
    "closing.half-close-behind-many",
    "5,000 REQUESTs and the end of the stream: all are answered, then the server closes",
    "REQ-CLOSE-1",
    "REQ-CLOSE-5",
)
def case_half_close_many(play: Play) -> None:
    """The FIN is on its way long before the answers are read."""
    ask_and_close(play, [f"text {number}" for number in range(5_000)])


@case(
    "closing.half-close-behind-large",
    "a REQUEST of 65,536 octets and the end of the stream: the whole answer, then the server closes",
    "REQ-CLOSE-1",
    "REQ-SIZE-1",
)
def case_half_close_large(play: Play) -> None:
    """Nothing of the answer is lost to the close."""
    ask_and_close(play, [text_of(65_536, number) for number in range(16)])


def ask_and_close(play: Play, texts: list[str]) -> None:
    """Send REQUESTs and FIN; see that each is answered before the server closes."""
    with play.dial() as conversation:
        conversation.send(b"".join(frame(1, text) for text in texts))
        conversation.send_fin()
        judge(conversation, [reply(text) for text in texts], "closed", play=play)
    strictly_closed(play, "REQ-CLOSE-1")


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(
            part,
            marks=case(
                f"closing.half-close-inside.{name}",
                f"the end of the stream {title}: earlier frames are answered, the part is not",
                "REQ-CLOSE-2",
                "REQ-FRAME-6",
                "REQ-CLOSE-5",
            ),
        )
        for name, title, part in (
            ("type", "after a type", b"\x01"),
            ("length", "inside a length", b"\x01\0\0"),
            ("header", "after a header", header(1, 5)),
            ("body", "inside a body", header(1, 5) + b"abcd"),
            ("ping", "inside a PING", header(6, 2) + b"p"),
            ("ignorable", "inside an ignorable frame", header(0x80, 9) + b"i"),
            ("application", "inside an application frame", header(0xC0, 2) + b"a"),
        )
    ],
)
def case_half_close_inside(play: Play, part: bytes) -> None:
    """The FIN comes right after, and after a pause."""
    for seconds in (0.0, play.times.pause * 5):
        with play.dial() as conversation:
            conversation.send(frame(1, "ab") + frame(6, "p") + part)
            if seconds:
                conversation.pause(seconds)
            conversation.send_fin()
            judge(conversation, [reply("ab"), pong("p")], "closed", play=play)
        strictly_closed(play, "REQ-CLOSE-2")


@case("closing.at-once", "the end of the stream as the first thing: the server closes", "REQ-CLOSE-1")
def case_at_once(play: Play) -> None:
    """No frame at all."""
    with play.dial() as conversation:
        conversation.send_fin()
        judge(conversation, [], "closed", play=play)
    strictly_closed(play, "REQ-CLOSE-1")


@case(
    "closing.errors-disclose-nothing",
    "no ERROR shows a path, a stack trace or a type of the implementation",
    "REQ-SEC-2",
    "REQ-ERROR-1",
    "REQ-ERROR-14",
)
def case_disclose(play: Play) -> None:
    """One ERROR of each kind that a client can ask for."""
    sent = [
        (frame(1, b"\xff"), 400),
        (frame(6, "x" * 65), 413),
        (frame(8, "no"), 422),
        (frame(8, "framelet/9"), 426),
    ]
    with play.dial() as conversation:
        for octets, code in sent:
            conversation.send(octets)
            judge(conversation, [error(code)], "open", play=play)
    for fault, code in FAULTS.values():
        with play.dial() as conversation:
            conversation.send(fault)
            judge(conversation, [error(code)], "closed", play=play)
    if play.count == 0:
        raise Skipped("no ERROR was seen")
