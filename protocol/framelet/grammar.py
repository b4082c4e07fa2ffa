"""The wire format of Framelet as Construct definitions: normative and executable.

What the specification says about octets is said here once more, in a form that parses and builds.  The
codec reads the layout of the header off ``FrameHeader``.  The numbers are in ``registry``, the bounds in
``limits``.  Parsing with these definitions raises ``construct.ConstructError`` and is meant for tools,
vectors and tests; programs use the codec.
"""

# Construct's singletons (Int8ub, GreedyBytes) are made by a decorator that pyright takes for classes.
# pyright: reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from construct import (
    Adapter,
    Bytes,
    Const,
    Construct,
    ConstructError,
    ExprAdapter,
    ExprValidator,
    FixedSized,
    GreedyBytes,
    GreedyString,
    Int8ub,
    Int32ub,
    Struct,
    Switch,
    ValidationError,
    this,
)

from . import limits
from .registry import FrameType, TypeRange, type_kinds

if TYPE_CHECKING:
    from collections.abc import Mapping


# The frame.  Everything about its layout is in these three lines.
FrameHeader: Struct = Struct("type" / Int8ub, "length" / Int32ub)
RawFrame: Construct = FrameHeader + Struct("body" / Bytes(this.length))
Text: Construct = GreedyString("utf-8")


class Hello(NamedTuple):
    """A parsed HELLO body: the version, and the parameters by key."""

    version: int
    parameters: dict[str, str]


_PARAMETER = r"[a-z][a-z0-9-]{0,31}=[\x21-\x7e]+"
_HELLO_BODY = rf"framelet/([1-9][0-9]{{0,4}})((?: {_PARAMETER})*)"
_STOPPED_BODY = rf"{_PARAMETER}(?: {_PARAMETER})*"
_NUMBER = r"0|[1-9][0-9]{0,9}"

HELLO_NUMBERS = {
    "max-body": range(limits.MIN_MAX_BODY, limits.MAX_LENGTH + 1),
    "frame-timeout-ms": range(10**10),
    "idle-timeout-ms": range(10**10),
}
STOPPED_NUMBERS = {"closed": range(10**10), "cut": range(10**10)}
"""The keys that version 1 knows, each with the values that it may have (sections 9 and 10)."""


def _parse_parameters(text: str, numbers: Mapping[str, range], path: str) -> dict[str, str]:
    pairs = [item.split("=", 1) for item in text.split(" ") if item]
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise ValidationError("a key stands twice", path=path)
    for key, allowed in numbers.items():
        value = parameters.get(key)
        if value is not None and not (re.fullmatch(_NUMBER, value) and int(value) in allowed):
            message = f"{key}={value} is not a number from {allowed.start} to {allowed.stop - 1}"
            raise ValidationError(message, path=path)
    return parameters


def _build_parameters(parameters: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in parameters.items()]


class _HelloAdapter(Adapter):  # type: ignore[misc]  # construct ships no types
    """``hello-body`` between its text and a Hello."""

    def _decode(self, obj: str, context: object, path: str) -> Hello:
        del context
        match = re.fullmatch(_HELLO_BODY, obj)
        if match is None:
            raise ValidationError("not of the form framelet/VERSION KEY=VALUE ...", path=path)
        return Hello(int(match[1]), _parse_parameters(match[2], HELLO_NUMBERS, path))

    def _encode(self, obj: Hello, context: object, path: str) -> str:
        del context, path  # what is built is parsed again, by _AtMost
        return " ".join([f"framelet/{obj.version}", *_build_parameters(obj.parameters)])


class _StoppedAdapter(Adapter):  # type: ignore[misc]  # construct ships no types
    """``stopped-body`` between its text and a dict of its parameters."""

    def _decode(self, obj: str, context: object, path: str) -> dict[str, str]:
        del context
        if re.fullmatch(_STOPPED_BODY, obj) is None:
            raise ValidationError("not of the form KEY=VALUE ...", path=path)
        parameters = _parse_parameters(obj, STOPPED_NUMBERS, path)
        if not parameters.keys() >= STOPPED_NUMBERS.keys():
            raise ValidationError("the numbers closed and cut are missing", path=path)
        return parameters

    def _encode(self, obj: Mapping[str, str], context: object, path: str) -> str:
        del context, path  # as above
        return " ".join(_build_parameters(obj))


class _AtMost(Adapter):  # type: ignore[misc]  # construct ships no types
    """A body of at most so many octets, which ``form`` describes further."""

    def __init__(self, octets: int, form: Construct) -> None:
        super().__init__(GreedyBytes)
        self._octets = octets
        self._form = form

    def _decode(self, obj: bytes, context: object, path: str) -> object:
        del context
        if len(obj) > self._octets:
            message = f"{len(obj)} octets, more than {self._octets}"
            raise ValidationError(message, path=path)
        return self._form.parse(obj)

    def _encode(self, obj: object, context: object, path: str) -> bytes:
        body: bytes = self._form.build(obj)
        self._decode(body, context, path)
        return body


_CODE = rb"[45][0-9][0-9]"
_Code = ExprAdapter(
    ExprValidator(Bytes(3), lambda obj, _: re.fullmatch(_CODE, obj) is not None),
    lambda obj, _: int(obj),
    lambda obj, _: b"%03d" % obj,
)

HelloBody: Construct = _AtMost(limits.MAX_HELLO_BODY, _HelloAdapter(Text))
StoppedBody: Construct = _AtMost(limits.MAX_STOPPED_BODY, _StoppedAdapter(Text))
ErrorBody: Construct = _AtMost(limits.MAX_ERROR_BODY, Struct("code" / _Code, Const(b" "), "text" / Text))
PingBody: Construct = _AtMost(limits.MAX_PING_BODY, Text)

BODIES: Mapping[FrameType | TypeRange, Construct] = {
    FrameType.REQUEST: Text,
    FrameType.REPLY: Text,
    FrameType.STOP: Text,
    FrameType.STOPPED: StoppedBody,
    FrameType.ERROR: ErrorBody,
    FrameType.PING: PingBody,
    FrameType.PONG: PingBody,
    FrameType.HELLO: HelloBody,
    TypeRange.IGNORABLE: GreedyBytes,
    TypeRange.APPLICATION: Text,
}
"""The form of the body of each type that may be sent."""

_Type = ExprValidator(Int8ub, lambda obj, _: type_kinds[obj] in BODIES)

Frame: Construct = Struct(
    "type" / _Type,
    "length" / Int32ub,
    "body" / FixedSized(this.length, Switch(lambda context: type_kinds[context.type], BODIES)),
)
"""A whole frame with its body parsed: what conforms, and nothing else."""


def parse_body(form: Construct, body: bytes) -> Any:  # noqa: ANN401 - construct's results have no types
    """Parse one body; raises ValueError that says in one line why it is not of its form."""
    try:
        return form.parse(body)
    except ConstructError as error:
        # Construct puts its path through the definitions on the lines before.
        raise ValueError(str(error).splitlines()[-1]) from None
