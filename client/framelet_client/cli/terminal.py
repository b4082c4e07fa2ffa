"""Received text on its way to people: harmless on a terminal, exact for everything else."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# C0, DEL and C1; what reorders text (bidirectional controls); what breaks lines outside ASCII.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def escape(text: str) -> str:
    r"""Make a text safe to show: control characters become ``\xNN`` or ``\uNNNN`` (REQ-SEC-1)."""
    return _UNSAFE.sub(_code, text)


def _code(match: re.Match[str]) -> str:
    value = ord(match[0])
    return f"\\x{value:02x}" if value <= 0xFF else f"\\u{value:04x}"  # noqa: PLR2004 - two digits' worth


def complain(line: str) -> None:
    """Write one line to standard error, if there is one that takes it."""
    if sys.stderr is not None:  # it is closed with 2>&-
        data = f"{line}\n".encode(sys.stderr.encoding, "backslashreplace")
        with contextlib.suppress(OSError):  # there is nobody left to tell
            _write(sys.stderr.fileno(), data)


def _write(descriptor: int, data: bytes) -> None:
    """Write everything.  Nothing is buffered, so nothing is left that could fail when the process ends."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # somebody else has made it non-blocking
            select.select([], [descriptor], [])


class OutputError(Exception):
    """Standard output does not take what is written to it; ``quiet`` where its reader has simply left."""

    def __init__(self, message: str, *, quiet: bool = False) -> None:
        """Keep the reason."""
        super().__init__(message)
        self.quiet = quiet


class Output:
    """Standard output: escaped text for a terminal, exact UTF-8 for a file or program (REQ-SEC-1)."""

    def __init__(self) -> None:
        """Raise OutputError if it is closed."""
        if sys.stdout is None:
            raise OutputError("standard output is closed")
        self._is_terminal = sys.stdout.isatty()
        self._encoding = sys.stdout.encoding or "utf-8"
        self._descriptor = sys.stdout.fileno()

    def write_lines(self, texts: Iterable[str]) -> None:
        """Write each text and a newline, all at once; raises OutputError."""
        if self._is_terminal:
            data = "".join(f"{escape(text)}\n" for text in texts).encode(self._encoding, "backslashreplace")
        else:
            data = "".join(f"{text}\n" for text in texts).encode()
        try:
            _write(self._descriptor, data)
        except OSError as error:
            message = f"standard output failed: {error.strerror}"
            raise OutputError(message, quiet=isinstance(error, BrokenPipeError)) from error
