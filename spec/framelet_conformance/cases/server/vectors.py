"""Every vector for a server: whole, cut in two at each octet, octet by octet, and with a frame after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framelet_conformance.cases.each_vector import each_vector, has_stopped
from framelet_conformance.cases.segments import halves, octet_by_octet
from framelet_conformance.expectations import octets, pong
from framelet_conformance.judging.judge import judge
from framelet_conformance.replay import Replay
from framelet_conformance.verdicts import Skipped, Verdict
from framelet_conformance.wire.frames import PING, frame

if TYPE_CHECKING:
    from framelet_conformance.play import Play
    from framelet_conformance.specification import Vector


def converse(play: Play, vector: Vector, pieces: list[bytes], *, behind: bytes = b"") -> None:
    """Send the pieces one after the other, and see that all comes as the vector says."""
    whole = f"vector.{vector['id']}.whole"
    if play.case.id != whole and play.verdicts.get(whole) in {Verdict.FAIL, Verdict.FLAKY}:
        message = "not asked: the vector fails when it is sent whole"
        raise Skipped(message)
    needs = dict(vector.get("needs", {}), fresh=has_stopped(vector))
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
    expect = [*vector["expect"], *([pong("end")] if behind else [])]
    with play.dial(**needs) as conversation:
        for place, piece in enumerate([*pieces[:-1], pieces[-1] + behind]):
            if place:
                conversation.pause(play.times.pause)
            conversation.send(piece)
        if vector["eof"]:
            conversation.send_fin()
        judge(conversation, expect, vector["then"], play=play)


@each_vector("server", "whole", "whole")
def case_whole(play: Play, vector: Vector) -> None:
    """A vector as it stands."""
    converse(play, vector, [octets(vector["send"])])


def may_be_cut(vector: Vector) -> bool:
    """Whether there is something to cut, and the server may be asked more than once."""
    return not has_stopped(vector) and len(octets(vector["send"])) > 1


@each_vector("server", "split", "cut in two at each octet", may_be_cut, "REQ-FRAME-4")
def case_split(play: Play, vector: Vector) -> None:
    """Each cut on a connection of its own; the first failure counts."""
    worst = None
    for pieces in halves(octets(vector["send"])):
        converse(play, vector, pieces)
        if play.close_verdict is Verdict.NON_STRICT:
            worst = play.close
    if worst is not None:
        play.ended(worst, Verdict.NON_STRICT)


@each_vector("server", "octets", "octet by octet", may_be_cut, "REQ-FRAME-4")
def case_octets(play: Play, vector: Vector) -> None:
    """One octet at a time; long ones in more pieces than a reader would like."""
    converse(play, vector, octet_by_octet(octets(vector["send"]), up_to=500, pieces=200))


@each_vector(
    "server", "pipelined", "with a PING right after it", lambda v: v["then"] == "open", "REQ-ORDER-2"
)
def case_pipelined(play: Play, vector: Vector) -> None:
    """The PING comes in the same segment as the end of the vector."""
    converse(play, vector, [octets(vector["send"])], behind=frame(PING, "end"))
