"""The server's end of a connection: frames in, events out; answers in, octets out; no I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from . import codec, grammar
from .connection import Connection, refusal, text_of
from .errors import (
    AnswerTooLargeError,
    ConnectionStateError,
    ErrorReceivedError,
    FrameTimeoutError,
    HelloMalformedError,
    IdleTimeoutError,
    PingTooLargeError,
    ProtocolError,
    TruncatedFrameError,
    VersionUnsupportedError,
)
from .events import ApplicationReceived, FrameRefused, InputEnded, RequestReceived, StopReceived
from .limits import MAX_ERROR_BODY, MAX_LENGTH, MAX_PING_BODY, RATE_GRACE, ConnectionLimits
from .registry import ANSWERS, VERSION, ErrorCode, FrameType, Role
from .states import Action, State, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .events import ServerEvent

_REQUEST, _STOP, _ERROR = map(int, (FrameType.REQUEST, FrameType.STOP, FrameType.ERROR))


class _Ready(NamedTuple):
    """An answer that needs no program.

    Behind it the client takes bodies of up to ``peer_max_body``, where that is given; ``last`` says that
    nothing may be sent behind it.
    """

    type: int
    body: bytes
    peer_max_body: int | None = None
    last: bool = False


class ServerConnection(Connection):
    """Takes a client's frames and sends exactly one answer to each, in order (REQ-ORDER-1, 2).

    PING, HELLO and everything that is refused are answered here; the program answers the events
    RequestReceived, ApplicationReceived and StopReceived, oldest first.
    """

    __slots__ = ("_closing_since", "_draining", "_events", "_last_word", "_limits", "_owed", "errors")

    def __init__(self, limits: ConnectionLimits | None = None, *, now: float) -> None:
        """Begin at the time ``now`` with limits, or the default ones."""
        self._limits = limits or ConnectionLimits()
        super().__init__(Role.SERVER, self._limits, now)
        self._peer_max_body = MAX_LENGTH
        # The answers owed, oldest first: a type that the program has to answer, or an answer of our own that
        # waits for its turn, ready to be sent.  A ready one is never first.
        self._owed: deque[int | _Ready] = deque()
        self._events: list[ServerEvent] = []  # no deque: it is nearly always empty, and that takes 700 octets
        self._draining = False
        self._last_word = False  # the fatal ERROR has been sent, or none may be
        self._closing_since: float | None = None
        self.errors: Mapping[ErrorCode, int] = {}
        """How often each code was the case; replaced and never changed, so that any thread may look."""

    @property
    def owes(self) -> int:
        """How many answers are owed."""
        return len(self._owed)

    @property
    def draining(self) -> bool:
        """Whether ``drain`` was called: no further frames are taken."""
        return self._draining

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way: no frame that has begun or waits, no answer, no end."""
        return self._decoder.at_rest and not (
            self._output_size
            or self._owed
            or self._events
            or self._input_ended
            or self._state is not State.OPEN
        )

    @property
    def idle_deadline(self) -> float:
        """When ``check_deadlines`` is due while the connection stays at rest."""
        return self._idle_since + self._limits.idle_timeout

    def next_event(self) -> ServerEvent | None:
        """What happened next, or None until more is received."""
        if self._events:
            return self._events.pop(0)
        while self._state is State.OPEN:
            try:
                frame = self._next_frame()
            except ProtocolError as error:
                return self._fault(error)
            if frame is None:
                return self._end_of_input()
            event = self._take(*frame)
            if event is not None:
                return event
        return None

    def receive_eof(self) -> None:
        """Take note of the end of the client's stream; then ask for events (REQ-CLOSE-1)."""
        super().receive_eof()
        if self._state is State.CLOSING:
            self._move(Trigger.INPUT_ENDED)

    def pieces_to_send(self, now: float) -> list[bytes]:
        """Everything to be written to the client, in as few pieces as go without copying a large body."""
        if self._state is not State.OPEN and self._closing_since is None and self.finished:
            self._closing_since = now
        return super().pieces_to_send(now)

    def resume(self, now: float) -> None:
        """Start the clocks afresh after a time in which this end did not read or could not write."""
        super().resume(now)
        if self._closing_since is not None:
            self._closing_since = now

    def send_reply(self, text: str) -> None:
        """Answer the oldest REQUEST or application frame.

        Raises IllFormedTextError for a lone surrogate and AnswerTooLargeError above what client and
        server allow (REQ-HELLO-5); ``send_error`` is due then.
        """
        frame_type = self._oldest()
        if frame_type == _STOP:
            raise ConnectionStateError("the oldest unanswered frame is a STOP, which has another answer")
        body = codec.encode_text(text)
        allowed = min(self._limits.max_body, self._peer_max_body)
        if len(body) > allowed:
            message = f"an answer of {len(body)} octets exceeds the maximum of {allowed}"
            raise AnswerTooLargeError(message)
        self._answer(ANSWERS[frame_type], body)

    def send_error(self, code: ErrorCode, text: str = "") -> None:
        """Answer the oldest unanswered frame with a recoverable ERROR (REQ-ERROR-4).

        ``text`` is for people, and the registry's words where it is empty.
        """
        if code.fatal or code.local:
            message = f"{code.title} is not a recoverable error to be sent"
            raise ConnectionStateError(message)
        self._oldest()
        self._count(code)
        self._answer(_ERROR, error_body(code, text))

    def allow_stop(self) -> None:
        """Accept the STOP just received: nothing behind it is taken any more (REQ-STOP-10)."""
        if not self._owed or self._owed[-1] != _STOP:
            raise ConnectionStateError("no STOP is waiting for a decision")
        self._move(Trigger.STOP_ALLOWED)

    def send_stopped(self, closed: int, cut: int) -> None:
        """Answer the STOP that was allowed, as the last frame (REQ-STOP-8)."""
        if self._oldest() != _STOP or self._state is not State.DRAINING:
            raise ConnectionStateError("the oldest unanswered frame is not a STOP that was allowed")
        body = grammar.StoppedBody.build({"closed": str(closed), "cut": str(cut)})
        self._answer(FrameType.STOPPED, body)

    def drain(self) -> None:
        """Take no frame beyond those received in full so far; ask for events until there are none."""
        self._draining = True

    def fail(self, code: ErrorCode, text: str = "") -> None:
        """End the connection with a fatal ERROR of the server's own making; what was owed is dropped."""
        if not code.fatal or code.local:
            message = f"{code.title} is not a fatal error to be sent"
            raise ConnectionStateError(message)
        self._owed.clear()
        self._decoder.clear()
        self._frame_started = None
        self._move(Trigger.FAULT)
        if not self.finished and not self._last_word:
            self._count(code)
            self._write_own(_Ready(_ERROR, error_body(code, text), last=True))
        self._settle()

    def next_deadline(self) -> float | None:
        """When ``check_deadlines`` is due, in seconds on the program's clock; None for never."""
        if self._state is State.OPEN:
            if self._frame_started is not None:
                return self._frame_started + self._frame_time()
            owing = self._owed or self._output_size
            return None if owing else self.idle_deadline
        if self._state is State.CLOSING and self._closing_since is not None:
            return self._closing_since + self._limits.linger_timeout
        return None

    def check_deadlines(self, now: float) -> None:
        """Enforce what is overdue (REQ-TIME-1 to 4, REQ-ERROR-8); then ask for events."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return
        if self._state is State.CLOSING:
            self._move(Trigger.LINGERED)
        elif self._frame_started is not None:
            message = f"the frame was not complete within {self._limits.frame_timeout:g} seconds"
            if self._frame_time() < self._limits.frame_timeout:
                message = f"the frame came more slowly than {self._limits.min_rate} octets per second"
            self._events.append(self._fault(FrameTimeoutError(message)))
        else:
            message = f"nothing was received or owed for {self._limits.idle_timeout:g} seconds"
            self._events.append(self._fault(IdleTimeoutError(message)))

    def _frame_time(self) -> float:
        """Seconds that the frame under way has, by what has come of it (REQ-TIME-1, REQ-TIME-7)."""
        if not self._limits.min_rate:
            return self._limits.frame_timeout
        return min(self._limits.frame_timeout, RATE_GRACE + self._decoder.under_way / self._limits.min_rate)

    def _takes_frames(self) -> bool:
        return self._state is State.OPEN and not self._draining

    def _end_of_input(self) -> ServerEvent | None:
        """All whole frames have been taken: see whether more can come."""
        if self._input_ended:
            error = TruncatedFrameError() if self._decoder.inside_frame else None
            if error is not None:
                self._count(error.code)
            self._move(Trigger.INPUT_ENDED)
            self._settle()
            return InputEnded(error, 0)
        if self._draining:
            self._move(Trigger.DRAIN)
            self._settle()
        return None

    def _take(self, frame_type: int, body: bytes) -> ServerEvent | None:
        """Do with one frame what the table says; an event where the program has to know."""
        action = self._actions[frame_type]
        if action is Action.DISCARD:
            return None
        if action is not Action.SERVE:
            return self._fault(refusal(frame_type, action))
        try:
            text = text_of(frame_type, body)
            own_answer = self._own_answer(frame_type, body)
        except ProtocolError as error:
            self._count(error.code)
            self._send_own(_Ready(_ERROR, error_body(error.code, str(error))))
            return FrameRefused(error)
        if own_answer is not None:
            self._send_own(own_answer)
            return None
        self._owed.append(frame_type)
        if frame_type == _REQUEST:
            return RequestReceived(text)
        return StopReceived(text) if frame_type == _STOP else ApplicationReceived(frame_type, text)

    def _own_answer(self, frame_type: int, body: bytes) -> _Ready | None:
        """The answer where this connection gives it by itself: PONG and HELLO."""
        if frame_type == FrameType.PING:
            return _Ready(FrameType.PONG, _check_ping(body))
        return self._check_hello(body) if frame_type == FrameType.HELLO else None

    def _check_hello(self, body: bytes) -> _Ready:
        """The answer to a HELLO, with what it changes for the answers behind it (REQ-HELLO-1 to 5)."""
        try:
            hello = grammar.parse_body(grammar.HelloBody, body)
        except ValueError as error:
            raise HelloMalformedError(str(error)) from None
        if hello.version != VERSION:
            message = f"version {hello.version} is not spoken here, only {VERSION}"
            raise VersionUnsupportedError(message)
        parameters = {
            "max-body": str(self._limits.max_body),
            "frame-timeout-ms": str(round(self._limits.frame_timeout * 1000)),
            "idle-timeout-ms": str(round(self._limits.idle_timeout * 1000)),
        }
        return _Ready(
            FrameType.HELLO,
            grammar.HelloBody.build(grammar.Hello(VERSION, parameters)),
            int(hello.parameters.get("max-body", MAX_LENGTH)),
        )

    def _fault(self, error: ProtocolError) -> FrameRefused:
        """End the connection for the client's fault (REQ-ERROR-5 to 9)."""
        self._count(error.code)
        if isinstance(error, ErrorReceivedError):
            self._last_word = True
        else:
            self._send_own(_Ready(_ERROR, error_body(error.code, str(error)), last=True))
        self._frame_started = None
        self._move(Trigger.FAULT)
        self._settle()
        return FrameRefused(error)

    def _count(self, code: ErrorCode) -> None:
        self.errors = {**self.errors, code: self.errors.get(code, 0) + 1}

    def _oldest(self) -> int:
        oldest = self._owed[0] if self._owed else None
        if not isinstance(oldest, int):
            raise ConnectionStateError("there is no frame to answer")
        return oldest

    def _answer(self, frame_type: int, body: bytes) -> None:
        """Send the answer to the oldest unanswered frame, and the ready ones behind it."""
        self._owed.popleft()
        self._write(frame_type, len(body), (body,))
        while self._owed and not isinstance(ready := self._owed[0], int):
            self._owed.popleft()
            self._write_own(ready)
        self._settle()

    def _send_own(self, ready: _Ready) -> None:
        """Send an answer of our own, behind those that the program still owes."""
        if self._owed:
            self._owed.append(ready)
        else:
            self._write_own(ready)

    def _write_own(self, ready: _Ready) -> None:
        self._write(ready.type, len(ready.body), (ready.body,))
        self._last_word |= ready.last
        if ready.peer_max_body is not None:
            self._peer_max_body = ready.peer_max_body

    def _settle(self) -> None:
        """Once nothing is owed by a draining connection, its stream can end."""
        if self._state is State.DRAINING and not self._owed:
            self._move(Trigger.SETTLED)
            if self._input_ended:
                self._move(Trigger.INPUT_ENDED)


def error_body(code: ErrorCode, text: str = "") -> bytes:
    """The body of an ERROR (REQ-ERROR-1), its text cut to what REQ-ERROR-14 allows."""
    words = text or code.condition.replace("`", "")
    body = f"{code:d} {words}".encode("utf-8", "replace")[:MAX_ERROR_BODY]
    return body.decode("utf-8", "ignore").encode()


def _check_ping(body: bytes) -> bytes:
    if len(body) > MAX_PING_BODY:
        message = f"the body of a PING is {len(body)} octets long, more than {MAX_PING_BODY}"
        raise PingTooLargeError(message)
    return body
