"""Handlers that block: whom they hold up (their own client, and nobody else), and for how long.

Nothing here is timed.  A handler blocks until the test lets it go on, so what arrives before that has arrived
while it blocked.
"""

from __future__ import annotations

import random
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import Frame, FrameType, encode
from framelet_server import ServerTls
from framelet_server.connection.channel import Channel
from framelet_server.observe import liveness
from framelet_server.pool import stall_detector
from framelet_server.service.calls import HandlerCalls
from framelet_server.service.handlers import LONG, MOST_AT_ONCE

from .peers import sessions
from .scripted import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from framelet_server import Server

    from .peers import Connect, Gate, Peer, Serve


APPLICATION = 0xC0
PING = encode(FrameType.PING)
PONG = Frame(FrameType.PONG, b"")
QUICK = 1_024
"""Calls at once from which a handler counts as quick."""

SMALL = (socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)


@pytest.fixture(autouse=True)
def _no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no worker woken but by clients: once a second the probe would, and hide that one was forgotten."""
    monkeypatch.setattr(liveness, "_EVERY", 1_000)


class Doors:
    """A handler that reverses.

    It blocks on each text that begins with "block" until that one is let go, and for a moment on "take long".
    """

    def __init__(self) -> None:
        self._entered = threading.Semaphore(0)
        self._doors: dict[str, threading.Event] = {}
        self._open = False

    def __call__(self, text: str) -> str:
        if text == "take long":
            threading.Event().wait(2 * LONG)
        elif text.startswith("block") and not self._open:
            door = self._doors.setdefault(text, threading.Event())
            self._entered.release()
            assert door.wait(2 * PATIENCE)
        return text[::-1]

    def await_entry(self) -> None:
        """Wait until one more call has begun to block."""
        assert self._entered.acquire(timeout=PATIENCE), "the handler was not called"

    def open(self, text: str) -> None:
        self._doors.setdefault(text, threading.Event()).set()

    def open_all(self) -> None:
        self._open = True
        for door in list(self._doors.values()):
            door.set()


@pytest.fixture
def doors(serve: Serve) -> Iterator[Doors]:
    """Doors that are opened at the latest before their server is stopped."""
    del serve
    handler = Doors()
    yield handler
    handler.open_all()


def frames(count: int, frame_type: int = FrameType.REQUEST, start: int = 0) -> list[bytes]:
    return [encode(frame_type, f"text {number}".encode()) for number in range(start, start + count)]


def texts(count: int, start: int = 0) -> list[str]:
    """The answers to ``frames``."""
    return [f"text {number}"[::-1] for number in range(start, start + count)]


def bodies(peer: Peer, count: int) -> list[str]:
    return [frame.body.decode() for frame in peer.take(count) if frame.type != FrameType.PONG]


def teach(server: Server, peer: Peer, frame_type: int = FrameType.REQUEST) -> None:
    """Let the server learn from thousands of calls that its handler is quick."""
    handlers = server._running().context.handlers
    service = handlers.request if frame_type == FrameType.REQUEST else handlers._applications[frame_type]
    while True:
        for _ in range(10):
            peer.send(*frames(200, frame_type))
            assert bodies(peer, 200) == texts(200)
        if (
            service.fixed or service.at_once >= QUICK
        ):  # on a busy machine a quick call takes long now and then
            return


@pytest.fixture(params=["awake", "asleep"])
def detector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], None]:
    """Have the stall detector awake, or asleep, from here on until something happens."""
    asleep = request.param == "asleep"
    # Else it is asleep by chance where the machine has paused for half a second.
    monkeypatch.setattr(stall_detector, "_QUIET", 5 if asleep else 1_000_000)

    def settle(server: Server) -> None:
        until(lambda: server._running().workers.detector.awake is not asleep)

    return settle


@pytest.fixture
def crowd(poller: Any, monkeypatch: pytest.MonkeyPatch) -> Crowd:
    """Has a worker take many clients in one wait."""
    return Crowd(poller, monkeypatch)


@pytest.fixture
def at_once(tmp_path: Path) -> str:
    """An address where what was sent has arrived when ``send`` returns."""
    return f"unix:{tmp_path / 'server.sock'}"


class Crowd:
    """Holds back a worker that is woken, and hands it all clients that are ready by the time it is let go."""

    def __init__(self, poller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.largest = 0
        """The most clients that a worker took in one wait."""
        self._collect, self._gate = threading.Event(), threading.Event()
        self._gate.set()
        self._woken, self._collected = threading.Semaphore(0), threading.Semaphore(0)
        begin = poller.__init__

        def gathering(made: Any) -> None:
            begin(made)
            inner = made.poll

            def poll(timeout: float, most: int) -> Any:
                ready = inner(timeout, most)
                if ready and not self._gate.is_set():
                    self._woken.release()
                    assert self._collect.wait(PATIENCE)
                    if most > len(ready):
                        ready += [each for each in inner(0, most - len(ready)) if each not in ready]
                    self._collected.release()
                    assert self._gate.wait(PATIENCE)
                self.largest = max(self.largest, len(ready))
                return ready

            made.poll = poll

        monkeypatch.setattr(poller, "__init__", gathering)

    def gather(self, trigger: Peer) -> None:
        """Have a worker woken by a client, and hold it back."""
        self._collect.clear()
        self._gate.clear()
        trigger.request("trigger")
        assert self._woken.acquire(timeout=PATIENCE), "no worker was woken"

    def collect(self) -> None:
        """Have it take all clients that are ready now, and hold it back still."""
        self._collect.set()
        assert self._collected.acquire(timeout=PATIENCE)

    def let_go(self) -> None:
        self._collect.set()
        self._gate.set()


# A handler that blocks for the first time.


def test_other_clients_are_served(
    serve: Serve, connect: Connect, gate: Gate, poller: Any, detector: Callable[[Server], None]
) -> None:
    server = serve(gate, poller=poller)
    blocked, other, third = (connect(server) for _ in range(3))
    assert [other.ask("ab"), third.ask("ab")] == ["ba"] * 2
    teach(server, blocked)
    detector(server)
    blocked.request("block")
    gate.await_entry()
    for _ in range(3):
        assert other.ask("ab") == "ba"
        assert third.ask("ab") == "ba"
    assert connect(server).ask("ab") == "ba"  # one that comes now
    gate.open()
    assert blocked.replies(1) == ["kcolb"]
    until(lambda: server.metrics().threads_active <= 2)
    assert [peer.ask("ab") for peer in (blocked, other, third)] == ["ba"] * 3


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_clients_that_were_read_in_the_same_wait_are_served(  # noqa: PLR0913, PLR0917 - fixtures
    serve: Serve,
    connect: Connect,
    gate: Gate,
    crowd: Crowd,
    poller: Any,
    at_once: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stall_detector, "_QUIET", 1_000_000)  # one worker serves all
    server = serve(gate, address=at_once, poller=poller, threads=3)
    trigger = connect(server)
    peers = [connect(server) for _ in range(30)]
    assert [peer.ask("ab") for peer in peers] == ["ba"] * 30
    teach(server, trigger)
    until(lambda: server.metrics().threads_active == 1)
    # The worker that blocks has answers to send for those before it, and has not read those after it.
    blocked = peers.pop({"first": 0, "middle": 15, "last": -1}[place])
    relieved = server.metrics().threads_held_up
    crowd.gather(trigger)
    order = [*peers]
    order.insert({"first": 0, "middle": 15, "last": len(peers)}[place], blocked)
    for number, peer in enumerate(order):
        peer.request("block" if peer is blocked else f"text {number}")
    crowd.let_go()
    gate.await_entry()
    assert trigger.replies(1) == ["reggirt"]
    for number, peer in enumerate(order):
        if peer is not blocked:
            assert peer.replies(1) == texts(1, number)
    assert crowd.largest > 20  # of 31, as a second worker may still have been active
    until(lambda: server.metrics().threads_held_up > relieved)
    gate.open()
    assert blocked.replies(1) == ["kcolb"]
    until(lambda: server.metrics().threads_active == 1)
    assert [peer.ask("ab") for peer in order] == ["ba"] * 30


@pytest.fixture(params=["tcp", "tls", "unix"])
def started(  # noqa: PLR0913, PLR0917 - fixtures
    request: pytest.FixtureRequest,
    serve: Serve,
    connect: Connect,
    connect_tls: Connect,
    certificates: Any,
    tmp_path: Path,
) -> Callable[..., tuple[Server, Peer]]:
    """Start a server of each kind, and connect to it."""

    def start(*args: Any, **keywords: Any) -> tuple[Server, Peer]:
        if request.param == "tls":
            server = serve(*args, tls=ServerTls(certificates.server), **keywords)
            return server, connect_tls(server)
        if request.param == "unix":
            keywords["address"] = f"unix:{tmp_path / 'server.sock'}"
        server = serve(*args, **keywords)
        return server, connect(server)

    return start


@pytest.mark.parametrize("kind", ["requests", "with PINGs", "application"])
def test_answers_before_it_leave_meanwhile(
    started: Callable[..., tuple[Server, Peer]],
    gate: Gate,
    poller: Any,
    detector: Callable[[Server], None],
    kind: str,
) -> None:
    frame_type = APPLICATION if kind == "application" else int(FrameType.REQUEST)
    server, peer = started(gate, poller=poller, handlers={APPLICATION: gate})
    teach(server, peer, frame_type)
    detector(server)
    relieved = server.metrics().threads_held_up
    between = [PING] if kind == "with PINGs" else []
    peer.send(
        *frames(50, frame_type),
        *between,
        *frames(50, frame_type, 50),
        encode(frame_type, b"block"),
        *frames(50, frame_type),
        *between,
        *frames(50, frame_type, 50),
    )
    gate.await_entry()
    assert bodies(peer, 100 + len(between)) == texts(100)
    gate.open()
    assert bodies(peer, 101 + len(between)) == ["kcolb", *texts(100)]
    until(lambda: server.metrics().threads_active <= 2)
    if kind == "requests":  # a single call can take long by chance, and is counted as one that may then
        until(lambda: server.metrics().threads_held_up > relieved)
    assert peer.ask("ab") == "ba"


@pytest.mark.parametrize("known", [True, None])
@pytest.mark.parametrize("place", ["in the same read", "in the next read"])
def test_answers_before_it_leave_when_there_is_room_for_them(  # noqa: PLR0913 - fixtures
    serve: Serve,
    connect: Connect,
    gate: Gate,
    poller: Any,
    detector: Callable[[Server], None],
    *,
    place: str,
    known: bool | None,
) -> None:
    # The client reads nothing at first, and its socket holds less than the answers.
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    server = serve(gate, address=None, sockets=[listener], poller=poller, blocking=known)
    peer = connect(server, SMALL)
    assert peer.ask("ab") == "ba"
    (session,) = sessions(server)
    other = connect(server)
    teach(server, other)
    detector(server)
    texts = [f"{number:300}" for number in range(100)]
    if place == "in the same read":
        peer.request(*texts, "block", *texts)
        gate.await_entry()
        until(lambda: session.transport.unsent)
    else:
        peer.request(*texts)
        until(lambda: session.transport.unsent)
        peer.request("block", *texts)
        gate.await_entry()
    assert other.ask("ab") == "ba"
    assert peer.replies(100) == [text[::-1] for text in texts]
    gate.open()
    assert peer.replies(101) == ["kcolb", *(text[::-1] for text in texts)]


# As many at once as there are threads.


def test_as_many_block_as_there_are_threads(
    serve: Serve, connect: Connect, doors: Doors, poller: Any, detector: Callable[[Server], None]
) -> None:
    server = serve(doors, poller=poller, threads=8)
    peers = [connect(server) for _ in range(8)]
    ninth = connect(server)
    teach(server, ninth)
    detector(server)
    for number, peer in enumerate(peers):
        peer.request(f"block {number}")
    for _ in peers:
        doors.await_entry()
    assert server.metrics().threads_busy == 8
    ninth.request("ab")
    ninth.await_receipt()
    doors.open("block 3")
    assert ninth.replies(1) == ["ba"]
    assert peers[3].replies(1) == ["3 kcolb"]
    doors.open_all()
    for number, peer in enumerate(peers):
        if number != 3:
            assert peer.replies(1) == [f"{number} kcolb"]
    until(lambda: server.metrics().threads_active <= 2)
    assert [peer.ask("ab") for peer in peers] == ["ba"] * 8


def test_the_others_stand_by_again_though_there_is_no_rest(
    serve: Serve, connect: Connect, doors: Doors, poller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "_EVERY", 0.01)
    monkeypatch.setattr(stall_detector, "_OFTEN", -2)  # however little goes on, it is not little
    server = serve(handlers={APPLICATION: doors}, poller=poller, threads=6)
    workers = server._running().workers
    peers = [connect(server) for _ in range(5)]
    for round_ in range(3):
        for number, peer in enumerate(peers):
            peer.send(encode(APPLICATION, f"block {round_} {number}".encode()))
            doors.await_entry()
        assert workers.granted >= 5
        assert workers._permits.qsize() <= 6
        for number, peer in enumerate(peers):
            doors.open(f"block {round_} {number}")
            peer.take(1)

        def is_back() -> bool:
            peers[0].send(*frames(10, APPLICATION))
            peers[0].take(10)
            return workers.granted <= 2

        until(is_back)
        until(lambda: workers.active + workers._permits.qsize() == workers.granted)


def test_the_last_thread_that_blocks_leaves_what_it_had_taken_on_to_the_first_that_returns(  # noqa: PLR0913, PLR0917 - fixtures
    serve: Serve,
    connect: Connect,
    doors: Doors,
    crowd: Crowd,
    poller: Any,
    at_once: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stall_detector, "_QUIET", 1_000_000)
    server = serve(doors, address=at_once, poller=poller, threads=2)
    first, second, trigger = (connect(server) for _ in range(3))
    peers = [connect(server) for _ in range(10)]
    assert [peer.ask("ab") for peer in (first, second, *peers)] == ["ba"] * 12
    teach(server, trigger)
    first.request("block 1")
    doors.await_entry()
    teach(server, trigger)  # by now it counts as one that blocks
    crowd.gather(trigger)
    for peer in (*peers[:5], second, *peers[5:]):
        peer.request("block 2" if peer is second else "ab")
    crowd.let_go()
    doors.await_entry()
    doors.open("block 1")
    assert [peer.replies(1) for peer in peers] == [["ba"]] * 10
    assert first.replies(1) == ["1 kcolb"]
    assert trigger.replies(1) == ["reggirt"]
    doors.open("block 2")
    assert second.replies(1) == ["2 kcolb"]


def test_what_it_had_taken_on_while_the_detector_fell_asleep_is_left_to_the_worker_that_waits(  # noqa: PLR0913, PLR0917 - fixtures
    serve: Serve,
    connect: Connect,
    gate: Gate,
    crowd: Crowd,
    poller: Any,
    at_once: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stall_detector, "_QUIET", 5)
    server = serve(gate, address=at_once, poller=poller, threads=2)
    trigger, blocked = connect(server), connect(server)
    peers = [connect(server) for _ in range(10)]
    assert [peer.ask("ab") for peer in (blocked, *peers)] == ["ba"] * 11
    teach(server, trigger)
    detector = server._running().workers.detector
    crowd.gather(trigger)  # by a worker that serves all
    for peer in (*peers[:5], blocked, *peers[5:]):
        peer.request("block" if peer is blocked else "ab")
    crowd.collect()
    until(lambda: not detector.awake)
    until(lambda: server.metrics().threads_active == 2)  # the other one waits, and nobody stands by
    crowd.let_go()
    gate.await_entry()
    assert trigger.replies(1) == ["reggirt"]
    assert [peer.replies(1) for peer in peers] == [["ba"]] * 10
    gate.open()
    assert blocked.replies(1) == ["kcolb"]


@pytest.mark.parametrize("threads", [1, 2])
def test_answers_of_others_leave_even_where_all_threads_are_held_up(  # noqa: PLR0913, PLR0917 - fixtures
    serve: Serve,
    connect: Connect,
    doors: Doors,
    crowd: Crowd,
    poller: Any,
    at_once: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    threads: int,
) -> None:
    monkeypatch.setattr(stall_detector, "_QUIET", 1_000_000)
    server = serve(doors, address=at_once, poller=poller, threads=threads)
    trigger = connect(server)
    peers = [connect(server) for _ in range(10)]
    blocked = [connect(server) for _ in range(threads)]
    assert [peer.ask("ab") for peer in (*peers, *blocked)] == ["ba"] * (10 + threads)
    for number, peer in enumerate(blocked[:-1]):
        peer.request(f"block {number}")
        doors.await_entry()
    teach(server, trigger)
    crowd.gather(trigger)
    for peer in (*peers[:5], blocked[-1], *peers[5:]):
        peer.request("block" if peer is blocked[-1] else "ab")
    crowd.let_go()
    doors.await_entry()
    assert trigger.replies(1) == ["reggirt"]
    assert [peer.replies(1) for peer in peers[:5]] == [["ba"]] * 5  # they had been read before it
    doors.open_all()
    assert [peer.replies(1) for peer in peers[5:]] == [["ba"]] * 5
    assert blocked[-1].replies(1) == ["kcolb"]
    assert [peer.ask("ab") for peer in peers] == ["ba"] * 10


def test_a_client_whose_answers_are_being_sent_for_it_at_the_end_is_let_go(
    serve: Serve, connect: Connect
) -> None:
    """The stall detector has it in hand while the last worker lets go of what is left, and puts it back."""
    server = serve()
    peer = connect(server)
    assert peer.ask("ab") == "ba"
    parts = server._running()
    [channel] = parts.table.all()
    assert isinstance(channel, Channel)
    until(lambda: not channel.owned)
    channel.owned = True  # by a worker that is held up
    server.begin_drain()
    server.force()
    until(lambda: all(worker.done() for worker in server._workers))
    assert server.metrics().connections_open == 1
    parts.workers._left.append(channel)
    parts.workers.send_left(0.0)
    assert server.metrics().connections_open == 0


# A handler that is known to block.


@pytest.mark.parametrize("known", ["told", "learned"])
@pytest.mark.parametrize("kind", ["requests", "with PINGs"])
def test_where_it_is_known_each_answer_leaves_before_the_next_call(  # noqa: PLR0913 - fixtures
    serve: Serve,
    connect: Connect,
    doors: Doors,
    poller: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    known: str,
    kind: str,
) -> None:
    monkeypatch.setattr(HandlerCalls, "send_early", lambda *_: None)  # there is nothing to be rescued
    server = serve(doors, poller=poller, threads=3, blocking=True if known == "told" else None)
    peer, other = connect(server), connect(server)
    assert other.ask("ab") == "ba"
    if known == "learned":
        assert peer.ask("take long") == "gnol ekat"
    assert server.metrics().handler_calls_at_once == 1
    between = [PING] if kind == "with PINGs" else []
    requests = [encode(FrameType.REQUEST, f"block {number}".encode()) for number in range(5)]
    peer.send(*(piece for request in requests for piece in (request, *between)))
    for number in range(5):
        doors.await_entry()
        assert other.ask("ab") == "ba"
        if number:
            assert bodies(peer, 1 + len(between)) == [f"{number - 1} kcolb"]
        threading.Event().wait(2 * LONG)  # else it is a quick call
        doors.open(f"block {number}")
    assert bodies(peer, 1 + len(between)) == ["4 kcolb"]
    until(lambda: server.metrics().threads_active <= 2)
    if known == "told":  # else it counts as quick after some of the calls
        assert server.metrics().threads_held_up == 0


def test_told_to_be_quick_it_is_taken_at_its_word_but_still_rescued(
    serve: Serve, connect: Connect, doors: Doors, poller: Any
) -> None:
    server = serve(doors, poller=poller, blocking=False)
    peer, other = connect(server), connect(server)
    assert other.ask("ab") == "ba"
    peer.request("a", "b", "block", "c")
    doors.await_entry()
    assert peer.replies(2) == ["a", "b"]
    assert other.ask("ab") == "ba"
    doors.open("block")
    assert peer.replies(2) == ["kcolb", "c"]
    until(lambda: server.metrics().threads_active <= 2)
    assert server.metrics().handler_calls_at_once == MOST_AT_ONCE


def test_how_many_calls_are_made_at_once_follows_the_handler(
    serve: Serve, connect: Connect, doors: Doors, poller: Any
) -> None:
    server = serve(doors, poller=poller)
    peer = connect(server)
    assert server.metrics().handler_calls_at_once == 1  # nothing is known yet
    for _ in range(2):
        teach(server, peer)
        assert server.metrics().handler_calls_at_once >= QUICK
        assert peer.ask("take long") == "gnol ekat"
        assert server.metrics().handler_calls_at_once == 1


def test_told_to_block_it_is_never_called_for_several_at_once(
    serve: Serve, connect: Connect, doors: Doors
) -> None:
    server = serve(doors, blocking=True)
    peer = connect(server)
    for _ in range(10):
        peer.send(*frames(200))
        assert bodies(peer, 200) == texts(200)
    assert server.metrics().handler_calls_at_once == 1


# A handler that fails in the middle of a batch.


class Strange(str):
    """A text that says another length than it has."""

    __slots__ = ()

    def __len__(self) -> int:
        return 0


class Raising:
    """What raises when it is looked at."""

    def __len__(self) -> int:
        raise RuntimeError("not even this works")


class RaisingText(str):
    __slots__ = ()

    def __len__(self) -> int:
        raise RuntimeError("not even this works")


RETURNED: dict[str, Any] = {
    "None": None,
    "octets": b"octets",
    "a number": 5,
    "a class": str,
    "a list": ["text"],
    "something strange": Raising(),
    "a lone surrogate": "lone \ud800 surrogate",
    "too large": "x" * 65_537,
    "too many octets": "\u00e9" * 40_000,
    "just right": "x" * 65_536,
    "empty": "",
    "a subclass": Strange("a text"),
    "a strange text": RaisingText("another"),
}

RAISED: dict[str, type[BaseException]] = {
    error.__name__: error for error in (ValueError, SystemExit, KeyboardInterrupt, MemoryError)
}

KINDS = [*RETURNED, *RAISED]


def failing(text: str) -> Any:
    """Do what the text says; reverse it where it says nothing."""
    if text in RAISED:
        raise RAISED[text]  # a new one each time
    return RETURNED.get(text, text[::-1])


def expected(text: str) -> tuple[int, bytes]:
    """The answer to a text, or the code of the ERROR in its place."""
    if text in RAISED:
        return FrameType.ERROR, b"450"
    answer = RETURNED.get(text, text[::-1])
    if not isinstance(answer, str):
        return FrameType.ERROR, b"450"
    try:
        body = str.encode(answer)
    except UnicodeEncodeError:
        return FrameType.ERROR, b"450"
    return (FrameType.ERROR, b"451") if len(body) > 65_536 else (FrameType.REPLY, body)


def told(frame: Frame) -> tuple[int, bytes]:
    """What ``expected`` says of a frame."""
    return frame.type, frame.body[:3] if frame.type == FrameType.ERROR else frame.body


@pytest.mark.req("REQ-ORDER-2", "REQ-ERROR-4")
@pytest.mark.parametrize("known", [True, False, None])
@pytest.mark.parametrize("kind", KINDS)
def test_one_call_that_fails_costs_its_own_answer_wherever_it_stands(
    serve: Serve, connect: Connect, kind: str, *, known: bool | None
) -> None:
    peer = connect(serve(failing, max_body=65_536, blocking=known))
    ordinary = [f"text {number}" for number in range(7)]
    batches = [
        [kind],
        [kind, *ordinary],
        [*ordinary[:3], kind, *ordinary[3:]],
        [*ordinary, kind],
        [kind, *ordinary, kind, kind, *ordinary, kind],
    ]
    for batch in batches:
        peer.request(*batch)
        assert [told(frame) for frame in peer.take(len(batch))] == [expected(text) for text in batch]


@pytest.mark.req("REQ-ORDER-2", "REQ-ERROR-4")
def test_any_mixture_of_calls_that_fail(serve: Serve, connect: Connect) -> None:
    server = serve(failing, max_body=65_536)
    peer = connect(server)
    choice = random.Random(9)  # noqa: S311 - the same each time
    for _ in range(150):
        batch = [
            choice.choice(KINDS) if choice.random() < 0.2 else f"text {number}"
            for number in range(choice.randrange(1, 60))
        ]
        peer.request(*batch)
        assert [told(frame) for frame in peer.take(len(batch))] == [expected(text) for text in batch]
    assert server.metrics().connections_ended == {}


def test_answers_that_are_none_do_not_keep_the_others_from_being_rescued(
    serve: Serve, connect: Connect, gate: Gate, poller: Any
) -> None:
    def handler(text: str) -> Any:
        return gate(text) if text.startswith("block") else failing(text)

    server = serve(handler, poller=poller, threads=len(KINDS) + 2)
    other = connect(server)
    for kind in KINDS:
        peer = connect(server)
        teach(server, peer)
        peer.request("a", kind, "block", "b")
        gate.await_entry()
        assert other.ask("ab") == "ba"
    # The detector has seen all of them, and still does its work.
    last = connect(server)
    teach(server, other)
    last.request("a", "block", "b")
    gate.await_entry()
    assert last.replies(1) == ["a"]


# Much is asked for, and nothing read.


@pytest.mark.req("REQ-FLOW-1")
@pytest.mark.parametrize(
    "known", [*(pytest.param(known, marks=pytest.mark.slow) for known in (True, False)), None]
)
def test_large_answers_to_a_client_that_does_not_read_stay_bounded(
    serve: Serve, connect: Connect, *, known: bool | None
) -> None:
    large, many, megabyte = 300, 10_000, 1 << 20
    called = 0

    def handler(text: str) -> str:
        nonlocal called
        called += 1
        return text * (megabyte // len(text) if called <= large else 1)

    server = serve(handler, blocking=known)
    peer = connect(server)
    assert len(peer.ask("x")) == megabyte
    (session,) = sessions(server)
    other = connect(server)
    asked = [f"{number:08}" for number in range(many)]
    peer.request(*asked)
    until(lambda: session._paused and session.transport.unsent)
    assert called < 20  # the system holds a few MiB, and the server two or three
    assert server.metrics().memory_bytes < 4 * megabyte
    assert len(other.ask("x")) == megabyte
    assert called < 20
    for number, text in enumerate(asked):
        answer = peer.replies(1)[0]
        assert answer == text * (len(answer) // len(text)), f"answer {number}"
        assert server.metrics().memory_bytes < 4 * megabyte or number > large
    assert called == many + 2
    until(lambda: server.metrics().memory_bytes == 0)
