"""What a server must make of any octets: the specification as one small pure function.

It is written from the text and knows nothing of sockets, time or segments; the vectors prove it right.
Generated conversations are judged by it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from construct import ConstructError

from framelet import HEADER_SIZE, grammar
from framelet.limits import DEFAULT_MAX_BODY, MAX_HELLO_BODY, MAX_PING_BODY
from framelet.registry import FrameType, TypeRange, type_kinds
from framelet_conformance.expectations import error
from framelet_conformance.wire.frames import frame_end

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framelet_conformance.expectations import Expectation


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """How the server is set up: its maximum body size, its STOP policy, and what serves each type."""

    max_body: int = DEFAULT_MAX_BODY
    stop: str = "off"
    application: Mapping[int, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class PredictedAnswers:
    """What the server sends, and whether the connection goes on (``open``) or not (``closed``)."""

    expect: list[Expectation]
    then: str


def predict(sent: bytes, facts: Facts, *, eof: bool) -> PredictedAnswers:
    """What a server that conforms does with these octets."""
    expect: list[Expectation] = []
    answer_limit = facts.max_body
    place = 0
    while (end := frame_end(sent, place)) is not None:
        body_at = place + HEADER_SIZE
        kind, length = type_kinds[sent[place]], end - body_at
        if kind is FrameType.ERROR:
            return PredictedAnswers(expect, "closed")  # at its header; an ERROR has no answer
        fault = _header_fault(kind, length, facts)
        if fault is not None:
            return PredictedAnswers([*expect, error(fault)], "closed")
        if end > len(sent):
            break
        frame_type, body, place = sent[place], sent[body_at:end], end
        if kind is TypeRange.IGNORABLE:
            continue
        item = _answer(frame_type, body, facts)
        if item["type"] == "HELLO":
            answer_limit = min(facts.max_body, _announced(body))
        elif len(item.get("body", "")) // 2 > answer_limit:
            item = error(451)
        expect.append(item)
        if item["type"] == "STOPPED":
            return PredictedAnswers(expect, "closed")
    return PredictedAnswers(expect, "closed" if eof else "open")


def _header_fault(kind: FrameType | TypeRange, length: int, facts: Facts) -> int | None:
    """The fatal code for a header, in order of precedence."""
    if kind in {TypeRange.NEVER, TypeRange.CRITICAL}:
        return 501
    if kind in {FrameType.REPLY, FrameType.STOPPED, FrameType.PONG}:
        return 502
    return 503 if length > facts.max_body else None


def _answer(  # noqa: PLR0911 - one for each type
    frame_type: int, body: bytes, facts: Facts
) -> Expectation:
    """The answer to one whole frame."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return error(400)
    if frame_type == FrameType.REQUEST:
        return _frame("REPLY", text[::-1])
    if frame_type == FrameType.PING:
        return error(413) if len(body) > MAX_PING_BODY else _frame("PONG", text)
    if frame_type == FrameType.HELLO:
        return _hello(body, facts)
    if frame_type == FrameType.STOP:
        allowed = facts.stop in {"local", f"token:{text}"}
        return {"type": "STOPPED", "parameters": {}} if allowed else error(403)
    served = facts.application.get(frame_type, "none")
    if served == "none":
        return error(404)
    return _frame(f"{frame_type:02X}", text[::-1] if served == "reverse" else text)


def _frame(name: str, text: str) -> Expectation:
    return {"type": name, "body": text.encode().hex()}


def _hello(body: bytes, facts: Facts) -> Expectation:
    if len(body) > MAX_HELLO_BODY:
        return error(422)
    try:
        parsed: Any = grammar.HelloBody.parse(body)
    except ConstructError:
        return error(422)
    if parsed.version != 1:
        return error(426)
    return {"type": "HELLO", "parameters": {"max-body": str(facts.max_body)}}


def _announced(body: bytes) -> int:
    parsed: Any = grammar.HelloBody.parse(body)
    return int(parsed.parameters.get("max-body", DEFAULT_MAX_BODY * 256))
