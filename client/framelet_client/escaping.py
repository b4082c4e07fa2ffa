"""Makes text that came from elsewhere safe to show, on a terminal or in a message."""

from __future__ import annotations

import re

# C0, DEL and C1; what reorders text (bidirectional controls); what breaks lines outside ASCII.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def escape(text: str) -> str:
    r"""Make a text safe to show: control characters become ``\xNN`` or ``\uNNNN`` (REQ-SEC-1)."""
    return _UNSAFE.sub(_code, text)


def _code(match: re.Match[str]) -> str:
    value = ord(match[0])
    return f"\\x{value:02x}" if value <= 0xFF else f"\\u{value:04x}"  # noqa: PLR2004 - two digits' worth
