"""What a command writes: complaints to standard error, replies to standard output."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING

from framelet_client.escaping import escape

if TYPE_CHECKING:
    from collections.abc import Iterable


def complain(line: str) -> None:
    """Write one line to standard error, if it is open and takes it."""
    if sys.stderr is not None:  # it is closed with 2>&-
        data = f"{line}\n".encode(sys.stderr.encoding, "backslashreplace")
        with contextlib.suppress(OSError):  # there is no other place to report it
            _write(sys.stderr.fileno(), data)


def _write(descriptor: int, data: bytes) -> None:
    """Write everything.  Nothing is buffered, so nothing is left that could fail when the process ends."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # another process that shares the file has made it non-blocking
            poll = select.poll()  # select() fails for descriptors above 1,023
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


class OutputError(Exception):
    """Standard output failed; ``quiet`` if its reader has closed the pipe, which needs no message."""

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
