"""Which locks are held while another one is taken, seen in a busy server: no more than is written here."""

from __future__ import annotations

import graphlib
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, encode
from framelet_server import Server, ServerLimits, StopPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from .peers import Peer

    Connect = Callable[..., Peer]

ORDER: dict[str, set[str]] = {
    # Held while clients are let in, so that none comes in behind ``close``.
    "Acceptor": {
        "Admission",
        "Channel",
        "ConnectionTable",
        "Drain",
        "LogLimit",
        "MemoryBudget",
        "SelectorPoller",
        "Timers",
    },
    # Held while the parts are made, and while they are seen off.
    "Server": {"Histogram", "LivenessProbe", "LogLimit", "SelectorPoller", "Timers"},
    "Channel": {"SelectorPoller", "Timers"},
    "Drain": {"ConnectionTable"},
    "LivenessProbe": {"SelectorPoller"},
    # Under these no other is taken: under the lock of the calls a socket is written, and nothing else.
    "HandlerCalls": set(),
    "Admission": set(),
    "ConnectionTable": set(),
    "Histogram": set(),
    "LogLimit": set(),
    "MemoryBudget": set(),
    "SelectorPoller": set(),
    "StallDetector": set(),
    "StopControl": set(),
    "Timers": set(),
}
"""For the lock of each class, those of other objects that may be taken while it is held."""


class Record:
    """Which locks, by the classes that they belong to, were taken under which."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()
        self.taken: set[str] = set()
        self._held = threading.local()

    def takes(self, name: str) -> None:
        held: list[str] = self._held.__dict__.setdefault("names", [])
        self.taken.add(name)
        self.seen.update((above, name) for above in held)
        held.append(name)

    def releases(self, name: str) -> None:
        held: list[str] = self._held.names
        del held[len(held) - 1 - held[::-1].index(name)]


class RecordedLock:
    """A lock that says when a thread has it."""

    def __init__(self, lock: Any, name: str, record: Record) -> None:
        self._lock, self._name, self._record = lock, name, record
        self.locked = getattr(lock, "locked", None)
        self._is_owned = getattr(lock, "_is_owned", None)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - as the lock has it
        taken: bool = self._lock.acquire(blocking, timeout)
        if taken:
            self._record.takes(self._name)
        return taken

    def release(self) -> None:
        self._record.releases(self._name)
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    # What a condition needs of a lock that may be taken twice.

    def _release_save(self) -> Any:
        self._record.releases(self._name)
        return self._lock._release_save()

    def _acquire_restore(self, state: Any) -> None:
        self._lock._acquire_restore(state)
        self._record.takes(self._name)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Records the locks that the server's objects make from here on."""
    record = Record()

    def recorded(make: Callable[[], Any]) -> Callable[[], Any]:
        def made() -> Any:
            frame: Any = sys._getframe(1)
            while frame.f_globals["__name__"] == "threading":
                if isinstance(frame.f_locals["self"], threading.Event):
                    return make()  # nobody takes another one under it
                frame = frame.f_back
            owner = type(frame.f_locals.get("self"))
            ours = owner.__module__.startswith("framelet_server")
            return RecordedLock(make(), owner.__name__, record) if ours else make()

        return made

    monkeypatch.setattr(threading, "Lock", recorded(threading.Lock))
    monkeypatch.setattr(threading, "RLock", recorded(threading.RLock))
    return record


def test_locks_are_taken_in_one_order_only(record: Record, connect: Connect, until: Any, poller: Any) -> None:
    def handler(text: str) -> str:
        if text == "block":
            threading.Event().wait(0.03)
        if text == "fail":
            raise ValueError(text)
        return text * 50_000 if text == "large" else text[::-1]

    limits = ServerLimits(
        threads=3,
        max_connections=20,
        max_memory=3_000_000,
        max_unsent=2_000_000,
        write_timeout=0.5,
        idle_timeout=1.0,
        frame_timeout=0.2,
        drain_timeout=0.5,
        linger_timeout=0.2,
    )
    server = Server(
        ("127.0.0.1", 0), handler, limits=limits, poller=poller, stop_policy=StopPolicy.with_token("token")
    )
    with server:
        peers = [connect(server) for _ in range(10)]
        for _ in range(30):
            for peer in peers:
                peer.request("ab", "cd")
            assert [peer.replies(2) for peer in peers] == [["ba", "dc"]] * 10
        # Handlers that block, alone and among others, and fail; a wrong token.
        peers[0].request(*["ab"] * 100, "block", *["ab"] * 100)
        peers[1].request("block", "fail")
        peers[2].send(encode(FrameType.STOP, b"wrong"))
        assert len(peers[0].take(201)) == 201
        peers[1].take(2)
        assert peers[2].error() == 403
        # More than may come in; clients that go, break a rule, or are too slow.
        crowd = [connect(server) for _ in range(15)]
        until(lambda: server.metrics().refusals)
        crowd[0].reset()
        crowd[1].send(encode(0x00))
        crowd[2].send(encode(FrameType.REQUEST, b"ab")[:-1])
        crowd[3].end()
        until(lambda: server.metrics().connections_ended.keys() >= {"lost", "client"})
        # Those that read nothing are shed, or given up.
        for peer in peers[3:6]:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            peer.request(*["large"] * 60)
        until(lambda: server.metrics().shed)
        # The drain, by STOP and by the program, and cut short.
        for peer in peers[7:9]:
            peer.send(encode(FrameType.PING), encode(FrameType.STOP, b"token"))
        server.begin_drain()
    allowed = {(above, below) for above, names in ORDER.items() for below in names}
    assert record.seen - allowed == set()
    assert record.taken >= ORDER.keys() - {"SelectorPoller"}
    assert {("Channel", "Timers"), ("Acceptor", "Channel"), ("Drain", "ConnectionTable")} <= record.seen


def test_the_order_has_no_circle() -> None:
    graphlib.TopologicalSorter(ORDER).prepare()  # raises CycleError
