"""The clients of a simulated machine: what they send, piece by piece, and which answers are due to them."""

from __future__ import annotations

import random
import re
import select
from typing import TYPE_CHECKING

from framelet import ErrorCode, FrameType, encode

from .machine import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from .machine import Script
    from .sockets import Net, Socket

SOON = 0.9
"""Seconds of the machine's clock within which everything that is owed comes, and a drain ends."""

REST = 1.0
"""Seconds of a rest before the drain."""

SECONDS = {"s": 0.05, "t": 0.02, "h": 0.018, "l": 0.003}
"""For how long a handler blocks, by the last letter of its text: for long, for two ticks, for less, a little."""

_REQUESTS = {"request": "", "block": "s", "ticks": "t", "held": "h", "slow": "l", "raise": "x"}

_PAUSES = {"pause": 0.3, "breath": 0.013, "long": 0.51}

KINDS = (
    *("ping", "request", "block", "raise", "ill", "hello", "burst", "split", "breath"),
    *("stop", "half-close", "reset", "pause", "stall", "large", "slow"),
)

_THEN = (*("block", "request", "breath", "burst", "ping"), *("long", "tail", "slow", "held", "ticks"))

SMALL, MEDIUM, AMPLE = 200, 300, 1 << 20
"""Octets of memory for all clients: where one frame is too much, where two are, and where none is."""


class Plan:
    """What one run is about, drawn from a seed."""

    def __init__(self, seed: int, *, loop: bool = False) -> None:
        draw = random.Random(seed)
        self.loop = loop  # whether the server is asyncio's
        self.clients = [
            [draw.choice(KINDS) for _ in range(draw.randrange(1, 6))] for _ in range(draw.randrange(1, 4))
        ]
        self.threads = 1 if loop else draw.choice((1, 2, 2, 3))
        self.gil = draw.random() < 0.7
        self.executor = draw.random() < 0.2
        self.late = draw.random() < 0.2  # whether each comes when the one before has said something
        self.early = draw.random() < 0.4  # whether the drain begins before all have left, and when
        self.after = draw.choice((0.0, 0.0, 0.013, 0.02, 0.1))
        self.stay = draw.random() < 0.5
        self.rest = draw.random() < 0.3  # a while with nothing to do before the drain
        self.max_memory = draw.choice((AMPLE, AMPLE, SMALL, MEDIUM))
        self.max_in_flight = draw.choice((1_000, 1_000, 2, 1))
        self.room = draw.choice((65_536, 65_536, 40))
        self.short = draw.random() < 0.3  # deadlines that are met now and then
        self.force = draw.choice((None, None, None, 0.0, 0.03)) if self.early else None
        self._take_shape(draw)
        self.asked = draw.random() < 0.3  # whether an operator asks for the counts meanwhile

    def _take_shape(self, draw: random.Random) -> None:
        """Have more in common between the clients than chance would."""
        shape = draw.random()
        count = len(self.clients)
        if shape < 0.15:  # several STOPs at once
            begin = ["breath"] if draw.random() < 0.5 else []
            self.clients = [[*begin, "ping", "request", "request", "stop"] for _ in range(count)]
            if draw.random() < 0.5:  # and one for whom they have to wait
                self.clients.append([*begin, "ping", "tail"])
        elif shape < 0.3:  # many turns at first, so that one worker serves all; then calls that take long
            begin = ["request", "request", "request", "breath", "request", "request"]
            self.clients = [[*begin, *draw.choices(_THEN, k=4)] for _ in range(draw.randrange(2, 6))]
        elif shape < 0.38:  # the same, and all come again at once
            begin, then = ["request", "request", "burst", "breath"], ("block", "held", "slow", "slow")
            self.clients = [[*begin, draw.choice(then)] for _ in range(draw.randrange(3, 6))]
        elif shape < 0.45:  # the same, and one comes again as the server goes to sleep
            begin = ["request", "request", "burst"]
            self.clients = [[*begin, "long", draw.choice(("tail", "block"))], *[begin for _ in range(count)]]
        elif shape < 0.55:  # deadlines that are met as something else happens
            asks, waits = ("request", "ping", "hello"), ("stall", "pause", "block")
            ends = ("reset", "half-close", "request", "stop")
            self.clients = [[draw.choice(asks), draw.choice(waits), draw.choice(ends)] for _ in range(count)]
            self.short = True
        elif shape < 0.63:  # a drain in which answers are made elsewhere, and clients send on
            calls, more = ("block", "tail", "held"), ("request", "burst", "ping", "hello")
            self.clients = [
                [draw.choice(calls), "breath", draw.choice(more), "breath", draw.choice(more)]
                for _ in range(count)
            ]
            self.executor = self.early = True
        elif shape < 0.7:  # frames that come slowly, and take too much memory together
            self.clients = [[draw.choice(("large", "split")), "split"] for _ in range(count + 1)]
            self.max_memory = MEDIUM


class Client:
    """One client: what it sends, piece by piece, and whether each answer is the one that is due."""

    def __init__(self, net: Net, listener: Socket, plan: list[str], name: str) -> None:
        self.net, self.listener, self.plan, self.name = net, listener, plan, name
        self.due: list[tuple[FrameType, bytes | None]] = []
        self.stays = False  # until the server ends the connection
        self.comes = 0.0  # seconds after the first
        self.patience = SOON
        self.fatal: set[int] = set()  # the codes by which the server may end it
        self.drains: Callable[[], bool] = lambda: False  # whether the server takes nothing further
        self.got = 0
        self.sent = 0  # how many of the answers that are due have been asked for, whole, and when
        self.sent_at = self.quiet_at = 0.0
        self.owed = 0  # how many of them before the drain began
        self.cut = False  # by force, or by an ERROR that may come
        self.data = b""
        self.over = False
        self.left = False  # by its own will, without waiting for answers
        self.stopped: tuple[int, int] | None = None
        self.sock: Socket

    def script(self) -> Script:
        """All that it does, from the first step to the last."""
        yield _never, self.comes
        if self.listener.closed:  # refused
            return
        self.sock = self.net.connect(self.listener)
        yield _always, 0.0
        number, pieces = 0, b""
        for kind in [*self.plan, "flush"]:
            number += 1
            text = f"{self.name}{number}".encode()
            pieces += self._frames(kind, text)
            if number % 3 == 0 and kind in _REQUESTS:
                continue  # in one piece with the next
            if kind in ("split", "large"):
                if not self._send(pieces[:-20], whole=False):
                    break
                pieces = pieces[-20:]
                yield (_always, 0.0) if number % 4 == 0 else (_never, 0.1 if kind == "large" else 0.05)
            elif kind in ("reset", "stall"):
                if kind == "stall":
                    self._send(pieces + encode(FrameType.REQUEST, text)[:-1], whole=False)
                    yield _never, 0.1 if number % 2 else 0.3
                self.sock.abrupt = self.left = True
                break
            elif kind in _PAUSES:
                yield _never, _PAUSES[kind]
            if pieces and not self._send(pieces):
                break
            pieces = b""
            if kind == "stop":
                if len(self.plan) % 2:  # what follows is read and discarded, at once and later
                    for _ in range(3):
                        self._send(encode(FrameType.PING) * 3, whole=False)
                        yield _never, 0.013
                break
            if kind == "half-close":
                if not self.sock.was_reset:
                    self.sock.other.ended = self.sock.shut = True  # type: ignore[union-attr]
                break
            if number % 2:
                yield _always, 0.0
                self._read()
        yield from self._wait()
        self._leave()

    def _frames(self, kind: str, text: bytes) -> bytes:
        """The octets of what it asks for, whose answers are due from now on."""
        if kind in _REQUESTS:
            text += _REQUESTS[kind].encode()
            if kind == "raise":
                return self._frame(FrameType.REQUEST, text, FrameType.ERROR, None)
            return self._request(text)
        if kind == "tail":
            return self._request(text) + self._request(text + b"s")
        if kind == "burst":
            return b"".join(self._request(text + b"-%d" % more) for more in range(20))
        if kind in ("split", "large"):
            return self._request(text * (100 if kind == "large" else 12))
        if kind == "ping":
            return self._frame(FrameType.PING, text, FrameType.PONG, text)
        if kind == "ill":
            return self._frame(FrameType.REQUEST, b"\xff", FrameType.ERROR, None)
        if kind == "hello":
            return self._frame(FrameType.HELLO, b"framelet/1", FrameType.HELLO, None)
        if kind == "stop":
            return self._frame(FrameType.STOP, b"", FrameType.STOPPED, None)
        return b""

    def _wait(self) -> Script:
        """For all that is due, or for the end."""
        began = self.net.machine.now
        stops = self.stays or FrameType.STOPPED in {kind for kind, _ in self.due}
        while not (self.left or self.over or (self.got == len(self.due) and not stops)):
            yield self._readable, SOON
            self._read()
            if not self.over and self.net.machine.now - began > self.patience:
                message = f"{self.name} waits for answer {self.got + 1} of {len(self.due)}: {self.plan}"
                raise Finding(message)
        let_in = self.sock.other.accepted  # type: ignore[union-attr]
        if self.over and let_in and not (self.left or self.cut) and self.got < self.owed:
            message = f"{self.name} was owed answer {self.got + 1} of {len(self.due)} at its end: {self.plan}"
            raise Finding(message)

    def _readable(self) -> bool:
        return bool(self.sock.state & select.EPOLLIN)

    def _request(self, text: bytes) -> bytes:
        return self._frame(FrameType.REQUEST, text, FrameType.REPLY, text[::-1])

    def _frame(self, kind: FrameType, body: bytes, answer: FrameType, text: bytes | None) -> bytes:
        self.due.append((answer, text))
        return encode(kind, body)

    def _send(self, data: bytes, *, whole: bool = True) -> bool:
        """Without a decision in between: the machine decides before each step of the script."""
        other = self.sock.other
        assert other is not None
        if other.closed or self.sock.was_reset:
            return False
        if whole and not (self.data or self.sock.inbox):  # or its end may be on the way
            self.sent, self.sent_at = len(self.due), self.net.machine.now
            if not (self.drains() or self.sock.ended):
                self.owed = self.sent
        other.inbox += data
        self.net.machine.moved()
        return True

    def _read(self) -> None:
        if self.sock.was_reset:
            self.over = True
            self.cut = self.cut or ErrorCode.OVERLOADED in self.fatal  # which cannot always be said
            return
        if self.sock.inbox:
            self.net.machine.moved()
        else:
            self.quiet_at = self.net.machine.now
        self.data += self.sock.inbox
        self.sock.inbox = b""
        self.over = self.sock.ended
        while len(self.data) >= 5:
            end = 5 + int.from_bytes(self.data[1:5], "big")
            if len(self.data) < end:
                return
            kind, body = self.data[0], self.data[5:end]
            self.data = self.data[end:]
            self._take(kind, body)

    def _take(self, kind: int, body: bytes) -> None:
        """Compare an answer with the one that is due."""
        code = int(body[:3]) if kind == FrameType.ERROR else 0
        if code in self.fatal:
            late = self.got < self.sent and self.quiet_at > self.sent_at + 0.01
            if code == ErrorCode.IDLE_TIMEOUT and late:
                message = f"{self.name} was idle though it was owed an answer"
                raise Finding(message)
            self.cut = True
            return
        if self.got == len(self.due):
            message = f"{self.name} got an answer to nothing: {kind} {body!r}"
            raise Finding(message)
        wanted, text = self.due[self.got]
        if kind != wanted or (text is not None and body != text):
            message = f"{self.name}: answer {self.got + 1} is {kind} {body!r}, due is {wanted} {text!r}"
            raise Finding(message)
        if kind == FrameType.STOPPED:
            self.stopped = tuple(map(int, re.findall(rb"\d+", body)))  # type: ignore[assignment]
        self.got += 1

    def _leave(self) -> None:
        sock, other = self.sock, self.sock.other
        assert other is not None
        sock.closed = True
        self.net.machine.moved()
        other.ended = True
        if sock.abrupt or sock.inbox:
            other.was_reset, other.inbox = True, b""


def _always() -> bool:
    return True


def _never() -> bool:
    return False
