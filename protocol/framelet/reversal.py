"""The reversal service: a text's scalar values in opposite order (REQ-REV-1)."""

from __future__ import annotations

from .codec import decode_text, encode_text

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


def reverse_octets(body: bytes, block: int = _BLOCK) -> list[bytes]:
    """Reverse a text that is given, and wanted, as UTF-8: the octets of ``reverse``, in pieces.

    A piece has ``block`` octets, or up to three more.  Raises IllFormedTextError for a body that is no text.
    """
    pieces = []
    end = len(body)
    while end:
        start = max(0, end - block)
        while start and body[start] & 0xC0 == 0x80 and end - start < block + 3:  # noqa: PLR2004 - RFC 3629
            start -= 1  # to where a scalar value begins; the longest has three octets behind its first
        try:
            pieces.append(body[start:end].decode("utf-8")[::-1].encode("utf-8"))
        except UnicodeDecodeError:
            decode_text(body)  # says where in the whole body
            raise
        end = start
    return pieces
