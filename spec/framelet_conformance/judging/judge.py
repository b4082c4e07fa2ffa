"""Comparing what comes with what is expected, frame by frame and octet by octet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from construct import ConstructError

from framelet import grammar, limits
from framelet.registry import FrameType, type_kinds
from framelet_conformance.results import Ending, Failed, Verdict
from framelet_conformance.wire.conversation import Silence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from framelet_conformance.play import Play
    from framelet_conformance.wire.conversation import Conversation, Frame

PING = b"\x06\0\0\0\x03end"
PONG = {"type": "PONG", "body": "656e64"}
_FATAL = 500
_SHOWN = 40

Expectation = dict[str, Any]
"""One frame that is expected, as vectors write it."""


def octets(value: str | list[dict[str, Any]]) -> bytes:
    """The octets that a vector's ``send`` or ``body`` describes."""
    if isinstance(value, str):
        return bytes.fromhex(value)
    return b"".join(
        bytes.fromhex(piece["hex"]) if "hex" in piece else bytes.fromhex(piece["repeat"]) * piece["times"]
        for piece in value
    )


def type_name(octet: int) -> str:
    """What a type is called."""
    kind = type_kinds[octet]
    return kind.name if isinstance(kind, FrameType) else f"{octet:02X}"


def type_octet(name: str) -> int:
    """The octet of a type as vectors name it."""
    return FrameType[name].value if name in FrameType.__members__ else int(name, 16)


def show_octets(data: bytes) -> str:
    """Octets for people, cut short."""
    text = data[:_SHOWN].hex(" ") or "(empty)"
    return text if len(data) <= _SHOWN else f"{text} ... ({len(data):,} octets)"


def show_frame(frame: Frame) -> str:
    """A frame for people."""
    if frame.type == FrameType.ERROR:
        return f"ERROR {frame.body[:60].decode(errors='backslashreplace')!r}"
    return f"{type_name(frame.type)} {show_octets(frame.body)}"


def show_expected(item: Expectation) -> str:
    """An expectation for people."""
    if "code" in item:
        return f"ERROR {item['code']}"
    if "parameters" in item:
        return f"{item['type']} with {item['parameters'] or 'any parameters'}"
    return f"{item['type']} {show_octets(octets(item['body']))}"


def unroll(expect: list[Expectation]) -> Iterator[Expectation]:
    """The frames one by one."""
    for item in expect:
        for _ in range(item.get("times", 1)):
            yield item


def compare(frame: Frame, item: Expectation, place: int) -> None:
    """Raise Failed where a frame is not the one expected; ``place`` counts from 1."""
    problem, broken = _difference(frame, item)
    if problem:
        message = (
            f"answer {place}: {problem}\n  expected {show_expected(item)}\n  received {show_frame(frame)}"
        )
        raise Failed(message, *broken)


def _difference(frame: Frame, item: Expectation) -> tuple[str, tuple[str, ...]]:
    """What is wrong, and the requirements to blame where the case's own are not."""
    if frame.type == FrameType.ERROR:
        fault, broken = error_fault(frame.body)
        if fault:
            return fault, broken
    if frame.type != type_octet(item["type"]):
        return f"a frame of type {frame.type:02x} instead of {type_octet(item['type']):02x}", ()
    if "code" in item:
        code = int(frame.body[:3])
        return ("" if code == item["code"] else f"code {code} instead of {item['code']}"), ()
    if "parameters" in item:
        return _parameters(frame, item)
    return _body(frame.body, octets(item["body"])), ()


_INTERNAL = re.compile(rb"Traceback|File \"|/(?:home|usr|opt|root|tmp|var|src)/|[a-z]\.(?:py|go|rs|c|java):")


def error_fault(body: bytes) -> tuple[str, tuple[str, ...]]:
    """What is wrong with the form of an ERROR's body, and which requirement says so."""
    if len(body) > limits.MAX_ERROR_BODY:
        return f"the body of an ERROR has {len(body):,} octets", ("REQ-ERROR-14",)
    try:
        grammar.ErrorBody.parse(body)
    except ConstructError:
        try:
            body.decode()
        except UnicodeDecodeError:
            return "the body of an ERROR is not well-formed UTF-8", ("REQ-ERROR-1", "REQ-TEXT-1")
        return "the body of an ERROR is not of the form error-body", ("REQ-ERROR-1",)
    if _INTERNAL.search(body):
        return "the text of an ERROR shows internal detail of the server", ("REQ-SEC-2",)
    return "", ()


def _parameters(frame: Frame, item: Expectation) -> tuple[str, tuple[str, ...]]:
    hello = frame.type == FrameType.HELLO
    try:
        parsed: Any = (grammar.HelloBody if hello else grammar.StoppedBody).parse(frame.body)
    except ConstructError as error:
        form = "hello-body" if hello else "stopped-body"
        broken = ("REQ-HELLO-1",) if hello else ("REQ-STOP-9",)
        return f"the body is no {form}: {str(error).splitlines()[-1]}", broken
    if hello and parsed.version != 1:
        return f"a HELLO of version {parsed.version}", ("REQ-HELLO-1",)
    found = parsed.parameters if hello else parsed
    for key, value in item["parameters"].items():
        if found.get(key) != value:
            return f"{key} is {found.get(key, 'missing')} instead of {value}", ()
    return "", ()


def _body(body: bytes, expected: bytes) -> str:
    if body == expected:
        return ""
    place = next(
        (place for place, (one, other) in enumerate(zip(body, expected, strict=False)) if one != other),
        min(len(body), len(expected)),
    )
    return f"the bodies ({len(body):,} and {len(expected):,} octets) differ at octet {place}"


def judge(
    conversation: Conversation,
    expect: list[Expectation],
    then: str,
    *,
    play: Play | None = None,
    within: float | None = None,
) -> None:
    """Read the answers and then see that the connection goes on (``open``) or ends (``closed``).

    ``silent`` looks at the answers alone, as is right inside a frame, where no PING can be sent.  Raises
    Failed.  A missing fatal ERROR before an end of the stream is noted with ``play`` as non-strict.
    """
    items = list(unroll(expect))
    for place, item in enumerate(items, 1):
        try:
            frame = conversation.read_frame(within)
        except Silence:
            late = conversation.waiting
            partial = f" (only {show_octets(late)} of a frame)" if late else ""
            message = f"answer {place} did not come{partial}: expected {show_expected(item)}"
            raise Failed(message) from None
        if frame is None:
            _missing(conversation, items, place, play)
            return
        compare(frame, item, place)
    if then == "open":
        _expect_open(conversation, play)
    elif then == "closed":
        _expect_end(conversation, items, play)


def _missing(conversation: Conversation, items: list[Expectation], place: int, play: Play | None) -> None:
    item = items[place - 1]
    last = place == len(items) and item.get("code", 0) >= _FATAL
    if last and not conversation.waiting and play is not None:
        play.ended(conversation.ending, Verdict.NON_STRICT)
        play.remark = f"a bare {conversation.ending} where ERROR {item['code']} was due"
        return
    if play is not None:
        play.ended(conversation.ending, Verdict.FAIL)
    partial = f" inside a frame ({show_octets(conversation.waiting)})" if conversation.waiting else ""
    message = (
        f"the stream ended{partial} by {conversation.ending} before answer {place}: "
        f"expected {show_expected(item)}"
    )
    raise Failed(message, *(("REQ-CLOSE-5",) if partial and conversation.ending is Ending.FIN else ()))


def _expect_open(conversation: Conversation, play: Play | None) -> None:
    """See that the very next frame is the PONG of a PING sent now."""
    conversation.send(PING)
    try:
        frame = conversation.read_frame()
    except Silence:
        raise Failed("the connection must go on, but a PING behind it was not answered") from None
    if frame is None:
        if play is not None:
            play.ended(conversation.ending, Verdict.FAIL)
        message = f"the connection must go on, but it ended by {conversation.ending}"
        raise Failed(message)
    if frame.type != FrameType.PONG or frame.body != b"end":
        message = f"the PONG of the PING behind it must come next, but {show_frame(frame)} came"
        raise Failed(message)
    if play is not None:
        play.ended(Ending.OPEN, Verdict.PASS)


def _expect_end(conversation: Conversation, items: list[Expectation], play: Play | None) -> None:
    fatal = bool(items) and items[-1].get("code", 0) >= _FATAL
    try:
        ending = conversation.read_end()
    except Failed as error:
        again = conversation.waiting[:1] == bytes([FrameType.ERROR])
        broken = ("REQ-ERROR-6",) if again else ("REQ-ERROR-6", "REQ-ERROR-7")
        raise Failed(error.reason, *(broken if fatal else ())) from None
    verdict = {Ending.FIN: Verdict.PASS, Ending.RST: Verdict.NON_STRICT}.get(ending, Verdict.FAIL)
    if play is not None:
        play.ended(ending, verdict)
    if ending is Ending.SILENCE:
        behind = " behind the fatal ERROR" if fatal else ""
        message = f"the server did not close its side{behind}"
        raise Failed(message, *(("REQ-ERROR-8",) if fatal else ()))
