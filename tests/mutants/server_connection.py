"""One connection of the reference server: its buffers, its state and its clocks (SPEC.md 6, 7, 10 to 13, 15).

A connection is a thread that goes round one loop: see whether the server drains, wait for the socket, take
octets in, answer whole frames, give octets out, look at the clocks.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import socket
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING

from .bugs import bug
from .server_answers import Answers, RefusedError, error_body, read_text
from .server_frames import FaultError, FrameReader, asks_for_answer
from .wire import ERROR, HEADER, HELLO, PING, PONG, STOP, STOPPED, is_ignorable, pack, wait

if TYPE_CHECKING:
    from .reference_server import ReferenceServer

TICK = 0.02  # seconds between two looks at the clocks
READ = 65_536  # octets taken in at once
BOUND = 262_144  # octets of unsent answers above which no further frame is taken (REQ-FLOW-1)


def unread(sock: socket.socket) -> int:
    """Octets that the system has received and nobody has read."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, b"\0\0\0\0"))[0]  # type: ignore[no-any-return]


class State(enum.Enum):
    """The server's states of section 15."""

    OPEN = "open"
    DRAINING = "draining"
    CLOSING = "closing"
    CLOSED = "closed"


class Connection:
    """Serves one client until both directions have ended."""

    def __init__(self, server: ReferenceServer, sock: socket.socket, *, refused: bool) -> None:
        self.state = State.OPEN
        self.stop_allowed = False
        self.refused = refused
        self.gone = False  # its thread has ended
        self._server = server
        self._options = server.options
        self._socket = sock
        self._reader = FrameReader(server.options.max_body)
        self._answers = Answers(server.options)
        self._outbox = bytearray()
        self._stopped_owed = False
        self._end_of_stream = False  # the client has sent FIN
        self._takes_input = True  # what arrives belongs to frames; else it is discarded
        self._sees_drain = False
        self._left: int | None = None  # octets that the system held when the drain began, still to be taken
        self._drained = False  # its FIN was not sent when the drain began, hence it is counted
        self._count = 0  # of frames that asked for an answer
        self._failed = False  # a fatal ERROR was put
        self._timed_out = False  # and it was for a timeout
        self._stuck = False
        self._last_frame: tuple[int, bytes] | None = None
        self._waiting_since = time.monotonic()  # the frame clock inside a frame, else the idle clock
        self._taken_since = time.monotonic()  # when the client last took octets, or had none to take
        self._linger_until = 0.0
        if refused and bug("too-many-closed-silently"):
            self._end()
        elif refused:
            self._fail(507)
        elif bug("greets-first"):
            self._put(HELLO, b"framelet/1 max-body=65536")

    def start(self) -> None:
        """Serve in a thread of its own."""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        """Go round until closed (a thread does it); an error of the socket says that the client has gone, and ends it too."""
        with self._socket, contextlib.suppress(OSError):
            self._socket.settimeout(0.0)
            while self.state is not State.CLOSED:
                self._turn()
            self.gone = True
        if not self.gone and self._counts() and self.state in {State.OPEN, State.DRAINING}:
            self._server.count_drained(cut=False)
        self.gone = self.gone or not bug("reset-keeps-its-place")
        self.state = State.CLOSED if self.gone else self.state

    def _turn(self) -> None:
        if self._server.drain_deadline is not None and not self._sees_drain:
            self._begin_drain()
        readable, writable = wait(self._socket, read=self._reads(), write=bool(self._outbox), timeout=TICK)
        if readable:
            self._receive()
        if self.state is State.OPEN:
            self._take_frames()
        if writable and self._outbox:
            self._send()
        self._finish()
        self._look_at_clocks()

    # Octets in, frames out of them.

    def _reads(self) -> bool:
        """Whether octets are wanted: to discard them, or while not too many answers are unsent (REQ-FLOW-2)."""
        held = self._is_held() and self._takes_input
        if bug("never-reads-again") and held:
            self._stuck = True
        return not self._end_of_stream and not held and not self._stuck

    def _is_held(self) -> bool:
        bound = 200 << 20 if bug("bound-of-200-mib") else BOUND
        return self.state is State.OPEN and len(self._outbox) > bound and not bug("unbounded-answers")

    def _receive(self) -> None:
        octets = self._socket.recv(
            READ if self._left is None or not self._takes_input else min(READ, self._left)
        )
        if self._left is not None and self._takes_input:
            self._left -= len(octets)
        if not octets:
            self._end_of_stream = True
            self._takes_input = False
            if bug("end-drops-answers"):
                self._outbox.clear()
                self._end()
        elif self._takes_input and self.state is State.OPEN:
            ignorable = not self._reader.octets and is_ignorable(octets[0])
            if (bug("idle-in-spite-of-ping") and octets[0] == PING) or (
                bug("idle-in-spite-of-ignorable") and ignorable
            ):
                pass
            elif not self._reader.octets or bug("octets-extend-frame-deadline"):
                self._waiting_since = time.monotonic()
            had_header = len(self._reader.octets) >= HEADER
            self._reader.feed(octets)
            self._takes_input = self._left != 0  # REQ-STOP-7
            if bug("frame-deadline-anew-at-body") and not had_header and len(self._reader.octets) >= HEADER:
                self._waiting_since = time.monotonic()

    def _take_frames(self) -> None:
        """Answer each frame that is there in full, and end where no more can come."""
        try:
            while self.state is State.OPEN and not self._is_held():
                frame = self._reader.next_frame()
                if frame is None:
                    self._take_no_frame()
                    break
                forgotten = (
                    (bug("idle-in-spite-of-ping") and frame[0] == PING)
                    or (bug("idle-in-spite-of-ignorable") and is_ignorable(frame[0]))
                    or bug("idle-from-frame-start")
                )
                if not forgotten:
                    self._waiting_since = time.monotonic()
                self._serve(*frame)
                if bug("drops-pipelined-frames"):
                    self._reader.octets.clear()
        except FaultError as fault:
            if fault.code is None:
                self._end()  # REQ-ERROR-9
            else:
                self._fail(fault.code)

    def _take_no_frame(self) -> None:
        """What is there is part of a frame, or nothing (REQ-FRAME-6)."""
        part = self._reader.octets
        if bug("one-read-one-frame"):
            part.clear()
        if self._takes_input:
            return
        if part and self._end_of_stream and bug("part-answered-at-end"):
            self._serve(part[0], bytes(part[HEADER:]))
        if part and self._end_of_stream and bug("part-refused-at-end"):
            self._put(ERROR, error_body(506))
        if self._end_of_stream and bug("closes-inside-frame"):
            self._outbox += bytes([ERROR, 0, 0])
        if not (self._end_of_stream and bug("end-not-answered-by-end")):
            self._end()  # REQ-CLOSE-1, REQ-CLOSE-2, REQ-STOP-7

    # Frames answered.

    def _serve(self, kind: int, body: bytes) -> None:
        """Answer one frame (REQ-ORDER-1), or discard it (REQ-TYPE-3)."""
        if not asks_for_answer(kind):
            self._discard(kind, body)
            return
        if bug("wants-hello-first") and self._last_frame is None and kind != HELLO:
            self._fail(502)
            return
        if bug("same-frame-twice-dropped") and self._last_frame == (kind, body):
            return
        self._count += 1
        if (bug("frame-256-not-answered") and self._count == 256) or (
            bug("frame-65536-not-answered") and self._count == 65_536
        ):
            return
        if bug("empty-body-dropped") and not body:
            return
        self._last_frame = kind, body
        try:
            if kind == STOP:
                self._stop(body)
            else:
                self._put_answer(*self._answers.answer(kind, body))
                self._options = self._answers.options
        except RefusedError as refused:
            self._put_error(refused.code, body)
        if bug("closes-after-one-answer"):
            self._end()

    def _discard(self, kind: int, body: bytes) -> None:
        """Read past a frame that asks for nothing; its body is not looked at."""
        if is_ignorable(kind):
            if bug("ignorable-closes"):
                self._fail(501)
            elif bug("ignorable-answered"):
                self._put(ERROR, error_body(404))
            elif bug("ignorable-body-examined"):
                with contextlib.suppress(UnicodeDecodeError):
                    body.decode()
                    return
                self._put(ERROR, error_body(400))

    def _put(self, kind: int, body: bytes) -> None:
        if not self._outbox:
            self._taken_since = time.monotonic()
        self._outbox += pack(kind, body)

    def _put_answer(self, kind: int, body: bytes) -> None:
        if bug("pong-overtakes") and kind == PONG:
            self._outbox[:0] = pack(kind, body)
            return
        self._put(kind, body)
        if bug("pong-sent-twice") and kind == PONG:
            self._put(kind, body)

    def _put_error(self, code: int, body: bytes) -> None:
        """A recoverable ERROR in the place of the answer (REQ-ERROR-4)."""
        if bug("no-handler-not-answered") and code == 404:
            return
        text = error_body(code)
        if (bug("error-quotes-body") and code == 400) or (bug("error-quotes-token") and code == 403):
            text += b": " + body[:64]
        if bug("error-drops-rest-of-read"):
            self._reader.octets.clear()
        if bug("refused-stop-overtakes") and code == 403:
            self._outbox[:0] = pack(ERROR, text)
        else:
            self._put(ERROR, text)
        if (
            bug("recoverable-closes")
            or (bug("ill-formed-closes") and code == 400)
            or (bug("refused-stop-closes") and code == 403)
            or (bug("ping-too-large-closes") and code == 413)
        ):
            self._end()

    def _stop(self, token: bytes) -> None:
        """Begin to drain if the policy allows it; STOPPED comes when the others have ended (REQ-STOP-8)."""
        read_text(token)
        if bug("451-before-403"):
            self._answers.refuse_large(token)
        second = self._server.drain_deadline is not None
        if not self._server.may_stop(token) or (second and bug("second-stop-refused")):
            if bug("refused-stop-ends-listening"):
                self._server.stop_listening()
            raise RefusedError(403)
        if bug("stop-without-drain"):
            self._socket.sendall(pack(STOPPED, self._server.stopped_body()))
            os._exit(0)
        while bug("frames-behind-stop-answered") and (frame := self._reader.next_frame()) is not None:
            self._serve(*frame)
        self.stop_allowed = True
        if bug("stopped-counts-askers"):
            self._server.count_drained(cut=False)
        self._stopped_owed = not bug("stopped-never-sent")
        self._end()  # REQ-STOP-10
        self._server.begin_drain()

    # Faults, the drain and the end.

    def _fail(self, code: int) -> None:
        """Put a fatal ERROR behind the answers owed, and take no more frames (REQ-ERROR-5 to 7)."""
        if bug("fatal-drops-answers"):
            self._outbox.clear()
        if not (code == 505 and bug("idle-closes-silently")):
            self._put(ERROR, error_body(code))
        if bug("two-fatal-errors"):
            self._put(ERROR, error_body(code))
        self._failed = True
        self._timed_out = code in {504, 505}
        if bug("goes-on-behind-fatal") or bug("fatal-not-closed"):
            del self._reader.octets[:HEADER]
            self._take_frames()
        if not bug("fatal-not-closed"):
            self._end()

    def _end(self) -> None:
        """Send what is owed, and nothing more: the state draining."""
        self.state = State.DRAINING
        self._reader.octets.clear()

    def _begin_drain(self) -> None:
        """The server drains: only what was received by now is answered (REQ-STOP-7)."""
        self._sees_drain = True
        if self.state is State.CLOSING and bug("stopped-counts-lingering"):
            self._server.count_drained(cut=False)
        self._drained = self.state in {State.OPEN, State.DRAINING} and not self.refused
        if self.state is not State.OPEN:
            return
        self._left = 0 if bug("drain-forgets-system") or self._end_of_stream else unread(self._socket)
        self._takes_input = self._left > 0
        if bug("drain-drops-answers"):
            self._outbox.clear()
            self._end()

    def _send(self) -> None:
        sent = self._socket.send(self._outbox)
        del self._outbox[:sent]
        self._taken_since = time.monotonic()

    def _finish(self) -> None:
        """From draining to closing when nothing is owed, and to closed when the client closes, too."""
        if self.state is State.DRAINING and not self._outbox:
            if not self._stopped_owed:
                self._close_sending_direction()
            elif self._server.others_ended():
                self._stopped_owed = False
                self._put(STOPPED, self._server.stopped_body())
        if self.state is State.CLOSING and self._end_of_stream:
            self.state = State.CLOSED

    def _close_sending_direction(self) -> None:
        """FIN, then go on reading until the client closes (REQ-ERROR-8)."""
        if self._counts():
            self._server.count_drained(cut=False)
        if self._failed and bug("resets-behind-fatal"):
            self._reset()
            return
        if not (self._failed and bug("no-fin-behind-fatal")):
            self._socket.shutdown(socket.SHUT_WR)
        self._linger_until = time.monotonic() + self._options.linger_timeout * (
            0.5 if bug("lingers-half") else 1
        )
        closes = bug("does-not-linger") or (bug("no-linger-behind-timeout") and self._timed_out)
        self.state = State.CLOSED if closes else State.CLOSING

    def _counts(self) -> bool:
        """Whether STOPPED tells of this connection (REQ-DRAIN-1)."""
        if bug("stopped-forgets-silent") and not self._count:
            return False
        return self._drained and not self.stop_allowed

    def _cut(self) -> None:
        """Cut the client off with answers unsent (REQ-TIME-5, REQ-STOP-12)."""
        if self._counts() and self._outbox:
            self._server.count_drained(cut=True)
        self._reset()

    def _reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.state = State.CLOSED

    # Clocks.

    def _look_at_clocks(self) -> None:
        now = time.monotonic()
        late = now > self._taken_since + self._options.linger_timeout
        if bug("linger-cuts-answers") and late and self._outbox:
            self._reset()
        if self.state is State.CLOSING and now > self._linger_until and not bug("lingers-for-ever"):
            self.state = State.CLOSED
        if (
            self._outbox
            and now - self._taken_since
            > self._options.write_timeout * (0.4 if bug("write-timeout-early") else 1)
            and not bug("no-write-timeout")
        ):
            self._cut()
        drain_deadline = self._server.drain_deadline
        if drain_deadline is not None and self.state is not State.CLOSED and not bug("no-drain-deadline"):
            # Who asked for the stop has a little longer, so that STOPPED can still reach it.
            if now > drain_deadline + self._options.linger_timeout * self.stop_allowed:
                self._cut()
        if self.state is State.OPEN and self._takes_input:
            self._look_at_frame_and_idle_clock(now)

    def _look_at_frame_and_idle_clock(self, now: float) -> None:
        """REQ-TIME-1 to 4.  Both clocks stand still while the client's octets are not read."""
        part = self._reader.octets
        if bug("frame-deadline-from-header") and 0 < len(part) < HEADER:
            self._waiting_since = now
        last_was_ping = self._last_frame is not None and self._last_frame[0] == PING
        keeps_running = bug("idle-while-owing") or (bug("idle-in-spite-of-ping") and last_was_ping)
        held = self._is_held() and not bug("frame-clock-while-unread")
        if (held or (self._outbox and not part)) and not keeps_running:
            self._waiting_since = now
        waited = (now - self._waiting_since) / (0.7 if bug("deadlines-early") else 1.0)
        if part and waited > self._options.frame_timeout and not bug("no-frame-deadline"):
            if not (bug("discarded-frame-untimed") and is_ignorable(part[0])):
                self._fail(504)
        elif self._idles() and waited > self._options.idle_timeout and not bug("no-idle-timeout"):
            self._fail(505)

    def _idles(self) -> bool:
        """Whether the connection is at a boundary with no answer owed (REQ-TIME-4)."""
        if bug("idle-inside-frame"):
            return not self._outbox
        if bug("idle-while-owing"):
            return bool(self._outbox) or not self._reader.octets
        return not self._outbox and not self._reader.octets
