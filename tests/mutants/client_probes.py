"""Conversations with a client that show the bugs which no single vector can.

Each takes the name of a bug, or None, starts a client with it and fails unless the client is correct.
"""

import contextlib
import pathlib
import socket
from collections.abc import Callable
from typing import Any

from .vectors import PONG, TYPES, client, pack, report

Probe = Callable[[str | None], None]
PROBES: dict[str, Probe] = {}

REQUEST = {"type": "REQUEST", "body": "6162"}
NEXT = {"type": "PING", "body": "656e64"}
ASKED = (TYPES["REQUEST"], b"ab")
ERROR, HELLO, REPLY, STOPPED = TYPES["ERROR"], TYPES["HELLO"], TYPES["REPLY"], TYPES["STOPPED"]
SHORT = 0.5  # seconds of an answer timeout that is waited for
LONG = 30.0  # seconds of one that is not


def probe(*names: str) -> Callable[[Probe], Probe]:
    """Make a function the probe for bugs."""

    def register(function: Probe) -> Probe:
        PROBES.update(dict.fromkeys(names, function))
        return function

    return register


def order(*ask: dict[str, Any], pipeline: bool = False, answer_timeout: float = LONG) -> dict[str, Any]:
    """What a client is told to do."""
    return {"ask": ask, "pipeline": pipeline, "max_body": None, "answer_timeout": answer_timeout}


def must_close_behind(ask: dict[str, Any], octets: bytes, bug: str | None) -> None:
    """See that the client closes at these octets, and does not send the next frame."""
    with client(order(ask, NEXT), bug=bug) as (wire, process):
        assert wire.frame() is not None
        wire.sock.sendall(octets)
        assert wire.frame() is None
        wire.sock.close()
        outcomes, _ = report(process)
        assert "failed" in outcomes[-1]


def must_not_send(ask: dict[str, Any], bug: str | None) -> None:
    """See that the client does not send this frame, but the next."""
    with client(order(ask, NEXT), bug=bug) as (wire, process):
        assert wire.frame() == (TYPES["PING"], b"end")
        wire.sock.sendall(PONG)
        assert wire.frame() is None
        wire.sock.close()
        outcomes, _ = report(process)
        assert "failed" in outcomes[0]
        assert outcomes[1] == {"answer": "656e64"}


@probe("sends-ill-formed")
def ill_formed(bug: str | None) -> None:
    must_not_send({"type": "REQUEST", "body": "ff"}, bug)


@probe("sends-any-type")
def unassigned_type(bug: str | None) -> None:
    must_not_send({"type": "7F", "body": ""}, bug)


@probe("sends-too-large")
def larger_than_announced(bug: str | None) -> None:
    large = {"type": "REQUEST", "body": "61" * 65_537}
    with client(order({"type": "HELLO"}, large, NEXT), bug=bug) as (wire, process):
        assert wire.frame() is not None
        wire.sock.sendall(pack(HELLO, b"framelet/1 max-body=65536"))
        assert wire.frame() == (TYPES["PING"], b"end")
        wire.sock.sendall(PONG)
        assert wire.frame() is None
        wire.sock.close()
        outcomes, _ = report(process)
        assert [list(outcome) for outcome in outcomes] == [["answer"], ["failed"], ["answer"]]


@probe("allocates-announced-length")
def memory_of_a_promise(bug: str | None) -> None:
    with client(order(REQUEST), bug=bug) as (wire, process):

        def memory() -> int:
            text = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmData:"))

        assert wire.frame() == ASKED
        before = memory()
        wire.sock.sendall(bytes([REPLY, 1, 0, 0, 0]))
        with contextlib.suppress(TimeoutError):
            assert wire.frame(SHORT) is None, "the client closed"
        assert memory() - before < 8192, "the client took kibibytes for octets that did not come"


@probe("unasked-answer-ignored")
def unasked_answer(bug: str | None) -> None:
    must_close_behind(REQUEST, pack(REPLY, b"ba") + pack(REPLY, b"ba"), bug)


@probe("error-length-unchecked")
def long_error(bug: str | None) -> None:
    must_close_behind(REQUEST, pack(ERROR, b"400 " + b"x" * 1021), bug)


@probe("stopped-unchecked")
def malformed_stopped(bug: str | None) -> None:
    must_close_behind({"type": "STOP", "body": ""}, pack(STOPPED, b"closed=1,cut=0"), bug)


@probe("pong-unchecked")
def other_pong(bug: str | None) -> None:
    must_close_behind({"type": "PING", "body": "61"}, pack(TYPES["PONG"], b"b"), bug)


@probe("no-answer-timeout")
def slow_answer(bug: str | None) -> None:
    with client(order(REQUEST, answer_timeout=SHORT), bug=bug) as (wire, process):
        assert wire.frame() == ASKED
        assert wire.frame(4 * SHORT) is None
        outcomes, _ = report(process)
        assert "failed" in outcomes[0]


@probe("goes-on-after-timeout")
def late_answer(bug: str | None) -> None:
    with client(order(REQUEST, REQUEST, answer_timeout=SHORT), bug=bug) as (wire, process):
        assert wire.frame() == ASKED
        assert wire.frame() is None, "the client sent on"
        outcomes, _ = report(process)
        assert ["failed" in outcome for outcome in outcomes] == [True, True]


@probe("writes-before-it-reads")
def reads_while_it_writes(bug: str | None) -> None:
    count, body = 400, b"x" * 60_000
    ask = [{"type": "REQUEST", "body": body.hex()}] * count
    with client(order(*ask, pipeline=True), bug=bug) as (wire, process):
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        for _ in range(count):
            assert wire.frame() == (TYPES["REQUEST"], body)
            wire.sock.sendall(pack(REPLY, body))  # blocks while the client does not read
        assert wire.frame() is None
        wire.sock.close()
        outcomes, _ = report(process)
        assert outcomes == [{"answer": body.hex()}] * count
