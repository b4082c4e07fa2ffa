"""The models by which generated conversations are judged agree with every vector."""

from __future__ import annotations

from typing import Any

import pytest
from tests.each import each

from framelet_conformance.cli import coverage
from framelet_conformance.expectations import octets, type_octet, unroll
from framelet_conformance.judging import client_model
from framelet_conformance.judging.server_model import Facts, predict
from framelet_conformance.reports import wire_lines as decode
from framelet_conformance.scenario import FAILED, asked
from framelet_conformance.specification import read_requirements, read_uncovered, read_vectors
from framelet_conformance.targets import launch
from framelet_conformance.wire.log import Log

FOR_CLIENTS = [vector for vector in read_vectors("client") if vector["asked"]]

UNKNOWN = "REQ-" + "NONE-1"  # in two pieces: every identifier that a test cites must exist


def plain(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Expectations one by one, with plain bodies and without parameters."""
    found = []
    for item in unroll(items):
        body = {"body": octets(item["body"]).hex()} if "body" in item else {}
        found.append({"type": item["type"], **({"code": item["code"]} if "code" in item else {}), **body})
    return found


@each("vector", read_vectors("server"))
def test_the_model_agrees_with_the_vector(vector: dict[str, Any]) -> None:
    needs = vector.get("needs", {})
    application = {octet: str(needs.get("application", "none")) for octet in range(0xC0, 0x100)}
    facts = Facts(needs.get("max_body", 16_777_216), needs.get("stop", "off"), application)
    outcome = predict(octets(vector["send"]), facts, eof=vector["eof"])
    assert plain(outcome.expect) == plain(vector["expect"])
    assert outcome.then == vector["then"]


@each("vector", FOR_CLIENTS)
def test_the_model_of_a_client_agrees_with_the_vector(vector: dict[str, Any]) -> None:
    asks = [asked(item["type"], octets(item.get("body", ""))) for item in vector["asked"]]
    sent = octets(vector["send"])
    max_body = vector.get("needs", {}).get("max_body", 16_777_216)
    outcome = client_model.predict(asks, sent, max_body)
    given = [item for item in unroll(vector["expect"]) if item != FAILED]
    assert len(outcome.expect) == len(given)
    assert all(agree(*pair) for pair in zip(outcome.expect, given, strict=True))
    assert outcome.fatal == vector.get("fatal")
    # Behind the last answer the model does not look; where one is missing, FIN is what ends the wait for it.
    if outcome.then == "answered":
        assert len(given) == len(asks)
    else:
        assert vector["then"] == "closed" or outcome.then == "stopped"
        assert (outcome.then == "closed") or vector["eof"] or len(given) == len(asks)
    assert outcome.read <= len(sent)


def agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two expectations are of the same answer; one has types as octets, bodies in plain."""
    if type_octet(one["type"]) != type_octet(other["type"]):
        return False
    if "body" in other:
        return bytes.fromhex(one["body"]) == octets(other["body"])
    return bool(one.get("code") == other.get("code") and one.get("parameters") == other.get("parameters"))


def test_every_requirement_is_covered_or_says_why_not() -> None:
    reasons = read_uncovered()
    cases = coverage.covered()
    assert coverage.faults(cases, reasons) == []
    assert all(len(reason.split()) > 3 for reason in reasons.values())
    known = next(name for name, ids in cases.items() if ids)
    assert coverage.faults({**cases, UNKNOWN: ["x"]}, reasons)
    assert coverage.faults({**cases, known: []}, reasons)
    assert coverage.faults(cases, {**reasons, known: "because"})
    assert coverage.faults(cases, {**reasons, UNKNOWN: "because"})


def test_requirements_are_read_with_section_sentence_and_level() -> None:
    found = read_requirements()
    assert len(found) > 90
    assert found["REQ-SIZE-3"].level == "SHOULD"
    assert found["REQ-SIZE-3"].section.startswith("3. ")
    assert found["REQ-FLOW-2"].level == "MAY"
    assert found["REQ-REV-2"].sentence == "The reverse of the empty text MUST be the empty text."


def test_optional_parts_of_a_template_are_left_out() -> None:
    template = "serve {port} [--max {max_body}] [--stop {stop} --token '{stop_token}'] 'a b'"
    assert launch.fill(template, {"port": 1}) == ["serve", "1", "a b"]
    assert launch.fill(template, {"port": 1, "stop": "off"}) == ["serve", "1", "a b"]
    assert launch.fill(template, {"port": 1, "stop": "token", "stop_token": "x y"}) == [
        *("serve", "1", "--stop", "token", "--token", "x y", "a b")
    ]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_a_log_is_decoded_however_it_is_cut(step: int) -> None:
    stream = bytes.fromhex("01 00000002 6162  80 00000001 ff  06 00000003 656e64  01 00000009 6162")
    log = Log()
    for place in range(0, len(stream), step):
        log.octets("sent", stream[place : place + step])
    lines = [line for line in decode.lines(log) if line.way == "sent"]
    assert [line.meaning for line in lines] == [
        'REQUEST "ab"',
        "ignorable type 80, 1 octets",
        'PING "end"',
        "REQUEST, 9 octets, 2 of them here",
    ]
    assert [line.offset for line in lines] == [0, 7, 13, 21]
