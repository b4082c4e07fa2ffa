"""Reading what a server answers, and seeing that it is right and that the connection goes on or ends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from framelet_conformance.expectations import is_fatal, unroll
from framelet_conformance.verdicts import Failed, Verdict
from framelet_conformance.wire import frames
from framelet_conformance.wire.conversation import Silence
from framelet_conformance.wire.log import Ending

from .comparing import compare, show_expected, show_frame, show_octets

if TYPE_CHECKING:
    from framelet import Frame
    from framelet_conformance.expectations import Expectation
    from framelet_conformance.wire.conversation import Conversation


_LOOKED_AT = 64  # answers after a wrong one


class CloseRecord(Protocol):
    """Where it is noted how the peer ended a connection; ``play.Play`` is one."""

    remark: str

    def ended(self, ending: Ending, verdict: Verdict) -> None:
        """Note it, and what to think of that."""


def judge(
    conversation: Conversation,
    expect: list[Expectation],
    then: str,
    *,
    play: CloseRecord | None = None,
    within: float | None = None,
) -> None:
    """Read the answers and then see that the connection goes on (``open``) or ends (``closed``).

    ``silent`` looks at the answers alone, as is right inside a frame, where no PING can be sent.  Raises
    Failed.  A missing fatal ERROR before an end of the stream is noted with ``play`` as non-strict.
    """
    items = list(unroll(expect))
    for place, item in enumerate(items, 1):
        try:
            frame = conversation.read_frame(within)
        except Silence:
            late = conversation.waiting
            partial = f" (only {show_octets(late)} of a frame)" if late else ""
            message = f"answer {place} did not come{partial}: expected {show_expected(item)}"
            raise Failed(message) from None
        if frame is None:
            _missing(conversation, items, place, play)
            return
        try:
            compare(frame, item, place)
        except Failed as error:
            raise Failed(
                error.reason, *(error.broken or _misplaced(conversation, frame, items, place))
            ) from None
    if then == "open":
        _expect_open(conversation, play)
    elif then == "closed":
        _expect_end(conversation, items, play)


def _misplaced(
    conversation: Conversation, frame: Frame, items: list[Expectation], place: int
) -> tuple[str, ...]:
    """The requirements to blame where the answer is right in another place, and the one due comes later."""
    later = [item for item in items[place:] if item != items[place - 1]]
    if not any(_fits(frame, item) for item in later):
        return ()
    for _ in later[:_LOOKED_AT]:
        with contextlib.suppress(Silence):
            found = conversation.read_frame(conversation.times.quiet)
            if found is not None and _fits(found, items[place - 1]):
                return "REQ-ORDER-1", "REQ-ORDER-2"
    return ()


def _fits(frame: Frame, item: Expectation) -> bool:
    try:
        compare(frame, item, 0)
    except Failed:
        return False
    return True


def _missing(
    conversation: Conversation, items: list[Expectation], place: int, play: CloseRecord | None
) -> None:
    item = items[place - 1]
    last = place == len(items) and is_fatal(item)
    if last and not conversation.waiting and play is not None:
        play.ended(conversation.ending, Verdict.NON_STRICT)
        play.remark = f"a bare {conversation.ending} where ERROR {item['code']} was due"
        return
    if play is not None:
        play.ended(conversation.ending, Verdict.FAIL)
    partial = f" inside a frame ({show_octets(conversation.waiting)})" if conversation.waiting else ""
    message = (
        f"the stream ended{partial} by {conversation.ending} before answer {place}: "
        f"expected {show_expected(item)}"
    )
    raise Failed(message, *(("REQ-CLOSE-5",) if partial and conversation.ending is Ending.FIN else ()))


def _expect_open(conversation: Conversation, play: CloseRecord | None) -> None:
    """See that the very next frame is the PONG of a PING sent now."""
    conversation.send_frame(frames.PING, b"end")
    try:
        frame = conversation.read_frame()
    except Silence:
        raise Failed("the connection must go on, but a PING after it was not answered") from None
    if frame is None:
        if play is not None:
            play.ended(conversation.ending, Verdict.FAIL)
        message = f"the connection must go on, but it ended by {conversation.ending}"
        raise Failed(message)
    if frame.type != frames.PONG or frame.body != b"end":
        message = f"the PONG of the PING after it must come next, but {show_frame(frame)} came"
        raise Failed(message)
    if play is not None:
        play.ended(Ending.OPEN, Verdict.PASS)


def _expect_end(conversation: Conversation, items: list[Expectation], play: CloseRecord | None) -> None:
    fatal = bool(items) and is_fatal(items[-1])
    try:
        ending = conversation.read_end()
    except Failed as error:
        again = conversation.waiting[:1] == bytes([frames.ERROR])
        broken = ("REQ-ERROR-6",) if again else ("REQ-ERROR-6", "REQ-ERROR-7")
        raise Failed(error.reason, *(broken if fatal else ())) from None
    verdict = {Ending.FIN: Verdict.PASS, Ending.RST: Verdict.NON_STRICT}.get(ending, Verdict.FAIL)
    if play is not None:
        play.ended(ending, verdict)
    if ending is Ending.SILENCE:
        behind = " after the fatal ERROR" if fatal else ""
        message = f"the server did not close its side{behind}"
        raise Failed(message, *(("REQ-ERROR-8",) if fatal else ()))
