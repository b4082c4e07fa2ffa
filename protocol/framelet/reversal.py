"""The reversal service: a text's scalar values in opposite order (REQ-REV-1)."""

from __future__ import annotations

import codecs
import io
from typing import TYPE_CHECKING, Self

from .codec import encode_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from .codec import Body

_BLOCK = 65_536
"""Octets reversed at a time: what is made on the way stays in the cache, and is no new memory each time."""


def reverse(text: str) -> str:
    """Reverse a text by Unicode scalar value.

    ``text`` is any string without lone surrogates; the result has as many scalar values and as many UTF-8
    octets.  Raises IllFormedTextError for a lone surrogate, which is no scalar value (REQ-REV-1).
    """
    if not text.isascii():  # which is a flag, where encoding costs a copy
        encode_text(text)
    # A str is a sequence of code points, so the slice is the definition itself.
    return text[::-1]


class Reversal:
    """A body that is reversed as it comes, so that it is in memory once, and done when its last octet is.

    It is a Gatherer for FrameDecoder: ``write`` it in pieces of any size, and ask for ``pieces``.  A body
    that is no text is kept as it came.
    """

    __slots__ = ("_block", "_octets", "_pieces", "_size", "_waiting")

    def __init__(self, block: int = _BLOCK) -> None:
        """Reverse so many octets at a time."""
        self._block = block
        self._pieces: list[bytes] = []  # what was reversed, the first block first
        self._waiting = bytearray()  # less than a block
        self._octets: io.BytesIO | None = None  # all of it, where it is no text
        self._size = 0

    def __len__(self) -> int:
        """How many octets were written."""
        return self._size

    def __bytes__(self) -> bytes:
        """What was written."""
        if self._octets is not None:
            return self._octets.getvalue()
        before = [piece.decode("utf-8")[::-1].encode("utf-8") for piece in self._pieces]
        return b"".join([*before, self._waiting])

    def write(self, data: Buffer) -> None:
        """Take octets in."""
        view = memoryview(data).cast("B")
        self._size += len(view)
        if self._octets is not None:
            self._octets.write(view)
            return
        while len(self._waiting) + len(view) >= self._block:
            lacking = self._block - len(self._waiting)
            block = view[:lacking]
            if self._waiting:  # small pieces, or the first octets of a character
                self._waiting += block
                block = memoryview(self._waiting)
            try:
                text, used = codecs.utf_8_decode(block, "strict", False)  # noqa: FBT003 - there may be more
            except UnicodeDecodeError:
                self._waiting = self._waiting or bytearray(block)
                self._keep(bytes(self), view[lacking:])
                return
            self._pieces.append(text[::-1].encode("utf-8"))
            self._waiting = bytearray(block[used:])
            view = view[lacking:]
        self._waiting += view

    def getvalue(self) -> Self:
        """Itself, as the body."""
        return self

    def pieces(self) -> list[bytes] | None:
        """The octets of the reversed text, in pieces of up to a block; None where it is no text."""
        if self._octets is None:
            try:
                last = self._waiting.decode("utf-8")[::-1].encode("utf-8")
            except UnicodeDecodeError:
                self._keep(bytes(self))
            else:
                return [last, *reversed(self._pieces)]
        return None

    def _keep(self, *octets: Buffer) -> None:
        """Keep all as it came, as it is no text."""
        self._octets = io.BytesIO()
        self._octets.writelines(octets)
        self._pieces, self._waiting = [], bytearray()


def reversed_octets(body: Body) -> Sequence[bytes] | None:
    """The octets of a body's text in reverse, in pieces; None where it is no text."""
    if isinstance(body, Reversal):
        return body.pieces()
    octets = bytes(body)  # itself
    if len(octets) < _BLOCK and octets.isascii():
        return (octets[::-1],)
    reversal = Reversal()
    reversal.write(octets)
    return reversal.pieces()
