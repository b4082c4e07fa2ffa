"""What a generated conversation sends to a server: any frames, good and bad, cut anywhere."""

from __future__ import annotations

import functools
from typing import NamedTuple

from hypothesis import strategies as st

from framelet.limits import MAX_PING_BODY
from framelet_conformance.wire.frames import APPLICATION, HELLO, IGNORABLE, PING, REQUEST, STOP, frame, header


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


KINDS = {
    "good": _inputs(_good, many=20, eof=False),
    "recoverable": _inputs(_good | _recoverable, many=20, eof=False),
    "any": _inputs(_good | _recoverable | _fatal, many=12, eof=True),
    "fatal": _inputs(_fatal | _good, many=4, eof=True),
    "half-close": _inputs(_good | _recoverable, many=12, eof=True),
}
