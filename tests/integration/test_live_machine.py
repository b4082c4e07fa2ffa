"""A state machine over a real server: Hypothesis chooses what its clients do, and a model what they must get.

The clock is real, so a client may be timed out on a slow machine where the model did not ask for it.  That
counts as right only where the times measured on the client's side allow it.  What Hypothesis chooses never
depends on it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from framelet import Frame, FrameType, TcpAddress, encode, encode_text, reverse
from framelet_server import Server, ServerLimits, StopPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Peer

    Connect = Callable[..., Peer]
    Expected = tuple[int, bytes | int]  # a type with its body, or ERROR with its code

FRAME_TIMEOUT, IDLE_TIMEOUT = 0.2, 0.4
MOST_CLIENTS = 4
TOKEN = "machine"  # noqa: S105 - of this test's servers alone
LARGE = "é" * 50_000
BURST = 50
ERROR = int(FrameType.ERROR)


def one(kind: int, body: bytes, answer: bytes | int) -> tuple[bytes, Expected]:
    """A frame with the answer that it must get: a body of the right type, or a code."""
    types: dict[int, int] = {FrameType.REQUEST: FrameType.REPLY, FrameType.PING: FrameType.PONG}
    expected = ERROR if isinstance(answer, int) else types.get(kind, kind)
    return encode(kind, body), (int(expected), answer)


def reversed_frame(kind: int, text: str) -> tuple[bytes, Expected]:
    return one(kind, encode_text(text), encode_text(text[::-1]))


SINGLE = {
    "request": reversed_frame(FrameType.REQUEST, "a\0é\u20ac\U0001f600"),
    "empty request": reversed_frame(FrameType.REQUEST, ""),
    "longer request": reversed_frame(FrameType.REQUEST, "abc" * 300),
    "failing handler": one(FrameType.REQUEST, b"fail", 450),
    "ill-formed text": one(FrameType.REQUEST, b"a\xc0\x80", 400),
    "application": reversed_frame(0xC0, "ab"),
    "no handler": one(0xC1, b"ab", 404),
    "ping": one(FrameType.PING, b"end", b"end"),
    "long ping": one(FrameType.PING, b"x" * 65, 413),
    "hello": one(FrameType.HELLO, b"framelet/1 max-body=65536", b"framelet/1 max-body=131072"),
    "bad hello": one(FrameType.HELLO, b"framelet/1  a=b", 422),
    "other version": one(FrameType.HELLO, b"framelet/2", 426),
    "wrong token": one(FrameType.STOP, b"machin", 403),
}
FATAL: dict[str, tuple[bytes, int | None]] = {
    "type 00": (encode(0x00), 501),
    "critical type": (encode(0x09, b"ab"), 501),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "REPLY": (encode(FrameType.REPLY, b"ab"), 502),
    "too large": (b"\x01\x00\x02\x00\x01", 503),
    "ERROR": (encode(FrameType.ERROR, b"500 x"), None),
}


_OPEN_ENDED = (FrameType.HELLO, FrameType.STOPPED)


class TimedOutError(Exception):
    """A client was timed out where its times allow it."""


class Client:
    """A socket, and what the specification says that it must get."""

    def __init__(self, peer: Peer, connected: float) -> None:
        self.peer = peer
        self.owed: deque[Expected] = deque()
        self.part: tuple[bytes, Expected] | None = None  # the rest of a frame, and its answer
        self.gone = False  # timed out, although nobody waited for it
        self._part_begun = 0.0
        self._touched = connected
        self._excused: set[int] = set()  # timeouts that may have struck by now

    def send(self, octets: bytes) -> None:
        before = self._touched
        self._touched = time.monotonic()
        self.peer.send(octets)
        # From half of the time on, a machine under load may have used up the rest.
        if self.part is None and time.monotonic() - before > IDLE_TIMEOUT / 2:
            self._excused.add(505)

    def send_part(self, name: str, cut: int) -> None:
        octets, answer = SINGLE[name]
        cut = 1 + cut % (len(octets) - 1)
        self._part_begun = time.monotonic()
        self.send(octets[:cut])
        self.part = octets[cut:], answer

    def finish_part(self) -> None:
        if self.part is not None:
            octets, answer = self.part
            self.send(octets)
            self.part = None
            self.owed.append(answer)
            if time.monotonic() - self._part_begun > FRAME_TIMEOUT / 2:
                self._excused.add(504)

    def read(self, count: int) -> None:
        for _ in range(min(count, len(self.owed))):
            self.expect(self.owed[0])
            self.owed.popleft()

    def read_to_the_end(self, *last: Expected) -> None:
        """All answers owed, then these frames, then FIN (REQ-CLOSE-1, REQ-ERROR-8)."""
        self.read(len(self.owed))
        for answer in last:
            self.expect(answer)
        frame = self.peer.receive()
        if frame is not None:
            self._differs(frame, None)
        self.peer.close()

    def expect(self, answer: Expected) -> None:
        frame = self.peer.receive()
        if frame is None or not _matches(frame, answer):
            self._differs(frame, answer)

    @contextlib.contextmanager
    def bearing_timeouts(self) -> Iterator[None]:
        """A client that was rightly timed out is given up; a late write may find it reset already."""
        try:
            yield
        except TimedOutError:
            self.gone = True
            assert self.peer.receive() is None
            self.peer.close()
        except ConnectionError:
            self.gone = True
            self.peer.close()
            assert self._timeouts(), "the server reset an honest client"

    def _timeouts(self) -> set[int]:
        now, found = time.monotonic(), set(self._excused)
        if self.part is not None:
            return found | ({504} if now - self._part_begun >= FRAME_TIMEOUT else set())
        return found | ({505} if now - self._touched >= IDLE_TIMEOUT else set())

    def _differs(self, frame: Frame | None, answer: Expected | None) -> None:
        code = int(frame.body[:3]) if frame is not None and frame.type == ERROR else None
        assert code in self._timeouts(), f"{frame} came where {answer} was due"
        raise TimedOutError


def _matches(frame: Frame, answer: Expected) -> bool:
    kind, content = answer
    if frame.type != kind:
        return False
    if isinstance(content, int):
        return frame.body.startswith(b"%d " % content)
    # HELLO and STOPPED say more than is known here.
    return frame.body.startswith(content) if kind in _OPEN_ENDED else frame.body == content


def handler(text: str) -> str:
    if text == "fail":
        raise ValueError
    return reverse(text)


numbers = st.integers(0, 1_000)
names = st.sampled_from(sorted(SINGLE))


class Live(RuleBasedStateMachine):
    """A server with two threads and short deadlines, and up to four clients."""

    connect: ClassVar[Connect]
    until: ClassVar[Callable[[Callable[[], object]], None]]
    seen: ClassVar[Counter[str]] = Counter()

    @initialize()
    def start(self) -> None:
        self.clients: list[Client] = []
        self.stopped = False
        self.waited = 0  # rules that take their time
        self.descriptors, self.threads = _descriptors(), set(threading.enumerate())
        limits = ServerLimits(
            threads=2,
            max_body=131_072,
            max_unsent=20_000,
            turn_octets=10_000,
            frame_timeout=FRAME_TIMEOUT,
            idle_timeout=IDLE_TIMEOUT,
            linger_timeout=60.0,  # so that an end that comes by it alone is none
        )
        self.server = Server(
            ("127.0.0.1", 0),
            handler,
            handlers={0xC0: reverse},
            limits=limits,
            stop_policy=StopPolicy.with_token(TOKEN),
        ).start()
        self.be_sane()
        self.serving_threads = set(threading.enumerate())

    def client(self, number: int) -> Client:
        return self.clients[number % len(self.clients)]

    def part_with(self, number: int) -> Client:
        return self.clients.pop(number % len(self.clients))

    def is_ready(self) -> bool:
        return bool(self.clients) and not self.stopped

    # What clients do and go on.

    @precondition(lambda self: not self.stopped and len(self.clients) < MOST_CLIENTS)
    @rule()
    def join(self) -> None:
        now = time.monotonic()
        self.clients.append(Client(Live.connect(self.server), now))

    @precondition(is_ready)
    @rule(number=numbers, kinds=st.lists(names, min_size=2, max_size=8), ignorable=st.booleans())
    def send(self, number: int, kinds: list[str], *, ignorable: bool) -> None:
        client = self.client(number)
        if client.gone:
            return
        with client.bearing_timeouts():
            client.finish_part()
            client.send(b"".join(SINGLE[name][0] for name in kinds))
            client.owed.extend(SINGLE[name][1] for name in kinds)
            if ignorable:
                client.send(encode(0x80, b"\xff"))
            self.seen.update(kinds)

    @precondition(is_ready)
    @rule(number=numbers, kind=names, cut=numbers)
    def send_part(self, number: int, kind: str, cut: int) -> None:
        client = self.client(number)
        if not client.gone:
            with client.bearing_timeouts():
                client.finish_part()
                client.send_part(kind, cut)
                self.seen["part"] += 1

    @precondition(is_ready)
    @rule(number=numbers)
    def finish_part(self, number: int) -> None:
        client = self.client(number)
        if not client.gone:
            with client.bearing_timeouts():
                client.finish_part()

    @precondition(is_ready)
    @rule(number=numbers, count=st.integers(1, 8))
    def read(self, number: int, count: int) -> None:
        client = self.client(number)
        if not client.gone:
            with client.bearing_timeouts():
                client.read(count)

    @precondition(is_ready)
    @rule(number=numbers)
    def exchange_large(self, number: int) -> None:
        """More than the server keeps unsent, and than this client allows after a HELLO of its own."""
        client = self.client(number)
        if client.gone:
            return
        with client.bearing_timeouts():
            client.finish_part()
            large, answer = reversed_frame(FrameType.REQUEST, LARGE)
            hello, hello_answer = SINGLE["hello"]
            client.send(encode(FrameType.HELLO, b"framelet/1") + large + hello + large)
            client.owed += [(int(FrameType.HELLO), b"framelet/1 "), answer, hello_answer, (ERROR, 451)]
            client.read(len(client.owed))
            self.seen["large"] += 1

    # How clients end.

    @precondition(is_ready)
    @rule(number=numbers, kind=st.sampled_from(sorted(FATAL)), behind=st.booleans())
    def break_the_protocol(self, number: int, kind: str, *, behind: bool) -> None:
        client = self.part_with(number)
        octets, code = FATAL[kind]
        if client.gone:
            return
        with client.bearing_timeouts():
            client.finish_part()
            client.send(octets + (SINGLE["request"][0] if behind else b""))
            client.read_to_the_end(*(() if code is None else ((ERROR, code),)))
            self.seen[kind] += 1

    @precondition(is_ready)
    @rule(number=numbers)
    def half_close(self, number: int) -> None:
        client = self.part_with(number)
        if not client.gone:
            with client.bearing_timeouts():
                client.peer.end()
                client.read_to_the_end()
                self.seen["half-close inside a frame" if client.part else "half-close"] += 1

    @precondition(is_ready)
    @rule(number=numbers, reset=st.booleans())
    def leave(self, number: int, *, reset: bool) -> None:
        client = self.part_with(number)
        if reset and not client.gone:
            client.peer.reset()
        else:
            client.peer.close()

    @precondition(lambda self: self.is_ready() and not self.waited)
    @rule(number=numbers, kind=names, cut=numbers, inside=st.booleans())
    def stall(self, number: int, kind: str, cut: int, *, inside: bool) -> None:
        """Do nothing until the server ends it, inside a frame or at a boundary (REQ-TIME-1, 3)."""
        self.waited += 1
        client = self.part_with(number)
        if client.gone:
            return
        with client.bearing_timeouts():
            client.finish_part()
            if inside:
                client.send_part(kind, cut)
            client.read_to_the_end((ERROR, 504 if inside else 505))
            self.seen["stalled inside" if inside else "stalled idle"] += 1

    # How the server ends.

    @precondition(is_ready)
    @rule(number=numbers)
    def stop(self, number: int) -> None:
        """An allowed STOP: everyone gets what is owed and FIN, then STOPPED comes (REQ-STOP-6 to 8, 10)."""
        stopper = self.part_with(number)
        self.stopped = True
        others = [client for client in self.clients if not client.gone]
        for client in others:  # more than one turn of the server, so that the drain finds some of it unread
            if client.part is None:
                with client.bearing_timeouts():
                    client.send(SINGLE["longer request"][0] * BURST)
                    client.owed += [SINGLE["longer request"][1]] * BURST
        for client in others:
            if not client.gone:
                client.peer.await_receipt()
        if not stopper.gone:
            with stopper.bearing_timeouts():
                stopper.finish_part()
                stopper.send(encode(FrameType.STOP, TOKEN.encode()) + SINGLE["request"][0])
                stopper.read_to_the_end((int(FrameType.STOPPED), b"closed="))
                self.seen["stop"] += 1
        if stopper.gone:
            self.server.begin_drain()
        for client in self.clients:
            if not client.gone:
                with client.bearing_timeouts():
                    client.read_to_the_end()

    @precondition(lambda self: self.stopped)
    @rule()
    def come_too_late(self) -> None:
        assert isinstance(self.server.address, TcpAddress)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((self.server.address.host, self.server.address.port))

    # What must hold after each step.

    @invariant()
    def serves_others(self) -> None:
        if not self.stopped:
            self.be_sane()
            assert set(threading.enumerate()) <= self.serving_threads

    def be_sane(self) -> None:
        peer = Live.connect(self.server)
        assert peer.ask("sane") == "enas"
        peer.close()

    def teardown(self) -> None:
        """Nothing stays behind: no thread, no descriptor."""
        if not hasattr(self, "server"):
            return
        for client in self.clients:
            client.peer.close()
        self.server.begin_drain()
        assert self.server.wait(20)
        assert self.server.stuck == 0
        Live.until(lambda: set(threading.enumerate()) <= self.threads)
        Live.until(lambda: _descriptors() == self.descriptors)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the number is wanted


@pytest.mark.req("REQ-ORDER-1", "REQ-ORDER-2", "REQ-FRAME-4", "REQ-ERROR-2", "REQ-ERROR-4", "REQ-ERROR-5")
@pytest.mark.req("REQ-ERROR-6", "REQ-ERROR-8", "REQ-ERROR-9", "REQ-CLOSE-1", "REQ-CLOSE-2", "REQ-TIME-1")
@pytest.mark.req("REQ-TIME-3", "REQ-STOP-3", "REQ-STOP-6", "REQ-STOP-7", "REQ-STOP-8", "REQ-STOP-10")
def test_a_live_server_agrees_with_the_model(
    connect: Connect, until: Callable[[Callable[[], object]], None], caplog: pytest.LogCaptureFixture
) -> None:
    Live.connect, Live.until = staticmethod(connect), staticmethod(until)
    Live.seen.clear()
    caplog.set_level(logging.WARNING)
    # Without shrinking, which takes minutes where each try waits for real deadlines.
    phases = set(Phase) - {Phase.shrink, Phase.explain}
    examples = max(1, settings().max_examples // 3)
    run_state_machine_as_test(
        Live, settings=settings(max_examples=examples, stateful_step_count=16, phases=phases)
    )
    faults = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert {record.exc_info[0] for record in faults if record.exc_info} <= {ValueError}
    # Runs in which little happens would show little.
    assert Live.seen.keys() >= {"part", "large", "half-close", "stop"}
    assert len(Live.seen.keys() & SINGLE.keys()) > len(SINGLE) / 2
