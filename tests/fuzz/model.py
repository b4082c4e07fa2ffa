"""A model of a connection's two ends, written from the specification in plain lists.

It knows frames by their offsets in the two streams, not by their octets, and so shares nothing with the code
that it is held against.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from framelet import ApplicationReceived, FrameType, RequestReceived, State, StopReceived

REQUEST, REPLY, STOP, STOPPED, ERROR, PING, PONG, HELLO = (int(kind) for kind in FrameType)
FRAME, IDLE, LINGER, ANSWER = 30.0, 300.0, 2.0, 60.0  # the timeouts of section 12


class Sent(NamedTuple):
    """A frame of the client.

    ``end`` is the offset in its stream at which the server can act on it.  ``does`` is ``asks`` (the program
    has to answer), ``is answered`` (at once), ``fails``, ``ends`` (the connection) or ``is discarded``.
    ``content`` is its text, that of the answer at once, or the code of its ERROR.
    """

    end: int
    does: str
    type: int
    content: str | int


class Answer(NamedTuple):
    """A frame of the server with its text, or for an ERROR its code."""

    type: int
    content: str | int


class Stream:
    """What a peer sends: the octets on their way, how many have come, and whether that was all."""

    def __init__(self, octets: bytes) -> None:
        self.octets = bytearray(octets)
        self.arrived = 0
        self.end_arrived = False

    def take(self, size: int) -> bytes:
        piece = bytes(self.octets[:size])
        del self.octets[:size]
        self.arrived += len(piece)
        return piece


class ServerModel:
    """What a server's end owes and says."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.frames: deque[Sent] = deque()  # on their way, or come and not taken
        self.boundary = 0  # where the last frame taken ended
        self.owed: deque[Sent | Answer] = deque()
        self.output: deque[Answer] = deque()
        self.events: deque[object] = deque()
        self.taking, self.draining, self.silent, self.lingered = True, False, False, False
        self.touched = 0.0
        self.started: float | None = None
        self.closing: float | None = None

    @property
    def state(self) -> State:
        if self.taking:
            return State.OPEN
        if self.owed:
            return State.DRAINING
        return State.CLOSED if self.stream.end_arrived or self.lingered else State.CLOSING

    @property
    def deadline(self) -> float | None:
        if self.state is State.CLOSING:
            return None if self.closing is None else self.closing + LINGER
        if self.state is not State.OPEN:
            return None
        if self.started is not None:
            return self.started + FRAME
        return None if self.owed else self.touched + IDLE

    def next_event(self) -> object:
        if self.events:
            return self.events.popleft()
        while self.taking and self.frames and self.frames[0].end <= self.stream.arrived:
            event = self.take(self.frames.popleft())
            if event is not None:
                return event
        if self.taking and self.stream.end_arrived:
            self.taking = False
            return "ended", self.stream.arrived > self.boundary, 0
        self.taking = self.taking and not self.draining
        return None

    def take(self, frame: Sent) -> object:
        self.boundary = frame.end
        if frame.does == "is answered":
            self.ready(Answer({PING: PONG, HELLO: HELLO}[frame.type], frame.content))
        if frame.does == "fails":
            self.ready(Answer(ERROR, frame.content))
            return "refused", frame.content
        if frame.does == "ends":
            return self.fault(int(frame.content), silent=frame.type == ERROR)
        if frame.does != "asks":
            return None
        self.owed.append(frame)
        text = str(frame.content)
        if frame.type == STOP:
            return StopReceived(text)
        return RequestReceived(text) if frame.type == REQUEST else ApplicationReceived(frame.type, text)

    def ready(self, answer: Answer) -> None:
        if self.owed:
            self.owed.append(answer)
        else:
            self.output.append(answer)

    def fault(self, code: int, *, silent: bool = False) -> object:
        self.taking, self.silent = False, silent
        if not silent:
            self.ready(Answer(ERROR, code))
        return "refused", code

    def answer(self, answer: Answer) -> None:
        self.owed.popleft()
        self.output.append(answer)
        while self.owed and isinstance(ready := self.owed[0], Answer):
            self.output.append(ready)
            self.owed.popleft()

    def fail(self) -> None:
        if self.state in (State.OPEN, State.DRAINING) and not self.silent:
            self.output.append(Answer(ERROR, 500))
        self.owed.clear()
        self.taking = False

    def receive(self, before: int, now: float) -> None:
        """Octets have come behind the offset ``before``, and what they completed has been taken."""
        self.touched = now
        if self.stream.arrived == self.boundary:
            self.started = None
        elif self.boundary >= before:
            self.started = now

    def expire(self, now: float) -> None:
        if self.deadline is None or now < self.deadline:
            return
        if self.state is State.CLOSING:
            self.lingered = True
        else:
            self.events.append(self.fault(505 if self.started is None else 504))

    def resume(self, now: float) -> None:
        self.touched = now
        self.started = None if self.started is None else now
        self.closing = None if self.closing is None else now


class ClientModel:
    """What a client's end awaits and says."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.awaited: deque[Sent] = deque()
        self.boundary = 0
        self.events: deque[object] = deque()
        self.taking, self.half_closed, self.ended = True, False, False
        self.waiting: float | None = None

    @property
    def state(self) -> State:
        if self.ended or not self.taking:
            return State.CLOSED if self.ended else State.CLOSING
        return State.DRAINING if self.half_closed else State.OPEN

    @property
    def deadline(self) -> float | None:
        takes = self.taking and not self.ended
        return self.waiting + ANSWER if self.waiting is not None and takes else None

    def next_end(self) -> object:
        if self.events:
            return self.events.popleft()
        if self.stream.end_arrived and not self.ended:
            self.ended = True
            return "ended", self.taking and self.stream.arrived > self.boundary, len(self.awaited)
        return None

    def expire(self, now: float) -> None:
        if self.deadline is not None and now >= self.deadline:
            self.taking = False
            self.events.append(("failed", "AnswerTimeoutError", len(self.awaited)))

    def resume(self, now: float) -> None:
        self.waiting = None if self.waiting is None else now
