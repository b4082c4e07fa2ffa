"""The frame timeout and the idle timeout: what begins them, what does not, and that they are kept in time.

Each row of the table is one conversation: pauses, octets, and the answers to them.  The clock begins at one
of its beats; the fatal ERROR must come when the timeout is over, no sooner and hardly later.  The server's
own timeouts are used where its HELLO states them and they are short; otherwise the suite launches a server
with short ones, or skips.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from framelet import ErrorCode
from framelet_conformance.expectations import error, pong, reply
from framelet_conformance.judging.judge import judge
from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed
from framelet_conformance.wire.conversation import Silence
from framelet_conformance.wire.frames import HELLO, IGNORABLE, PING, REQUEST, STOP, frame, header
from framelet_conformance.wire.log import Ending

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest
    from framelet_conformance.wire.conversation import Conversation

_LONGEST = 3.0  # a stated timeout above this is waited for only with --slow
EARLY = 0.05  # clocks differ by so much
_LONG = (
    1.4  # times what a deadline may be late: a clock that begins anew near its end is told from a late one
)
SHORT = {"frame_timeout": 1.0, "idle_timeout": 1.0}


def timed(play: Play, name: str) -> tuple[ServerUnderTest, float]:
    """A server whose timeout of this name is known and short enough, and the timeout in seconds."""
    main = play.target.main
    stated = main.seconds(name.replace("_", "-"))
    if stated is not None and 0 < stated <= (_LONGEST if not play.options.slow else 3_600.0):
        return main, stated
    seconds = SHORT[name] * play.times.scale
    return play.target.server(**{name: seconds}), seconds


def await_fatal(  # noqa: PLR0913, PLR0917 - what is awaited, and its bounds
    play: Play, conversation: Conversation, code: int, began: float, timeout: float, early: float = EARLY
) -> None:
    """See that the fatal ERROR comes when the timeout is over: not sooner by ``early``, and hardly later."""
    conversation.allow(timeout + play.times.whole)
    latest = timeout + play.times.grace
    try:
        if not conversation.waiting:
            conversation.read_more(max(0.0, began + latest - time.monotonic()))
    except Silence:
        message = f"no ERROR {code} came within {latest:.3g} s; the timeout is {timeout:.3g} s"
        raise Failed(message) from None
    elapsed = time.monotonic() - began
    # On an idle connection nothing is on its way that could make the end overtake the ERROR.
    judge(conversation, [error(code)], "closed", play=None if code == ErrorCode.IDLE_TIMEOUT else play)
    if elapsed < timeout - early:
        message = f"the ERROR {code} came after {elapsed:.3f} s, before the timeout of {timeout:.3g} s"
        raise Failed(message, "REQ-TIME-9", play.case.requirements[0])


class Beat(NamedTuple):
    """A pause, in timeouts, octets that are sent then, and the answers to them."""

    pause: float
    octets: bytes = b""
    answers: tuple[Any, ...] = ()


class Clock(NamedTuple):
    """A conversation, and which ERROR ends it (None: it goes on).

    The clock begins at the beat ``begins``.  ``setup`` is what the server needs besides, times in timeouts;
    ``long`` asks for a timeout longer than what a deadline may be late.
    """

    name: str
    title: str
    requirements: str
    code: int | None
    beats: tuple[Beat, ...]
    begins: int = -1
    setup: dict[str, Any] = {}  # noqa: RUF012 - it is never changed
    long: bool = False


_HALF = header(REQUEST, 10) + b"abc"
_STARTS = {
    "type": b"\x01",
    "length": b"\x01\0\0",
    "header": header(REQUEST, 10),
    "body": _HALF,
    "ping": header(PING, 2) + b"p",
    "ignorable": header(IGNORABLE, 10) + b"abc",
    "application": header(0xC0, 10) + b"abc",
    # Recoverable conditions that the part already shows stand after 504 in the registry.
    "ill-formed": header(REQUEST, 10) + b"\xff\xff",
    "ping-too-large": header(PING, 65) + b"p",
    "hello-too-large": header(HELLO, 2_000) + b"no",
    "stop": header(STOP, 9) + b"tok",
}
_LATE = {
    "type": (b"\x01", b"\0"),
    "length": (b"\x01\0", b"\0\0"),
    "body": (_HALF, b"d"),
    "ignorable": (header(IGNORABLE, 10), b"a"),
    "behind-a-frame": (frame(IGNORABLE, "ab") + b"\x01\0", b"\0"),
}
_TEXTS = [f"text {number}" for number in range(5)]
_STREAM = b"".join(frame(REQUEST, text) for text in _TEXTS)
_SIZE = len(_STREAM) // len(_TEXTS)
_FIRST = frame(REQUEST, _TEXTS[0])

_FRAME = [
    *(
        Clock(
            f"frame-timeout.{name}",
            f"a frame of which only part comes ({part.hex(' ')}) is refused at the frame timeout",
            "REQ-TIME-1 REQ-TIME-9 REQ-ERROR-2 REQ-ERROR-3" + " REQ-TYPE-4" * (name == "ignorable"),
            504,
            (Beat(0, part),),
        )
        for name, part in _STARTS.items()
    ),
    Clock(
        "frame-timeout.behind-a-pause",
        "the frame timeout begins with the frame, not with the pause before it",
        "REQ-TIME-1 REQ-TIME-9",
        504,
        (Beat(0, _FIRST, (reply(_TEXTS[0]),)), Beat(0.8, _HALF)),
    ),
    *(
        Clock(
            name,
            f"octets {of} that trickle in do not extend the frame timeout",
            f"REQ-TIME-2 {requirement}",
            504,
            tuple(Beat(1 / 8, bytes([octet])) for octet in frame(octet_, "x" * 200)),
            begins=0,
        )
        for name, of, requirement, octet_ in (
            ("trickle-does-not-extend", "of a REQUEST", "REQ-TIME-1", REQUEST),
            ("trickle-discarded", "of an ignorable frame", "REQ-TYPE-4", IGNORABLE),
        )
    ),
    Clock(
        "header-does-not-extend",
        "the frame timeout is not counted anew from the end of the header",
        "REQ-TIME-2 REQ-TIME-1",
        504,
        (Beat(0, header(REQUEST, 10)[:-1]), Beat(0.9, header(REQUEST, 10)[-1:] + b"abc")),
        begins=0,
        long=True,
    ),
    *(
        Clock(
            f"late-octet.{name}",
            f"octets that come late ({late.hex(' ')} after {part.hex(' ')}) do not extend the frame timeout",
            "REQ-TIME-2 REQ-TIME-1" + " REQ-TYPE-4" * (name == "ignorable"),
            504,
            (Beat(0, part), Beat(0.9, late)),
            begins=0,
            long=True,
        )
        for name, (part, late) in _LATE.items()
    ),
    Clock(
        "each-frame-has-its-own",
        "the frame timeout counts from the first octet of each frame, not of an earlier one",
        "REQ-TIME-1 REQ-TIME-9",
        None,
        tuple(
            beat
            for text in _TEXTS[:3]
            for octets in [frame(REQUEST, text)]
            for beat in (
                Beat(0, octets[:3]),
                Beat(0.3, octets[3:8]),
                Beat(0.3, octets[8:], (reply(text),)),
            )
        ),
    ),
    Clock(
        "overlapping-frames",
        "a frame whose first octets came with the end of another has the whole timeout, and no more",
        "REQ-TIME-1 REQ-TIME-9",
        504,
        (
            Beat(0, _STREAM[: _SIZE - 2]),
            *(
                Beat(0.6, _STREAM[place * _SIZE - 2 :][:_SIZE], (reply(_TEXTS[place - 1]),))
                for place in range(1, len(_TEXTS))
            ),
            Beat(0.6, _STREAM[-2:] + b"\x01", (reply(_TEXTS[-1]),)),
        ),
    ),
    Clock(
        "answers-before-timeout",
        "frames in front of an incomplete one are answered at once, and the ERROR 504 follows",
        "REQ-TIME-1 REQ-ERROR-5",
        504,
        (Beat(0, frame(REQUEST, "ab") + frame(PING, "p") + b"\x01\0", (reply("ab"), pong("p"))),),
    ),
]

_HELLO = {"type": "HELLO", "parameters": {}}
_FRAMES: dict[str, list[tuple[bytes, tuple[Any, ...]]]] = {
    "an-answer": [(frame(REQUEST, "ab"), (reply("ab"),))],
    "a-pong": [(frame(PING, "ab"), (pong("ab"),))],
    "an-error": [(frame(REQUEST, b"\xff"), (error(400),))],
    "an-ignorable-frame": [(frame(IGNORABLE, "ab"), ())],
    "a-hello": [(frame(HELLO, "framelet/1"), (_HELLO,))],
    "each-refusal": [
        (frame(STOP, "please"), (error(403),)),
        (frame(PING, "x" * 65), (error(413),)),
        (frame(HELLO, "no"), (error(422),)),
        (frame(HELLO, "framelet/2"), (error(426),)),
        (frame(0xC0, "ab"), (error(404),)),
    ],
}
_SLOW = {"frame_timeout": 10.0}

_IDLE = [
    Clock(
        "idle-timeout",
        "a connection on which nothing comes is ended",
        "REQ-TIME-3 REQ-TIME-9 REQ-ERROR-2",
        505,
        (Beat(0),),
    ),
    *(
        Clock(
            f"idle-after-{name}",
            f"the idle timeout begins anew after {name.replace('-', ' ')}",
            "REQ-TIME-3 REQ-TIME-9",
            505,
            tuple(Beat(0.6, *turn) for turn in (turns * 4)[: max(4, len(turns))]),
            setup={"stop": "off", "application": "none"} if len(turns) > 1 else {},
        )
        for name, turns in _FRAMES.items()
    ),
    Clock(
        "idle-from-the-end-of-a-frame",
        "the idle timeout begins after the last octet of a frame, not at its first",
        "REQ-TIME-3 REQ-TIME-4",
        505,
        (Beat(0, frame(IGNORABLE, "slow")[:6]), Beat(0.8, frame(IGNORABLE, "slow")[6:])),
        setup=_SLOW,
        long=True,
    ),
    Clock(
        "no-idle-inside-a-frame",
        "the idle timeout does not run inside a frame, and begins after it",
        "REQ-TIME-4 REQ-TIME-3",
        505,
        (Beat(0, _FIRST[:6]), Beat(2.5, _FIRST[6:], (reply(_TEXTS[0]),))),
        setup=_SLOW,
    ),
]


@pytest.mark.parametrize(
    ("name", "clock"),
    [
        pytest.param(
            name,
            clock,
            marks=case(f"deadlines.{clock.name}", clock.title, *clock.requirements.split(), slow=True),
        )
        for name, clocks in (("frame_timeout", _FRAME), ("idle_timeout", _IDLE))
        for clock in clocks
    ],
)
def case_clock(play: Play, name: str, clock: Clock) -> None:
    """Beat by beat, until the server has had enough."""
    if clock.setup or clock.long:
        timeout = _LONG * play.times.grace if clock.long else SHORT[name] * play.times.scale
        setup = {key: value * timeout if key in SHORT else value for key, value in clock.setup.items()}
        server = play.target.server(**{name: timeout}, **setup)
    else:
        server, timeout = timed(play, name)
    begins = clock.begins % len(clock.beats)
    with play.open(server) as conversation:
        conversation.allow(8 * timeout + play.times.whole)
        began = time.monotonic()
        latest = began + len(clock.beats) * play.times.whole
        for place, beat in enumerate(clock.beats):
            conversation.pause(beat.pause * timeout)
            over = conversation.waiting or conversation.ending is not Ending.OPEN
            if place > begins and (over or time.monotonic() > latest):
                break
            if place == begins:
                began = time.monotonic()
                latest = began + timeout + play.times.grace
            conversation.send(beat.octets)
            # A PING, which is how ``open`` is seen, would begin the idle timeout anew by itself.
            judge(conversation, list(beat.answers), "silent", play=play)
        if clock.code is None:
            judge(conversation, [], "open", play=play)
        else:
            await_fatal(play, conversation, clock.code, began, timeout)


@case(
    "deadlines.in-spite-of-neighbours",
    "what other connections say extends neither the frame timeout nor the idle timeout of this one",
    "REQ-TIME-1",
    "REQ-TIME-3",
    slow=True,
)
def case_neighbours(play: Play) -> None:
    """One inside a frame, one idle, and one that talks all the time."""
    timeout = SHORT["frame_timeout"] * play.times.scale
    server = play.target.server(frame_timeout=timeout, idle_timeout=timeout)
    with play.open(server, "inside") as inside, play.open(server, "idle") as idle:
        began = time.monotonic()
        inside.send(_HALF)
        with play.open(server, "talking") as talking:
            while time.monotonic() < began + timeout + play.times.grace:
                talking.send(frame(PING, "p"))
                judge(talking, [pong("p")], "silent")
                talking.pause(timeout / 8)
                inside.pause(play.times.pause)
                idle.pause(play.times.pause)
                if inside.waiting and idle.waiting:
                    break
        await_fatal(play, inside, 504, began, timeout)
        await_fatal(play, idle, 505, began, timeout)
