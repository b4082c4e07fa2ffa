"""Generated conversations: any answers, good and bad, cut anywhere, judged by the model.

What fails is shrunk to the smallest failing conversation, which must fail again to count.  Conversations that
ask for the same are held in one process of the adapter, because starting one takes longer than talking.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from framelet_conformance.cases.search import Search, generated_cases
from framelet_conformance.verdicts import Failed

from .generated import TOGETHER, GeneratedExchange, size, smaller
from .shapes import perform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_conformance.play import Play

_HASTE = 6.0  # while shrinking
_APART = 0.002  # seconds between two segments


_KINDS = {
    "good": "good answers",
    "recoverable": "good answers and recoverable ERRORs",
    "faults": "answers, faults and early ends",
    "in-turn": "answers, faults and early ends, one frame at a time",
}


@generated_cases(
    _KINDS,
    "taken",
    "REQ-STATE-1",
    "REQ-FRAME-4",
    "REQ-FRAME-1",
    "REQ-TEXT-4",
    "REQ-TYPE-3",
    "REQ-ORDER-6",
    "REQ-CLOSE-3",
    "REQ-STOP-13",
)
def case_generated(play: Play, kind: str) -> None:
    """Search, shrink, and see the smallest one fail again."""
    from framelet_conformance.cases.drawn.client import KINDS  # noqa: PLC0415 - imports Hypothesis

    times = play.times

    def hold(conversations: Sequence[GeneratedExchange], *, shrinking: bool = False) -> Failed | None:
        play.times = dataclasses.replace(times, haste=_HASTE) if shrinking else times
        # What is to fail each time must not hang on segments that arrive together by chance.
        apart = 5 * _APART if shrinking or len(conversations) == 1 else _APART
        try:
            perform(play, *(exchange.scenario(apart) for exchange in conversations))
        except Failed as error:
            return error
        finally:
            play.times = times
        return None

    search = Search(play.options, hold, size, smaller)
    search.run(KINDS[kind], max(1, play.options.examples // TOGETHER))
