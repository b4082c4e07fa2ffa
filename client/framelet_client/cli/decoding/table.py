"""A stream as a table of its frames, for ``framelet decode``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framelet import FrameType, TypeRange
from framelet.events import escape_in_pieces
from framelet.registry import ErrorCode

from .dissect import DissectedFrame, Fault, dissect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from framelet_client.cli.results import Results

    from .dissect import Reader

_SHOWN = 60  # characters of a body, unless all are asked for
_HEADINGS = ("offset", "header", "type", "length", "body")
_ROW = "{:>10}  {:<14}  {:<14}  {:>10}  {}"


def print_table(reader: Reader, results: Results, *, max_body: int, full: bool) -> bool:
    """Print the frames, and the fault if there is one; returns True if there was no fault."""
    if not results.as_json:
        results.output.write_lines([_ROW.format(*_HEADINGS)])
    frames = octets = 0
    for found in dissect(reader, max_body):
        if isinstance(found, Fault):
            line = f"fault at offset {found.offset}: {found.reason}"
            results.show("fault", [line], {"offset": found.offset, "message": found.reason})
            return False
        if results.as_json:
            results.show("frame", (), _record(found))
        else:
            results.output.write(row(found, full=full))
        frames += 1
        octets += len(found.header) + len(found.body)
    line = f"{frames} {'frame' if frames == 1 else 'frames'}, {octets} octets, no fault"
    results.show("end", [line], {"frames": frames, "octets": octets})
    return True


def _record(frame: DissectedFrame) -> dict[str, object]:
    """A frame for programs: the fields of its body if it has any, else its text, else its octets."""
    name = frame.kind.name if isinstance(frame.kind, FrameType) else f"0x{frame.header[0]:02X}"
    record: dict[str, object] = {"offset": frame.offset, "type": name, "length": frame.length}
    parsed = frame.parsed
    if frame.kind is FrameType.ERROR and isinstance(parsed, dict):
        return record | {"code": int(parsed["code"]), "text": parsed["text"]}
    if frame.kind is FrameType.HELLO and isinstance(parsed, tuple):
        return record | {"version": parsed[0], "parameters": parsed[1]}
    if frame.kind is FrameType.STOPPED and isinstance(parsed, dict):
        return record | {key: int(value) for key, value in parsed.items() if value.isdecimal()}
    if parsed is None:
        return record | {"hex": frame.body.hex()}
    return record | {"text": frame.body.decode()}


def row(frame: DissectedFrame, *, full: bool) -> Iterator[str]:
    """One line, in pieces."""
    header = frame.header[:1].hex() + " " + frame.header[1:].hex()
    length = "" if frame.length is None else str(frame.length)
    line = _ROW.format(frame.offset, header, frame.name, length, "")
    for piece in _body(frame, full=full):
        yield line + piece
        line = ""
    yield line.rstrip() + "\n"


def _body(frame: DissectedFrame, *, full: bool) -> Iterator[str]:
    """The body: its fields if it has any, else its text."""
    parsed = frame.parsed
    if frame.kind is FrameType.ERROR and isinstance(parsed, dict):
        code, text = parsed["code"], parsed["text"]
        yield f"code={code} ({ErrorCode(code).title}) text="
        yield from _quote(text, full=full)
    elif frame.kind is FrameType.HELLO and isinstance(parsed, tuple):
        version, parameters = parsed
        yield " ".join([f"version={version}", *_pairs(parameters)])
    elif frame.kind is FrameType.STOPPED and isinstance(parsed, dict):
        yield " ".join(_pairs(parsed))
    elif frame.kind is TypeRange.IGNORABLE:
        yield _shorten(frame.body.hex(), full=full)
    elif parsed is not None or frame.body:  # not refused at its header
        yield from _quote(frame.body.decode("utf-8", "backslashreplace"), full=full)


def _pairs(parameters: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in parameters.items()]


def _quote(text: str, *, full: bool) -> Iterator[str]:
    shown = text if full else text[:_SHOWN]
    note = "" if len(shown) == len(text) else f" ... {len(text)} characters in all"
    yield '"'
    yield from escape_in_pieces(shown)
    yield f'"{note}'


def _shorten(digits: str, *, full: bool) -> str:
    shown = digits if full else digits[:_SHOWN]
    return shown if len(shown) == len(digits) else f"{shown} ... {len(digits) // 2} octets in all"
