"""The tables of states: written out a second time by hand, and each cell tried on a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from tests.each import each

from framelet import (
    ConnectionFailed,
    ConnectionStateError,
    ErrorCode,
    ErrorReceived,
    FrameRefused,
    FrameType,
    Role,
    State,
    TypeRange,
    encode,
)
from framelet.connection import Connection
from framelet.registry import type_kinds
from framelet.states import ACTIONS, MEANINGS, TRANSITIONS, Action, Trigger, actions_by_octet, rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Client, Server

Kind = FrameType | TypeRange
KINDS: list[Kind] = [*FrameType, *TypeRange]
SERVER, CLIENT = Role.SERVER, Role.CLIENT
OPEN, DRAINING, CLOSING, CLOSED = State

# What each end does with a frame as long as it takes frames: SPEC.md, REQ-TYPE-1 to 7 and REQ-ERROR-9, 12.
TAKING: dict[Kind, tuple[Action, Action]] = {
    FrameType.REQUEST: (Action.SERVE, Action.FAIL),
    FrameType.REPLY: (Action.REFUSE_UNEXPECTED, Action.MATCH),
    FrameType.STOP: (Action.SERVE, Action.FAIL),
    FrameType.STOPPED: (Action.REFUSE_UNEXPECTED, Action.MATCH),
    FrameType.ERROR: (Action.CLOSE, Action.ERROR),
    FrameType.PING: (Action.SERVE, Action.FAIL),
    FrameType.PONG: (Action.REFUSE_UNEXPECTED, Action.MATCH),
    FrameType.HELLO: (Action.SERVE, Action.MATCH),
    TypeRange.NEVER: (Action.REFUSE_UNKNOWN, Action.FAIL),
    TypeRange.CRITICAL: (Action.REFUSE_UNKNOWN, Action.FAIL),
    TypeRange.IGNORABLE: (Action.DISCARD, Action.DISCARD),
    TypeRange.APPLICATION: (Action.SERVE, Action.MATCH),
}

# A body that is well-formed for the type, where that matters.
BODIES: dict[Kind, bytes] = {
    FrameType.HELLO: b"framelet/1",
    FrameType.STOPPED: b"closed=0 cut=0",
    FrameType.ERROR: b"450 failed",
}


def octets_of(kind: Kind) -> list[int]:
    return sorted(kind.types) if isinstance(kind, TypeRange) else [int(kind)]


# The tables.


@pytest.mark.req("REQ-STATE-1")
@each("kind", KINDS)
@each("state", State)
@each("role", Role)
def test_every_cell_has_the_action_of_the_specification(role: Role, state: State, kind: Kind) -> None:
    taking = {SERVER: {OPEN}, CLIENT: {OPEN, DRAINING}}[role]
    if state in taking:
        expected = TAKING[kind][role is CLIENT]
    else:
        expected = Action.NONE if state is CLOSED else Action.DISCARD
    assert ACTIONS[role][state][kind] is expected
    for octet in octets_of(kind):
        assert actions_by_octet(role, state)[octet] is expected


def test_the_tables_have_every_row_and_column_and_no_other() -> None:
    for role in Role:
        assert set(ACTIONS[role]) == set(MEANINGS[role]) == set(TRANSITIONS[role]) == set(State)
        for state in State:
            assert set(ACTIONS[role][state]) == set(KINDS)
            assert len(actions_by_octet(role, state)) == 256
            assert MEANINGS[role][state]


@pytest.mark.req("REQ-TYPE-2", "REQ-TYPE-7")
def test_the_actions_agree_with_who_sends_what() -> None:
    for kind in FrameType:
        served = ACTIONS[SERVER][OPEN][kind] is Action.SERVE
        matched = ACTIONS[CLIENT][OPEN][kind] in (Action.MATCH, Action.ERROR)
        assert served == (CLIENT in kind.senders)
        assert matched == (SERVER in kind.senders)


# Each cell on a server.


def drain(server: Server) -> None:
    server.drain()
    assert server.events() == []


def owe_and_drain(server: Server) -> None:
    server.receive(encode(FrameType.REQUEST))
    drain(server)


def stop(server: Server) -> None:
    server.receive(encode(FrameType.STOP))
    server.allow()


SERVER_WAYS: dict[str, tuple[State, Callable[[Server], object]]] = {
    "open": (OPEN, lambda server: server.receive(encode(FrameType.PING))),
    "open and owing": (OPEN, lambda server: server.receive(encode(FrameType.REQUEST))),
    "draining for a drain": (DRAINING, owe_and_drain),
    "draining for a fault": (
        DRAINING,
        lambda server: server.receive(encode(FrameType.REQUEST) + encode(0x00)),
    ),
    "draining for a STOP": (DRAINING, stop),
    "closing after a fault": (CLOSING, lambda server: server.receive(encode(0x00))),
    "closing after a drain": (CLOSING, drain),
    "closing after a failure": (CLOSING, lambda server: server.fail(ErrorCode.INTERNAL_ERROR)),
    "closed": (CLOSED, lambda server: server.end()),
}


@pytest.mark.req("REQ-STATE-1")
@each("kind", KINDS)
@each("state drive", SERVER_WAYS.values())
def test_every_cell_of_the_server(
    make_server: Callable[..., Server], state: State, drive: Callable[[Server], object], kind: Kind
) -> None:
    action = ACTIONS[SERVER][state][kind]
    for octet in octets_of(kind):
        server = make_server()
        drive(server)
        assert server.state is state
        server.data_to_send(0.0)
        owed = server.owes
        if action is Action.NONE:
            with pytest.raises(ConnectionStateError):
                server.receive(encode(octet, BODIES.get(kind, b"x")))
            continue
        events = server.receive(encode(octet, BODIES.get(kind, b"x")))
        if action is Action.SERVE:
            answered = sum(ready[0] != FrameType.ERROR for ready in server.answers())
            assert server.owes - owed + answered == 1
            assert server.state is OPEN
        elif action is Action.DISCARD:
            assert (events, server.answers(), server.owes, server.state) == ([], [], owed, state)
        else:
            code = {Action.REFUSE_UNKNOWN: [501], Action.REFUSE_UNEXPECTED: [502], Action.CLOSE: []}[action]
            assert [type(event) for event in events] == [FrameRefused]
            if owed:
                server.reply("x")
            errors = [(FrameType.ERROR, number) for number in code]
            assert server.answers()[owed:] == errors
            assert server.state is CLOSING


def test_requests_come_at_once_only_where_they_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [rules(SERVER, state).batches for state in State] == [True, False, False, False]
    refusing = {**ACTIONS[SERVER][OPEN], FrameType.REQUEST: Action.DISCARD}
    monkeypatch.setitem(cast("dict[State, object]", ACTIONS[SERVER]), OPEN, refusing)
    actions_by_octet.cache_clear()
    try:
        assert not rules.__wrapped__(SERVER, OPEN).batches
    finally:
        actions_by_octet.cache_clear()


# Each cell on a client.

ASK: dict[Kind, Callable[[Client, int], None]] = {
    FrameType.REPLY: lambda client, _: client.send_request("x"),
    FrameType.STOPPED: lambda client, _: client.send_stop(),
    FrameType.PONG: lambda client, _: client.send_ping("x"),
    FrameType.HELLO: lambda client, _: client.send_hello(),
    TypeRange.APPLICATION: lambda client, octet: client.send_application(octet, "x"),
}
CLIENT_WAYS: dict[str, tuple[State, Callable[[Client], object]]] = {
    "open": (OPEN, lambda client: client.receive(encode(0x80))),
    "draining": (DRAINING, lambda client: client.send_eof()),
    "closing after a failure": (CLOSING, lambda client: client.receive(encode(0x00))),
    "closing after a fatal error": (
        CLOSING,
        lambda client: client.receive(encode(FrameType.ERROR, b"500 x")),
    ),
    "closed": (CLOSED, lambda client: client.end()),
}


@pytest.mark.req("REQ-STATE-1")
@each("kind", KINDS)
@each("state drive", CLIENT_WAYS.values())
def test_every_cell_of_the_client(
    make_client: Callable[..., Client], state: State, drive: Callable[[Client], object], kind: Kind
) -> None:
    action = ACTIONS[CLIENT][state][kind]
    for octet in octets_of(kind):
        client = make_client()
        ASK.get(kind, ASK[FrameType.REPLY])(client, octet)
        client.send_request("another")
        drive(client)
        assert (client.state, client.unanswered) == (state, 2)
        frame = encode(octet, BODIES.get(kind, b"x"))
        if action is Action.NONE:
            with pytest.raises(ConnectionStateError):
                client.receive(frame)
            continue
        events = client.receive(frame)
        if action in (Action.MATCH, Action.ERROR):
            assert len(events) == 1
            assert isinstance(events[0], ErrorReceived) == (action is Action.ERROR)
            assert (client.unanswered, client.state) == (1, state)
        elif action is Action.DISCARD:
            assert (events, client.unanswered, client.state) == ([], 2, state)
        else:
            assert action is Action.FAIL
            assert [type(event) for event in events] == [ConnectionFailed]
            assert (client.unanswered, client.state) == (2, CLOSING)


def test_the_cells_tried_are_all_there_are() -> None:
    for ways in (SERVER_WAYS, CLIENT_WAYS):
        assert {way[0] for way in ways.values()} == set(State)
    assert sorted(octet for kind in KINDS for octet in octets_of(kind)) == sorted(type_kinds)


# Transitions.

Entry = tuple[Role, State, Trigger]

# The state behind each trigger, by hand; what is not here cannot happen.
NEXT: dict[Entry, State] = {
    (SERVER, OPEN, Trigger.INPUT_ENDED): DRAINING,
    (SERVER, OPEN, Trigger.FAULT): DRAINING,
    (SERVER, OPEN, Trigger.STOP_ALLOWED): DRAINING,
    (SERVER, OPEN, Trigger.DRAIN): DRAINING,
    (SERVER, DRAINING, Trigger.INPUT_ENDED): DRAINING,
    (SERVER, DRAINING, Trigger.FAULT): DRAINING,
    (SERVER, DRAINING, Trigger.DRAIN): DRAINING,
    (SERVER, DRAINING, Trigger.SETTLED): CLOSING,
    (SERVER, CLOSING, Trigger.INPUT_ENDED): CLOSED,
    (SERVER, CLOSING, Trigger.FAULT): CLOSING,
    (SERVER, CLOSING, Trigger.DRAIN): CLOSING,
    (SERVER, CLOSING, Trigger.LINGERED): CLOSED,
    (SERVER, CLOSED, Trigger.FAULT): CLOSED,
    (SERVER, CLOSED, Trigger.DRAIN): CLOSED,
    (CLIENT, OPEN, Trigger.INPUT_ENDED): CLOSED,
    (CLIENT, OPEN, Trigger.FAULT): CLOSING,
    (CLIENT, OPEN, Trigger.FATAL_ERROR): CLOSING,
    (CLIENT, OPEN, Trigger.DRAIN): DRAINING,
    (CLIENT, DRAINING, Trigger.INPUT_ENDED): CLOSED,
    (CLIENT, DRAINING, Trigger.FAULT): CLOSING,
    (CLIENT, DRAINING, Trigger.FATAL_ERROR): CLOSING,
    (CLIENT, DRAINING, Trigger.DRAIN): DRAINING,
    (CLIENT, CLOSING, Trigger.INPUT_ENDED): CLOSED,
    (CLIENT, CLOSING, Trigger.DRAIN): CLOSING,
    (CLIENT, CLOSED, Trigger.DRAIN): CLOSED,
}


def linger(server: Server) -> None:
    server.data_to_send(0.0)
    server.check_deadlines(1e9)


# What sets each trigger off, on a connection in a state of the ways above.
SERVER_TRIGGERS: dict[Trigger, Callable[[Server], object]] = {
    Trigger.INPUT_ENDED: lambda server: (server.end(), server.data_to_send(0.0)),
    Trigger.FAULT: lambda server: server.fail(ErrorCode.INTERNAL_ERROR),
    Trigger.STOP_ALLOWED: stop,
    Trigger.DRAIN: drain,
    Trigger.SETTLED: lambda server: server.refuse(ErrorCode.HANDLER_FAILED),
    Trigger.LINGERED: linger,
}
CLIENT_TRIGGERS: dict[Trigger, Callable[[Client], object]] = {
    Trigger.INPUT_ENDED: lambda client: client.end(),
    Trigger.FAULT: lambda client: client.receive(encode(0x00)),
    Trigger.FATAL_ERROR: lambda client: client.receive(encode(FrameType.ERROR, b"500 x")),
    Trigger.DRAIN: lambda client: client.send_eof(),
}
# In these the connection already does what the trigger asks for, and does not even look the state up.
UNMOVED = {
    (SERVER, DRAINING, Trigger.INPUT_ENDED),
    (SERVER, DRAINING, Trigger.DRAIN),
    (SERVER, CLOSING, Trigger.DRAIN),
    (SERVER, CLOSED, Trigger.DRAIN),
}


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> dict[Entry, State]:
    """Every transition that any connection makes from here on."""
    made: dict[Entry, State] = {}
    original = Connection._move

    def record(self: Connection, trigger: Trigger) -> None:
        entry = (self._role, self.state, trigger)
        original(self, trigger)
        made[entry] = self.state

    monkeypatch.setattr(Connection, "_move", record)
    return made


def test_the_transitions_are_those_of_the_specification() -> None:
    assert {
        (role, state, trigger): behind
        for role, states in TRANSITIONS.items()
        for state, triggers in states.items()
        for trigger, behind in triggers.items()
    } == NEXT


@pytest.mark.req("REQ-STATE-1")
@pytest.mark.parametrize("entry", NEXT, ids=lambda entry: "-".join(part.name for part in entry))
def test_every_transition_happens(
    moves: dict[Entry, State],
    make_server: Callable[..., Server],
    make_client: Callable[..., Client],
    entry: Entry,
) -> None:
    role, state, trigger = entry
    ways = 0
    for start, drive in SERVER_WAYS.values() if role is SERVER else ():
        if start is state:
            server = make_server()
            drive(server)
            moves.clear()
            SERVER_TRIGGERS[trigger](server)
            assert_moved(moves, entry, server.state)
            ways += 1
    for start, drive_client in CLIENT_WAYS.values() if role is CLIENT else ():
        if start is state:
            client = make_client()
            drive_client(client)
            moves.clear()
            CLIENT_TRIGGERS[trigger](client)
            assert_moved(moves, entry, client.state)
            ways += 1
    assert ways


def assert_moved(moves: dict[Entry, State], entry: Entry, state: State) -> None:
    if entry in UNMOVED:
        assert (moves, state) == ({}, NEXT[entry])
    else:
        assert moves[entry] is NEXT[entry]


@pytest.mark.parametrize("role", Role)
def test_what_is_not_listed_cannot_happen_and_changes_nothing(
    make_server: Callable[..., Server], make_client: Callable[..., Client], role: Role
) -> None:
    missing = 0
    for state in State:
        for trigger in Trigger:
            if (role, state, trigger) in NEXT:
                continue
            connection: Connection = make_server() if role is SERVER else make_client()
            connection._enter(state)
            with pytest.raises(ConnectionStateError, match=f"{trigger.name} cannot happen to a {role.value}"):
                connection._move(trigger)
            assert connection.state is state
            missing += 1
    assert missing == len(State) * len(Trigger) - sum(entry[0] is role for entry in NEXT)
