"""Generated conversations: any frames, good and bad, cut anywhere, judged by the model.

What fails is shrunk to the smallest failing conversation, which must fail again to count.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import strategies as st

from framelet_conformance.cases.search import Search
from framelet_conformance.judging.judge import judge
from framelet_conformance.judging.server_model import Facts, predict
from framelet_conformance.play import case
from framelet_conformance.replay import Replay
from framelet_conformance.results import Failed, Skipped
from framelet_conformance.wire.frames import APPLICATION, HELLO, IGNORABLE, PING, REQUEST, frame, header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_conformance.play import Play
    from framelet_conformance.targets.servers import Server


class Conversed(NamedTuple):
    """What is sent: octets, where they are cut, and whether FIN follows."""

    sent: bytes
    cuts: tuple[int, ...]
    eof: bool

    def __repr__(self) -> str:
        """Short, for reports."""
        return f"{self.sent.hex(' ')} cut at {self.cuts}{' FIN' if self.eof else ''}"


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_short = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x7FF), max_size=32)
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
    st.builds(functools.partial(frame, PING), _short.filter(lambda text: len(text.encode()) <= 64)),  # noqa: PLR2004 - REQ-PING-1
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
_not_stop = st.integers(0, 255).filter(lambda octet: octet != 0x03)  # noqa: PLR2004 - STOP
_fatal = st.one_of(
    st.builds(frame, _not_stop, _octets),
    st.builds(header, _not_stop, st.integers(0, 0xFFFF_FFFF)),
    st.binary(max_size=12).filter(lambda octets: b"\x03" not in octets),
)


def _conversed(frames: st.SearchStrategy[bytes], *, many: int, eof: bool) -> st.SearchStrategy[Conversed]:
    ends = st.booleans() if eof else st.just(value=False)
    return st.builds(
        lambda parts, cuts, fin: Conversed(
            (sent := b"".join(parts)),
            tuple(sorted({cut % len(sent) for cut in cuts} - {0}) if sent else ()),
            fin,
        ),
        st.lists(frames, min_size=1, max_size=many),
        st.lists(st.integers(1, 10_000), max_size=6),
        ends,
    )


_KINDS = {
    "good": ("good frames", _conversed(_good, many=20, eof=False)),
    "recoverable": (
        "good frames and recoverable faults",
        _conversed(_good | _recoverable, many=20, eof=False),
    ),
    "any": ("frames of all kinds", _conversed(_good | _recoverable | _fatal, many=12, eof=True)),
    "fatal": ("mostly fatal faults", _conversed(_fatal | _good, many=4, eof=True)),
    "half-close": ("frames, and the end of the stream", _conversed(_good | _recoverable, many=12, eof=True)),
}


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(
            strategy,
            marks=case(
                f"conversations.{name}",
                f"generated conversations of {title}, cut anywhere, are answered as the model says",
                "REQ-STATE-1",
                "REQ-FRAME-4",
                "REQ-FRAME-1",
                "REQ-ORDER-1",
                "REQ-ORDER-2",
                "REQ-ERROR-2",
                "REQ-ERROR-3",
                reruns=0,
                alone=True,  # Hypothesis does not bear several searches at once, on threads
            ),
        )
        for name, (title, strategy) in _KINDS.items()
    ],
)
def case_generated(play: Play, strategy: st.SearchStrategy[Conversed]) -> None:
    """Search, shrink, and see the smallest one fail again."""
    talk = _Talk(play)
    search = Search(play.options, talk.hold, _size)
    search.run(strategy.map(lambda conversed: (conversed,)), play.options.examples)


class _Talk:
    """Holds conversations with one server, and judges them by the model."""

    def __init__(self, play: Play) -> None:
        """For one case."""
        self.play = play
        self.server: Server = play.peer.server()
        if self.server.max_body is None:
            raise Skipped("needs to know the maximum body size, and no HELLO stated it")
        self.facts = Facts(self.server.max_body, "off", self.server.application)
        if not set(self.server.application.values()) <= {"none", "echo", "reverse"}:
            raise Skipped("needs application types that are not served, echoed or reversed")

    def hold(self, conversations: Sequence[Conversed], *, shrinking: bool = False) -> Failed | None:
        """The failure of the first of them that fails."""
        failures = (self._hold(conversed, shrinking=shrinking) for conversed in conversations)
        return next((failure for failure in failures if failure is not None), None)

    def _hold(self, conversed: Conversed, *, shrinking: bool) -> Failed | None:
        """The failure of one conversation, None where it has none."""
        play, times = self.play, self.play.times
        outcome = predict(conversed.sent, self.facts, eof=conversed.eof)
        # Behind part of a frame no PING can tell whether the connection is open.
        then = "silent" if outcome.then == "open" and _partial(conversed.sent) else outcome.then
        play.replay = Replay(
            play.case.id, "server", list(play.case.requirements), "", [], outcome.expect, then
        )
        try:
            with play.open(self.server) as conversation:
                places = [0, *conversed.cuts, len(conversed.sent)]
                for start, end in itertools.pairwise(places):
                    if start:
                        conversation.pause(times.pause)
                    conversation.send(conversed.sent[start:end])
                if conversed.eof:
                    conversation.send_fin()
                within = times.answer / 6 if shrinking else None
                judge(conversation, outcome.expect, then, play=play, within=within)
        except Failed as error:
            return error
        return None


def _size(conversed: Conversed) -> tuple[int, int, bytes]:
    return len(conversed.sent), len(conversed.cuts), conversed.sent


@functools.lru_cache(maxsize=4_096)
def _partial(sent: bytes) -> bool:
    """Whether octets end inside a frame."""
    place = 0
    while place + 5 <= len(sent):
        place += 5 + int.from_bytes(sent[place + 1 : place + 5], "big")
    return place != len(sent)
