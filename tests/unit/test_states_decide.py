"""The tables of states decide: where a cell is changed, the connection does something else."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.test_states import (
    ASK,
    BODIES,
    CLIENT,
    CLIENT_TRIGGERS,
    CLIENT_WAYS,
    CLOSING,
    DRAINING,
    KINDS,
    NEXT,
    OPEN,
    SERVER,
    SERVER_TRIGGERS,
    SERVER_WAYS,
    UNMOVED,
    Entry,
    Kind,
    drain,
    moves,
    octets_of,
    owe_and_drain,
    stop,
)

from framelet import (
    ConnectionFailed,
    ConnectionStateError,
    ErrorReceived,
    FrameRefused,
    FrameType,
    Role,
    State,
    TypeRange,
    encode,
)
from framelet.states import ACTIONS, TRANSITIONS, Action, Trigger, actions_by_octet, rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.conftest import Client, Server

    from framelet.connection import Connection

__all__ = ["moves"]  # a fixture

ASKING = [FrameType.REQUEST, FrameType.STOP, FrameType.PING, FrameType.HELLO, TypeRange.APPLICATION]
ANSWERING = [FrameType.REPLY, FrameType.STOPPED, FrameType.PONG, FrameType.HELLO, TypeRange.APPLICATION]
REFUSALS = {Action.REFUSE_UNKNOWN: [501], Action.REFUSE_UNEXPECTED: [502], Action.CLOSE: []}


def name(value: object) -> str:
    """How a parameter is called in the name of a test."""
    parts = value if isinstance(value, tuple) else (value,)
    return "-".join(getattr(part, "name", str(part)) for part in parts)


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Role, State, Kind, Action], None]]:
    """Put another action into a cell of the table."""

    def forget() -> None:
        actions_by_octet.cache_clear()
        rules.cache_clear()

    def put(role: Role, state: State, kind: Kind, action: Action) -> None:
        # In a row of its own, because some rows are shared.
        monkeypatch.setitem(ACTIONS[role], state, {**ACTIONS[role][state], kind: action})
        forget()

    yield put
    monkeypatch.undo()
    forget()


def owe(server: Server, kind: Kind) -> None:
    """Owe an answer to a frame of another kind."""
    server.receive(encode(FrameType.REQUEST if kind is not FrameType.REQUEST else 0xC0))


WAYS: dict[str, tuple[State, Callable[[Server, Kind], object]]] = {
    "open": (OPEN, lambda *_: None),
    "open and owing": (OPEN, owe),
    "draining for a drain": (DRAINING, lambda server, _: owe_and_drain(server)),
    "draining for a STOP": (DRAINING, lambda server, _: stop(server)),
    "closing after a drain": (CLOSING, lambda server, _: drain(server)),
}


def actions_of_server(state: State, kind: Kind) -> list[Action]:
    """What a server can do with a frame: nothing that sends once its stream has ended."""
    if state is CLOSING:
        return [Action.DISCARD, Action.CLOSE]
    return [*([Action.SERVE] if kind in ASKING else []), Action.DISCARD, *REFUSALS]


@pytest.mark.req("REQ-STATE-1")
@pytest.mark.parametrize(
    ("way", "kind", "action"),
    [
        (way, kind, action)
        for way in WAYS
        for kind in KINDS
        for action in actions_of_server(WAYS[way][0], kind)
    ],
    ids=name,
)
def test_a_server_does_with_a_frame_what_the_table_says(
    change: Callable[..., None], make_server: Callable[..., Server], way: str, kind: Kind, action: Action
) -> None:
    state, drive = WAYS[way]
    change(SERVER, state, kind, action)
    octet = octets_of(kind)[0]
    server = make_server()
    drive(server, kind)
    server.data_to_send(0.0)
    owed, frame = server.owes, encode(octet, BODIES.get(kind, b"x"))
    assert server.state is state
    events = server.receive(frame[:3], frame[3:])
    if action is Action.DISCARD:
        assert (events, server.answers(), server.owes, server.state) == ([], [], owed, state)
    elif action is Action.SERVE:
        answered = server.answers()
        assert server.owes + len(answered) == owed + 1
        assert all(kind != FrameType.ERROR for kind, _ in answered)
        assert (len(events), server.state) == (kind not in (FrameType.PING, FrameType.HELLO), state)
    else:
        assert [type(event) for event in events] == [FrameRefused]
        errors = [(FrameType.ERROR, code) for code in REFUSALS[action]]
        assert server.owes + len(server.answers()) == owed + len(errors)


@pytest.mark.req("REQ-STATE-1")
def test_a_batch_has_no_requests_where_the_table_does_not_serve_them(
    change: Callable[..., None], make_server: Callable[..., Server]
) -> None:
    change(SERVER, OPEN, FrameType.REQUEST, Action.DISCARD)
    server = make_server()
    assert not server.batch_ready
    assert server.receive_requests(encode(FrameType.REQUEST, b"x") + encode(FrameType.PING), 0.0) == []
    assert (server.events(), server.answers()) == ([], [(FrameType.PONG, "")])


@pytest.mark.req("REQ-STATE-1")
def test_a_frame_that_comes_before_the_drain_is_noticed_is_taken_where_the_table_says_so(
    change: Callable[..., None], make_server: Callable[..., Server]
) -> None:
    change(SERVER, DRAINING, FrameType.PING, Action.SERVE)
    server = make_server()
    server.receive(encode(FrameType.REQUEST) + encode(FrameType.PING)[:3])
    server.drain()
    assert server.receive(encode(FrameType.PING)[3:]) == []
    assert (server.state, server.owes) == (DRAINING, 2)


@pytest.mark.req("REQ-ERROR-7", "REQ-STATE-1")
def test_nothing_is_taken_after_a_fault_whatever_the_table_says(
    change: Callable[..., None], make_server: Callable[..., Server]
) -> None:
    change(SERVER, DRAINING, FrameType.PING, Action.SERVE)
    server = make_server()
    server.receive(encode(FrameType.REQUEST) + encode(0x00), encode(FrameType.PING))
    assert (server.state, server.owes, server.input_size) == (DRAINING, 2, 0)


def test_what_is_not_taken_is_not_kept(make_server: Callable[..., Server]) -> None:
    server = make_server()
    server.receive_data(encode(FrameType.STOP) + encode(FrameType.REQUEST, b"x" * 1_000), 0.0)
    server.next_event()
    server.allow()
    assert (server.events(), server.input_size) == ([], 0)


CLIENT_STATES: dict[str, tuple[State, Callable[[Client], object]]] = {
    "open": (OPEN, lambda _: None),
    "draining": CLIENT_WAYS["draining"],
    "closing after a fatal error": CLIENT_WAYS["closing after a fatal error"],
}


def actions_of_client(state: State, kind: Kind) -> list[Action]:
    """What a client can do with a frame: it does not fail again."""
    matching = [Action.MATCH] if kind in ANSWERING else [Action.ERROR] if kind is FrameType.ERROR else []
    return [*matching, Action.DISCARD, *([] if state is CLOSING else [Action.FAIL])]


@pytest.mark.req("REQ-STATE-1")
@pytest.mark.parametrize(
    ("way", "kind", "action"),
    [
        (way, kind, action)
        for way in CLIENT_STATES
        for kind in KINDS
        for action in actions_of_client(CLIENT_STATES[way][0], kind)
    ],
    ids=name,
)
def test_a_client_does_with_a_frame_what_the_table_says(
    change: Callable[..., None], make_client: Callable[..., Client], way: str, kind: Kind, action: Action
) -> None:
    state, drive = CLIENT_STATES[way]
    octet = octets_of(kind)[0]
    change(CLIENT, state, kind, action)
    client = make_client()
    ASK.get(kind, ASK[FrameType.REPLY])(client, octet)
    client.send_request("another")
    drive(client)
    assert (client.state, client.unanswered) == (state, 2)
    events = client.receive(encode(octet, BODIES.get(kind, b"x")))
    if action is Action.DISCARD:
        assert (events, client.unanswered, client.state) == ([], 2, state)
    elif action is Action.FAIL:
        assert [type(event) for event in events] == [ConnectionFailed]
        assert (client.unanswered, client.state) == (2, CLOSING)
    else:
        assert [isinstance(event, ErrorReceived) for event in events] == [action is Action.ERROR]
        assert (client.unanswered, client.state) == (1, state)


# Transitions.  Nothing leads back to the beginning.

WAYS_TO: dict[Role, dict[str, tuple[State, Callable[[Any], object]]]] = {
    SERVER: SERVER_WAYS,
    CLIENT: CLIENT_WAYS,
}
TRIGGERS: dict[Role, dict[Trigger, Callable[[Any], object]]] = {
    SERVER: SERVER_TRIGGERS,
    CLIENT: CLIENT_TRIGGERS,
}
ENTRIES = [entry for entry in NEXT if entry not in UNMOVED]
# The end of the stream would come again and again where it leads nowhere.
MOVES = [
    (entry, target)
    for entry in ENTRIES
    for target in State
    if target is not OPEN and not (target is entry[1] and entry[2] is Trigger.INPUT_ENDED)
]


@pytest.fixture
def drive_to(
    make_server: Callable[..., Server], make_client: Callable[..., Client]
) -> Callable[[Role, State], Connection]:
    """Make a connection that is in a state."""

    def driven(role: Role, state: State) -> Connection:
        connection: Connection = make_server() if role is SERVER else make_client()
        next(drive for start, drive in WAYS_TO[role].values() if start is state)(connection)
        return connection

    return driven


@pytest.mark.req("REQ-STATE-1")
@pytest.mark.parametrize(("entry", "target"), MOVES, ids=name)
def test_a_trigger_leads_where_the_table_says(
    monkeypatch: pytest.MonkeyPatch,
    moves: dict[Entry, State],
    drive_to: Callable[[Role, State], Connection],
    entry: Entry,
    target: State,
) -> None:
    role, state, trigger = entry
    connection = drive_to(role, state)
    moves.clear()
    monkeypatch.setitem(TRANSITIONS[role][state], trigger, target)
    TRIGGERS[role][trigger](connection)
    assert moves[entry] is target


@pytest.mark.req("REQ-STATE-1")
@pytest.mark.parametrize("entry", ENTRIES, ids=name)
def test_what_the_table_does_not_list_does_not_happen(
    monkeypatch: pytest.MonkeyPatch,
    drive_to: Callable[[Role, State], Connection],
    entry: Entry,
) -> None:
    role, state, trigger = entry
    connection = drive_to(role, state)
    monkeypatch.delitem(TRANSITIONS[role][state], trigger)
    connection._enter(state)
    with contextlib.suppress(ConnectionStateError):  # where something asks for it
        TRIGGERS[role][trigger](connection)
    assert connection.state is state
