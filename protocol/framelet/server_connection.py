"""The server's end of a connection: frames in, events out; answers in, octets out; no I/O."""

from __future__ import annotations

from collections.abc import Container

from . import codec, states
from .answering import AnsweringConnection, Ready, error_body, own_answer
from .connection import LARGE, REFUSALS, SHORT, no_octets, refusal, text_of
from .errors import (
    ConfigurationError,
    ErrorReceivedError,
    FrameTimeoutError,
    IdleTimeoutError,
    ProtocolError,
    TruncatedFrameError,
)
from .events import ApplicationReceived, FrameRefused, InputEnded, RequestReceived, ServerEvent, StopReceived
from .limits import RATE_GRACE, ConnectionLimits
from .registry import ErrorCode, FrameType
from .states import Action, State, Trigger

_REQUEST, _STOP, _ERROR = map(int, (FrameType.REQUEST, FrameType.STOP, FrameType.ERROR))
_UNPACK, _HEADER_SIZE = codec.HEADER.unpack_from, codec.HEADER_SIZE


class ServerConnection(AnsweringConnection):
    """Takes a client's frames and sends exactly one answer to each, in order (REQ-ORDER-1, 2).

    PING, HELLO and everything that is refused are answered here, and so is what the program did not ask for:
    application types other than ``application_types`` (REQ-TYPE-6), and STOP without ``takes_stop``
    (REQ-STOP-3).  The program answers RequestReceived, ApplicationReceived and StopReceived, in any order,
    naming the event; the answers are sent in the order of the frames.

    Most of what comes is REQUESTs, many in a read.  They need no events: ``receive_requests`` gives the texts
    of all that a read holds, and ``replies_to_send`` takes all the replies, seven times faster::

        texts = connection.receive_requests(sock.recv(65536), now)
        sock.sendall(b"".join(connection.replies_to_send([handler(text) for text in texts], now)))
        if connection.needs_events:
            ...                                          # the loop above

    It is the same to the client, whatever comes in between: tests/fuzz/server_check.py.
    """

    frames_received: int

    __slots__ = ("_application_types", "_closing_since", "_draining", "_takes_stop", "clean")

    def __init__(
        self,
        limits: ConnectionLimits | None = None,
        *,
        now: float,
        application_types: Container[int] = (),
        takes_stop: bool = False,
    ) -> None:
        """Begin at the time ``now`` with limits, or the default ones."""
        super().__init__(limits or ConnectionLimits(), now)
        self._application_types = application_types
        self._takes_stop = takes_stop
        self._draining = False
        self._closing_since: float | None = None
        self.clean: bool = False
        """Whether the last ``receive_requests`` has told of all that it was given.

        Then nothing is left for events, and no part of a frame.  A plain attribute: asked after every read.
        """

    @property
    def draining(self) -> bool:
        """Whether ``drain`` was called: no further frames are taken."""
        return self._draining

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way: no frame that has begun or waits, no answer, no end."""
        return (
            self._state is State.OPEN
            and not (self._batch or self._owed or self._output_size or self._overdue or self.input_ended)
            and not (self._decoder.frames or self._decoder.refused or self._frame_started is not None)
        )

    @property
    def idle_deadline(self) -> float:
        """When ``check_deadlines`` is due while the connection stays at rest."""
        return self._idle_since + self._limits.idle_timeout

    @property
    def batch_ready(self) -> bool:
        """Whether ``receive_requests`` may give requests: they are served, and nothing comes before them."""
        return (
            self._batching
            and not (self._batch or self._owed or self._output_size or self._overdue)
            and not (self._decoder.frames or self._decoder.refused)
        )

    @property
    def needs_events(self) -> bool:
        """Whether ``next_event`` has something to do or to tell, beside a batch that was taken."""
        decoder = self._decoder
        if self._overdue or (self._taking and (decoder.frames or decoder.refused)):
            return True
        if self._state is State.OPEN and (self.input_ended or self._draining):
            return True
        header = decoder.pending_header
        return header is not None and self._actions[header[0]] in REFUSALS

    def next_event(self, most: int = -1) -> ServerEvent | None:
        """What happened next, or None until more is received.

        It is None as well after ``most`` frames that need no program, as PINGs, so that a program can look at
        its clock in between; ``needs_events`` says then whether there are more.
        """
        if self._overdue is not None:
            overdue, self._overdue = self._overdue, None
            return overdue
        while self._taking and most:
            most -= 1
            try:
                frame = self._next_frame()
            except ProtocolError as error:
                return self._fault(error)
            if frame is None:
                return self._end_of_input()
            happened = self._take(*frame)
            if happened is not None:
                return happened
        return None

    def receive_requests(  # noqa: C901, PLR0912, PLR0915 - one function: a call would take as long as a request
        self, data: bytes, now: float
    ) -> list[str]:
        """Take in octets as ``receive_data`` does, and return the texts of the REQUESTs that come first.

        They are owed from then on: answer them by ``replies_to_send`` or ``queue_replies``, or give the
        last of them back by ``return_requests``.  The list ends at the first frame that is anything
        but a whole and well-formed REQUEST of less than 64 KiB; a frame that had begun before may be of any
        size.  The rest is told by events, and all of it where the connection is not ``batch_ready``;
        ``needs_events`` says whether there is any.
        """
        texts: list[str] = []
        decoder, start, total = self._decoder, 0, len(data)
        # This is ``batch_ready``: there is no call here in the ordinary case, for any number of requests.
        if (
            not self._batching
            or self._batch
            or self._owed
            or self._output_size
            or decoder.frames
            or decoder.refused
        ):
            self.clean = False
            self.receive_data(data, now)
            return texts
        self._idle_since = now
        if self._frame_started is None and total >= _HEADER_SIZE:
            # One REQUEST alone, as from a client that waits for each answer: a third less than what follows.
            frame_type, length = _UNPACK(data)
            if length == total - _HEADER_SIZE and length < LARGE and frame_type == _REQUEST:
                try:
                    texts = [data[_HEADER_SIZE:].decode()]
                except UnicodeDecodeError:
                    pass  # told as an event, below
                else:
                    self._batch = 1
                    self.frames_received += 1
                    self.clean = True
                    return texts
        elif not total:
            raise no_octets()
        elif self._frame_started is not None:
            start = self._receive_to_boundary(data, now)
            if not decoder.frames or (text := _text_of_request(*decoder.frames[0])) is None:
                self.clean = False
                if start < total:
                    self.receive_data(data[start:], now)
                return texts
            decoder.pop()
            self.frames_received -= 1  # it is counted with the others
            texts.append(text)
        last = total - _HEADER_SIZE
        if start <= last:
            unpack, append = _UNPACK, texts.append
            frame_type, length = unpack(data, start)
            end = start + _HEADER_SIZE + length
            # Where more may follow and all is ASCII, it is decoded once, and each text is a slice of that.
            decoded = data.decode("ascii") if length < SHORT and end < last and data.isascii() else None
            while frame_type == _REQUEST and end <= total and length < LARGE:
                if decoded is not None:
                    append(decoded[start + _HEADER_SIZE : end])
                else:
                    try:
                        append(data[start + _HEADER_SIZE : end].decode())
                    except UnicodeDecodeError:
                        break
                start = end
                if start > last:
                    break
                frame_type, length = unpack(data, start)
                end = start + _HEADER_SIZE + length
        self._batch = len(texts)
        self.frames_received += len(texts)
        self.clean = start == total
        if start < total:
            self.receive_data(data[start:], now)
        return texts

    def receive_eof(self) -> None:
        """Take note of the end of the client's stream; then ask for events (REQ-CLOSE-1)."""
        super().receive_eof()
        self._batching = False
        self._close_if_ended()

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

    def drain(self) -> None:
        """Take no frame beyond those received in full so far; ask for events until there are none."""
        self._draining = True
        self._batching = False
        # The state changes when those have been taken.  What comes until then is for the state after that.
        drained = self._transitions.get(Trigger.DRAIN, self._state)
        self._reading = self._reading and states.rules(self._role, drained).takes_frames

    def fail(self, code: int, text: str = "") -> None:
        """End the connection with a fatal ERROR of the server's own making; what was owed is dropped.

        Raises ConfigurationError for a code that is not fatal, or is never sent.
        """
        code = ErrorCode(code)
        if not code.fatal or code.local:
            message = f"{code:d} {code.title} is not a fatal error to be sent"
            raise ConfigurationError(message)
        self._batch, self._owed, self._owed_size = 0, None, 0
        self._break_off()
        if not self.finished and not self._error_received:
            self._count(code)
            self._write_own(Ready(_ERROR, error_body(code, text)))
        self._settle()

    def next_deadline(self) -> float | None:
        """When ``check_deadlines`` is due, in seconds on the program's clock; None for never."""
        if self._state is State.OPEN:
            if self._frame_started is not None:
                return self._frame_started + self._frame_time()
            return None if self._batch or self._owed or self._output_size else self.idle_deadline
        if self._closing_since is not None and Trigger.LINGERED in self._transitions:
            return self._closing_since + self._limits.linger_timeout
        return None

    def check_deadlines(self, now: float) -> None:
        """Enforce what is overdue (REQ-TIME-1 to 4, REQ-ERROR-8); then ask for events."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return
        if self._state is not State.OPEN:
            self._move(Trigger.LINGERED)
            return
        if self._frame_started is not None:
            message = f"the frame was not complete within {self._limits.frame_timeout:g} seconds"
            if self._frame_time() < self._limits.frame_timeout:
                message = f"the frame came more slowly than {self._limits.min_rate} octets per second"
            error: ProtocolError = FrameTimeoutError(message)
        else:
            message = f"nothing was received or owed for {self._limits.idle_timeout:g} seconds"
            error = IdleTimeoutError(message)
        self._overdue = self._fault(error)

    def _frame_time(self) -> float:
        """Seconds that the frame under way has, by what has come of it (REQ-TIME-1, REQ-TIME-7)."""
        if not self._limits.min_rate:
            return self._limits.frame_timeout
        return min(self._limits.frame_timeout, RATE_GRACE + self._decoder.under_way / self._limits.min_rate)

    def _end_of_input(self) -> ServerEvent | None:
        """All whole frames have been taken: see whether more can come."""
        if self._state is not State.OPEN:
            return None  # the end was noted when that state was entered
        if self.input_ended:
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
            ready = own_answer(frame_type, body, self._limits)
        except ProtocolError as error:
            self._count(error.code)
            self._send_own(Ready(_ERROR, error_body(error.code, str(error))))
            return FrameRefused(error)
        if ready is not None:
            self._send_own(ready)
            return None
        event: RequestReceived | ApplicationReceived | StopReceived
        if frame_type == _REQUEST:
            event = RequestReceived(text)
        elif frame_type == _STOP and self._takes_stop:
            event = StopReceived(text)
        elif frame_type != _STOP and frame_type in self._application_types:
            event = ApplicationReceived(frame_type, text)
        else:
            code = ErrorCode.STOP_REFUSED if frame_type == _STOP else ErrorCode.NO_HANDLER
            self._count(code)
            self._send_own(Ready(_ERROR, error_body(code)))
            return None
        self._owe(event)
        return event

    def _fault(self, error: ProtocolError) -> FrameRefused:
        """End the connection for the client's fault (REQ-ERROR-5 to 9)."""
        self._count(error.code)
        if isinstance(error, ErrorReceivedError):
            self._error_received = True
        else:
            self._send_own(Ready(_ERROR, error_body(error.code, str(error))))
        self._break_off()
        self._settle()
        return FrameRefused(error)


def _text_of_request(frame_type: int, body: bytes) -> str | None:
    """The text of a REQUEST, if it is one and well-formed."""
    try:
        return body.decode() if frame_type == _REQUEST else None
    except UnicodeDecodeError:
        return None
