"""Frames cut out of the octets that a server receives, and refused at their header (SPEC.md 2, 3, 5, 7)."""

from .bugs import bug
from .wire import (
    ERROR,
    HEADER,
    HELLO,
    PING,
    PONG,
    REPLY,
    REQUEST,
    STOP,
    STOPPED,
    is_application,
    is_ignorable,
    unpack_header,
)


class FaultError(Exception):
    """A frame that ends the connection: by the fatal ERROR `code`, or by none where the client sent an ERROR."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


def asks_for_answer(kind: int) -> bool:
    """Whether a frame of this type is owed an answer (REQ-ORDER-1)."""
    return kind in {REQUEST, PING, HELLO, STOP} or is_application(kind)


def header_fault(kind: int, length: int, maximum: int) -> int | None:
    """The code of the fatal ERROR that this header alone calls for, in the registry's order (REQ-ERROR-3)."""
    too_large = length > maximum
    if bug("maximum-refused"):
        too_large = length >= maximum
    if bug("maximum-plus-one-accepted"):
        too_large = length > maximum + 1
    if bug("limit-of-16-bits"):
        too_large = length > 65_535
    if bug("size-before-type") and too_large:
        return 503
    if asks_for_answer(kind) or is_ignorable(kind) or kind == ERROR:
        if bug("discarded-frame-unlimited") and is_ignorable(kind):
            return None
        return 503 if too_large else None
    if kind in {REPLY, STOPPED, PONG}:
        if bug("answers-discarded"):
            return None
        return 501 if bug("unexpected-type-is-501") else 502
    if bug("unknown-type-discarded") or (bug("type-00-discarded") and kind == 0):
        return None
    return 501


class FrameReader:
    """Keeps the octets received until they are whole frames (REQ-FRAME-4)."""

    def __init__(self, maximum: int) -> None:
        self.octets = bytearray()
        self._maximum = maximum
        self._reserve = bytearray()

    def feed(self, octets: bytes) -> None:
        """Take octets in as they came."""
        self.octets += octets

    def next_frame(self) -> tuple[int, bytes] | None:
        """Type and body of the next frame, or None while it is not whole.  Raises FaultError as soon as it is due."""
        if len(self.octets) < HEADER:
            if bug("header-in-one-read"):
                self.octets.clear()
            return None
        kind, length = unpack_header(self.octets)
        if bug("ignorable-length-of-16-bits") and is_ignorable(kind):
            length &= 0xFFFF
        end = HEADER + length
        whole = len(self.octets) >= end
        if kind == ERROR and not bug("client-error-ignored") and (whole or not bug("client-error-awaited")):
            raise FaultError(502 if bug("client-error-refused") else None)  # REQ-ERROR-9
        code = header_fault(kind, length, self._maximum)
        if code is not None and (whole or not self._waits_for_body(code)):
            raise FaultError(code)
        if bug("allocates-announced-length"):
            self._reserve = bytearray(b"\1") * length
        if bug("waits-for-next-frame"):
            whole = len(self.octets) > end
        if not whole and not bug("body-in-one-read"):
            return None
        body = bytes(self.octets[HEADER:end])
        if bug("ignorable-body-not-discarded") and is_ignorable(kind):
            end = HEADER
        del self.octets[:end]
        return kind, body

    def _waits_for_body(self, code: int) -> bool:
        """Whether a bug refuses the frame only when the last octet of its body is there."""
        return bug("size-checked-after-body") if code == 503 else bug("type-checked-after-body")
