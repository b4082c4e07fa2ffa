"""A generated conversation with a client: what is asked, what is said, and what is smaller than it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from framelet import HEADER_SIZE, limits
from framelet_conformance.cases.segments import cut
from framelet_conformance.judging.client_model import PredictedReports, predict
from framelet_conformance.judging.comparing import show_octets
from framelet_conformance.scenario import FAILED, FIN, Asked, Scenario, Step, pause, read, send
from framelet_conformance.wire.frames import PONG, frame, frame_end

if TYPE_CHECKING:
    from collections.abc import Iterator

_Items = TypeVar("_Items", bytes, str, tuple[int, ...])

_MAX_BODY = limits.MIN_MAX_BODY

TOGETHER = 6
"""Conversations in one process of the adapter."""


class GeneratedExchange(NamedTuple):
    """What is asked, what the server says to each frame, where that is cut, and whether FIN is after it."""

    asked: tuple[Asked, ...]
    says: tuple[bytes, ...]
    cuts: tuple[int, ...]
    fin: bool
    pipeline: bool

    def __repr__(self) -> str:
        """Short, for reports."""
        scenario = self.scenario()
        asks = ", ".join(f"{item.type} {show_octets(item.body)}" for item in self.asked)
        sent = " | ".join(step.value.hex(" ") for step in scenario.steps if step.do == "send")
        fin = " FIN" if FIN in scenario.steps else ""
        return f"asked for {asks}; the server sends {sent or '(nothing)'}{fin}"

    def scenario(self, apart: float = 0.0) -> Scenario:
        """The conversation with what the model expects; segments are sent so many seconds apart.

        After the last answer nothing is said, because the client may have closed; and where an answer is
        missing the stream ends, because the client would rightly wait.
        """
        parts = (
            [(len(self.asked), b"".join(self.says))] if self.pipeline else [(1, says) for says in self.says]
        )
        steps: list[Step] = []
        outcome, sent, due = PredictedReports(), b"", 0
        for count, says in parts:
            due += count
            outcome = predict(self.asked[:due], sent + says, _MAX_BODY)
            if outcome.then in {"answered", "stopped"}:
                says = (sent + says)[len(sent) : outcome.read]  # noqa: PLW2901 - what is said of it
            steps += [read(count), *self._cut(says, apart)]
            sent += says
            if outcome.then != "answered":
                break
        done = len(outcome.expect) == len(self.asked)
        fin = self.fin or outcome.then in {"waiting", "stopped"}
        return Scenario(
            ask=self.asked,
            steps=(*steps, FIN) if fin else tuple(steps),
            expect=(*outcome.expect, *[FAILED] * (len(self.asked) - len(outcome.expect))),
            then="open" if done and not fin else "closed",
            fatal=outcome.fatal,
            pipeline=self.pipeline,
            allowed=due if outcome.then == "closed" else None,
            max_body=_MAX_BODY,
        )

    def _cut(self, says: bytes, apart: float) -> Iterator[Step]:
        """The octets in segments."""
        for place, piece in enumerate(cut(says, self.cuts)):
            if place:
                yield pause(apart)
            if piece:
                yield send(piece)


def size(exchange: GeneratedExchange) -> tuple[int, int, GeneratedExchange]:
    """What makes one conversation smaller than another."""
    octets = sum(len(item.octets) for item in exchange.asked) + sum(map(len, exchange.says))
    return octets, len(exchange.cuts) + exchange.fin, exchange


def smaller(exchange: GeneratedExchange) -> Iterator[list[GeneratedExchange]]:
    """Conversations with less in one place each, the smallest first; those that ask for the same together."""
    less = sorted((each for each in _smaller(exchange) if size(each) < size(exchange)), key=size)
    alike: dict[tuple[Asked, ...], list[GeneratedExchange]] = {}
    for each in less:
        alike.setdefault(each.asked, []).append(each)
    yield from alike.values()


def _smaller(exchange: GeneratedExchange) -> Iterator[GeneratedExchange]:
    if exchange.fin:
        yield exchange._replace(fin=False)
    for cuts in _less(exchange.cuts):
        yield exchange._replace(cuts=cuts)
    for place, (item, says) in enumerate(zip(exchange.asked, exchange.says, strict=True)):
        if len(exchange.asked) > 1:
            yield _with(exchange, place)
        for less in _less_said(says):
            yield _with(exchange, place, (item, less))
        if item.type != "HELLO":
            for body in _less_text(item.body):
                # A PONG goes with its PING.
                answer = says.replace(frame(PONG, item.body), frame(PONG, body))
                yield _with(exchange, place, (Asked(item.type, body), answer))


def _with(exchange: GeneratedExchange, place: int, *turns: tuple[Asked, bytes]) -> GeneratedExchange:
    """The conversation with other turns, or none, in one place."""
    pairs = list(zip(exchange.asked, exchange.says, strict=True))
    pairs[place : place + 1] = turns
    return exchange._replace(asked=tuple(item for item, _ in pairs), says=tuple(says for _, says in pairs))


def _less_said(says: bytes) -> Iterator[bytes]:
    """Octets with a frame less, or with less in the body of one; those of no frame cut."""
    place = 0
    while (end := frame_end(says, place)) is not None and end <= len(says):
        yield says[:place] + says[end:]
        for body in _less_text(says[place + HEADER_SIZE : end]):
            yield says[:place] + frame(says[place], body) + says[end:]
        place = end
    for rest in _less(says[place:]):
        yield says[:place] + rest


def _less_text(body: bytes) -> Iterator[bytes]:
    """A body with fewer characters, or plainer ones; of octets that are not text, fewer octets."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        yield from _less(body)
        return
    for place, character in enumerate(text):
        if not character.isascii():
            yield f"{text[:place]}a{text[place + 1 :]}".encode()
    for less in _less(text):
        yield less.encode()


def _less(items: _Items) -> Iterator[_Items]:
    """Nothing, either half, and all but one."""
    middle = len(items) // 2
    for kept in (items[:0], items[:middle], items[middle:]):
        if len(kept) < len(items):
            yield kept
    for place in range(len(items)):
        yield items[:place] + items[place + 1 :]
