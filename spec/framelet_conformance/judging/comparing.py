"""Comparing one frame with what is expected, octet by octet, and saying how they differ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from construct import ConstructError

from framelet import grammar, limits
from framelet.registry import FrameType
from framelet_conformance.expectations import octets, type_name, type_octet
from framelet_conformance.verdicts import Failed

if TYPE_CHECKING:
    from framelet import Frame
    from framelet_conformance.expectations import Expectation

_SHOWN = 40  # octets


def show_octets(data: bytes) -> str:
    """Octets for people, cut short."""
    text = data[:_SHOWN].hex(" ") or "(empty)"
    return text if len(data) <= _SHOWN else f"{text} ... ({len(data):,} octets)"


def escaped(body: bytes) -> str:
    """Text for people; what cannot be shown is escaped."""
    return "".join(
        each if each.isprintable() else ascii(each)[1:-1] for each in body.decode(errors="backslashreplace")
    )


def show(found: Frame | None) -> str:
    """What came, be it the end of the stream."""
    return "the end of the stream" if found is None else show_frame(found)


def show_frame(frame: Frame) -> str:
    """A frame for people."""
    if frame.type == FrameType.ERROR:
        return f'ERROR "{escaped(frame.body[:60])}"'
    if frame.type == FrameType.STOPPED:
        return f'STOPPED "{escaped(frame.body[:60])}"'
    return f"{type_name(frame.type)} {show_octets(frame.body)}"


def show_expected(item: Expectation) -> str:
    """An expectation for people."""
    if "code" in item:
        return f"ERROR {item['code']}"
    if "parameters" in item:
        return f"{item['type']} with {item['parameters'] or 'any parameters'}"
    return f"{item['type']} {show_octets(octets(item['body']))}"


def first_difference(came: bytes, expected: bytes) -> int:
    """The first place at which they differ, or at which one of them ends."""
    pairs = enumerate(zip(came, expected, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(came), len(expected)))


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
        return f"the body is not of the form {form}: {str(error).splitlines()[-1]}", broken
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
    place = first_difference(body, expected)
    return f"the bodies ({len(body):,} and {len(expected):,} octets) differ at octet {place}"
