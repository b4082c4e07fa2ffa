"""How long a client waits for an answer, and what it does then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from framelet import HEADER_SIZE
from framelet_conformance.play import case
from framelet_conformance.scenario import FAILED, Asked, Scenario, Step, asked, pause, read, send
from framelet_conformance.verdicts import Failed
from framelet_conformance.wire.frames import ERROR, PONG, REPLY, STOPPED, frame

from .shapes import ANSWERS, NEXT_PING, NEXT_PONG, REQUEST, answer, body, hello_of, perform

if TYPE_CHECKING:
    from framelet_conformance.play import Play

_TIMEOUT = 1.0
_EARLIEST = 0.85  # of the timeout: it begins before what is sent can be seen, and the suite may see that late


@case(
    "client.deadline.within",
    "it waits for answers that come slowly, and in time",
    "REQ-TIME-6",
    "REQ-FRAME-4",
    slow=True,
)
def case_within(play: Play) -> None:
    """Each answer is late and in pieces, and together they take longer than any may take alone."""
    scale = play.times.scale
    timeout = 3 * _TIMEOUT  # with time to spare for a busy machine
    late = 0.6 * timeout
    perform(
        play,
        Scenario(
            ask=(REQUEST, NEXT_PING),
            steps=(
                *(
                    read(),
                    pause(late / 2),
                    send(frame(REPLY, "ba")[:3]),
                    pause(late / 2),
                    send(frame(REPLY, "ba")[3:]),
                ),
                *(read(), pause(late), send(frame(PONG, "end"))),
            ),
            expect=(body(REPLY, "ba"), NEXT_PONG),
            pipeline=False,
            answer_timeout=timeout * scale,
        ),
    )


def _overdue(
    play: Play, *steps: Step, ask: Asked = REQUEST, timeout: float = _TIMEOUT, answered: int = 0
) -> None:
    """The client must close in time, and ask for nothing further, where no whole answer comes any more."""
    timeout *= play.times.scale
    perform(
        play,
        Scenario(
            ask=(ask, *(asked("REQUEST", "cd"),) * (1 + answered)),
            steps=(read(), *steps),
            expect=(*(body(REPLY, "ba"),) * answered, FAILED, FAILED),
            then="closed",
            pipeline=False,
            allowed=1 + answered,
            answer_timeout=timeout,
        ),
    )
    _check_end(play, "received", timeout)


def _check_end(play: Play, way: str, timeout: float) -> None:
    """See that the client's stream ended in time after the last octets that went this way."""
    log = play.conversations[-1].log
    last = max(entry.time for entry in log.entries if entry.way == way)
    waited = next(entry.time for entry in log.entries if entry.note.startswith("the peer")) - last
    if not _EARLIEST * timeout <= waited <= timeout + play.times.grace:
        message = f"it closed after {waited:.2f} s, when it was told to wait {timeout:.2f} s for an answer"
        raise Failed(message, "REQ-TIME-9" if waited < timeout else "REQ-TIME-6")


@case(
    "client.deadline.beyond",
    "it closes when an answer is overdue, and sends nothing further",
    "REQ-TIME-6",
    slow=True,
)
def case_beyond(play: Play) -> None:
    """Nothing comes at all."""
    _overdue(play)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(
            ANSWERS[name][0],
            marks=case(
                f"client.deadline.beyond-{name}",
                f"it closes, and not too early, when an answer of this kind is overdue: {name}",
                "REQ-TIME-6",
                "REQ-TIME-9",
                slow=True,
            ),
        )
        for name in ("pong", "hello", "application", "stopped")
    ],
)
def case_beyond_each(play: Play, ask: Asked) -> None:
    """All answers are due in the same time."""
    _overdue(play, ask=ask)


@case(
    "client.deadline.late-answer", "a late answer is never taken for another frame's", "REQ-TIME-6", slow=True
)
def case_late(play: Play) -> None:
    """The answer to the first frame comes when the client has given it up."""
    _overdue(play, pause(_TIMEOUT + play.times.grace / play.times.scale), send(frame(REPLY, "ba")))


@case(
    "client.deadline.partial", "part of an answer does not keep it waiting for ever", "REQ-TIME-6", slow=True
)
def case_partial(play: Play) -> None:
    """The header and half of the body come at once."""
    _overdue(play, send(frame(REPLY, "ba")[:-1]))


@case("client.deadline.trickle", "octets of an answer do not extend the wait", "REQ-TIME-6", slow=True)
def case_trickle(play: Play) -> None:
    """An octet of a long answer now and then, until the client has to have closed."""
    pace = _TIMEOUT / 4
    count = int((_TIMEOUT + play.times.grace / play.times.scale) / pace) + 1
    octets = frame(REPLY, "a" * 1_000)
    _overdue(
        play, *(step for place in range(count) for step in (send(octets[place : place + 1]), pause(pace)))
    )


_REPLY = (REQUEST, REPLY, "ba")
_ANSWERS: dict[str, tuple[tuple[Asked, int, str], ...]] = {
    "earlier-answers": (_REPLY, _REPLY),
    "earlier-errors": ((REQUEST, ERROR, "450 no"), (REQUEST, ERROR, "499 no")),
    "reply-in-parts": (_REPLY,),
    "empty-reply": ((REQUEST, REPLY, ""),),
    "large-reply": ((REQUEST, REPLY, "a" * 65_536),),
    "pong": (ANSWERS["pong"],),
    "empty-pong": ((asked("PING"), PONG, ""),),
    "hello": (ANSWERS["hello"],),
    "application": (ANSWERS["application"],),
    "empty-application": ((asked("FF", "ab"), 0xFF, ""),),
    "error-without-text": ((REQUEST, ERROR, "400 "),),
    "refused-stop": ((asked("STOP"), ERROR, "403 no"),),
    "refused-ping": ((asked("PING", "ab"), ERROR, "413 no"),),
    "refused-hello": ((asked("HELLO"), ERROR, "426 no"),),
}
"""What is asked and answered before the answer that does not come."""


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        pytest.param(
            name,
            answers,
            marks=case(
                f"client.deadline.{name}",
                f"the wait for an answer begins when the one before has come, and ends in time: {name}",
                "REQ-TIME-6",
                "REQ-TIME-9",
                slow=True,
            ),
        )
        for name, answers in _ANSWERS.items()
    ],
)
def case_earlier_answers(play: Play, name: str, answers: tuple[tuple[Asked, int, str], ...]) -> None:
    """Each answer comes after half of the time, and the last one not at all."""
    timeout = 2 * _TIMEOUT
    pieces = [frame(octet, text) for _, octet, text in answers]
    first = (send(pieces[0][:HEADER_SIZE]),) if name == "reply-in-parts" else ()
    pieces[0] = pieces[0][HEADER_SIZE if first else 0 :]
    perform(
        play,
        Scenario(
            ask=(*(ask for ask, _, _ in answers), REQUEST),
            steps=(
                *(read(len(answers) + 1), *first),
                *(step for piece in pieces for step in (pause(timeout / 2), send(piece))),
                pause(play.times.grace / play.times.scale),
            ),
            expect=(*(answer(octet, text) for _, octet, text in answers), FAILED),
            then="closed",
            answer_timeout=timeout * play.times.scale,
        ),
    )
    _check_end(play, "sent", timeout * play.times.scale)


_WHOLE = frame(REPLY, "a" * 100)
_NO_ANSWERS: dict[str, tuple[bytes, bytes]] = {
    "octet": (b"", _WHOLE[:1]),
    "most-of-header": (_WHOLE[:1], _WHOLE[1:4]),
    "rest-of-header": (_WHOLE[:4], _WHOLE[4:5]),
    "header": (b"", _WHOLE[:5]),
    "first-of-body": (_WHOLE[:5], _WHOLE[5:6]),
    "half-a-body": (_WHOLE[:30], _WHOLE[30:70]),
    "most-of-body": (b"", _WHOLE[:-1]),
    "error-header": (b"", frame(ERROR, "450 no")[:5]),
    "most-of-error": (frame(ERROR, "450 no")[:5], b"450 n"),
    "most-of-fatal": (b"", frame(ERROR, "500 " + "x" * 400)[:-1]),
    "ignorable": (b"", frame(0x80, "ab")),
    "empty-ignorable": (b"", frame(0xBF)),
    "large-ignorable": (b"", frame(0x9F, "a" * 65_536)),
    "ignorable-header": (b"", frame(0x80, "ab")[:5]),
    "rest-of-ignorable": (frame(0x80, "ab")[:6], b"b"),
}
"""What comes at first, and what comes when most of the time is over."""


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(
            *octets,
            marks=case(
                f"client.deadline.none-by-{name}",
                f"what is no whole answer does not begin the wait anew: {name.replace('-', ' ')}",
                "REQ-TIME-6",
                "REQ-TIME-9",
                "REQ-FRAME-6",
                slow=True,
            ),
        )
        for name, octets in _NO_ANSWERS.items()
    ],
)
def case_no_answer(play: Play, first: bytes, then: bytes) -> None:
    """Late enough that a client which began anew would be late beyond doubt."""
    timeout = 2.5 * _TIMEOUT
    _overdue(play, send(first), pause(0.8 * timeout), send(then), timeout=timeout)


@case("client.deadline.second", "the second answer is due in time as well", "REQ-TIME-6", slow=True)
def case_second(play: Play) -> None:
    """Asked for when the first one has come; and what was asked behind a STOP, where STOPPED comes alone."""
    _overdue(play, send(frame(REPLY, "ba")), read(), answered=1)
    perform(
        play,
        Scenario(
            ask=(asked("STOP"), REQUEST),
            steps=(read(2), send(frame(STOPPED, "closed=0 cut=0"))),
            expect=(answer(STOPPED, ""), FAILED),
            then="closed",
            answer_timeout=_TIMEOUT * play.times.scale,
        ),
    )


@case(
    "client.deadline.of-the-server",
    "the timeouts that the server states are not those of the client",
    "REQ-TIME-9",
    slow=True,
)
def case_timeouts_of_the_server(play: Play) -> None:
    """A millisecond, and none; the answer takes longer."""
    for number in (1, 0):
        text = f"framelet/1 frame-timeout-ms={number} idle-timeout-ms={number}"
        hello, octets, stated = hello_of(text)
        perform(
            play,
            Scenario(
                ask=(hello, REQUEST),
                steps=(read(), send(octets), read(), pause(0.3), send(frame(REPLY, "ba"))),
                expect=(stated, body(REPLY, "ba")),
                pipeline=False,
            ),
        )


@case("client.deadline.noise", "ignorable frames do not extend the wait", "REQ-TIME-6", slow=True)
def case_noise(play: Play) -> None:
    """They answer nothing."""
    pace = _TIMEOUT / 4
    count = int((_TIMEOUT + play.times.grace / play.times.scale) / pace) + 1
    _overdue(play, *(step for _ in range(count) for step in (send(frame(0x80, "ab")), pause(pace))))
