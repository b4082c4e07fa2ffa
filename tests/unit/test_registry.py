"""The registry against the numbers of the specification, written out here a second time by hand."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any, assert_type

import pytest
from tests.each import each

from framelet import VERSION, ErrorCode, FrameType, Role, TypeRange
from framelet.registry import ANSWERS, type_kinds

SPEC = (Path(__file__).parents[2] / "spec" / "SPEC.md").read_text(encoding="utf-8")

CLIENT, SERVER = Role.CLIENT, Role.SERVER
ASSIGNED = {int(kind): kind for kind in FrameType}

TYPES = {
    "REQUEST": (0x01, {CLIENT}),
    "REPLY": (0x02, {SERVER}),
    "STOP": (0x03, {CLIENT}),
    "STOPPED": (0x04, {SERVER}),
    "ERROR": (0x05, {SERVER}),
    "PING": (0x06, {CLIENT}),
    "PONG": (0x07, {SERVER}),
    "HELLO": (0x08, {CLIENT, SERVER}),
}
FIRST_OCTETS = {0x16, ord("G"), ord("P"), ord("S")}

# In order of precedence: fatal before recoverable, then as a server comes upon them.
CODES = [
    (507, "too-many-connections"),
    (509, "overloaded"),
    (501, "type-unknown"),
    (502, "type-unexpected"),
    (503, "frame-too-large"),
    (504, "frame-timeout"),
    (505, "idle-timeout"),
    (506, "frame-truncated"),
    (400, "ill-formed-text"),
    (413, "ping-too-large"),
    (422, "hello-malformed"),
    (426, "version-unsupported"),
    (404, "no-handler"),
    (403, "stop-refused"),
    (450, "handler-failed"),
    (451, "answer-too-large"),
    (500, "internal-error"),
    (508, "answer-malformed"),
]


def test_the_version_is_1() -> None:
    assert VERSION == 1


def test_a_member_is_looked_up_by_its_number_and_type_checkers_know_it() -> None:
    assert_type(FrameType(0x01), FrameType)  # mypy, which takes it for a call of __new__, must let it pass
    assert_type(ErrorCode(400), ErrorCode)
    assert FrameType(0x01) is FrameType.REQUEST
    assert ErrorCode(400) is ErrorCode.ILL_FORMED_TEXT
    assert TypeRange("ignorable") is TypeRange.IGNORABLE
    wrong: list[tuple[Any, Any]] = [(FrameType, 0x09), (ErrorCode, 399), (ErrorCode, 600), (ErrorCode, True)]
    for enum, number in wrong:
        with pytest.raises(ValueError, match="is not a valid"):
            enum(number)


@pytest.mark.req("REQ-TYPE-1", "REQ-TYPE-2")
def test_frame_types_have_the_numbers_and_senders_of_the_specification() -> None:
    assert {kind.name: (int(kind), set(kind.senders)) for kind in FrameType} == TYPES


@pytest.mark.req("REQ-TYPE-1", "REQ-TYPE-3", "REQ-TYPE-5", "REQ-TYPE-8")
@each("octet", range(256))
def test_every_octet_is_of_one_kind(octet: int) -> None:
    kinds: list[object] = [kind for kind in TypeRange if octet in kind.types]
    kinds += [ASSIGNED[octet]] if octet in ASSIGNED else []
    if octet in FIRST_OCTETS or octet == 0x00:
        expected: object = TypeRange.NEVER
    elif octet <= 0x08:
        expected = ASSIGNED[octet]
    elif octet <= 0x7F:
        expected = TypeRange.CRITICAL
    else:
        expected = TypeRange.IGNORABLE if octet <= 0xBF else TypeRange.APPLICATION
    assert kinds == [expected]
    assert type_kinds[octet] is expected


def test_kinds_cover_the_octets_and_nothing_else() -> None:
    assert sorted(type_kinds) == list(range(256))


@pytest.mark.req("REQ-ORDER-1", "REQ-TYPE-5")
def test_every_type_that_asks_has_one_answer() -> None:
    assigned = {0x01: 0x02, 0x03: 0x04, 0x06: 0x07, 0x08: 0x08}
    assert dict(ANSWERS) == assigned | {octet: octet for octet in range(0xC0, 0x100)}


@pytest.mark.req("REQ-ORDER-1")
def test_clients_ask_and_servers_answer() -> None:
    for asking, answering in ANSWERS.items():
        if asking in ASSIGNED:
            assert CLIENT in ASSIGNED[asking].senders
            assert SERVER in ASSIGNED[answering].senders
    assert set(FrameType) <= {*ANSWERS, *ANSWERS.values(), FrameType.ERROR}


@pytest.mark.req("REQ-ERROR-2", "REQ-ERROR-3")
def test_error_codes_stand_in_the_order_of_precedence() -> None:
    assert [(int(code), code.title) for code in ErrorCode] == CODES


@pytest.mark.req("REQ-ERROR-2")
def test_no_code_and_no_condition_stands_twice() -> None:
    # An enumeration takes a repeated value for an alias, which only __members__ shows.
    assert len(ErrorCode.__members__) == len(CODES)
    assert len({code.condition for code in ErrorCode}) == len(CODES)


@pytest.mark.req("REQ-ERROR-10", "REQ-ERROR-15", "REQ-ERROR-16")
def test_codes_that_are_not_registered_are_codes_all_the_same() -> None:
    for number in sorted(set(range(400, 600)) - set(ErrorCode)):
        code = ErrorCode(number)
        name = "APPLICATION" if 460 <= number <= 499 else "UNKNOWN"
        assert (int(code), code.name, code.title, code.fatal) == (number, name, name.lower(), number >= 500)
        assert code.condition
        assert not code.local
        twins = [ErrorCode(number), pickle.loads(pickle.dumps(code)), copy.deepcopy(code)]  # noqa: S301 - our own
        assert all(twin is code for twin in twins)
        assert (hash(code), f"{code}", {number: 1}[code]) == (hash(number), str(number), 1)
    assert [(int(code), code.title) for code in ErrorCode] == CODES


@pytest.mark.req("REQ-ERROR-4", "REQ-ERROR-6", "REQ-ERROR-10")
def test_the_first_digit_is_the_class() -> None:
    for code in ErrorCode:
        assert 400 <= code <= 599
        assert code.fatal == str(int(code)).startswith("5")


def test_what_only_this_end_can_know_is_never_sent() -> None:
    assert {code for code in ErrorCode if code.local} == {
        ErrorCode.FRAME_TRUNCATED,
        ErrorCode.ANSWER_MALFORMED,
    }


@pytest.mark.req("REQ-ERROR-2")
def test_every_code_that_the_specification_speaks_of_is_registered() -> None:
    rules = " ".join(SPEC.split())
    spoken = {int(code) for code in re.findall(r"ERROR `(\d{3})`", rules)}
    assert spoken == {400, 403, 404, 413, 422, 426, 451, 501, 502, 504, 505, 507, 509}
    assert spoken <= set(ErrorCode)
    shown = {
        int(bytes.fromhex(code).decode())
        for code in re.findall(r"^S +05 \.{8} (\w{6})20 ", SPEC, re.MULTILINE)
    }
    assert shown == {400, 404, 501, 503}


def test_tables_have_no_empty_cell() -> None:
    for kind in (*FrameType, *TypeRange):
        assert kind.purpose
    for code in ErrorCode:
        assert code.condition
