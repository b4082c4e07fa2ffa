"""A server's end against a model that reads the same octets with the grammar, at any time in any pieces."""

from __future__ import annotations

import io
from collections import deque
from typing import TYPE_CHECKING, Any

from construct import ConstructError

from framelet import (
    ApplicationReceived,
    ConfigurationError,
    ConnectionLimits,
    ConnectionStateError,
    ErrorAnswer,
    ErrorCode,
    FrameRefused,
    IllFormedTextError,
    InputEnded,
    RequestReceived,
    ServerConnection,
    State,
    StopReceived,
    TypeRange,
    grammar,
    reverse,
)

from . import inputs
from .model import (
    ERROR,
    HELLO,
    PING,
    PONG,
    REPLY,
    REQUEST,
    STOPPED,
    Answer,
    Sent,
    ServerModel,
    Stream,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .inputs import Found

MAX_BODY = 65_536  # the least that a server may accept
LIMITS = ConnectionLimits(max_body=MAX_BODY)
HELLO_ANSWER = "framelet/1 max-body=65536 frame-timeout-ms=30000 idle-timeout-ms=300000"
ALLOWED = "yes"
"""The token of a STOP that is allowed."""

UNKNOWN = {0x00, 0x16, 0x47, 0x50, 0x53, *range(0x09, 0x80)}
IGNORABLE = range(0x80, 0xC0)


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
    for number, vector in enumerate(inputs.vectors("server")):
        yield inputs.write(b"", vector.stream)
        step = number % len(Run(b"").actions)
        yield inputs.write(bytes([64 + 1, 64 + 7, step, 64 + 30, 0, step]), vector.stream)


Task = RequestReceived | ApplicationReceived | StopReceived


class Run:
    """One connection, its model, and the program that drives both."""

    def __init__(self, stream: bytes) -> None:
        self.now = 0.0
        self.server = ServerConnection(
            LIMITS, now=0.0, application_types=TypeRange.APPLICATION.types, takes_stop=True
        )
        self.stream = Stream(stream)
        self.model = ServerModel(self.stream)
        self.model.frames.extend(expected(inputs.frames_of(stream)))
        self.tasks: deque[Task] = deque()  # what the program has to answer
        self.batch = 0  # how many of the first of them were taken at once
        self.ended = False  # a fatal ERROR has been sent
        self.actions: list[Callable[[], None]] = [
            self.answer,
            self.answer_all,
            self.fail_handler,
            self.answer_wrongly,
            self.misuse,
            lambda: self.pass_time(0.5),
            lambda: self.pass_to_deadline(-0.25),
            lambda: self.pass_to_deadline(0.0),
            self.pause,
            self.drain,
            self.fail,
            self.end_input,
        ]

    # What the peer does.

    def deliver(self, size: int) -> None:
        """So many octets arrive, in two reads."""
        if self.stream.end_arrived or self.model.lingered:
            return  # nothing more can arrive
        before, piece = self.stream.arrived, self.stream.take(size)
        if not piece:
            return
        middle = size % len(piece)
        if size % 2:
            for part in filter(None, (piece[:middle], piece[middle:])):
                self.receive_batch(part)
        else:
            for part in filter(None, (piece[:middle], piece[middle:])):
                self.server.receive_data(bytearray(part), self.now)
        self.pump()
        self.model.receive(before, self.now)

    def receive_batch(self, data: bytes) -> None:
        """Octets arrive, and their requests are taken at once; each is the model's next event.

        Of more than three the last two are returned, and come as events.
        """
        texts = self.server.receive_requests(data, self.now)
        if len(texts) > 3:
            self.server.return_requests([texts.pop(-2), texts.pop()])
        for text in texts:
            assert _shape(RequestReceived(text)) == _shape(self.model.next_event())
        self.tasks.extend(map(RequestReceived, texts))
        self.batch += len(texts)

    def end_input(self) -> None:
        """The stream ends here, whatever else was in it."""
        if not self.stream.end_arrived:
            self.stream.octets.clear()
            self.stream.end_arrived = True
            self.server.receive_eof()
            self.pump()

    # What the program does.

    def answer(self) -> None:
        """Give the oldest answer that is due."""
        if not self.tasks:
            return
        asked, task, in_batch = self.model.owed[0], self.tasks[0], self.batch > 0
        assert isinstance(asked, Sent)
        if isinstance(task, StopReceived):
            if task.token == ALLOWED:
                self.server.send_stopped(task, 1, 2)
                self.model.answer(Answer(STOPPED, "closed=1 cut=2"))
                self.tasks.popleft()
            else:
                self.refuse(ErrorCode.STOP_REFUSED)
        else:
            self.take_text()
            if in_batch:
                self.server.queue_replies([reverse(task.text)])
            else:
                self.server.send_reply(task, reverse(task.text))
            kind = REPLY if asked.type == REQUEST else asked.type
            self.model.answer(Answer(kind, reverse(task.text)))
        self.flush()

    def answer_all(self) -> None:
        """Give all answers that are due, those to a batch at once."""
        texts = [reverse(self.take_text()) for _ in range(self.batch)]
        pieces = self.server.replies_to_send(texts, self.now)
        for text in texts:
            self.model.answer(Answer(REPLY, text))
        self.check_output(b"".join(pieces))
        while self.tasks:
            self.answer()

    def fail_handler(self) -> None:
        """Refuse the oldest frame that waits for its answer."""
        if self.tasks:
            self.refuse(ErrorCode.HANDLER_FAILED)
            self.flush()

    def take_text(self) -> str:
        """Take the oldest frame with a text that is to be answered."""
        self.batch -= self.batch > 0
        task = self.tasks.popleft()
        assert not isinstance(task, StopReceived)
        return task.text

    def refuse(self, code: ErrorCode) -> None:
        """Refuse the oldest frame."""
        task = self.tasks.popleft()
        if self.batch:
            self.batch -= 1
            self.server.queue_replies([ErrorAnswer(code)])
        else:
            self.server.send_error(task, code)
        self.model.answer(Answer(ERROR, int(code)))

    def answer_wrongly(self) -> None:
        """Answers that cannot be sent change nothing."""
        if self.batch:
            must_raise(IllFormedTextError, lambda: self.server.queue_replies(["\ud800"]))
        elif self.tasks and not isinstance(task := self.tasks[0], StopReceived):
            must_raise(IllFormedTextError, lambda: self.server.send_reply(task, "\ud800"))
            must_raise(ConfigurationError, lambda: self.server.send_error(task, ErrorCode.TYPE_UNKNOWN))

    def misuse(self) -> None:
        """Calls that make no sense now are refused, and change nothing."""
        other, stop = RequestReceived(""), StopReceived("")
        must_raise(ConnectionStateError, lambda: self.server.send_reply(other, ""))
        must_raise(ConnectionStateError, lambda: self.server.send_error(other, ErrorCode.HANDLER_FAILED))
        must_raise(ConnectionStateError, lambda: self.server.send_stopped(stop, 0, 0))
        must_raise(ConnectionStateError, lambda: self.server.allow_stop(stop))
        if self.stream.end_arrived:
            must_raise(ConnectionStateError, lambda: self.server.receive_data(b"", self.now))

    def drain(self) -> None:
        self.server.drain()
        self.model.draining = True
        self.pump()

    def fail(self) -> None:
        self.server.fail(ErrorCode.INTERNAL_ERROR)
        self.model.fail()
        self.tasks.clear()
        self.batch = 0
        self.pump()

    # What the clock does.

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.model.expire(self.now)
        self.server.check_deadlines(self.now)
        self.pump()

    def pass_to_deadline(self, offset: float) -> None:
        deadline = self.server.next_deadline()
        self.pass_time(0.0 if deadline is None else max(0.0, deadline + offset - self.now))

    def pause(self) -> None:
        """The program does not read for a long time, and says so."""
        self.now += 1_000.0
        self.server.resume(self.now)
        self.model.resume(self.now)

    # The loop of the program.

    def pump(self) -> None:
        """Take all events, each of which the model must have, too."""
        while True:
            needed = self.server.needs_events
            event = self.server.next_event()
            assert needed or event is None
            assert _shape(event) == _shape(self.model.next_event())
            if event is None:
                break
            if isinstance(event, (RequestReceived, ApplicationReceived, StopReceived)):
                self.tasks.append(event)
            if isinstance(event, StopReceived) and event.token == ALLOWED:
                self.server.allow_stop(event)
                self.model.taking = False
        self.flush()

    def flush(self) -> None:
        """Send what there is: the answers of the model in their order, and each of them of its form."""
        self.check_output(self.server.data_to_send(self.now))

    def check_output(self, output: bytes) -> None:
        source = io.BytesIO(output)
        while source.tell() < len(output):
            start = source.tell()
            frame: Any = grammar.Frame.parse_stream(source)
            assert not self.ended, "a frame behind a fatal ERROR"
            assert self.model.output, "a frame that answers nothing"
            self.ended = frame.type == ERROR and frame.body.code >= 500
            body = output[start + 5 : source.tell()].decode()
            content = frame.body.code if frame.type == ERROR else body
            assert (frame.type, content) == self.model.output.popleft()
            self.model.touched = self.now
        assert not self.model.output, "an answer is missing"
        if self.model.closing is None and self.server.finished:
            self.model.closing = self.now

    # What must hold.

    def agree(self) -> None:
        server, model = self.server, self.model
        assert server.state is model.state
        assert server.finished == (server.state in (State.CLOSING, State.CLOSED))
        assert (server.owes, server.output_size) == (len(model.owed), 0)
        assert server.next_deadline() == model.deadline
        if server.state is State.OPEN:
            assert server.input_size == self.stream.arrived - model.boundary

    def finish(self) -> None:
        """Everything that is left happens; then the connection is closed and nothing is owed."""
        self.deliver(len(self.stream.octets))
        self.agree()
        self.answer_all()
        self.agree()
        self.end_input()
        self.answer_all()
        self.agree()
        assert self.server.state is State.CLOSED
        assert not self.tasks
        assert not self.model.owed


def expected(frames: Iterator[Found]) -> Iterator[Sent]:
    """What a server does about each frame of a stream, up to the first that it cannot take."""
    for found in frames:
        sent = _judge_header(found) or _judge_body(found)
        if sent is None:
            return
        yield sent
        if sent.does == "ends":
            return


def _judge_header(found: Found) -> Sent | None:
    if found.type in UNKNOWN:
        return Sent(found.header_end, "ends", found.type, 501)
    if found.type in (REPLY, STOPPED, PONG, ERROR):
        return Sent(found.header_end, "ends", found.type, 502)
    if found.length > MAX_BODY:
        return Sent(found.header_end, "ends", found.type, 503)
    return None


def _judge_body(found: Found) -> Sent | None:
    kind, body = found.type, found.body
    if body is None:
        return None
    if kind in IGNORABLE:
        return Sent(found.end, "is discarded", kind, "")
    try:
        text = str(grammar.Text.parse(body))
    except ConstructError:
        return Sent(found.end, "fails", kind, 400)
    if kind == PING:
        return Sent(found.end, *(("is answered", kind, text) if len(body) <= 64 else ("fails", kind, 413)))
    if kind == HELLO:
        return _judge_hello(found, body)
    return Sent(found.end, "asks", kind, text)


def _judge_hello(found: Found, body: bytes) -> Sent:
    try:
        hello: Any = grammar.HelloBody.parse(body)
    except ConstructError:
        return Sent(found.end, "fails", HELLO, 422)
    if hello.version != 1:
        return Sent(found.end, "fails", HELLO, 426)
    return Sent(found.end, "is answered", HELLO, HELLO_ANSWER)


def must_raise(error: type[Exception], call: Callable[[], object]) -> None:
    """The call raises this error and no other."""
    try:
        call()
    except error as raised:
        assert type(raised) is error  # noqa: PT017 - not one derived from it
    else:
        message = f"{error.__name__} was not raised"
        raise AssertionError(message)


def _shape(event: object) -> object:
    """An event so that events of different classes differ, and errors count by their codes."""
    if isinstance(event, FrameRefused):
        return "refused", int(event.error.code)
    if isinstance(event, InputEnded):
        return "ended", event.error is not None, event.unanswered
    return event if type(event) is tuple else (type(event).__name__, event)


def _size(step: int) -> int:
    """Octets that arrive in a step: 0 to 63, or up to 8 KiB in multiples of 64."""
    size = step & 0x7F
    return size if size < 64 else (size - 63) * 64
