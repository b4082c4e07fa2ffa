"""A log that never blocks its callers: a bounded queue, and one thread that writes it.

The caller may be a worker in the middle of a turn, or hold a lock; and what reads the log may stop reading.
So a line that finds the queue full is dropped and counted, and the next one that is written says how many.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
from logging.handlers import QueueHandler

from framelet_server.net.threads import ThreadLimitError, begin_thread

_LINES = 1_000
"""Lines that may wait; each is of a few KiB at the most."""

_LAST = 1.0
"""Seconds that the process waits at its end for what is still in the queue, while it is being written."""


class DroppedLines:
    """Counts the lines of this process that were not written."""

    def __init__(self) -> None:
        """Begin with none."""
        # The caller may be a signal handler or a finalizer that interrupted another line of this thread.
        self._lock = threading.RLock()
        self.count: int = 0

    def add(self, count: int = 1) -> None:
        """Count some more."""
        with self._lock:
            self.count += count


DROPPED = DroppedLines()


class LogQueue(QueueHandler):
    """Formats records where they are made, which is bounded work, and has another thread write them.

    ``descriptor`` is that of a stream: the lock of Python's own object for it would be held by whoever is
    stuck in a write, and asked for by the interpreter at its end.  The queue is one that may be interrupted
    anywhere by a line of the same thread, which ``queue.Queue`` is not; so it is bounded here.
    """

    def __init__(self, descriptor: int, formatter: logging.Formatter) -> None:
        """Write lines of UTF-8 to a descriptor that is open for as long as the process."""
        self._lines: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        super().__init__(self._lines)
        self.setFormatter(formatter)
        self._descriptor = descriptor
        self._process = 0  # whose thread writes
        self._said = 0  # dropped lines that the log tells of
        self._begin()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line; never waits."""
        if self._process != os.getpid() and not self._begin():  # a fork copies no threads
            DROPPED.add()
            return
        try:
            line = self.format(record)
        except BaseException as error:  # noqa: BLE001 - whatever an argument does when it is shown
            line = f"{record.levelname} a line of the log could not be made: {type(error).__name__}"
        if self._lines.qsize() < _LINES:  # or a few more, by threads that look at the same time
            self._lines.put(line)
        else:
            DROPPED.add()

    def _begin(self) -> bool:
        """Start the thread of this process; False where the system allows none, to be tried again."""
        self._lines = queue.SimpleQueue()
        try:
            begin_thread("framelet-log", self._write_all, self._lines)
        except ThreadLimitError:
            return False
        self._process = os.getpid()
        return True

    def flush(self) -> None:
        """Wait for what is queued, for a second at the most; called at the end of the process."""
        if self._process == os.getpid():
            written = threading.Event()
            self._lines.put(written)
            written.wait(_LAST)

    def _write_all(self, lines: queue.SimpleQueue[str | threading.Event]) -> None:
        while True:
            line = lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            dropped = DROPPED.count - self._said
            if dropped:
                self._said += dropped
                line = f"{line}\n{self._notice(dropped)}"
            self._write(f"{line}\n".encode("utf-8", "backslashreplace"))

    def _notice(self, count: int) -> str:
        message = "%d lines of the log were dropped: it was not read in time"
        return self.format(
            logging.LogRecord("framelet_server", logging.WARNING, __file__, 0, message, (count,), None)
        )

    def _write(self, octets: bytes) -> None:
        rest = memoryview(octets)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process that shares the stream may have made it non-blocking
                waiting = select.poll()
                waiting.register(self._descriptor, select.POLLOUT)
                waiting.poll()
            except OSError:  # the reader is gone, or the disk is full
                DROPPED.add()
                return
