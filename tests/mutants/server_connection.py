"""One connection of the reference server: its buffers, its state and its clocks (SPEC.md 6, 7, 10 to 13, 15).

A connection is a thread that goes round one loop: see whether the server drains, wait for the socket, take
octets in, answer whole frames, give octets out, look at the clocks.
"""

from __future__ import annotations

import contextlib
import enum
import os
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

from .bugs import bug
from .server_answers import Answers, RefusedError, error_body, read_text
from .server_frames import FaultError, FrameReader, asks_for_answer
from .wire import ERROR, HEADER, HELLO, PONG, STOP, STOPPED, is_ignorable, pack

if TYPE_CHECKING:
    from .reference_server import ReferenceServer

TICK = 0.02  # seconds between two looks at the clocks
READ = 65_536  # octets taken in at once
BOUND = 262_144  # octets of unsent answers above which no further frame is taken (REQ-FLOW-1)


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
        self._drained = False  # open when the drain began, hence counted
        self._failed = False  # a fatal ERROR was put
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
        self.state = State.CLOSED

    def _turn(self) -> None:
        if self._server.drain_deadline is not None and not self._sees_drain:
            self._begin_drain()
        inputs, outputs = [self._socket] * self._reads(), [self._socket] * bool(self._outbox)
        readable, writable, _ = select.select(inputs, outputs, [], TICK)
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
        return self.state is State.OPEN and len(self._outbox) > BOUND and not bug("unbounded-answers")

    def _receive(self) -> None:
        octets = self._socket.recv(READ)
        if not octets:
            self._end_of_stream = True
            self._takes_input = False
            if bug("end-drops-answers"):
                self._outbox.clear()
                self._end()
        elif self._takes_input and self.state is State.OPEN:
            if not self._reader.octets or bug("octets-extend-frame-deadline"):
                self._waiting_since = time.monotonic()
            self._reader.feed(octets)

    def _take_frames(self) -> None:
        """Answer each frame that is there in full, and end where no more can come."""
        try:
            while self.state is State.OPEN and not self._is_held():
                frame = self._reader.next_frame()
                if frame is None:
                    self._take_no_frame()
                    break
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
        if bug("empty-body-dropped") and not body:
            return
        self._last_frame = kind, body
        try:
            if kind == STOP:
                self._stop(body)
            else:
                self._put_answer(*self._answers.answer(kind, body))
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
        if self.state is not State.OPEN:
            return
        self._drained = True
        if self._reads():
            with contextlib.suppress(BlockingIOError):
                self._receive()  # what the kernel had received, too
        self._takes_input = False
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
        if self._drained and not self.stop_allowed:
            self._server.count_drained(cut=False)
        if self._failed and bug("resets-behind-fatal"):
            self._reset()
            return
        if not (self._failed and bug("no-fin-behind-fatal")):
            self._socket.shutdown(socket.SHUT_WR)
        self._linger_until = time.monotonic() + self._options.linger_timeout
        self.state = State.CLOSED if bug("does-not-linger") else State.CLOSING

    def _cut(self) -> None:
        """Cut the client off with answers unsent (REQ-TIME-5, REQ-STOP-12)."""
        if self._drained and not self.stop_allowed and self._outbox:
            self._server.count_drained(cut=True)
        self._reset()

    def _reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.state = State.CLOSED

    # Clocks.

    def _look_at_clocks(self) -> None:
        now = time.monotonic()
        if self.state is State.CLOSING and now > self._linger_until and not bug("lingers-for-ever"):
            self.state = State.CLOSED
        if (
            self._outbox
            and now - self._taken_since > self._options.write_timeout
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
        if (self._is_held() or (self._outbox and not part)) and not bug("idle-while-owing"):
            self._waiting_since = now
        waited = now - self._waiting_since
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
