"""Every vector for a client: whole, cut in two at each octet and octet by octet, and one frame at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from framelet import HEADER_SIZE
from framelet.registry import TypeRange
from framelet_conformance.cases.each_vector import each_vector, has_stopped
from framelet_conformance.cases.segments import halves, octet_by_octet
from framelet_conformance.expectations import error, octets, unroll
from framelet_conformance.scenario import FAILED, FIN, Scenario, Step, asked, maybe, pause, read, send
from framelet_conformance.wire.frames import ERROR, frame_end

from .shapes import NEXT_PING, NEXT_PONG, NEXT_PONG_OCTETS, perform

if TYPE_CHECKING:
    from framelet_conformance.expectations import Expectation
    from framelet_conformance.play import Play
    from framelet_conformance.specification import Vector


def scenario_of(vector: Vector, pieces: list[bytes], *, behind: bool = False) -> Scenario:
    """The vector as it stands: all is asked, then the answers come; with a PING ``behind``, where asked."""
    ask = [asked(item["type"], octets(item.get("body", ""))) for item in vector["asked"]]
    expect = list(unroll(vector["expect"]))
    if behind:
        ask.append(NEXT_PING)
        expect.append(NEXT_PONG)
        pieces = [*pieces[:-1], pieces[-1] + NEXT_PONG_OCTETS]
    steps: list[Step] = [read(len(ask))]
    for piece in pieces:
        steps += [pause(0.002), send(piece)] if len(steps) > 1 else [send(piece)]
    if vector["eof"]:
        steps.append(FIN)
    return Scenario(
        ask=tuple(ask),
        steps=tuple(steps),
        expect=tuple(expect),
        then=vector["then"],
        fatal=vector.get("fatal"),
        pipeline=len(ask) > 1,
        max_body=vector.get("needs", {}).get("max_body"),
    )


@each_vector("client", "whole", "whole", lambda vector: bool(vector["asked"]))
def case_whole(play: Play, vector: Vector) -> None:
    """A vector as it stands; where the connection goes on, with a PING and its PONG after."""
    behind = vector["then"] == "open" and not has_stopped(vector)
    perform(play, scenario_of(vector, [octets(vector["send"])], behind=behind))


@each_vector(
    "client",
    "split",
    "cut in two at each octet, and octet by octet",
    lambda vector: bool(vector["asked"]) and len(octets(vector["send"])) > 1,
    "REQ-FRAME-4",
)
def case_split(play: Play, vector: Vector) -> None:
    """Each cut is a conversation of its own."""
    sent = octets(vector["send"])
    ways = [*halves(sent), octet_by_octet(sent, up_to=300, pieces=50)]
    perform(play, *(scenario_of(vector, pieces) for pieces in ways))


@each_vector("client", "next", "one frame at a time, then a PING")
def case_next(play: Play, vector: Vector) -> None:
    """The client waits for each answer before it sends on; after a fault it must not send on at all."""
    perform(play, turn_by_turn(vector))


def turn_by_turn(vector: Vector) -> Scenario:
    """The vector for a client that sends a frame when it has the answer to the one before."""
    ask = [asked(item["type"], octets(item.get("body", ""))) for item in vector["asked"]]
    expect: list[Any] = list(unroll(vector["expect"]))
    sent, steps = octets(vector["send"]), []
    answered = sum(item != FAILED for item in expect)
    for place in range(1, answered + 1):
        # What follows the last answer comes with it, so that the client can see it before it sends on.
        part = sent if place == len(ask) else first_answer(sent)
        sent = sent[len(part) :]
        steps += [read(), send(part)]
    if answered < len(ask) and not has_stopped(vector):
        steps.append(read())
    steps.append(send(sent))
    then = vector["then"]
    if then == "open" and has_stopped(vector):
        steps.append(maybe(NEXT_PONG_OCTETS))
        expect.append([NEXT_PONG, FAILED])
        then = "closed"
    elif then == "open":
        steps += [read(), send(NEXT_PONG_OCTETS)]
        expect.append(NEXT_PONG)
    else:
        expect.append(unasked_error(sent) if not ask else FAILED)
    if vector["eof"]:
        steps.append(FIN)
    return Scenario(
        ask=(*ask, NEXT_PING),
        steps=tuple(steps),
        expect=tuple(expect),
        then=then,
        fatal=vector.get("fatal"),
        pipeline=False,
        allowed=answered + 1,
        max_body=vector.get("needs", {}).get("max_body"),
    )


def unasked_error(sent: bytes) -> Expectation | list[Expectation]:
    """What to expect for a PING that an unasked frame may meet on the way.

    A recoverable ERROR is the one frame that would answer it: the suite cannot see which was first.
    """
    code = sent[HEADER_SIZE : HEADER_SIZE + 3]
    if sent[:1] == bytes([ERROR]) and code.startswith(b"4"):
        remark = "it took an ERROR that answers nothing as the answer to the frame it sent meanwhile"
        return [FAILED, {**error(int(code)), "remark": remark}]
    return FAILED


def first_answer(sent: bytes) -> bytes:
    """The octets up to the end of the first frame that is not ignorable."""
    place, ignorable = 0, True
    while ignorable and (end := frame_end(sent, place)) is not None:
        ignorable, place = sent[place] in TypeRange.IGNORABLE.types, end
    return sent[:place]
