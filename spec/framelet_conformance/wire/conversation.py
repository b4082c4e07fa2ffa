"""A conversation with the peer on a plain socket: every octet is logged, every wait is bounded.

The suite's own end of the connection is not what is tested, so it may do what no peer should: cut frames
anywhere, stop reading, reset.
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
import time
from typing import TYPE_CHECKING, Self

from framelet import HEADER_SIZE, Frame
from framelet_conformance.verdicts import Endless, Failed, SetupFailed

from .frames import frame, frame_end
from .log import Ending, Log
from .queues import PeerQueues, queues_of_peer

if TYPE_CHECKING:
    from types import TracebackType

    from .times import Times

_CHUNK = 1 << 18
_MORE = getattr(socket, "MSG_MORE", 0)  # the system keeps back what does not fill a segment
_FLOOD = 1 << 26  # more than this, waiting to be taken as frames, answers nothing


class Silence(Exception):  # noqa: N818 - not an error by itself
    """The peer sent nothing within the time."""


class Conversation:
    """One connection, with all that is said on it.

    Reads go on while it writes.  ``ending`` tells how the peer ended its side: OPEN while it did not.
    A write to a peer that has closed is not an error: ``ending`` shows it.
    """

    def __init__(self, sock: socket.socket, times: Times, name: str = "") -> None:
        """Take over a connected socket."""
        self.log: Log = Log(name)
        self.times = times
        self.ending: Ending = Ending.OPEN
        self.writable: bool = True
        self._socket = sock
        self._received = bytearray()
        self._end = time.monotonic() + times.whole
        sock.settimeout(0.0)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def connect(
        cls, address: tuple[str, int] | str, times: Times, name: str = "", *, receive_buffer: int = 0
    ) -> Self:
        """Connect to a host and port, or to the path of a unix socket; raises SetupFailed."""
        try:
            sock = _dial(address, times.connect, receive_buffer)
        except OSError as error:
            where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
            message = f"cannot connect to {where}: {error.strerror or error}"
            raise SetupFailed(message) from None
        return cls(sock, times, name)

    # Writing.

    def send(self, data: bytes, *, reading: bool = True, within: float | None = None, flags: int = 0) -> int:
        """Send octets and read what comes meanwhile; returns how many could be sent.

        Fewer only where the peer closed, or took no octet for ``within`` seconds.
        """
        view, sent = memoryview(data), 0
        patience = self.times.answer if within is None else within
        last = time.monotonic()
        while sent < len(data) and self.writable:
            try:
                count = self._socket.send(view[sent : sent + _CHUNK], flags)
            except BlockingIOError:
                events = self._wait(select.POLLOUT | (select.POLLIN if reading else 0), last + patience)
                if not events:
                    break
                if reading and events & ~select.POLLOUT:
                    self.drink()
                    last = time.monotonic() if self.ending is Ending.OPEN else last
                continue
            except OSError as error:
                self._gone(error)
                break
            sent += count
            last = time.monotonic()
        if sent:
            self.log.octets("sent", data[:sent])
        return sent

    def send_frame(self, frame_type: int, body: bytes = b"") -> int:
        """Send one frame."""
        return self.send(frame(frame_type, body))

    def send_fin(self) -> None:
        """Close the sending direction."""
        self.writable = False
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.log.event("could not send FIN: the connection is gone")
        else:
            self.log.event("sent FIN")

    def send_last(self, data: bytes) -> None:
        """Send octets and close the sending direction, on Linux with FIN in the segment of the last octet."""
        self.send(data, flags=_MORE)
        self.send_fin()

    def pause(self, seconds: float) -> None:
        """Let time pass, reading what comes."""
        end = time.monotonic() + seconds
        while self._wait(select.POLLIN if self.ending is Ending.OPEN else 0, end) and time.monotonic() < end:
            self.drink()
        self.log.event(f"waited {seconds * 1000:.0f} ms")

    @property
    def unconfirmed(self) -> int:
        """Octets sent that the peer's system has not confirmed; on a unix socket, that were not read."""
        found: int = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)))[0]
        return found

    @property
    def queues_of_peer(self) -> PeerQueues | None:
        """What the peer's system holds; None where that cannot be known, or the peer's end is gone."""
        return queues_of_peer(self._socket)

    # Reading.

    def allow(self, seconds: float) -> None:
        """Let the conversation last so many seconds from now."""
        self._end = time.monotonic() + seconds

    @property
    def waiting(self) -> bytes:
        """Octets that have come and were not taken as frames."""
        return bytes(self._received)

    def read_frame(self, within: float | None = None) -> Frame | None:
        """The next frame, None where the stream ended before it; raises Silence.

        ``within`` bounds the wait for each further octet, in seconds.
        """
        while (frame := self._take()) is None:
            if self.ending is not Ending.OPEN:
                return None
            self.read_more(within)
        return frame

    def read_more(self, within: float | None = None) -> None:
        """Read what comes next, or learn that the stream ended; raises Silence."""
        if self.ending is not Ending.OPEN:
            return
        patience = self.times.answer if within is None else within
        now = time.monotonic()
        if now > self._end:
            message = "the peer went on sending: the conversation did not end in time"
            raise Endless(message)
        if not self._wait(select.POLLIN, now + patience):
            self.log.event(f"nothing came for {patience:.3g} s")
            raise Silence
        self.drink()

    def read_end(self, within: float | None = None) -> Ending:
        """Wait until the peer ends the stream; how it did, SILENCE where it did not.

        Raises Failed where an octet comes before the end.
        """
        try:
            while self.ending is Ending.OPEN and not self._received:
                self.read_more(within)
        except Silence:
            return Ending.SILENCE
        if self._received:
            message = f"octets came where the stream must end: {bytes(self._received[:32]).hex(' ')}"
            raise Failed(message)
        return self.ending

    # The end.

    @property
    def alive(self) -> bool:
        """Whether this end of the connection is still open."""
        return self._socket.fileno() >= 0

    def close(self) -> None:
        """Close the connection."""
        self.writable = False
        self._socket.close()

    def reset(self) -> None:
        """Close the connection with a reset (RST)."""
        self.log.event("sent RST")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def __enter__(self) -> Self:
        """For use with ``with``: the connection is closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _wait(self, events: int, end: float) -> int:
        """What the socket is ready for, 0 at the end of the time."""
        poll = select.poll()
        if events:
            poll.register(self._socket, events)
        found = poll.poll(max(0.0, end - time.monotonic()) * 1000)
        return found[0][1] if found else 0

    def drink(self, most: int = _CHUNK) -> None:
        """Read what is there, but no more than so many octets."""
        try:
            data = self._socket.recv(most)
        except BlockingIOError:
            return
        except OSError as error:
            self._gone(error)
            return
        if data:
            self._received += data
            if len(self._received) > _FLOOD:
                message = f"the peer floods: more than {_FLOOD:,} octets came without a whole frame"
                raise Endless(message)
            self.log.octets("received", data)
        else:
            self.ending = Ending.FIN
            self.log.event("the peer sent FIN")

    def _gone(self, error: OSError) -> None:
        """Note a reset, once; a broken pipe alone may still leave octets to be read."""
        self.writable = False
        if isinstance(error, BrokenPipeError) and self.ending is Ending.OPEN:
            while self.ending is Ending.OPEN and self._wait(select.POLLIN, time.monotonic()):
                self.drink()
        if self.ending is Ending.OPEN:
            self.ending = Ending.RST
            self.log.event("the peer reset the connection (RST)")

    def _take(self) -> Frame | None:
        """The next whole frame of what has been received."""
        end = frame_end(self._received)
        if end is None or len(self._received) < end:
            return None
        found = Frame(self._received[0], bytes(self._received[HEADER_SIZE:end]))
        del self._received[:end]
        return found


def _dial(address: tuple[str, int] | str, timeout: float, receive_buffer: int) -> socket.socket:
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(address)
        return sock
    if not receive_buffer:
        return socket.create_connection(address, timeout)
    family, kind, protocol, _, where = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)  # before connecting, or it is moot
    sock.settimeout(timeout)
    sock.connect(where)
    return sock
