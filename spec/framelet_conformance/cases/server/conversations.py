"""Generated conversations: any frames, good and bad, cut anywhere, judged by the model.

What fails is shrunk to the smallest failing conversation, which must fail again to count.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from framelet.limits import MAX_PING_BODY
from framelet_conformance.cases.search import Search, generated_cases
from framelet_conformance.cases.segments import cut
from framelet_conformance.judging.judge import judge
from framelet_conformance.judging.server_model import Facts, predict
from framelet_conformance.replay import Replay
from framelet_conformance.verdicts import Failed, Skipped
from framelet_conformance.wire.frames import (
    APPLICATION,
    HELLO,
    IGNORABLE,
    PING,
    REQUEST,
    STOP,
    frame,
    frame_end,
    header,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest


class GeneratedInput(NamedTuple):
    """What is sent: octets, where they are cut, and whether FIN follows."""

    sent: bytes
    cuts: tuple[int, ...]
    eof: bool

    def __repr__(self) -> str:
        """Short, for reports."""
        cuts = f" cut at {', '.join(map(str, self.cuts))}" if self.cuts else ""
        return f"{self.sent.hex(' ')}{cuts}{' FIN' if self.eof else ''}"


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_short = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x7FF), max_size=MAX_PING_BODY // 2)
_octets = st.binary(max_size=24)
_PARAMETERS = (
    *("max-body=65536", "max-body=4294967295", "max-body=9", "max-body=070000"),
    *("x=y", "k-1=~", "K=v", "x"),
)
_parameters = st.lists(st.sampled_from(_PARAMETERS), max_size=3)
_versions = st.sampled_from(["1", "2", "99999", "01", "0", "100000", ""])
_hello_text = st.builds(
    lambda version, parameters: " ".join([f"framelet/{version}", *parameters]), _versions, _parameters
)

_good = st.one_of(
    st.builds(functools.partial(frame, REQUEST), _text),
    st.builds(functools.partial(frame, PING), _short),
    st.just(frame(HELLO, "framelet/1")),
    st.builds(frame, st.integers(IGNORABLE, 0xBF), _octets),
    st.builds(frame, st.integers(APPLICATION, 0xFF), _text),
)
_recoverable = st.one_of(
    st.builds(functools.partial(frame, REQUEST), _octets),
    st.builds(functools.partial(frame, PING), st.binary(min_size=60, max_size=70)),
    st.builds(lambda count: frame(PING, "x" * count), st.integers(63, 70)),
    st.builds(functools.partial(frame, HELLO), _hello_text),
    st.builds(functools.partial(frame, HELLO), _octets),
    st.builds(frame, st.integers(APPLICATION, 0xFF), _octets),
)
_not_stop = st.integers(0, 255).filter(lambda octet: octet != STOP)
_fatal = st.one_of(
    st.builds(frame, _not_stop, _octets),
    st.builds(header, _not_stop, st.integers(0, 0xFFFF_FFFF)),
    st.binary(max_size=12).filter(lambda octets: STOP not in octets),
)


def _inputs(frames: st.SearchStrategy[bytes], *, many: int, eof: bool) -> st.SearchStrategy[GeneratedInput]:
    ends = st.booleans() if eof else st.just(value=False)
    return st.builds(
        lambda parts, cuts, fin: GeneratedInput(
            (sent := b"".join(parts)),
            tuple(sorted({cut % len(sent) for cut in cuts} - {0}) if sent else ()),
            fin,
        ),
        st.lists(frames, min_size=1, max_size=many),
        st.lists(st.integers(1, 10_000), max_size=6),
        ends,
    )


_KINDS = {
    "good": ("good frames", _inputs(_good, many=20, eof=False)),
    "recoverable": (
        "good frames and recoverable faults",
        _inputs(_good | _recoverable, many=20, eof=False),
    ),
    "any": ("frames of all kinds", _inputs(_good | _recoverable | _fatal, many=12, eof=True)),
    "fatal": ("mostly fatal faults", _inputs(_fatal | _good, many=4, eof=True)),
    "half-close": ("frames, and the end of the stream", _inputs(_good | _recoverable, many=12, eof=True)),
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
def case_generated(play: Play, strategy: st.SearchStrategy[GeneratedInput]) -> None:
    """Search, shrink, and see the smallest one fail again."""
    talk = _Talk(play)
    search = Search(play.options, talk.hold, _size)
    search.run(strategy.map(lambda given: (given,)), play.options.examples)


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
