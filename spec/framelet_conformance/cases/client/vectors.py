"""Every vector for a client: whole, cut in two at each octet and octet by octet, and one frame at a time."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import pytest

from framelet.registry import TypeRange
from framelet_conformance.judging.judge import octets, unroll
from framelet_conformance.play import case
from framelet_conformance.specification import data_path
from framelet_conformance.targets.adapter import perform
from framelet_conformance.targets.scripted_server import (
    FAILED,
    FIN,
    Scenario,
    Step,
    asked,
    maybe,
    pause,
    read,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framelet_conformance.play import Play

Vector = dict[str, Any]
_EVERY_CUT = 300  # up to this many octets every place is tried
_PIECES = 50  # above, in about so many pieces
_HEADER = 5
_NEXT = asked("PING", "end")
_PONG = {"type": "PONG", "body": "656e64"}
_PONG_OCTETS = bytes.fromhex("07 00000003 656e64")


@functools.cache
def client_vectors() -> list[Vector]:
    """The vectors for a client."""
    text = (data_path("vectors") / "client.json").read_text(encoding="utf-8")
    found: list[Vector] = json.loads(text)["vectors"]
    return found


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
                ),
            )
            for vector in client_vectors()
            if condition(vector)
        ],
    )


def stops(vector: Vector) -> bool:
    """Whether the server says that it ends: then a client may close, and must not rely on more answers."""
    return any(item["type"] == "STOPPED" for item in vector["expect"])


def scenario_of(vector: Vector, pieces: list[bytes], *, behind: bool = False) -> Scenario:
    """The vector as it stands: all is asked, then the answers come; with a PING ``behind``, where asked."""
    ask = [asked(item["type"], octets(item.get("body", ""))) for item in vector["asked"]]
    expect = list(unroll(vector["expect"]))
    if behind:
        ask.append(_NEXT)
        expect.append(_PONG)
        pieces = [*pieces[:-1], pieces[-1] + _PONG_OCTETS]
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


@each_vector("whole", "whole", lambda vector: bool(vector["asked"]))
def case_whole(play: Play, vector: Vector) -> None:
    """A vector as it stands; where the connection goes on, with a PING and its PONG behind."""
    behind = vector["then"] == "open" and not stops(vector)
    perform(play, scenario_of(vector, [octets(vector["send"])], behind=behind))


@each_vector(
    "split",
    "cut in two at each octet, and octet by octet",
    lambda vector: bool(vector["asked"]) and len(octets(vector["send"])) > 1,
    "REQ-FRAME-4",
)
def case_split(play: Play, vector: Vector) -> None:
    """Each cut is a conversation of its own."""
    sent = octets(vector["send"])
    step = 1 if len(sent) <= _EVERY_CUT else max(1, len(sent) // _PIECES) | 1
    ways = [[sent[:cut], sent[cut:]] for cut in cuts(len(sent))]
    ways.append([sent[place : place + step] for place in range(0, len(sent), step)])
    perform(play, *(scenario_of(vector, pieces) for pieces in ways))


def cuts(size: int) -> Iterator[int]:
    """Where to cut in two."""
    yield from range(1, size) if size <= _EVERY_CUT else sorted({1, 4, 5, 6, size // 2, size - 1})


@each_vector("next", "one frame at a time, and a PING behind")
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
    if answered < len(ask) and not stops(vector):
        steps.append(read())
    steps.append(send(sent))
    then = vector["then"]
    if then == "open" and stops(vector):
        steps.append(maybe(_PONG_OCTETS))
        expect.append([_PONG, FAILED])
        then = "closed"
    elif then == "open":
        steps += [read(), send(_PONG_OCTETS)]
        expect.append(_PONG)
    else:
        expect.append(unasked_error(sent) if not ask else FAILED)
    if vector["eof"]:
        steps.append(FIN)
    return Scenario(
        ask=(*ask, _NEXT),
        steps=tuple(steps),
        expect=tuple(expect),
        then=then,
        fatal=vector.get("fatal"),
        pipeline=False,
        allowed=answered + 1,
        max_body=vector.get("needs", {}).get("max_body"),
    )


def unasked_error(sent: bytes) -> Any:  # noqa: ANN401 - as a scenario expects it
    """What to expect for a PING that an unasked frame may meet on the way.

    A recoverable ERROR is the one frame that would answer it: the suite cannot see which was first.
    """
    if sent[:1] == b"\x05" and sent[_HEADER : _HEADER + 1] == b"4":
        remark = "it took an ERROR that nobody had asked for as the answer to the frame it sent meanwhile"
        return [FAILED, {"type": "ERROR", "code": int(sent[_HEADER : _HEADER + 3]), "remark": remark}]
    return FAILED


def first_answer(sent: bytes) -> bytes:
    """The octets up to the end of the first frame that is not ignorable."""
    place = 0
    while True:
        ignorable = sent[place] in TypeRange.IGNORABLE.types
        place += _HEADER + int.from_bytes(sent[place + 1 : place + _HEADER], "big")
        if not ignorable or place >= len(sent):
            return sent[:place]
