"""The server's batch call does what events do: same octets, counts, state and deadlines, whatever comes.

Two programs get the same octets in the same pieces.  One takes events; the other takes the requests of each
piece at once, answers them at once, and takes events for the rest.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framelet import (
    ApplicationReceived,
    ConfigurationError,
    ConnectionLimits,
    ConnectionStateError,
    ErrorAnswer,
    ErrorCode,
    FrameType,
    IllFormedTextError,
    RequestReceived,
    ServerConnection,
    ServerEvent,
    State,
    StopReceived,
    TypeRange,
    encode,
    reverse,
)

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = (int(kind) for kind in FrameType)
APPLICATION, IGNORABLE, UNKNOWN = 0xC0, 0x80, 0x43
LIMITS = ConnectionLimits(max_body=100_000, min_rate=1_000)
ALLOWED = "yes"
"""The token of a STOP that is allowed."""


class Odd(str):
    """A str whose own ideas of itself must not reach the wire."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1_000

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002
        return b"another"

    def isascii(self) -> bool:
        return True


def handler(text: str) -> object:
    """What a program answers: by the first character, also all that cannot be sent."""
    match text[:1]:
        case "!":
            raise LookupError(text)
        case "#":
            return text.encode()
        case "$":
            return "ab" + chr(0xD800)
        case "%":
            return "\u00e9" * 50_001
        case "@":
            return text * 20_000  # some of them are too large
        case "&":
            return Odd(reverse(text))
    return reverse(text)


class Step(NamedTuple):
    """What happens in one step: octets arrive, and the program does something about them."""

    size: int
    returned: int = 0  # requests of a batch that the program does not take now
    events_first: bool = False  # whether it asks for events before it answers the batch
    answers: int = 0  # how many answers it gives
    then: str = ""


FAILURE = ErrorAnswer(ErrorCode.HANDLER_FAILED)


class Program:
    """A program that takes events; ``sent`` is all that its client gets."""

    def __init__(self) -> None:
        self.connection = ServerConnection(
            LIMITS, now=0.0, application_types=TypeRange.APPLICATION.types, takes_stop=True
        )
        self.tasks: deque[ServerEvent] = deque()  # what is to be answered
        self.sent = bytearray()

    def receive(self, data: bytes, now: float) -> list[str]:
        """Take octets in; the requests that were taken at once."""
        self.connection.receive_data(data, now)
        return []

    def take(self, texts: list[str]) -> None:
        """Take so many requests, which come as events here."""
        for text in texts:
            event = self.connection.next_event()
            assert isinstance(event, RequestReceived)
            assert event == RequestReceived(text)
            self.tasks.append(event)

    def pump(self) -> None:
        """Take all events; ``needs_events`` says before each whether there is something to take."""
        connection = self.connection
        while True:
            before, needed = everything(connection, 0.0), connection.needs_events
            event = connection.next_event()
            assert needed == ((event, everything(connection, 0.0)) != (None, before))
            if not needed:
                return
            if isinstance(event, StopReceived) and event.token == ALLOWED:
                connection.allow_stop(event)
            if isinstance(event, (RequestReceived, ApplicationReceived, StopReceived)):
                self.tasks.append(event)

    def answer(self, count: int, now: float) -> None:
        """Give the oldest answers, and send them."""
        for _ in range(min(count, len(self.tasks))):
            self.answer_one(self.tasks.popleft())
        self.flush(now)

    def flush(self, now: float) -> None:
        self.sent += self.connection.data_to_send(now)

    def answer_one(self, task: ServerEvent) -> None:
        connection = self.connection
        if isinstance(task, StopReceived):
            if task.token == ALLOWED:
                connection.send_stopped(task, 1, 2)
            else:
                connection.send_error(task, ErrorCode.STOP_REFUSED)
            return
        assert isinstance(task, (RequestReceived, ApplicationReceived))
        try:
            answer = handler(task.text)
        except LookupError:
            connection.send_error(task, ErrorCode.HANDLER_FAILED)
            return
        try:
            connection.send_reply(task, answer)  # type: ignore[arg-type] # handlers return anything
        except (IllFormedTextError, ConfigurationError):
            connection.send_error(task, ErrorCode.HANDLER_FAILED)


class BatchProgram(Program):
    """A program that takes and answers requests as a batch; the first ``batch`` tasks are from it."""

    def __init__(self) -> None:
        super().__init__()
        self.batch = 0

    def receive(self, data: bytes, now: float) -> list[str]:
        connection = self.connection
        ready, before = connection.batch_ready, connection.owes
        texts = connection.receive_requests(data, now)
        assert connection.owes == before + len(texts)
        assert ready or not texts
        if ready:  # it has taken all that it can
            assert not starts_with_a_request(connection)
        self.tasks.extend(RequestReceived(text) for text in texts)
        self.batch += len(texts)
        return texts

    def give_back(self, count: int) -> None:
        """Return the last requests of the batch."""
        texts = [task.text for task in self.tasks if isinstance(task, RequestReceived)]
        with pytest.raises(ConnectionStateError):
            self.connection.return_requests(["x"] * (self.batch + 1))
        self.connection.return_requests(texts[len(texts) - count :])
        for _ in range(count):
            self.tasks.pop()
        self.batch -= count

    def answer(self, count: int, now: float) -> None:
        answers: list[object] = []
        for task in list(self.tasks)[: min(count, self.batch)]:
            assert isinstance(task, RequestReceived)
            self.tasks.popleft()
            self.batch -= 1
            count -= 1
            try:
                answers.append(handler(task.text))
            except LookupError:
                answers.append(FAILURE)
        self.send_all(answers, now)
        super().answer(count, now)

    def send_all(self, answers: list[object], now: float) -> None:
        before = everything(self.connection, now)
        try:
            self.sent += b"".join(self.connection.replies_to_send(answers, now))  # type: ignore[arg-type]
        except (IllFormedTextError, ConfigurationError) as error:
            assert everything(self.connection, now) == before  # all or nothing
            assert type(error) in {refused_with(answer) for answer in answers}  # noqa: PT017 - see above
            sound = [FAILURE if refused_with(answer) else answer for answer in answers]
            self.connection.queue_replies(sound)  # type: ignore[arg-type]


def refused_with(answer: object) -> type[Exception] | None:
    """The error that an answer is refused with."""
    if answer is FAILURE:
        return None
    if not isinstance(answer, str):
        return ConfigurationError
    try:
        str.encode(answer)
    except UnicodeEncodeError:
        return IllFormedTextError
    return None


def starts_with_a_request(connection: ServerConnection) -> bool:
    """Whether what waits begins with a whole, small and well-formed REQUEST."""
    if not connection._decoder.frames:
        return False
    frame_type, body = connection._decoder.frames[0]
    try:
        return bool(frame_type == REQUEST and len(body) < 65_536 and body.decode() is not None)
    except UnicodeDecodeError:
        return False


def everything(connection: ServerConnection, now: float) -> tuple[object, ...]:
    """All that a program can see of a connection without changing it."""
    return (
        connection.state,
        connection.finished,
        connection.draining,
        connection.at_rest,
        connection.batch_ready,
        connection.owes,
        connection.output_size,
        connection.input_size,
        connection.frames_received,
        connection.frames_sent,
        connection.errors,
        connection.idle_deadline,
        connection.next_deadline(),
        now,
    )


def seen(program: Program, now: float) -> tuple[object, ...]:
    return (
        everything(program.connection, now),
        program.connection.needs_events,
        list(program.tasks),
        bytes(program.sent),
    )


def play(wire: bytes, steps: list[Step]) -> None:
    """Let both programs do all steps, then the rest; they must not differ after any of them."""
    plain, batch = Program(), BatchProgram()
    programs: tuple[Program, Program] = (plain, batch)
    start, now, ended = 0, 0.0, False
    for step in [*steps, Step(len(wire), then="eof")]:
        now += 0.25
        if not ended:
            data = wire[start : start + step.size]
            start += step.size
            texts = batch.receive(data, now)
            plain.receive(data, now)
            returned = min(step.returned, len(texts))
            plain.take(texts[: len(texts) - returned])
            if returned:
                batch.give_back(returned)
            assert seen(batch, now) == seen(plain, now)
        for program in programs:
            if step.events_first:
                program.pump()
            program.answer(step.answers, now)
            program.pump()
            act(program, step.then, now, ended=ended)
            program.pump()
            program.flush(now)
        ended |= step.then == "eof"
        assert seen(batch, now) == seen(plain, now)
    for program in programs:
        program.answer(len(program.tasks), now)
        program.pump()
        program.flush(now)
    assert seen(batch, now) == seen(plain, now)
    assert plain.connection.state is State.CLOSED


def act(program: Program, what: str, now: float, *, ended: bool) -> None:
    connection = program.connection
    if what == "eof" and not ended:
        connection.receive_eof()
    elif what == "drain":
        connection.drain()
    elif what == "pause":
        connection.resume(now + 0.125)
    elif what == "deadline":
        deadline = connection.next_deadline()
        connection.check_deadlines(now if deadline is None else deadline)
    elif what == "fail":
        connection.fail(ErrorCode.INTERNAL_ERROR)
        program.tasks.clear()
        if isinstance(program, BatchProgram):
            program.batch = 0


TEXTS = st.builds(str.__add__, st.sampled_from(["", "", "", *"!#$%@&"]), st.text(max_size=9))
PLAIN = st.text("abc", max_size=200)
BODIES = st.one_of(TEXTS.map(str.encode), PLAIN.map(str.encode), st.binary(max_size=6))
SMALL = st.one_of(
    st.builds(encode, st.just(REQUEST), PLAIN.map(str.encode)),
    st.builds(encode, st.just(REQUEST), BODIES),
    st.builds(encode, st.just(REQUEST), BODIES),
    st.builds(encode, st.sampled_from([PING, STOP, UNKNOWN, IGNORABLE, APPLICATION, ERROR, REPLY]), BODIES),
    st.builds(encode, st.sampled_from([PING, PING, IGNORABLE, APPLICATION]), st.just(b"x")),
    st.sampled_from([encode(STOP, b"yes"), encode(STOP)]),
    st.sampled_from([encode(HELLO, b"framelet/1"), encode(HELLO, b"framelet/1 max-body=65536")]),
    st.sampled_from([b"\x01\x7f\xff\xff\xff", b"\x01\x00\x01\x86\xa1", b"\x00\x7f", b"\x01\0\0\0"]),
)
LARGE = st.sampled_from(
    [
        encode(REQUEST, body)
        for body in (
            b"a" * 65_535,
            b"ab" * 32_768,
            b"ab" * 50_000,
            "\u6f22".encode() * 30_000,
            b"\xff" * 70_000,
        )
    ]
)
SIZES = st.one_of(st.integers(0, 12), st.integers(0, 400), st.integers(0, 200_000))
THEN = st.sampled_from([*["nothing"] * 9, "pause", "deadline", "drain", "eof", "fail"])
STEPS = st.builds(Step, SIZES, st.sampled_from([0, 0, 1, 2, 9]), st.booleans(), st.integers(0, 30), THEN)


@pytest.mark.req("REQ-ORDER-1", "REQ-ORDER-2", "REQ-FRAME-4", "REQ-TEXT-2", "REQ-HELLO-5")
@given(st.lists(st.one_of(SMALL, SMALL, LARGE), max_size=16).map(b"".join), st.lists(STEPS, max_size=8))
@example(
    encode(REQUEST, b"ab") + encode(PING) + encode(REQUEST, b"cd"), [Step(99, events_first=True, answers=9)]
)
@example(encode(REQUEST, b"ab") * 3, [Step(99, returned=2, answers=9)])
@example(encode(REQUEST, b"ab") * 3 + encode(PING), [Step(99, returned=1, answers=1, then="drain")])
@example(
    encode(REQUEST, b"ab") + encode(HELLO, b"framelet/1 max-body=65536"),
    [Step(99, events_first=True, then="eof")],
)
@example(encode(REQUEST, b"&ab") * 3, [Step(99, answers=9)])
@example(encode(APPLICATION) + encode(REQUEST, b"ab") * 2, [Step(5), Step(99, answers=1)])
@example(encode(REQUEST, b"ab") * 3, [Step(7, then="drain"), Step(99)])
@example(encode(REQUEST, b"ab" * 50_000), [Step(4), Step(9_000)])
@example(encode(REQUEST, b"\xff" * 70_000), [Step(4), Step(9_000)])
def test_a_batch_is_served_as_by_events(wire: bytes, steps: list[Step]) -> None:
    play(wire, steps)


@pytest.mark.req("REQ-FRAME-4")
@given(st.lists(SMALL, max_size=8).map(b"".join), st.integers(1, 3), STEPS)
def test_a_batch_is_served_as_by_events_octet_by_octet(wire: bytes, size: int, step: Step) -> None:
    play(wire, [step._replace(size=size, then="")] * (len(wire) // size + 1))


@pytest.mark.req("REQ-FRAME-4")
@given(st.lists(SMALL, max_size=6).map(b"".join), STEPS, st.data())
def test_a_batch_is_served_as_by_events_cut_in_two_with_an_end_anywhere(
    wire: bytes, step: Step, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(wire)))
    then = data.draw(st.sampled_from(["", "eof", "drain", "fail", "deadline"]))
    play(wire, [step._replace(size=cut, then=then), step._replace(size=len(wire) - cut)])
