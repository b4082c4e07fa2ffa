"""What a client must make of any octets: the specification as one small pure function.

The counterpart of ``model``: it knows nothing of sockets, time or segments; the vectors prove it right.
Generated conversations with clients are judged by it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from construct import ConstructError

from framelet import grammar
from framelet.registry import ANSWERS, FrameType, TypeRange, type_kinds
from framelet_conformance.wire.conversation import HEADER

from .judge import type_octet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_conformance.targets.scripted_server import Asked, Expectation

_FATAL = 500


@dataclasses.dataclass(slots=True)
class Outcome:
    """What a client has made of what came so far.

    ``expect`` are the reports on the frames that were answered, and ``read`` is how many octets that took.
    ``then`` is ``answered`` where nothing is awaited any more, ``stopped`` where nothing may be, ``waiting``
    where more must come, and ``closed`` where the client must close; ``fatal`` is the code of a fatal ERROR.
    """

    expect: list[Expectation] = dataclasses.field(default_factory=list)
    read: int = 0
    then: str = "waiting"
    fatal: int | None = None


def predict(asked: Sequence[Asked], sent: bytes, max_body: int) -> Outcome:
    """What a client that conforms makes of these octets, when it has sent the frames asked for."""
    outcome = Outcome()
    while outcome.then == "waiting" and len(outcome.expect) < len(asked):
        header = sent[outcome.read : outcome.read + HEADER]
        if len(header) < HEADER:
            return outcome
        length = int.from_bytes(header[1:], "big")
        if length > max_body:
            outcome.then = "closed"
            return outcome
        end = outcome.read + HEADER + length
        if end > len(sent):
            return outcome
        _take(outcome, asked[len(outcome.expect)], header[0], sent[end - length : end])
        outcome.read = end
    if outcome.then == "waiting":
        outcome.then = "answered"
    return outcome


def _take(outcome: Outcome, item: Asked, octet: int, body: bytes) -> None:
    """Take one whole frame while an answer to ``item`` is awaited."""
    kind = type_kinds[octet]
    if kind is TypeRange.IGNORABLE:
        return
    if kind is not FrameType.ERROR and octet != ANSWERS[type_octet(item.type)]:
        outcome.then = "closed"
        return
    try:
        parsed: Any = grammar.BODIES[kind].parse(body)
    except ConstructError:
        outcome.then = "closed"
        return
    if kind is FrameType.ERROR:
        _take_error(outcome, parsed.code)
    elif (kind is FrameType.PONG and body != item.body) or (kind is FrameType.HELLO and parsed.version != 1):
        outcome.then = "closed"
    else:
        outcome.expect.append(_report(kind, octet, body, parsed))
        # What was asked behind a STOP has no answer that the client may rely on (REQ-STOP-13).
        outcome.then = "stopped" if kind is FrameType.STOPPED else "waiting"


def _take_error(outcome: Outcome, code: int) -> None:
    if code < _FATAL:
        outcome.expect.append({"type": "ERROR", "code": code})
    else:
        outcome.then, outcome.fatal = "closed", code


def _report(
    kind: FrameType | TypeRange,
    octet: int,
    body: bytes,
    parsed: Any,  # noqa: ANN401 - construct's results have no types
) -> Expectation:
    """What the client reports: of HELLO and STOPPED only the keys that each client must know."""
    if kind is FrameType.HELLO:
        limit = {key: value for key, value in parsed.parameters.items() if key == "max-body"}
        return {"type": "HELLO", "parameters": limit}
    if kind is FrameType.STOPPED:
        numbers = {key: parsed[key] for key in grammar.STOPPED_NUMBERS}
        return {"type": "STOPPED", "parameters": numbers}
    return {"type": f"{octet:02X}", "body": body.hex()}
