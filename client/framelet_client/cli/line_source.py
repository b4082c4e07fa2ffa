"""Requests from the lines of a descriptor, in constant memory and without waiting for input."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from framelet import IllFormedTextError, decode_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framelet import ClientConnection

_READ_SIZE = 131_072


class LineSource:
    r"""A source that sends each line of a pipe, file or terminal as a REQUEST, or application frame.

    A line ends with ``end``, which is not part of it; a last line without one counts.  A line that is not
    well-formed UTF-8, or longer than ``max_body`` octets, is skipped, and no more than that much of a long
    one is ever in memory.
    """

    def __init__(
        self,
        descriptor: int,
        max_body: int,
        skip: Callable[[int, str], None],
        *,
        end: bytes = b"\n",
        frame_type: int | None = None,
    ) -> None:
        """Read from ``descriptor``; call ``skip`` with number and reason for each line that is not sent."""
        self.exhausted: bool = False
        self.error: Exception | None = None
        self.octets_read: int = 0
        self.unanswered: deque[int] = deque()
        """The numbers of the lines sent; the reader of the answers takes them off the left end."""
        self._descriptor = descriptor
        self._max_body = max_body
        self._skip = skip
        self._end = end
        self._frame_type = frame_type
        self._number = 0  # of the last line that was complete
        self._lines: deque[bytes | None] = deque()  # whole lines to be sent; None for one that is too long
        self._partial = bytearray()  # the line whose end has not come yet
        self._too_long = False  # whether that line is too long, so that the rest of it is dropped
        self._ended = False

    @property
    def next_number(self) -> int:
        """The number of the oldest line that has no answer yet, or of the next one."""
        return self.unanswered[0] if self.unanswered else self._number + 1

    def fileno(self) -> int | None:
        """The descriptor, or None while lines that were read wait to be sent."""
        return None if self._lines or self._ended else self._descriptor

    def feed(self, connection: ClientConnection, frames: int, octets: int) -> None:
        """Send the lines that were read; if none were, read once: a ready descriptor does not block."""
        if not self._lines and not self._ended:
            self._read()
        while self._lines and frames and connection.output_size < octets:
            before = len(self.unanswered)
            if self._frame_type is None:
                connection.send_requests(self._texts(frames), octets)
            else:
                for text in self._texts(1):
                    connection.send_application(self._frame_type, text)
            frames -= len(self.unanswered) - before
        self.exhausted = self._ended and not self._lines

    def _texts(self, most: int) -> Iterator[str]:
        """Up to ``most`` lines, without those that cannot be sent; each counts as sent once it is yielded."""
        while self._lines and most:
            line = self._lines.popleft()
            self._number += 1
            if line is None or len(line) > self._max_body:
                self._skip(self._number, f"longer than {self._max_body} octets")
                continue
            try:
                text = decode_text(line)
            except IllFormedTextError as error:
                self._skip(self._number, str(error))
                continue
            self.unanswered.append(self._number)
            most -= 1
            yield text

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:  # another process that shares the input was faster
            return
        except OSError as error:
            self.error = error
            data = b""
        self.octets_read += len(data)
        if data:
            first, *others = data.split(self._end)
            self._extend(first)
            if others:
                self._finish()
                self._lines.extend(others[:-1])
                self._extend(others[-1])
        else:
            self._ended = True
            if self._partial or self._too_long:
                self._finish()

    def _extend(self, part: bytes) -> None:
        """Add to the partial line, unless it is too long."""
        if self._too_long:
            return
        self._partial += part
        if len(self._partial) > self._max_body:
            self._too_long = True
            self._partial = bytearray()

    def _finish(self) -> None:
        """Complete the partial line."""
        self._lines.append(None if self._too_long else bytes(self._partial))
        self._partial.clear()
        self._too_long = False
