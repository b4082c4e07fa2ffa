"""The line between the supervisor and one of its children, and what is said on it.

Each message is a JSON array on a line of its own.

=================== ============ ==================================================================
message             said by      meaning
=================== ============ ==================================================================
watch SECONDS ENDS  supervisor   comes first: say ``alive`` several times in so many seconds; and whether
                                 the listening sockets end with the drain of all children
ready               child        clients are served
alive               child        it makes progress
measure             supervisor   tell your numbers
numbers METRICS     child        as an object; also told with ``alive`` once asked for, and at the end
stop REASON         child        a client's STOP was allowed
drained CLOSED CUT  child        its clients are gone, except those whose STOP was allowed
drain REASON        supervisor   begin to drain
force               supervisor   cut the drain short
drained CLOSED CUT  supervisor   the clients of all children are gone: the numbers for STOPPED
reload              supervisor   read again what can be read again
reloaded            child        done, or tried in vain
=================== ============ ==================================================================

The end of the stream says that the other process is gone.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import Any

from framelet_server.net.forks import tell_of_forks

_SIZE = 65_536


class ControlLine:
    """One end of the line; ``send`` may be called from any thread, ``receive`` from one."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over one of a pair of stream sockets."""
        self._sock = sock
        self._lock = threading.Lock()  # so that messages do not mix
        self._received = bytearray()
        tell_of_forks(self)

    def fileno(self) -> int:
        """For selectors."""
        return self._sock.fileno()

    def send(self, *message: object) -> None:
        """Send a message without waiting; it is lost where the other process is gone or does not read.

        It goes as a whole or not at all: Linux does not divide what is below 32 KiB.
        """
        line = json.dumps(message).encode() + b"\n"
        with self._lock, contextlib.suppress(OSError):
            self._sock.send(line, socket.MSG_DONTWAIT)

    def receive(self) -> list[list[Any]] | None:
        """Wait for messages and return those that came, which may be none; None at the end of the stream."""
        try:
            data = self._sock.recv(_SIZE)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        if not data:
            return None
        self._received += data
        *lines, rest = self._received.split(b"\n")
        self._received = rest
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Let the other process see the end of the stream."""
        self._sock.close()

    def forked(self) -> None:
        """Close the copy of a fork, which would keep the end of the stream from the other process."""
        self._sock.close()
