"""Both ends against each other, over streams that cut, delay, join, half-close and break, in virtual time.

After each step the connections must agree with the model beside them (in ``conftest.py``) in every event,
every octet sent, every count, state and deadline.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from framelet import (
    ApplicationReceived,
    ClientConnection,
    ClientConnectionLimits,
    ConnectionFailed,
    ConnectionLimits,
    ConnectionStateError,
    ErrorCode,
    ErrorReceived,
    FrameDecoder,
    FrameRefused,
    FrameType,
    InputEnded,
    RequestReceived,
    ServerConnection,
    State,
    StopReceived,
    TypeRange,
    encode,
    reverse,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from tests.property.conftest import Answer, ClientModel, Sent, ServerModel, Stream

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = (int(kind) for kind in FrameType)
APPLICATION = 0xC7
MAX_BODY = 65_536
ALLOWED = "allowed"  # the token of a STOP that the server's program allows
HELLO_ANSWER = "framelet/1 max-body=65536 frame-timeout-ms=30000 idle-timeout-ms=300000"


def ask_too_long_a_ping(client: ClientConnection, _: str) -> None:
    """What no public method sends: the client must still take the answer as that of a PING."""
    client._ask(PING, bytes(65))
    client._pings.append(b"")


# What a client asks: the type, what the frame does (see the model), its content there, and how it is sent.
ASKING: dict[str, tuple[int, str, str | int | None, Callable[[ClientConnection, str], None]]] = {
    "request": (REQUEST, "asks", None, lambda client, text: client.send_request(text)),
    "application": (APPLICATION, "asks", None, lambda client, text: client.send_application(0xC7, text)),
    "ping": (PING, "is answered", None, lambda client, text: client.send_ping(text)),
    "hello": (HELLO, "is answered", HELLO_ANSWER, lambda client, _: client.send_hello()),
    "stop": (STOP, "asks", None, lambda client, text: client.send_stop(text)),
    "allowed stop": (STOP, "asks", ALLOWED, lambda client, _: client.send_stop(ALLOWED)),
    "ill-formed": (REQUEST, "fails", 400, lambda client, text: client._ask(REQUEST, text.encode() + b"\xc0")),
    "long ping": (PING, "fails", 413, ask_too_long_a_ping),
}

# What it sends without awaiting an answer: octets, what they do, their type, and the code of the refusal.
RAW = {
    "ignorable": (encode(0x80, b"\xff"), "is discarded", 0x80, 0),
    "unknown type": (b"\x00\x00\x00\x00\x00", "ends", 0x00, 501),
    "another protocol": (b"GET /", "ends", 0x47, 501),
    "unknown and too large": (b"\x10\xff\xff\xff\xff", "ends", 0x10, 501),
    "unexpected type": (encode(REPLY, b"x")[:5], "ends", REPLY, 502),
    "too large": (b"\x80\x00\x01\x00\x01", "ends", 0x80, 503),
    "an ERROR": (encode(ERROR, b"500 x")[:5], "ends", ERROR, 502),
}

scalars = st.one_of(
    st.sampled_from("ab\0\r\n\ufeffé\u0301😀\U0010ffff"), st.characters(exclude_categories=["Cs"])
)
texts = st.text(scalars, max_size=8)
kinds = st.sampled_from(sorted({*ASKING} - {"allowed stop"}))  # which ends things
bursts = st.lists(st.tuples(kinds, texts), min_size=1, max_size=6)
ENDINGS = [
    "half-close",
    "half-close inside a frame",
    "drain",
    "allowed stop",
    "server fails",
    "connection lost",
]
ENDINGS += sorted({*RAW} - {"ignorable"})
sizes = st.one_of(st.integers(0, 9), st.integers(10, 60), st.just(10**6))


Task = RequestReceived | ApplicationReceived | StopReceived


def shape(event: object) -> object:
    """An event without the words for people."""
    if isinstance(event, FrameRefused):
        return "refused", int(event.error.code)
    if isinstance(event, InputEnded):
        return "ended", event.error is not None, event.unanswered
    if isinstance(event, ErrorReceived):
        return "ERROR", event.code, event.answered, event.unanswered
    if isinstance(event, ConnectionFailed):
        return "failed", type(event.error).__name__, event.unanswered
    return event


class Pair(RuleBasedStateMachine):
    """The two connections, their programs, the streams between them, and the models."""

    model: ClassVar[ModuleType]
    seen: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.client = ClientConnection(ClientConnectionLimits(max_body=MAX_BODY), now=0.0)
        self.server = ServerConnection(
            ConnectionLimits(max_body=MAX_BODY),
            now=0.0,
            application_types=TypeRange.APPLICATION.types,
            takes_stop=True,
        )
        self.up: Stream = self.model.Stream()
        self.down: Stream = self.model.Stream()
        self.client_model: ClientModel = self.model.ClientModel(self.down)
        self.server_model: ServerModel = self.model.ServerModel(self.up)
        self.tasks: deque[Task] = deque()  # what the server's program was told and has not answered
        self.asked = self.answered = 0
        self.calm = 0

    @initialize(calm=st.sampled_from([15, 8, 3, 0]))
    def stay_calm(self, calm: int) -> None:
        """For so many steps nothing is to end the connection: what comes before would rarely be seen."""
        self.calm = calm

    # What the programs do.

    @precondition(lambda self: self.client.state is State.OPEN)
    @rule(asks=bursts)
    def ask(self, asks: list[tuple[str, str]]) -> None:
        for kind, text in asks:
            frame_type, does, content, send = ASKING[kind]
            send(self.client, text)
            end = self.up.written + self.client.output_size
            sent: Sent = self.model.Sent(end, does, frame_type, text if content is None else content)
            self.server_model.frames.append(sent)
            self.client_model.awaited.append(sent)
            self.asked += 1
        self.flush_client()

    @precondition(lambda self: self.client.state is State.OPEN)
    @rule(kind=st.just("ignorable"))
    def send_raw(self, kind: str) -> None:
        octets, does, frame_type, code = RAW[kind]
        self.up.write(octets)
        self.server_model.frames.append(self.model.Sent(self.up.written, does, frame_type, code))

    @precondition(lambda self: self.client.state is not State.OPEN)
    @rule(kind=st.sampled_from(sorted(ASKING)))
    def ask_too_late(self, kind: str) -> None:
        with pytest.raises(ConnectionStateError):
            ASKING[kind][-1](self.client, "x")
        self.seen["asked too late"] += 1

    @precondition(lambda self: self.tasks)
    @rule(failing=st.booleans(), at_most=st.integers(1, 3))
    def answer(self, *, failing: bool, at_most: int | None = None) -> None:
        for _ in range(min(len(self.tasks), at_most or len(self.tasks))):
            self.server_model.answer(self.answer_oldest(self.tasks.popleft(), failing=failing))
        self.flush_server()

    def answer_oldest(self, event: Task, *, failing: bool) -> Answer:
        """Answer as a program does, by what it was told; the answer that is due, by the model."""
        asked = self.server_model.owed[0]
        answer: type[Answer] = self.model.Answer
        if isinstance(event, StopReceived) and event.token == ALLOWED:
            self.server.send_stopped(event, 1, 2)
            return answer(STOPPED, "closed=1 cut=2")
        if isinstance(event, StopReceived) or failing:
            code = ErrorCode.STOP_REFUSED if asked.type == STOP else ErrorCode.HANDLER_FAILED
            text = event.token if isinstance(event, StopReceived) else event.text
            self.server.send_error(event, code, text)
            return answer(ERROR, int(code))
        self.server.send_reply(event, reverse(event.text))
        return answer(REPLY if asked.type == REQUEST else asked.type, str(asked.content)[::-1])

    # What ends things.

    @precondition(lambda self: self.calm <= 0 and not self.over())
    @rule(how=st.sampled_from(ENDINGS), asks=bursts, up=sizes)
    def end(self, how: str, asks: list[tuple[str, str]], up: int) -> None:
        if self.client.state is State.OPEN:
            self.ask(asks)
        self.deliver_up(up)  # so that answers are owed, and frames cut, as often as not
        if how in RAW and self.client.state is State.OPEN:
            self.send_raw(how)
        elif how == "allowed stop" and self.client.state is State.OPEN:
            self.ask([(how, "")])
        elif how == "drain":
            self.server.drain()
            self.server_model.draining = True
            self.pump_server()
        elif how == "server fails":
            self.server.fail(ErrorCode.INTERNAL_ERROR)
            self.server_model.fail()
            self.tasks.clear()
            self.pump_server()
        elif how == "connection lost":
            self.up.lose()
            self.down.lose()
        elif how.startswith("half-close"):
            self.half_close(inside=how.endswith("frame"))

    def half_close(self, *, inside: bool) -> None:
        if inside and self.client.state is State.OPEN:
            self.up.write(encode(REQUEST, b"part")[:7])
        self.client.send_eof()
        self.client_model.half_closed = True
        self.flush_client()

    # What the network does.

    @precondition(lambda self: not self.over())
    @rule(up=sizes, down=sizes, handler=st.sampled_from(["prompt", "failing", "slow"]))
    def deliver(self, up: int, down: int, handler: str) -> None:
        if up:
            self.deliver_up(up)
        if handler != "slow":
            self.answer(failing=handler == "failing")
        if down:
            self.deliver_down(down)

    def deliver_up(self, size: int) -> None:
        before, piece = self.up.arrived, self.up.take(size)
        if self.server_model.lingered:
            return  # the server's program has closed the socket
        if piece:
            middle = size % len(piece)  # a program may read again before it asks for events
            self.server.receive_data(piece[:middle], self.now)
            self.server.receive_data(piece[middle:], self.now)
        elif self.up.takes_end():
            self.server.receive_eof()
        self.pump_server()
        if piece:
            self.server_model.receive(before, self.now)

    def deliver_down(self, size: int) -> None:
        piece = self.down.take(size)
        if piece:
            self.client.receive_data(piece, self.now)
        elif self.down.takes_end():
            self.client.receive_eof()
        self.pump_client()

    # What the clock does.

    @precondition(lambda self: not self.over())
    @rule(to=st.sampled_from(["soon", "pause", "before server's", "before client's", "server's", "client's"]))
    def pass_time(self, to: str) -> None:
        if to == "pause":
            self.pause()
            return
        deadline = self.server.next_deadline() if "server" in to else self.client.next_deadline()
        early = 0.25 if "before" in to or self.calm > 0 else 0.0
        if deadline is None or to == "soon":
            self.now += 0.5
        else:
            self.now = max(self.now, deadline - early)
        self.server_model.expire(self.now)
        self.client_model.expire(self.now)
        self.server.check_deadlines(self.now)
        self.client.check_deadlines(self.now)
        self.seen["lingered"] += self.server_model.lingered
        self.pump_server()
        self.pump_client()

    def pause(self) -> None:
        """Neither end reads for a long time, and both say so."""
        self.now += 1_000.0
        for end in (self.server, self.client, self.server_model, self.client_model):
            end.resume(self.now)

    def over(self) -> bool:
        return self.server.state is self.client.state is State.CLOSED

    # The loops of the two programs.

    def pump_server(self) -> None:
        while True:
            event = self.server.next_event()
            assert shape(event) == self.server_model.next_event()
            if event is None:
                break
            self.note("server", event)
            if isinstance(event, (RequestReceived, ApplicationReceived, StopReceived)):
                self.tasks.append(event)
            if isinstance(event, StopReceived) and event.token == ALLOWED:
                self.server.allow_stop(event)
                self.server_model.taking = False
        self.flush_server()

    def flush_server(self) -> None:
        decoder = FrameDecoder(MAX_BODY)
        decoder.receive_data(self.server.data_to_send(self.now))
        assert not decoder.inside_frame
        for frame_type, body in decoder.take_frames():
            content = int(body[:3]) if frame_type == ERROR else body.decode()
            answer: Answer = self.model.Answer(frame_type, content)
            assert self.server_model.output, f"{answer} answers nothing"
            assert answer == self.server_model.output.popleft()
            self.server_model.touched = self.now
            self.down.write(encode(frame_type, body))
            self.client_model.answers.append((self.down.written, answer))
        assert not self.server_model.output
        self.down.write(b"", finished=self.server.finished)
        if self.server_model.closing is None and self.server.finished:
            self.server_model.closing = self.now

    def pump_client(self) -> None:
        while True:
            event = self.client.next_event()
            assert shape(event) == self.client_model.next_event(self.now)
            if event is None:
                break
            self.note("client", event)
            fatal = isinstance(event, ErrorReceived) and event.answered is None
            self.answered += not (fatal or isinstance(event, (InputEnded, ConnectionFailed)))
        self.flush_client()

    def flush_client(self) -> None:
        self.up.write(self.client.data_to_send(self.now), finished=self.client.finished)
        if self.client_model.awaited and self.client_model.waiting is None:
            self.client_model.waiting = self.now

    def note(self, end: str, event: object) -> None:
        known = shape(event)
        name = " ".join(map(str, known[:2])) if type(known) is tuple else type(event).__name__
        self.seen[f"{end}: {name}"] += 1

    # What must hold after each step.

    @invariant()
    def step(self) -> None:
        self.calm -= 1
        self.agree()

    def agree(self) -> None:
        server, server_model = self.server, self.server_model
        assert server.state is server_model.state
        assert server.finished == (server.state in (State.CLOSING, State.CLOSED))
        assert (server.owes, server.output_size) == (len(server_model.owed), 0)
        assert server.next_deadline() == server_model.deadline
        client, client_model = self.client, self.client_model
        assert client.state is client_model.state
        assert client.finished == (client.state is not State.OPEN)
        assert (client.unanswered, client.output_size) == (len(client_model.awaited), 0)
        assert client.next_deadline() == client_model.deadline
        assert self.asked == self.answered + client.unanswered

    def teardown(self) -> None:
        """Everything that is left happens; then both ends are closed and every frame is accounted for."""
        self.half_close(inside=False)
        for _ in range(3):
            self.deliver_up(10**6)
            self.answer(failing=False)
            self.deliver_down(10**6)
            self.agree()
        assert self.over()
        assert (bytes(self.down.octets), list(self.tasks)) == (b"", [])


USUAL = {
    *("asked too late", "lingered", "server: ended False"),
    *(f"server: {name}Received" for name in ("Request", "Application", "Stop")),
    *(f"server: refused {code}" for code in (400, 413, 501, 504, 505)),
    *(f"client: {name}Received" for name in ("Reply", "Application", "Pong", "Hello")),
    *(f"client: ERROR {code}" for code in (400, 403, 413, 501, 505)),
    *("client: failed AnswerTimeoutError", "client: ended False"),
}


@pytest.mark.req("REQ-ORDER-1", "REQ-ORDER-2", "REQ-ORDER-3", "REQ-ORDER-6", "REQ-FRAME-4", "REQ-STATE-1")
@pytest.mark.req("REQ-ERROR-5", "REQ-ERROR-6", "REQ-ERROR-7", "REQ-ERROR-9", "REQ-ERROR-12")
@pytest.mark.req("REQ-CLOSE-1", "REQ-CLOSE-2", "REQ-CLOSE-3", "REQ-CLOSE-4", "REQ-STOP-7", "REQ-STOP-10")
@pytest.mark.req("REQ-TIME-1", "REQ-TIME-2", "REQ-TIME-3", "REQ-TIME-4", "REQ-TIME-6", "REQ-REV-1")
def test_the_pair_agrees_with_its_model(model: ModuleType) -> None:
    Pair.model = model
    Pair.seen.clear()
    # Runs in which little happens would show little.  What is drawn changes with any constant in our code, so
    # where something rare has not come up there are more of them.
    missing = USUAL
    for factor in (4, 16):
        if missing:
            examples = factor * settings().max_examples
            run_state_machine_as_test(Pair, settings=settings(max_examples=examples, stateful_step_count=30))
            missing = USUAL - {event for event, times in Pair.seen.items() if times}
    assert not missing
