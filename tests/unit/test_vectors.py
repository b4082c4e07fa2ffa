"""Every vector of spec/vectors against the grammar and the connections, however the octets are cut."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from construct import ConstructError
from tests.each import noting

from framelet import (
    ApplicationReceived,
    ClientConnection,
    ClientConnectionLimits,
    ConnectionLimits,
    ErrorCode,
    ErrorReceived,
    HelloReceived,
    PongReceived,
    ReplyReceived,
    RequestReceived,
    ServerConnection,
    State,
    StoppedReceived,
    StopReceived,
    TypeRange,
    grammar,
    reverse,
)
from framelet_conformance.expectations import octets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "spec" / "vectors").glob("*.json"))
TOPICS: dict[str, list[dict[str, Any]]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))["vectors"] for path in FILES
}
VECTORS = [vector for vectors in TOPICS.values() for vector in vectors]

NAMES = ["REQUEST", "REPLY", "STOP", "STOPPED", "ERROR", "PING", "PONG", "HELLO"]
DEFAULT_MAX = 16_777_216
EVERY_CUT = 300  # up to this many octets, every place is tried
EVERY_OCTET = 5_000  # up to this many, they are fed one by one
FEW = 1_021  # above, that many at a time: a prime, so that the cuts fall everywhere


each_topic = pytest.mark.parametrize("topic", TOPICS)


Frame = tuple[int, bytes]


# What the members of a vector stand for.


def type_octet(name: str) -> int:
    return NAMES.index(name) + 1 if name in NAMES else int(name, 16)


def expected_frames(vector: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in vector["expect"] for _ in range(item.get("times", 1))]


def frames(data: bytes) -> list[Frame]:
    """Split octets into frames by hand; they must end at a boundary."""
    found, start = [], 0
    while start < len(data):
        end = start + 5 + int.from_bytes(data[start + 1 : start + 5], "big")
        assert end <= len(data), "the last frame is cut short"
        found.append((data[start], data[start + 5 : end]))
        start = end
    return found


def matches(frame: Frame, expected: dict[str, Any]) -> bool:
    """Whether a frame is the one that is expected; the text of an ERROR is free."""
    frame_type, body = frame
    if frame_type != type_octet(expected["type"]):
        return False
    if "code" in expected:
        return len(body) <= 1_024 and body.decode().startswith(f"{expected['code']} ")
    if "parameters" in expected:
        words = body.decode().split(" ")
        if expected["type"] == "HELLO" and words.pop(0) != "framelet/1":
            return False
        wanted = {f"{key}={value}" for key, value in expected["parameters"].items()}
        return wanted <= set(words)
    return body == octets(expected["body"])


# The server under test.


class Program:
    """What stands behind a server connection: the reversal service and a policy, prompt or late."""

    def __init__(self, needs: dict[str, Any], *, late: bool) -> None:
        limits = ConnectionLimits(max_body=needs.get("max_body", DEFAULT_MAX))
        types = () if needs.get("application") == "none" else TypeRange.APPLICATION.types
        self.connection = ServerConnection(limits, now=0.0, application_types=types, takes_stop=True)
        self.needs = needs
        self.late = late
        self.waiting: list[RequestReceived | ApplicationReceived] = []

    def take_events(self) -> None:
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, StopReceived):
                self.answer_waiting()
                self.decide(event)
            elif isinstance(event, (RequestReceived, ApplicationReceived)):
                self.waiting.append(event)
                if not self.late:
                    self.answer_waiting()

    def answer_waiting(self) -> None:
        for event in self.waiting:
            self.connection.send_reply(event, reverse(event.text))
        self.waiting.clear()

    def decide(self, event: StopReceived) -> None:
        if self.needs["stop"] in {"local", f"token:{event.token}"}:
            self.connection.allow_stop(event)
            self.connection.send_stopped(event, 0, 0)
        else:
            self.connection.send_error(event, ErrorCode.STOP_REFUSED)


def serve(
    vector: dict[str, Any], pieces: Iterable[bytes], *, late: bool
) -> tuple[list[Frame], ServerConnection]:
    """What a server connection and its program make of the pieces."""
    program = Program(vector.get("needs", {}), late=late)
    connection, output = program.connection, []
    for piece in pieces:
        if piece:
            connection.receive_data(piece, 0.0)
        program.take_events()
        output.append(connection.data_to_send(0.0))
    if vector["eof"]:
        connection.receive_eof()
        program.take_events()
    program.answer_waiting()
    output.append(connection.data_to_send(0.0))
    return frames(b"".join(output)), connection


# The client under test.


def ask(connection: ClientConnection, asked: Iterable[dict[str, Any]]) -> None:
    """Send what the vector says was sent, and see that it is sent octet for octet."""
    for item in asked:
        name, body = item["type"], octets(item.get("body", ""))
        if name == "HELLO":
            connection.send_hello()
        elif name in NAMES:
            getattr(connection, f"send_{name.lower()}")(body.decode())
        else:
            connection.send_application(int(name, 16), body.decode())
        sent = connection.data_to_send(0.0)
        if name != "HELLO":
            assert sent == bytes([type_octet(name)]) + len(body).to_bytes(4, "big") + body


REPORTS: dict[type, Callable[[Any], tuple[str, Any]]] = {
    ReplyReceived: lambda event: ("REPLY", event.text.encode()),
    PongReceived: lambda event: ("PONG", event.text.encode()),
    ApplicationReceived: lambda event: (f"{event.type:02X}", event.text.encode()),
    HelloReceived: lambda event: ("HELLO", event.parameters),
    StoppedReceived: lambda event: ("STOPPED", {"closed": f"{event.closed}", "cut": f"{event.cut}"}),
    ErrorReceived: lambda event: ("FATAL" if event.answered is None else "ERROR", event.code),
}
"""Each event that carries something, with its type as the vectors name it, and what it carries."""


def reports(connection: ClientConnection, pieces: Iterable[bytes], *, eof: bool) -> list[tuple[str, Any]]:
    """What a client reports to its program."""
    events = []
    for piece in pieces:
        if piece:
            connection.receive_data(piece, 0.0)
        events += list(iter(connection.next_event, None))
    if eof:
        connection.receive_eof()
        events += list(iter(connection.next_event, None))
    return [REPORTS[type(event)](event) for event in events if type(event) in REPORTS]


def agrees(value: Any, expected: dict[str, Any]) -> bool:
    """Whether a client reported what it should."""
    if "parameters" in expected:
        return bool(expected["parameters"].items() <= value.items())
    return bool(value == (expected["code"] if "code" in expected else octets(expected["body"])))


# Both.


def check(vector: dict[str, Any], pieces: list[bytes], *, late: bool = False) -> None:
    """The endpoint does with the pieces exactly what the vector says."""
    connection: ServerConnection | ClientConnection
    if vector["role"] == "server":
        answers, connection = serve(vector, pieces, late=late)
        expected = expected_frames(vector)
        assert len(answers) == len(expected)
        for answer, item in zip(answers, expected, strict=True):
            assert matches(answer, item), (answer, item)
        assert connection.owes == 0
    else:
        connection = check_reports(vector, pieces)
    if vector["then"] == "open":
        assert connection.state is State.OPEN
    else:
        assert connection.finished
        assert connection.state is (State.CLOSED if vector["eof"] else State.CLOSING)


def check_reports(vector: dict[str, Any], pieces: list[bytes]) -> ClientConnection:
    """The client reports exactly what the vector says."""
    limits = ClientConnectionLimits(max_body=vector.get("needs", {}).get("max_body", DEFAULT_MAX))
    connection = ClientConnection(limits, now=0.0)
    ask(connection, vector["asked"])
    reported = reports(connection, pieces, eof=vector["eof"])
    expected = [item for item in expected_frames(vector) if item["type"] != "FAILED"]
    if "fatal" in vector:
        expected.append({"type": "FATAL", "code": vector["fatal"]})
    assert [name for name, _ in reported] == [item["type"] for item in expected]
    for (_, value), item in zip(reported, expected, strict=True):
        assert agrees(value, item), (value, item)
    failed = sum(item["type"] == "FAILED" for item in vector["expect"])
    assert connection.unanswered == failed
    return connection


def cuttings(sent: bytes) -> Iterator[list[bytes]]:
    """The octets whole, cut in two at each place, and one by one; long ones at fewer places."""
    size = len(sent)
    yield [sent]
    for cut in range(1, size) if size <= EVERY_CUT else [1, 4, 5, 6, size // 2, size - 1]:
        yield [sent[:cut], sent[cut:]]
    step = 1 if size <= EVERY_OCTET else FEW
    yield [sent[place : place + step] for place in range(0, size, step)]


@pytest.mark.req("REQ-FRAME-4")
@each_topic
def test_vector_however_it_is_cut(topic: str) -> None:
    for vector in TOPICS[topic]:
        for pieces in cuttings(octets(vector["send"])):
            with noting(vector["id"], f"cut into pieces of {[len(piece) for piece in pieces[:2]]}... octets"):
                check(vector, pieces)


@each_topic
def test_vector_with_a_ping_behind(topic: str) -> None:
    """Where the connection goes on, a PING and its PONG are next."""
    for vector in TOPICS[topic]:
        if vector["then"] != "open":
            continue
        server = vector["role"] == "server"
        longer = vector | {"expect": [*vector["expect"], {"type": "PONG", "body": "656e64"}]}
        if not server:
            longer["asked"] = [*vector["asked"], {"type": "PING", "body": "656e64"}]
        with noting(vector["id"]):
            check(longer, [octets(vector["send"]) + (b"\x06" if server else b"\x07") + b"\0\0\0\x03end"])


@each_topic
def test_vector_answered_late(topic: str) -> None:
    """What the connection answers by itself does not overtake what its program owes."""
    for vector in TOPICS[topic]:
        if vector["role"] == "server":
            with noting(vector["id"]):
                check(vector, [octets(vector["send"])], late=True)


@each_topic
def test_the_grammar_agrees_on_what_is_valid(topic: str) -> None:
    for vector in TOPICS[topic]:
        left = octets(vector["send"])
        valid = True
        try:
            while left:
                frame: Any = grammar.Frame.parse(left)
                left = left[5 + frame.length :]
        except ConstructError:
            valid = False
        assert valid is vector["valid"], vector["id"]


# The vectors themselves.

MEMBERS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "title": (str,),
    "requirements": (list,),
    "role": (str,),
    "valid": (bool,),
    "send": (str, list),
    "eof": (bool,),
    "expect": (list,),
    "then": (str,),
}
OPTIONAL: dict[str, tuple[type, ...]] = {"needs": (dict,), "asked": (list,), "fatal": (int,)}
FORMS = ({"type", "body"}, {"type", "code"}, {"type", "parameters"}, {"type"})


def test_ids_are_unique() -> None:
    counted = Counter(vector["id"] for vector in VECTORS)
    assert [name for name, count in counted.items() if count > 1] == []


def test_no_two_vectors_put_the_same_question() -> None:
    members = ("role", "needs", "asked", "send", "eof")
    questions = Counter(json.dumps([vector.get(member) for member in members]) for vector in VECTORS)
    assert [question for question, count in questions.items() if count > 1] == []


def test_every_vector_has_the_members_of_its_role() -> None:
    for vector in VECTORS:
        name = vector["id"]
        assert MEMBERS.keys() <= vector.keys() <= MEMBERS.keys() | OPTIONAL.keys(), name
        for member, value in vector.items():
            assert isinstance(value, (MEMBERS | OPTIONAL)[member]), (name, member)
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name), name
        assert vector["title"], name
        assert vector["requirements"], name
        assert vector["role"] in {"server", "client"}, name
        assert ("asked" in vector) is (vector["role"] == "client"), name
        assert vector["then"] in {"open", "closed"}, name


def test_every_vector_expects_what_its_form_can_say() -> None:
    for vector in VECTORS:
        name = vector["id"]
        for item in vector["expect"]:
            assert item.keys() - {"times"} in FORMS, name
        if vector["eof"]:
            assert vector["then"] == "closed", name
        if vector["then"] == "open":
            frames(octets(vector["send"]))  # part of a frame at the end would swallow what follows
        if vector["role"] == "client":
            assert len(expected_frames(vector)) == len(vector["asked"]), name


def test_needs_say_how_the_endpoint_must_be_set_up() -> None:
    for vector in VECTORS:
        name, needs = vector["id"], vector.get("needs", {}).keys()
        assert needs <= {"max_body", "stop", "application"}, name
        types = {item["type"] for item in vector["expect"]}
        codes = {item.get("code") for item in vector["expect"]}
        if vector["role"] == "server":
            assert "stop" in needs or not ("STOPPED" in types or 403 in codes), name
            assert "application" in needs or not (404 in codes or types - {*NAMES}), name
            assert "max_body" in needs or not ("HELLO" in types or 451 in codes), name
        assert "max_body" in needs or largest_judged(vector) <= 65_536, name


def largest_judged(vector: dict[str, Any]) -> int:
    """The largest length that the endpoint compares with its maximum."""
    sent, start, largest = octets(vector["send"]), 0, 0
    accepted = {2, 4, 5, 7, 8} if vector["role"] == "client" else {1, 3, 6, 8}
    while start + 5 <= len(sent) and (sent[start] in accepted or sent[start] >= 0x80):
        length = int.from_bytes(sent[start + 1 : start + 5], "big")
        largest = max(largest, length)
        if sent[start] == 3 and vector["then"] == "closed":
            break  # what follows an allowed STOP is discarded
        start += 5 + length
    return largest


def test_the_example_in_the_readme_is_a_vector() -> None:
    readme = (ROOT / "spec" / "vectors" / "README.md").read_text(encoding="utf-8")
    example = json.loads(readme.split("```json\n")[1].split("```")[0])
    assert example in VECTORS
    assert all(f"`{path.name}`" in readme for path in FILES)
