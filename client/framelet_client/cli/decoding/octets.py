"""The octets of a recorded stream, which may be given as hexadecimal digits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedReader

    from .dissect import Reader

_SPACE = b" \t\n\v\f\r,:"
_NO_HEX = re.compile(rb"[^0-9A-Fa-f \t\n\v\f\r,:]")
_DUMPED = re.compile(rb"[0-9A-Fa-f]{7,8}(: |  |$)")  # an offset, as by xxd, or by hexdump -C
_PREFIX = re.compile(rb"(?:0|\\)[xX](?:([0-9A-Fa-f])\b)?")  # before each octet; of one digit, if it is caught
_WORDS = re.compile(rb"0{7} [0-9A-Fa-f]{4}\b")  # as hexdump prints them
_LINED = re.compile(rb"\s*(?:%b|0{7,8}(?:: |  ))" % _PREFIX.pattern)


class InputError(Exception):
    """The input is not hexadecimal, although the options or its first octets say so."""


class HexReader:
    """Reads octets from hexadecimal digits; white space, commas and colons between digits are ignored."""

    def __init__(self, stream: BufferedReader) -> None:
        """Read digits from ``stream``."""
        self._stream = stream
        self._lined: bool | None = None  # whether a program such as xxd printed them; None: not known yet
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
        if self._lined is None:
            head = self._stream.peek()
            if _WORDS.match(head):
                raise InputError("hexdump printed words, not octets in order: use hexdump -C")
            self._lined = _LINED.match(head) is not None
        text = self._stream.readline() if self._lined else self._stream.read1()
        if not text:
            if self._digits:
                raise InputError("the number of hexadecimal digits is odd")
            return False
        listed = _listed(text) if self._lined else text
        bad = _NO_HEX.search(listed)
        if bad:
            # Within a line that xxd printed, only the place of the line is known.
            at = self._offset + (0 if self._lined else bad.start())
            message = f"octet {at} of the input is not a hexadecimal digit: {listed[bad.start() :][:20]!r}"
            raise InputError(message)
        self._offset += len(text)
        digits = self._digits + listed.translate(None, _SPACE)
        whole = len(digits) // 2 * 2
        self._octets += bytes.fromhex(digits[:whole].decode("ascii"))
        self._digits = digits[whole:]
        return True


def _listed(line: bytes) -> bytes:
    """The digits in a line without what programs add: 0x, the offset before them and the text after them."""
    if line == b"*\n":
        raise InputError("the dump leaves out repeated lines (*): use hexdump -v -C")
    if dumped := _DUMPED.match(line):
        return line[dumped.end() :].partition(b"  " if dumped[1] == b": " else b"|")[0]
    return _PREFIX.sub(lambda found: b" 0" + found[1] if found[1] else b" ", line)


def open_reader(stream: BufferedReader, *, hexadecimal: bool | None) -> Reader:
    """A reader for octets or hexadecimal digits; None finds out which of them the stream holds.

    No valid frame begins with the octet of a digit, a backslash or white space, so input that begins with
    nothing else is hexadecimal.
    """
    if hexadecimal is None:
        head = stream.peek()
        hexadecimal = bool(head) and (_LINED.match(head) is not None or _NO_HEX.search(head) is None)
    return HexReader(stream) if hexadecimal else stream
