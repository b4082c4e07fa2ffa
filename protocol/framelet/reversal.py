"""The reversal service: a text's scalar values in opposite order (REQ-REV-1)."""

from __future__ import annotations

from .codec import check_text


def reverse(text: str) -> str:
    """Reverse a text by Unicode scalar value.

    ``text`` is any string without lone surrogates; the result has as many scalar values and as many UTF-8
    octets.  Raises IllFormedTextError for a lone surrogate, which is no scalar value (REQ-REV-1).
    """
    if not text.isascii():  # which is a flag, where the check costs a copy
        check_text(text)
    # A str is a sequence of code points, so the slice is the definition itself.
    return text[::-1]
