"""A client's end against a model that reads the same octets with the grammar, at any time in any pieces."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any

from construct import ConstructError

from framelet import (
    ApplicationReceived,
    ClientConnection,
    ClientConnectionLimits,
    ConnectionFailed,
    ConnectionStateError,
    ErrorReceived,
    HelloReceived,
    IllFormedTextError,
    InputEnded,
    PingTooLargeError,
    PongReceived,
    ReplyReceived,
    State,
    StoppedReceived,
    grammar,
)
from framelet.limits import MAX_ERROR_BODY, MAX_HELLO_BODY, MAX_PING_BODY, MAX_STOPPED_BODY

from . import inputs
from .model import (
    ERROR,
    HELLO,
    PING,
    PONG,
    REPLY,
    REQUEST,
    STOP,
    STOPPED,
    Answer,
    ClientModel,
    Sent,
    Stream,
)
from .server_check import IGNORABLE, UNKNOWN, must_raise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .inputs import Found

MAX_BODY = 65_536  # the least that a client may accept
LIMITS = ClientConnectionLimits(max_body=MAX_BODY)
APPLICATION = 0xC0

ASKING = (
    (REQUEST, "ab"),
    (STOP, ""),
    (HELLO, "framelet/1 max-body=65536"),
    (APPLICATION, "x"),
    (PING, "1"),
    (PING, "2"),
)
"""What the program asks with, a step each: as the vectors do, so that their answers fit."""
FORMS: dict[int, Any] = {PONG: grammar.PingBody, HELLO: grammar.HelloBody, STOPPED: grammar.StoppedBody}
_ANSWERS = {REQUEST: REPLY, PING: PONG, HELLO: HELLO, STOP: STOPPED, APPLICATION: APPLICATION}


def check(data: bytes) -> None:
    """Do what the steps say, then what is left; raises where the connection differs from the model."""
    steps, stream = inputs.read(data)
    run = Run(stream)
    for step in steps:
        if step < len(run.actions):
            run.actions[step]()
        else:
            run.deliver(_size(step))
        run.agree()
    run.finish()


def seeds() -> Iterator[bytes]:
    """What to begin with: each vector at once, and in pieces with a step of the program between them."""
    for number, vector in enumerate(inputs.vectors("client")):
        steps = bytes(_step_for(*frame) for frame in vector.asked)
        if len(steps) > 100:
            continue
        yield inputs.write(steps, vector.stream)
        step = number % len(Run(b"").actions)
        yield inputs.write(steps + bytes([64 + 1, 64 + 7, step, 64 + 30, step]), vector.stream)


def _step_for(kind: int, text: str) -> int:
    """The step that asks with this frame, or with one of its type."""
    kind = min(kind, APPLICATION)
    same_type = [step for step, asked in enumerate(ASKING) if asked[0] == kind]
    return next((step for step in same_type if ASKING[step][1] == text), same_type[0])


class Model(ClientModel):
    """What a client makes of any frame at all, good or bad."""

    def __init__(self, stream: Stream, found: list[Found]) -> None:
        super().__init__(stream)
        self.found = found[::-1]  # the next one last

    def next_event(self, now: float) -> object:
        while not self.events and self.taking and not self.ended and self.found:
            frame = self.found[-1]
            fault = self.fault_of_header(frame) if frame.header_end <= self.stream.arrived else None
            if fault is None and self.begins_for_nothing(frame):
                fault = "UnexpectedTypeError"
            if fault is None and frame.header_end <= self.stream.arrived and self.is_too_long(frame):
                fault = "AnswerMalformedError"
            if fault is None and (frame.body is None or frame.end > self.stream.arrived):
                break
            self.found.pop()
            self.boundary = frame.end
            event = self.fail(fault) if fault else self.judge(frame, frame.body or b"", now)
            if event is not None:
                return event
        return self.next_end()

    def begins_for_nothing(self, frame: Found) -> bool:
        """Whether an answer has begun, though not ended, before anything was asked."""
        answers = frame.type in _ANSWERS.values() or frame.type >= APPLICATION
        begun = frame.header_end <= self.stream.arrived < frame.end
        return begun and answers and not self.awaited

    def is_too_long(self, frame: Found) -> bool:
        """Whether an answer, or an ERROR, is longer than any of its type: its header says so."""
        answers = self.awaited and _ANSWERS[self.awaited[0].type] == frame.type
        longest = {
            ERROR: MAX_ERROR_BODY,
            STOPPED: MAX_STOPPED_BODY,
            PONG: MAX_PING_BODY,
            HELLO: MAX_HELLO_BODY,
        }
        return bool(frame.type == ERROR or answers) and frame.length > longest.get(frame.type, frame.length)

    def fault_of_header(self, frame: Found) -> str | None:
        """Why a frame is refused without its body: for its type first, then for its length."""
        if frame.type in UNKNOWN:
            return "UnknownTypeError"
        if frame.type in (REQUEST, STOP, PING):
            return "UnexpectedTypeError"
        return "FrameTooLargeError" if frame.length > MAX_BODY else None

    def judge(self, frame: Found, body: bytes, now: float) -> object:
        """The event of a whole frame; None for one that is discarded."""
        if frame.type in IGNORABLE:
            return None
        try:
            text = str(grammar.Text.parse(body))
        except ConstructError:
            text = None
        if frame.type == ERROR:
            return self.judge_error(body, now) if text is not None else self.fail("IllFormedTextError")
        if not self.awaited or _ANSWERS[self.awaited[0].type] != frame.type:
            return self.fail("UnexpectedTypeError")
        if text is None:
            return self.fail("IllFormedTextError")
        event = self.event_of(frame.type, body, text)
        if event is None:
            return self.fail("AnswerMalformedError")
        self.cross_off(now)
        return event

    def event_of(self, frame_type: int, body: bytes, text: str) -> object:
        """The event of an answer; None for a body that is not of its form."""
        try:
            parsed: Any = FORMS[frame_type].parse(body) if frame_type in FORMS else text
        except ConstructError:
            return None
        if frame_type == REPLY:
            return ReplyReceived(text)
        if frame_type == PONG:
            return PongReceived(text) if text == self.awaited[0].content else None
        if frame_type == HELLO:
            return HelloReceived(*parsed) if parsed.version == 1 else None
        if frame_type == STOPPED:
            return StoppedReceived(int(parsed["closed"]), int(parsed["cut"]))
        return ApplicationReceived(frame_type, text)

    def judge_error(self, body: bytes, now: float) -> object:
        try:
            error: Any = grammar.ErrorBody.parse(body)
        except ConstructError:
            return self.fail("AnswerMalformedError")
        if error.code >= 500:
            self.taking = False
            return ErrorReceived(error.code, error.text, None, len(self.awaited))
        if not self.awaited:
            return self.fail("UnexpectedTypeError")
        asked = self.awaited[0].type
        self.cross_off(now)
        return ErrorReceived(error.code, error.text, asked, 0)

    def cross_off(self, now: float) -> None:
        self.awaited.popleft()
        self.waiting = now if self.awaited else None

    def fail(self, name: str) -> object:
        self.taking = False
        return "failed", name, len(self.awaited)


class Run:
    """One connection, its model, and the program that drives both."""

    def __init__(self, stream: bytes) -> None:
        self.now = 0.0
        self.client = ClientConnection(LIMITS, now=0.0)
        self.stream = Stream(stream)
        self.model = Model(self.stream, list(inputs.frames_of(stream)))
        self.queued: list[Answer] = []  # the frames asked for, not yet written
        self.asked = self.answered = 0
        self.over = False  # the program has been told that nothing more comes
        self.actions: list[Callable[[], None]] = [
            *(functools.partial(self.ask, *asked) for asked in ASKING),
            self.misuse,
            self.flush,
            lambda: self.pass_time(0.5),
            lambda: self.pass_to_deadline(-0.25),
            lambda: self.pass_to_deadline(0.0),
            self.pause,
            self.half_close,
            self.end_input,
        ]

    # What the peer does.

    def deliver(self, size: int) -> None:
        """So many octets arrive, in two reads, behind everything that was to be written."""
        self.flush()
        if self.stream.end_arrived:
            return
        piece = self.stream.take(size)
        if not piece:
            return
        middle = size % len(piece)
        for part in filter(None, (piece[:middle], piece[middle:])):
            self.client.receive_data(bytearray(part), self.now)
        self.pump()

    def end_input(self) -> None:
        """The stream ends here, whatever else was in it."""
        if not self.stream.end_arrived:
            self.stream.octets.clear()
            self.stream.end_arrived = True
            self.client.receive_eof()
            self.pump()

    # What the program does.

    def ask(self, kind: int, text: str) -> None:
        """Queue a frame, where that is still possible."""
        calls: dict[int, Callable[[], None]] = {
            REQUEST: lambda: self.client.send_request(text),
            STOP: lambda: self.client.send_stop(text),
            HELLO: self.client.send_hello,
            APPLICATION: lambda: self.client.send_application(kind, text),
            PING: lambda: self.client.send_ping(text),
        }
        if self.model.state is not State.OPEN:
            must_raise(ConnectionStateError, calls[kind])
            return
        calls[kind]()
        self.asked += 1
        self.model.awaited.append(Sent(0, "asks", kind, text))
        self.queued.append(Answer(kind, text))

    def misuse(self) -> None:
        """Calls that make no sense are refused, and change nothing."""
        must_raise(IllFormedTextError, lambda: self.client.send_request("\ud800"))
        must_raise(PingTooLargeError, lambda: self.client.send_ping("é" * 33))
        must_raise(ConnectionStateError, lambda: self.client.send_application(0x80, ""))

    def half_close(self) -> None:
        if self.model.state in (State.OPEN, State.DRAINING):
            self.client.send_eof()
            self.model.half_closed = True

    # What the clock does.

    def pass_time(self, seconds: float) -> None:
        self.flush()
        self.now += seconds
        self.model.expire(self.now)
        self.client.check_deadlines(self.now)
        self.pump()

    def pass_to_deadline(self, offset: float) -> None:
        deadline = self.client.next_deadline()
        self.pass_time(0.0 if deadline is None else max(0.0, deadline + offset - self.now))

    def pause(self) -> None:
        """The program does not read for a long time, and says so."""
        self.now += 1_000.0
        self.client.resume(self.now)
        self.model.resume(self.now)

    # The loop of the program.

    def pump(self) -> None:
        """Take all events, each of which the model must have, too."""
        while True:
            event = self.client.next_event()
            assert _shape(event) == _shape(self.model.next_event(self.now))
            if event is None:
                break
            last = isinstance(event, (InputEnded, ConnectionFailed)) or _fatal(event)
            assert not self.over or isinstance(event, InputEnded), "news behind the end"
            self.over = self.over or last
            self.answered += not last

    def flush(self) -> None:
        """Write what there is: the frames asked for, in their order, and each of them of its form."""
        output = self.client.data_to_send(self.now)
        source = io.BytesIO(output)
        sent = []
        while source.tell() < len(output):
            start = source.tell()
            frame: Any = grammar.Frame.parse_stream(source)
            sent.append(Answer(frame.type, output[start + 5 : source.tell()].decode()))
        assert sent == self.queued
        self.queued.clear()
        if self.model.awaited and self.model.waiting is None:
            self.model.waiting = self.now

    # What must hold.

    def agree(self) -> None:
        client, model = self.client, self.model
        assert client.state is model.state
        assert client.finished == (client.state is not State.OPEN)
        assert client.unanswered == len(model.awaited)
        assert client.next_deadline() == model.deadline
        assert self.asked == self.answered + client.unanswered

    def finish(self) -> None:
        """Everything that is left happens; then the connection is closed."""
        self.deliver(len(self.stream.octets))
        self.agree()
        self.end_input()
        self.agree()
        assert self.client.state is State.CLOSED
        assert self.over


def _fatal(event: object) -> bool:
    return isinstance(event, ErrorReceived) and event.answered is None


def _shape(event: object) -> object:
    """An event so that events of different classes differ, and errors count by their classes."""
    if isinstance(event, InputEnded):
        return "ended", event.error is not None, event.unanswered
    if isinstance(event, ConnectionFailed):
        return "failed", type(event.error).__name__, event.unanswered
    return event if type(event) is tuple else (type(event).__name__, event)


def _size(step: int) -> int:
    """Octets that arrive in a step: 0 to 63, or up to 8 KiB in multiples of 64."""
    size = step & 0x7F
    return size if size < 64 else (size - 63) * 64
