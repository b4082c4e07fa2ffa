"""What a client must make of any octets: the specification as one small pure function.

The counterpart of ``server_model``: it knows nothing of sockets, time or segments, and the vectors prove it
right.  Generated conversations with clients are judged by it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from construct import ConstructError

from framelet import HEADER_SIZE, grammar
from framelet.registry import ANSWERS, FrameType, TypeRange, type_kinds
from framelet_conformance.expectations import error, is_fatal, type_octet
from framelet_conformance.wire.frames import frame_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framelet_conformance.expectations import Expectation
    from framelet_conformance.scenario import Asked


@dataclasses.dataclass(slots=True)
class PredictedReports:
    """What a client has made of what came so far.

    ``expect`` are the reports on the frames that were answered, and ``read`` is how many octets that took.
    ``then`` is ``answered`` where nothing is awaited any more, ``stopped`` where nothing may be, ``waiting``
    where more must come, and ``closed`` where the client must close; ``fatal`` is the code of a fatal ERROR.
    """

    expect: list[Expectation] = dataclasses.field(default_factory=list)
    read: int = 0
    then: str = "waiting"
    fatal: int | None = None


def predict(asked: Sequence[Asked], sent: bytes, max_body: int) -> PredictedReports:
    """What a client that conforms makes of these octets, when it has sent the frames asked for."""
    outcome = PredictedReports()
    while outcome.then == "waiting" and len(outcome.expect) < len(asked):
        end, body = frame_end(sent, outcome.read), outcome.read + HEADER_SIZE
        if end is None:
            return outcome
        if end - body > max_body:
            outcome.then = "closed"
            return outcome
        if end > len(sent):
            return outcome
        _take(outcome, asked[len(outcome.expect)], sent[outcome.read], sent[body:end])
        outcome.read = end
    if outcome.then == "waiting":
        outcome.then = "answered"
    return outcome


def _take(outcome: PredictedReports, item: Asked, octet: int, body: bytes) -> None:
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
        # What was asked after a STOP has no answer that the client may rely on (REQ-STOP-13).
        outcome.then = "stopped" if kind is FrameType.STOPPED else "waiting"


def _take_error(outcome: PredictedReports, code: int) -> None:
    item = error(code)
    if is_fatal(item):
        outcome.then, outcome.fatal = "closed", code
    else:
        outcome.expect.append(item)


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
