"""One conversation with the client under test: what it is told to ask, what the server does, what must come.

It is data, so that a failure can be written down and played again.  Its steps are what the server does, in
order:

    read(n)         see that n further frames come, octet for octet as they were asked for
    send(octets)    send, and read what comes meanwhile
    write(octets)   send, and read nothing meanwhile
    last(octets)    send, with FIN in the same segment
    pause(seconds)  let time pass
    echo(octets)    answer each frame that is left by these octets, or by its own body
    deaf(seconds)   let time pass without reading
    sip(seconds)    let time pass, reading little by little
    maybe(octets)   where a further frame comes that was asked for, send these octets
    serve(octets)   read the frames that are left, answering each with these octets as soon as it is read
    weigh(octets)   see that the client's memory has grown by no more since it was weighed before
    fin()           close the sending direction
    reset()         reset the connection (RST)
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from framelet_conformance.wire.frames import frame

from .expectations import type_octet

if TYPE_CHECKING:
    from .expectations import Expectation

FAILED: Expectation = {"type": "FAILED"}
_HELLO = b"framelet/1"


class Asked(NamedTuple):
    """A frame that the client is asked to send; the name of its type as in vectors."""

    type: str
    body: bytes = b""

    @property
    def octets(self) -> bytes:
        """The frame on the wire, unless it is a HELLO."""
        return frame(type_octet(self.type), self.body)


class Step(NamedTuple):
    """One thing that the server does."""

    do: str
    value: Any = None

    def as_document(self) -> dict[str, Any]:
        """The step as replay files hold it."""
        if isinstance(self.value, bytes):
            return {self.do: self.value.hex()}
        return {self.do: True if self.value is None else self.value}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Step:
        """The step that a replay file holds; raises ValueError."""
        [(do, value)] = document.items()
        if do in {"send", "write", "last", "serve", "maybe"} or (do == "echo" and value is not True):
            return cls(do, bytes.fromhex(value))
        return cls(do, None if value is True else value)


def read(frames: int = 1) -> Step:
    """See frames come."""
    return Step("read", frames)


def send(data: bytes) -> Step:
    """Send octets."""
    return Step("send", data)


def pause(seconds: float) -> Step:
    """Let time pass, in seconds before scaling."""
    return Step("pause", seconds)


def maybe(data: bytes) -> Step:
    """Answer a further frame, should it come."""
    return Step("maybe", data)


def weigh(octets: int = 0) -> Step:
    """Look at the client's memory; the first time only to know it."""
    return Step("weigh", octets)


FIN = Step("fin")
RESET = Step("rst")


@dataclasses.dataclass(frozen=True, slots=True)
class Scenario:
    """One conversation with the client under test.

    ``ask`` are the frames that it is told to send, ``steps`` what the server does, ``expect`` what the
    client must report for each frame asked: as in vectors, or a list of which any one will do.  ``fatal`` is
    the code of the fatal ERROR that it reports besides.  ``then`` is ``open`` where the client ends in its
    own time, with nothing amiss, and ``closed`` where it must close at what it received.  ``allowed`` is
    how many frames may be sent in all, and ``skips`` are the places of those that a client must refuse to
    send.  Times are in seconds.
    """

    ask: tuple[Asked, ...]
    steps: tuple[Step, ...]
    expect: tuple[Expectation | list[Expectation], ...]
    then: str = "open"
    fatal: int | None = None
    pipeline: bool = True
    allowed: int | None = None
    max_body: int | None = None
    answer_timeout: float | None = None
    skips: frozenset[int] = frozenset()

    def job(self, default_timeout: float, repeat: int) -> dict[str, Any]:
        """What the adapter is told."""
        job = {
            "ask": [{"type": item.type, "body": item.body.hex()} for item in self.ask],
            "pipeline": self.pipeline,
            "max_body": self.max_body,
            "answer_timeout": self.answer_timeout or default_timeout,
        }
        return job | ({"repeat": repeat} if repeat > 1 else {})

    def as_setup(self) -> dict[str, Any]:
        """All but the steps and the expectations, for replay files."""
        found = dataclasses.asdict(self)
        for member in ("steps", "expect", "then"):
            del found[member]
        found["ask"] = [{"type": item.type, "body": item.body.hex()} for item in self.ask]
        found["skips"] = sorted(self.skips)
        return found

    @classmethod
    def of(cls, setup: dict[str, Any], steps: list[Any], expect: list[Any], then: str) -> Scenario:
        """The scenario of a replay file; raises ValueError, KeyError or TypeError for another file."""
        values = dict(setup)
        values["ask"] = tuple(Asked(item["type"], bytes.fromhex(item["body"])) for item in values["ask"])
        values["skips"] = frozenset(values.get("skips", ()))
        return cls(**values, steps=tuple(Step.of(step) for step in steps), expect=tuple(expect), then=then)


def asked(name: str, body: bytes | str = b"") -> Asked:
    """A frame to be asked for; a client may write its HELLO as it likes."""
    if name == "HELLO" and not body:
        body = _HELLO
    return Asked(name, body.encode() if isinstance(body, str) else body)
