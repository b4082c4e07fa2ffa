"""``framelet decode``: a recorded stream as a table of its frames."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from framelet import FrameType, TypeRange
from framelet.registry import ErrorCode
from framelet_client.escaping import escape

from .dissect import DissectedFrame, Fault, dissect

if TYPE_CHECKING:
    from io import BufferedReader

    from .dissect import Reader
    from .terminal import Output

_SHOWN = 60  # characters of a body, unless all are asked for
_SPACE = b" \t\n\v\f\r"
_NO_HEX = re.compile(rb"[^0-9A-Fa-f \t\n\v\f\r]")
_HEADINGS = ("offset", "header", "type", "length", "body")
_ROW = "{:>10}  {:<14}  {:<14}  {:>10}  {}"
_TITLES = {code.value: code.title for code in ErrorCode}


class InputError(Exception):
    """The input is not hexadecimal, as the options or its first octets say."""


class HexReader:
    """Reads octets from hexadecimal digits; white space between digits is ignored."""

    def __init__(self, stream: BufferedReader) -> None:
        """Read digits from ``stream``."""
        self._stream = stream
        self._offset = 0  # in the input
        self._digits = b""  # half an octet, or nothing
        self._octets = bytearray()

    def read(self, size: int, /) -> bytes:
        """At most ``size`` octets, and fewer only at the end; raises InputError."""
        while len(self._octets) < size and self._more():
            pass
        taken = bytes(self._octets[:size])
        del self._octets[:size]
        return taken

    def _more(self) -> bool:
        text = self._stream.read1()
        if not text:
            if self._digits:
                raise InputError("the number of hexadecimal digits is odd")
            return False
        bad = _NO_HEX.search(text)
        if bad:
            message = f"octet {self._offset + bad.start()} of the input is no hexadecimal digit"
            raise InputError(message)
        self._offset += len(text)
        digits = self._digits + text.translate(None, _SPACE)
        whole = len(digits) // 2 * 2
        self._octets += bytes.fromhex(digits[:whole].decode("ascii"))
        self._digits = digits[whole:]
        return True


def open_reader(stream: BufferedReader, *, hexadecimal: bool | None) -> Reader:
    """A reader for octets or hexadecimal digits; None finds out which of them the stream holds.

    No valid frame begins with the octet of a digit or white space, so input that begins with nothing else
    is hexadecimal.
    """
    if hexadecimal is None:
        head = stream.peek()
        hexadecimal = bool(head) and _NO_HEX.search(head) is None
    return HexReader(stream) if hexadecimal else stream


def print_table(reader: Reader, output: Output, *, max_body: int, full: bool) -> bool:
    """Print the frames, and the fault if there is one; returns whether there is none."""
    output.write_lines([_ROW.format(*_HEADINGS)])
    frames = octets = 0
    for found in dissect(reader, max_body):
        if isinstance(found, Fault):
            output.write_lines([f"fault at offset {found.offset}: {found.reason}"])
            return False
        output.write_lines([_row(found, full=full)])
        frames += 1
        octets += len(found.header) + len(found.body)
    output.write_lines([f"{frames} {'frame' if frames == 1 else 'frames'}, {octets} octets, no fault"])
    return True


def _row(frame: DissectedFrame, *, full: bool) -> str:
    header = frame.header[:1].hex() + " " + frame.header[1:].hex()
    length = "" if frame.length is None else str(frame.length)
    return _ROW.format(frame.offset, header, frame.name, length, _body(frame, full=full)).rstrip()


def _body(frame: DissectedFrame, *, full: bool) -> str:
    """The body as one line: its fields if it has any, else its text."""
    parsed = frame.parsed
    if frame.kind is FrameType.ERROR and isinstance(parsed, dict):
        code, text = parsed["code"], parsed["text"]
        return f"code={code} ({_TITLES.get(code, 'unknown')}) text={_quote(text, full=full)}"
    if frame.kind is FrameType.HELLO and isinstance(parsed, tuple):
        version, parameters = parsed
        return " ".join([f"version={version}", *_pairs(parameters)])
    if frame.kind is FrameType.STOPPED and isinstance(parsed, dict):
        return " ".join(_pairs(parsed))
    if frame.kind is TypeRange.IGNORABLE:
        return _shorten(frame.body.hex(), full=full)
    if parsed is None and not frame.body:
        return ""  # refused at its header
    return _quote(frame.body.decode("utf-8", "backslashreplace"), full=full)


def _pairs(parameters: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in parameters.items()]


def _quote(text: str, *, full: bool) -> str:
    shown = text if full else text[:_SHOWN]
    note = "" if len(shown) == len(text) else f" ... {len(text)} characters in all"
    return f'"{escape(shown)}"{note}'


def _shorten(digits: str, *, full: bool) -> str:
    shown = digits if full else digits[:_SHOWN]
    return shown if len(shown) == len(digits) else f"{shown} ... {len(digits) // 2} octets in all"
