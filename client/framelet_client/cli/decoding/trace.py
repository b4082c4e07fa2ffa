"""``--trace``: each frame that is sent or received, on standard error, as ``framelet decode`` shows it."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING

from framelet import HEADER_SIZE, ClientConnection
from framelet.registry import type_kinds
from framelet_client.cli.terminal import complain

from .dissect import REFUSED, Fault, dissect
from .table import row

if TYPE_CHECKING:
    from framelet_client.config import ClientLimits

_numbers = itertools.count(1)


class TracedConnection(ClientConnection):
    """A connection that shows its frames; the second and later ones of a process show their number."""

    def __init__(self, limits: ClientLimits | None = None, *, now: float) -> None:
        """Show times in milliseconds since ``now``."""
        super().__init__(limits, now=now)
        number = next(_numbers)
        name = "" if number == 1 else str(number)
        self._start = now
        self._sent = _Direction(name + ">", self._limits.max_body)
        self._received = _Direction(name + "<", self._limits.max_body)

    def pieces_to_send(self, now: float) -> list[bytes]:
        """Show the frames that go out."""
        pieces = super().pieces_to_send(now)
        self._sent.add(b"".join(pieces), now - self._start)
        return pieces

    def receive_replies(self, data: bytes, now: float) -> list[str]:
        """Show the frames that came."""
        self._received.add(data, now - self._start)
        return super().receive_replies(data, now)


class _Direction:
    """One of the two streams: octets come in, and whole frames are shown, up to the first fault."""

    def __init__(self, mark: str, max_body: int) -> None:
        self._mark = mark
        self._max_body = max_body
        self._octets = bytearray()
        self._offset = 0
        self._faulty = False

    def add(self, data: bytes, seconds: float) -> None:
        self._octets += b"" if self._faulty else data
        while size := self._decided():
            for found in dissect(io.BytesIO(self._octets[:size]), self._max_body):
                if isinstance(found, Fault):
                    self._faulty = True
                    line = f"  fault at offset {self._offset + found.offset}: {found.reason}"
                else:
                    line = "".join(row(found._replace(offset=self._offset), full=False)).rstrip("\n")
                complain(f"{self._mark} {seconds * 1000:10.3f} ms{line}")
            del self._octets[: None if self._faulty else size]
            self._offset += size

    def _decided(self) -> int:
        """The octets of the first frame, once it is whole or known to be at fault; 0 before."""
        octets = self._octets
        if octets and type_kinds[octets[0]] in REFUSED:
            return min(len(octets), HEADER_SIZE)
        if len(octets) < HEADER_SIZE:
            return 0
        length = int.from_bytes(octets[1:HEADER_SIZE])
        if length > self._max_body:
            return HEADER_SIZE
        return HEADER_SIZE + length if len(octets) >= HEADER_SIZE + length else 0
