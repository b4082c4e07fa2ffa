"""Every vector for a server: whole, cut in two at each octet, octet by octet, and with a frame behind."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import pytest

from framelet_conformance.judging.judge import PING, PONG, judge, octets, unroll
from framelet_conformance.play import case
from framelet_conformance.replay import Replay
from framelet_conformance.results import Skipped, Verdict
from framelet_conformance.specification import data_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framelet_conformance.play import Play

Vector = dict[str, Any]
_EVERY_CUT = 300  # up to this many octets every place is tried
_EVERY_OCTET = 500  # up to this many they go one by one
_PIECES = 200  # above, in about so many pieces


@functools.cache
def server_vectors() -> list[Vector]:
    """The vectors for a server, in the order of the files."""
    return [
        vector
        for path in sorted(data_path("vectors").glob("*.json"))
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]
        if vector["role"] == "server"
    ]


def stops(vector: Vector) -> bool:
    """Whether it ends the server."""
    return any(item["type"] == "STOPPED" for item in vector["expect"])


def each_vector(
    how: str, title: str, condition: Callable[[Vector], bool] = lambda _: True, *extra: str
) -> pytest.MarkDecorator:
    """Make a function a case for each vector of which the condition holds."""
    return pytest.mark.parametrize(
        "vector",
        [
            pytest.param(
                vector,
                id=vector["id"],
                marks=case(
                    f"vector.{vector['id']}.{how}",
                    f"{vector['title']} ({title})",
                    *dict.fromkeys([*vector["requirements"], *extra]),
                    stops=stops(vector),
                ),
            )
            for vector in server_vectors()
            if condition(vector)
        ],
    )


def converse(play: Play, vector: Vector, pieces: list[bytes], *, behind: bytes = b"") -> None:
    """Send the pieces one after the other, and see that all comes as the vector says."""
    whole = f"vector.{vector['id']}.whole"
    if play.case.id != whole and play.verdicts.get(whole) in {Verdict.FAIL, Verdict.FLAKY}:
        message = "not asked: the vector fails when it is sent whole"
        raise Skipped(message)
    needs = dict(vector.get("needs", {}), fresh=stops(vector))
    play.replay = Replay(
        play.case.id,
        "server",
        list(vector["requirements"]),
        "",
        [],
        list(vector["expect"]),
        vector["then"],
        setup=vector.get("needs", {}),
    )
    expect = [*vector["expect"], *([PONG] if behind else [])]
    with play.dial(**needs) as conversation:
        for place, piece in enumerate([*pieces[:-1], pieces[-1] + behind]):
            if place:
                conversation.pause(play.times.pause)
            conversation.send(piece)
        if vector["eof"]:
            conversation.send_fin()
        judge(conversation, expect, vector["then"], play=play)


@each_vector("whole", "whole")
def case_whole(play: Play, vector: Vector) -> None:
    """A vector as it stands."""
    converse(play, vector, [octets(vector["send"])])


@each_vector(
    "split", "cut in two at each octet", lambda v: not stops(v) and len(octets(v["send"])) > 1, "REQ-FRAME-4"
)
def case_split(play: Play, vector: Vector) -> None:
    """Each cut on a connection of its own; the first failure counts."""
    sent = octets(vector["send"])
    worst = None
    for cut in cuts(sent):
        converse(play, vector, [sent[:cut], sent[cut:]])
        if play.close_verdict is Verdict.NON_STRICT:
            worst = play.close
    if worst is not None:
        play.ended(worst, Verdict.NON_STRICT)


def cuts(sent: bytes) -> Iterator[int]:
    """Where to cut in two."""
    size = len(sent)
    yield from range(1, size) if size <= _EVERY_CUT else sorted({1, 4, 5, 6, size // 2, size - 1})


@each_vector("octets", "octet by octet", lambda v: not stops(v) and len(octets(v["send"])) > 1, "REQ-FRAME-4")
def case_octets(play: Play, vector: Vector) -> None:
    """One octet at a time; long ones in more pieces than a reader would like."""
    sent = octets(vector["send"])
    step = 1 if len(sent) <= _EVERY_OCTET else max(1, len(sent) // _PIECES) | 1
    converse(play, vector, [sent[place : place + step] for place in range(0, len(sent), step)])


@each_vector("pipelined", "with a PING right behind it", lambda v: v["then"] == "open", "REQ-ORDER-2")
def case_pipelined(play: Play, vector: Vector) -> None:
    """The PING comes in the same segment as the end of the vector."""
    converse(play, vector, [octets(vector["send"])], behind=PING)


def expected_frames(vector: Vector) -> list[Any]:
    """What is expected, one by one."""
    return list(unroll(vector["expect"]))
