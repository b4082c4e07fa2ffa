"""What a generated conversation asks of a client, and says to it: any answers, good and bad, cut anywhere."""

from __future__ import annotations

import functools
from typing import NamedTuple

from hypothesis import strategies as st

from framelet.limits import MAX_PING_BODY
from framelet.registry import ANSWERS, FrameType, TypeRange, type_kinds
from framelet_conformance.cases.client.generated import TOGETHER, GeneratedExchange
from framelet_conformance.cases.client.shapes import ANSWERS as EXAMPLES
from framelet_conformance.cases.client.shapes import HELLO_BODY
from framelet_conformance.expectations import type_octet
from framelet_conformance.scenario import Asked, asked
from framelet_conformance.wire.frames import APPLICATION, IGNORABLE, SAMPLE, frame, header


class Turn(NamedTuple):
    """A frame that the client is asked for, and what the server says to it in each conversation."""

    asked: Asked
    says: tuple[bytes, ...]


# What is asked, and what may be said to it.

# What careless programs change: text of one to four octets, marks, spaces, ends of lines and of strings.
_TEXTS = ("\ufeffa", " a ", "a\r\n", "a\0b", "e\u0301", "\u212b", SAMPLE)
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(_TEXTS)
_octets = st.binary(max_size=24)
_short = _text.filter(lambda text: len(text.encode()) <= MAX_PING_BODY)
_asked = st.one_of(
    st.builds(functools.partial(asked, "REQUEST"), _text),
    st.builds(functools.partial(asked, "PING"), _short),
    st.just(asked("HELLO")),
    st.builds(lambda octet, text: asked(f"{octet:02X}", text), st.integers(APPLICATION, 0xFF), _text),
    st.just(asked("STOP")),
)
_noise = st.lists(st.builds(frame, st.integers(IGNORABLE, 0xBF), _octets), max_size=2).map(b"".join)
_HELLOS = (HELLO_BODY, "framelet/1", "framelet/1 a=~ max-body=4294967295", "framelet/1 idle-timeout-ms=0")
_STOPPEDS = ("closed=0 cut=0", "cut=1 x=y closed=9999999999")


def _error(first: int) -> st.SearchStrategy[bytes]:
    """An ERROR with any code of a class."""
    codes = st.integers(first, first + 99)
    return st.builds(lambda code, text: frame(FrameType.ERROR, f"{code} {text}"), codes, _text)


def _answer(item: Asked) -> st.SearchStrategy[bytes]:
    """An answer that fits."""
    octet = ANSWERS[type_octet(item.type)]
    texts = {
        "PING": st.just(item.body.decode()),
        "HELLO": st.sampled_from(_HELLOS),
        "STOP": st.sampled_from(_STOPPEDS),
    }
    return texts.get(item.type, _text).map(functools.partial(frame, octet))


_asks = {FrameType.REQUEST, FrameType.STOP, FrameType.PING}
_unknown = sorted(
    octet for octet, kind in type_kinds.items() if kind in {TypeRange.NEVER, TypeRange.CRITICAL}
)
_refused = st.one_of(*(st.sampled_from(octets) for octets in (_unknown, sorted(_asks))))
# Lengths that a sign, or a word that is too short, makes small; Hypothesis prefers small numbers anyway.
_lengths = st.sampled_from([0x1_0001, 1 << 24, 1 << 31, 0xFFFF_FFFF]) | st.integers(0, 0xFFFF_FFFF)
_BAD = {
    FrameType.ERROR: ("", "400", "400:x", "40 x", "600 x", "4000 x", "\u0664\u0660\u0660 x"),
    FrameType.HELLO: ("framelet/2", "framelet/1 ", "framelet/1 max-body=9", "framelet/1 a=1 a=1"),
    FrameType.STOPPED: ("", "closed=0", "closed=0  cut=0", "closed=00 cut=0"),
}


def _bad(item: Asked, says: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A fault instead of an answer; now and then the answer follows, for one who reads over it."""
    octet = ANSWERS[type_octet(item.type)]
    forms = [frame(kind, text) for kind, texts in _BAD.items() for text in texts]
    faults = _either(
        _error(500),
        st.builds(frame, _refused, _octets),
        st.sampled_from([*forms, *(frame(other, text) for _, other, text in EXAMPLES.values())]),
        st.builds(frame, st.just(octet), _octets | _text),
        st.builds(header, st.just(octet) | st.integers(0, 255), _lengths),
        _part(says) | st.binary(max_size=12),
    )
    return st.builds(bytes.__add__, faults, st.just(b"") | says)


def _says(item: Asked, *, recoverable: bool, faults: bool) -> st.SearchStrategy[bytes]:
    """What the server says to one frame."""
    says = _answer(item)
    if recoverable:
        says = _either(says, says, says, _error(400))
    if faults:
        says = _either(says, says, _bad(item, says))
    return st.builds(bytes.__add__, _noise, says)


def _either(*ways: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """One of them, each as likely as the others; ``one_of`` would count those within them."""
    return st.sampled_from(ways).flatmap(lambda way: way)


def _part(says: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda octets, end: octets[: end % len(octets)], says, st.integers(0, 99))


@st.composite
def _turn(draw: st.DrawFn, *, recoverable: bool, faults: bool) -> Turn:
    item = draw(_asked)
    says = _says(item, recoverable=recoverable, faults=faults)
    return Turn(item, tuple(draw(st.lists(says, min_size=TOGETHER, max_size=TOGETHER))))


class Way(NamedTuple):
    """How it is said: the places of the cuts, whether FIN follows, and whether the answers are in order."""

    cuts: tuple[int, ...]
    fin: bool
    in_order: bool


_ways = st.builds(
    Way,
    st.lists(st.integers(1, 10_000), max_size=5).map(tuple),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
)


def _together(
    *, pipeline: bool = True, recoverable: bool = True, faults: bool = False
) -> st.SearchStrategy[tuple[GeneratedExchange, ...]]:
    """Conversations that ask for the same; each takes its own of what may be said."""

    def build(turns: list[Turn], ways: list[Way]) -> tuple[GeneratedExchange, ...]:
        asks = tuple(turn.asked for turn in turns)
        says = [tuple(turn.says[number] for turn in turns) for number in range(TOGETHER)]
        return tuple(
            GeneratedExchange(
                asks, said if way.in_order or not faults else said[::-1], way.cuts, way.fin, pipeline
            )
            for said, way in zip(says, ways, strict=True)
        )

    turns = st.lists(_turn(recoverable=recoverable, faults=faults), min_size=1, max_size=6)
    return st.builds(build, turns, st.lists(_ways, min_size=TOGETHER, max_size=TOGETHER))


KINDS = {
    "good": _together(recoverable=False),
    "recoverable": _together(),
    "faults": _together(faults=True),
    "in-turn": _together(pipeline=False, faults=True),
}
