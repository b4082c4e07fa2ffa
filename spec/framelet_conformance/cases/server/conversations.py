"""Generated conversations: any frames, good and bad, cut anywhere, judged by the model.

What fails is shrunk to the smallest failing conversation, which must fail again to count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from framelet_conformance.cases.search import Search, generated_cases
from framelet_conformance.cases.segments import cut
from framelet_conformance.judging.judge import judge
from framelet_conformance.judging.server_model import Facts, predict
from framelet_conformance.replay import Replay
from framelet_conformance.verdicts import Failed, Skipped
from framelet_conformance.wire.frames import frame_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_conformance.cases.drawn.server import GeneratedInput
    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest


_KINDS = {
    "good": "good frames",
    "recoverable": "good frames and recoverable faults",
    "any": "frames of all kinds",
    "fatal": "mostly fatal faults",
    "half-close": "frames, and the end of the stream",
}


@generated_cases(
    _KINDS,
    "answered",
    "REQ-STATE-1",
    "REQ-FRAME-4",
    "REQ-FRAME-1",
    "REQ-ORDER-1",
    "REQ-ORDER-2",
    "REQ-ERROR-2",
    "REQ-ERROR-3",
)
def case_generated(play: Play, kind: str) -> None:
    """Search, shrink, and see the smallest one fail again."""
    from framelet_conformance.cases.drawn.server import KINDS  # noqa: PLC0415 - imports Hypothesis

    talk = _Talk(play)
    search = Search(play.options, talk.hold, _size)
    search.run(KINDS[kind].map(lambda given: (given,)), play.options.examples)


class _Talk:
    """Holds conversations with one server, and judges them by the model."""

    def __init__(self, play: Play) -> None:
        """For one case."""
        self.play = play
        self.server: ServerUnderTest = play.target.server()
        if self.server.max_body is None:
            raise Skipped("needs to know the maximum body size, and no HELLO stated it")
        self.facts = Facts(self.server.max_body, "off", self.server.application)
        if not set(self.server.application.values()) <= {"none", "echo", "reverse"}:
            raise Skipped("needs application types that are not served, echoed or reversed")

    def hold(self, conversations: Sequence[GeneratedInput], *, shrinking: bool = False) -> Failed | None:
        """The failure of the first of them that fails."""
        failures = (self._hold(given, shrinking=shrinking) for given in conversations)
        return next((failure for failure in failures if failure is not None), None)

    def _hold(self, given: GeneratedInput, *, shrinking: bool) -> Failed | None:
        """The failure of one conversation, None where it has none."""
        play, times = self.play, self.play.times
        outcome = predict(given.sent, self.facts, eof=given.eof)
        # After part of a frame no PING can tell whether the connection is open.
        then = "silent" if outcome.then == "open" and _partial(given.sent) else outcome.then
        play.replay = Replay(
            play.case.id, "server", list(play.case.requirements), "", [], outcome.expect, then
        )
        try:
            with play.open(self.server) as conversation:
                for place, piece in enumerate(cut(given.sent, given.cuts)):
                    if place:
                        conversation.pause(times.pause)
                    conversation.send(piece)
                if given.eof:
                    conversation.send_fin()
                within = times.answer / 6 if shrinking else None
                judge(conversation, outcome.expect, then, play=play, within=within)
        except Failed as error:
            return error
        return None


def _size(given: GeneratedInput) -> tuple[int, int, bytes]:
    return len(given.sent), len(given.cuts), given.sent


def _partial(sent: bytes) -> bool:
    """Whether octets end inside a frame."""
    place = 0
    while (end := frame_end(sent, place)) is not None:
        place = end
    return place != len(sent)
