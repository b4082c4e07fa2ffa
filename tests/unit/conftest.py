"""Both ends of a connection with what every test of them does: hand octets in, collect events and output."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from framelet import (
    ApplicationReceived,
    ClientConnection,
    ClientConnectionLimits,
    ConnectionLimits,
    FrameDecoder,
    FrameType,
    RequestReceived,
    ServerConnection,
    StopReceived,
    TypeRange,
    grammar,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from framelet import ClientEvent, ServerEvent


def read(octets: bytes) -> list[tuple[int, str | int]]:
    """The frames that an end sends: each type with its text, or for an ERROR its code."""
    decoder = FrameDecoder()
    decoder.receive_data(octets)
    assert not decoder.inside_frame
    return [
        (kind, grammar.parse_body(grammar.ErrorBody, body).code if kind == FrameType.ERROR else body.decode())
        for kind, body in decoder.take_frames()
    ]


class Server(ServerConnection):
    """A server's end that begins at the time 0, and whose program answers the oldest event first."""

    def __init__(
        self,
        limits: ConnectionLimits | None = None,
        *,
        application_types: Container[int] = TypeRange.APPLICATION.types,
        takes_stop: bool = True,
    ) -> None:
        super().__init__(
            limits or ConnectionLimits(max_body=65_536),
            now=0.0,
            application_types=application_types,
            takes_stop=takes_stop,
        )
        self.asked: deque[Any] = deque()

    def next_event(self, most: int = -1) -> ServerEvent | None:
        event = super().next_event(most)
        if isinstance(event, (RequestReceived, ApplicationReceived, StopReceived)):
            self.asked.append(event)
        return event

    def reply(self, text: str) -> None:
        self.send_reply(self.asked[0], text)
        self.asked.popleft()

    def refuse(self, code: int, text: str = "") -> None:
        self.send_error(self.asked[0], code, text)
        self.asked.popleft()

    def allow(self) -> None:
        """Allow the STOP that came last."""
        self.allow_stop(self.asked[-1])

    def stopped(self, closed: int, cut: int) -> None:
        self.send_stopped(self.asked[-1], closed, cut)
        self.asked.pop()

    def events(self) -> list[ServerEvent]:
        return list(iter(self.next_event, None))

    def receive(self, *pieces: bytes, at: float = 0.0) -> list[ServerEvent]:
        """Hand each piece in by itself; all the events that follow."""
        events: list[ServerEvent] = []
        for piece in filter(None, pieces):
            self.receive_data(piece, at)
            events += self.events()
        return events

    def end(self) -> list[ServerEvent]:
        """Hand the end of the stream in."""
        self.receive_eof()
        return self.events()

    def answers(self, at: float = 0.0) -> list[tuple[int, str | int]]:
        """Take what is to be sent."""
        return read(self.data_to_send(at))

    def pass_time(self, to: float) -> list[ServerEvent]:
        """Let the deadlines be checked at a time."""
        self.check_deadlines(to)
        return self.events()


class Client(ClientConnection):
    """A client's end that begins at the time 0."""

    def __init__(self, limits: ClientConnectionLimits | None = None) -> None:
        super().__init__(limits or ClientConnectionLimits(max_body=65_536), now=0.0)

    def events(self) -> list[ClientEvent]:
        return list(iter(self.next_event, None))

    def receive(self, *pieces: bytes, at: float = 0.0) -> list[ClientEvent]:
        """Hand each piece in by itself; all the events that follow."""
        events: list[ClientEvent] = []
        for piece in filter(None, pieces):
            self.receive_data(piece, at)
            events += self.events()
        return events

    def end(self) -> list[ClientEvent]:
        """Hand the end of the stream in."""
        self.receive_eof()
        return self.events()

    def sent(self, at: float = 0.0) -> list[tuple[int, str | int]]:
        """Take what is to be sent."""
        return read(self.data_to_send(at))

    def pass_time(self, to: float) -> list[ClientEvent]:
        """Let the deadlines be checked at a time."""
        self.check_deadlines(to)
        return self.events()


@pytest.fixture
def make_server() -> Callable[..., Server]:
    return Server


@pytest.fixture
def make_client() -> Callable[..., Client]:
    return Client


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client() -> Client:
    return Client()
