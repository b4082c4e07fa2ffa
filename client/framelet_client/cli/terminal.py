"""What a command reads and writes: errors go to standard error, replies to standard output."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import select
import signal
import sys
from signal import SIGHUP, SIGTERM
from typing import TYPE_CHECKING

from framelet.events import escape_in_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from _typeshed import WriteableBuffer


_AT_ONCE = 65_536
"""Characters that are collected before they are written."""


@contextlib.contextmanager
def tidied(tidy: Callable[[], object]) -> Iterator[None]:
    """Call ``tidy``, which restores the terminal, before SIGTERM or SIGHUP ends the process."""

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        with contextlib.suppress(OSError):  # the terminal may be gone
            tidy()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    caught = [number for number in (SIGTERM, SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in caught:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


def wait_for(descriptor: int, event: int) -> None:
    """Wait for a descriptor that another process, which shares it, has made non-blocking."""
    poll = select.poll()  # select() fails for descriptors above 1,023
    poll.register(descriptor, event)
    poll.poll()


def open_input(file: str | None) -> io.BufferedReader:
    """A file, or standard input, whose descriptor stays open."""
    return io.BufferedReader(_Input(sys.stdin.fileno(), closefd=False) if file is None else _Input(file))


class _Input(io.FileIO):
    """A file or standard input; reading waits for data even if the descriptor is non-blocking."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what there is, at least one octet before the end."""
        while (size := super().readinto(buffer)) is None:
            wait_for(self.fileno(), select.POLLIN)
        return size


def complain(line: str) -> None:
    """Write one line to standard error, if it is open and takes it."""
    if sys.stderr is not None:  # it is closed with 2>&-
        data = f"{line}\n".encode(sys.stderr.encoding, "backslashreplace")
        with contextlib.suppress(OSError):  # nothing else can report it
            _write(sys.stderr.fileno(), data)


def _write(descriptor: int, data: bytes) -> None:
    """Write everything, unbuffered: a buffer could fail to be written when the process ends."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            wait_for(descriptor, select.POLLOUT)


class OutputError(Exception):
    """Standard output failed; ``quiet`` if its reader has closed the pipe, which needs no message."""

    def __init__(self, message: str, *, quiet: bool = False) -> None:
        """Keep the reason."""
        super().__init__(message)
        self.quiet = quiet

    @classmethod
    def of(cls, error: OSError) -> OutputError:
        """In the system's words."""
        return cls(f"standard output failed: {error.strerror}", quiet=isinstance(error, BrokenPipeError))


class Output:
    """Standard output: escaped text for a terminal, exact UTF-8 for a file or program (REQ-SEC-1)."""

    def __init__(self) -> None:
        """Raise OutputError if it is closed."""
        if sys.stdout is None:
            raise OutputError("standard output is closed")
        self.is_terminal: bool = sys.stdout.isatty()
        self._encoding = sys.stdout.encoding or "utf-8"
        self._descriptor = sys.stdout.fileno()

    def write_lines(self, texts: Iterable[str], end: str = "\n") -> None:
        """Write each text and its end, a newline as a rule; raises OutputError."""
        if self.is_terminal:
            self.write(piece for text in texts for piece in itertools.chain(escape_in_pieces(text), "\n"))
        else:
            self.write(itertools.chain.from_iterable((text, end) for text in texts))

    def write(self, pieces: Iterable[str]) -> None:
        """Write text that is safe to show, many pieces at once but no large ones; raises OutputError."""
        # Only a path that is not UTF-8 is escaped off a terminal: texts of the protocol always are.
        encoding = self._encoding if self.is_terminal else "utf-8"
        waiting, size = [], 0
        try:
            for piece in pieces:
                waiting.append(piece)
                size += len(piece)
                if size >= _AT_ONCE:
                    _write(self._descriptor, "".join(waiting).encode(encoding, "backslashreplace"))
                    waiting, size = [], 0
            _write(self._descriptor, "".join(waiting).encode(encoding, "backslashreplace"))
        except OSError as error:
            raise OutputError.of(error) from error
