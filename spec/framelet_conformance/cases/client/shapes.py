"""Scenarios of the usual shapes: an answer that a client must take, or one at which it must close."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from framelet_conformance.expectations import Expectation, error, pong, type_octet
from framelet_conformance.scenario import FAILED, FIN, Asked, Scenario, Step, asked, read, send
from framelet_conformance.wire.frames import APPLICATION, ERROR, HELLO, PONG, REPLY, STOPPED, frame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framelet_conformance.play import Play

REQUEST = asked("REQUEST", "ab")
NEXT_PING = asked("PING", "end")
NEXT_PONG = pong("end")
NEXT_PONG_OCTETS = frame(PONG, "end")
HELLO_BODY = "framelet/1 max-body=65536"

ANSWERS: dict[str, tuple[Asked, int, str]] = {
    "reply": (REQUEST, REPLY, "b\u20aca"),
    "pong": (asked("PING", "x\u20acy"), PONG, "x\u20acy"),
    "hello": (asked("HELLO"), HELLO, HELLO_BODY),
    "application": (asked("C0", "ab"), APPLICATION, "b\u20aca"),
    "error": (REQUEST, ERROR, "400 n\u00f6"),
    "stopped": (asked("STOP"), STOPPED, "closed=0 cut=0"),
}
"""For each kind of answer: a frame that asks for it, the type of the answer, and its body."""


def perform(play: Play, *scenarios: Scenario) -> None:
    """Play scenarios against the client under test; see ``targets.adapter.Adapter.perform``."""
    play.target.perform(play, *scenarios)


def body(octet: int, text: bytes | str) -> Expectation:
    """An answer with exactly this body."""
    octets = text.encode() if isinstance(text, str) else text
    return {"type": f"{octet:02X}", "body": octets.hex()}


def answer(octet: int, text: str) -> Expectation:
    """What the client must report for this frame as the answer; of HELLO and STOPPED only that it came."""
    if octet == ERROR:
        return error(int(text[:3]))
    names: dict[int, str] = {HELLO: "HELLO", STOPPED: "STOPPED"}
    return {"type": names[octet], "parameters": {}} if octet in names else body(octet, text)


def hello_of(text: str = HELLO_BODY) -> tuple[Asked, bytes, Expectation]:
    """A HELLO, the server's HELLO of this text, and what the client must report."""
    return asked("HELLO"), frame(HELLO, text), answer(HELLO, text)


def taken(ask: Asked, octets: bytes, expect: Expectation, **more: Any) -> Scenario:  # noqa: ANN401 - see Scenario
    """The client must take what comes as the answer to the one frame, and go on."""
    return Scenario(
        ask=(ask, NEXT_PING),
        steps=(read(), send(octets), read(), send(NEXT_PONG_OCTETS)),
        expect=(expect, NEXT_PONG),
        pipeline=False,
        **more,
    )


def refused(ask: Asked, octets: bytes, *, fatal: int | None = None, **more: Any) -> Scenario:  # noqa: ANN401 - see Scenario
    """The client must close at what comes as the answer to the one frame, and send nothing further."""
    return Scenario(
        ask=(ask, NEXT_PING),
        steps=(read(), send(octets)),
        expect=(FAILED, FAILED),
        then="closed",
        fatal=fatal,
        pipeline=False,
        allowed=1,
        **more,
    )


def ended(ask: Asked, octets: bytes, end: Step = FIN, *, fatal: int | None = None) -> Scenario:
    """The server ends the stream after these octets; the client must report that no answer came."""
    found = refused(ask, octets, fatal=fatal)
    return dataclasses.replace(found, steps=(*found.steps, end))


def exchange(
    triples: Iterable[tuple[Asked, bytes, Expectation]],
    *,
    pipeline: bool = True,
    **more: Any,  # noqa: ANN401 - see Scenario
) -> Scenario:
    """Frames with their answers, all of them in one segment, or one by one; and a PING after."""
    found = [*triples, (NEXT_PING, NEXT_PONG_OCTETS, NEXT_PONG)]
    steps = [step for _, octets, _ in found for step in (read(), send(octets))]
    if pipeline:
        steps = [read(len(found)), send(b"".join(octets for _, octets, _ in found))]
    return Scenario(
        ask=tuple(ask for ask, _, _ in found),
        steps=tuple(steps),
        expect=tuple(expect for _, _, expect in found),
        pipeline=pipeline,
        **more,
    )


def echo(item: Asked) -> tuple[Asked, bytes, Expectation]:
    """A frame whose answer carries the same body: see only what the client sends."""
    octet = {"REQUEST": REPLY, "PING": PONG}.get(item.type) or type_octet(item.type)
    return item, frame(octet, item.body), body(octet, item.body)
