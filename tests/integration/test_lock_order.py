"""docs/locks.md names every lock of the server, and live servers take them in its order."""

from __future__ import annotations

import ast
import linecache
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, encode
from framelet_server.connection import channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Gate, Peer

    from framelet_server import Server

ROOT = Path(__file__).parents[2]

ROWS = re.findall(
    r"^\| `([\w.]+)` \| [^|]+ \| ([^|]+) \|$",
    (ROOT / "docs" / "locks.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
ORDER = [name for name, _ in ROWS]
ALLOWED = {
    name: set(ORDER[number + 1 :]) if cell == "all below" else set(re.findall(r"`([^`]+)`", cell))
    for number, (name, cell) in enumerate(ROWS)
}


def test_the_page_names_all_locks() -> None:
    found = set()
    for path in (ROOT / "server" / "framelet_server").rglob("*.py"):
        for klass in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(klass, ast.ClassDef):
                found |= {
                    f"{klass.name}.{line[1]}"
                    for line in re.finditer(
                        r"self\.(\w+)(?:: threading\.\w+)? = threading\.R?(?:Lock|Condition)",
                        ast.unparse(klass),
                    )
                }
    assert len(channel.LOCKS) > 1  # the channels share these
    assert found | {"Channel.lock"} == set(ORDER)


def test_the_order_has_no_circle() -> None:
    for number, name in enumerate(ORDER):
        assert ALLOWED[name] <= set(ORDER[number + 1 :]), name


class NamedLock:
    """A lock that takes down which others its thread holds already."""

    def __init__(self, name: str, make: Callable[[], Any], pairs: set[tuple[str, str]]) -> None:
        self.name, self.pairs, self.lock = name, pairs, make()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - as locks have it
        if not self.lock.acquire(blocking, timeout):
            return False
        held = HELD.__dict__.setdefault("names", [])
        self.pairs.update((outer, self.name) for outer in held)
        held.append(self.name)
        return True

    def release(self) -> None:
        HELD.names.remove(self.name)
        self.lock.release()

    def locked(self) -> bool:
        return bool(self.lock.locked())

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


HELD = threading.local()


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """Which locks of servers that are made from now on are taken inside which."""
    found: set[tuple[str, str]] = set()
    make_lock, make_condition = threading.Lock, threading.Condition

    def named() -> Any:
        """A named lock for the server, a plain one for all others."""
        frame = sys._getframe(2)
        if not frame.f_globals["__name__"].startswith("framelet_server."):
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        (attribute,) = re.findall(r"self\.(\w+)(?:: [\w.]+)? = ", line)
        return NamedLock(f"{type(frame.f_locals['self']).__name__}.{attribute}", make_lock, found)

    monkeypatch.setattr(
        channel, "LOCKS", [NamedLock("Channel.lock", make_lock, found) for _ in channel.LOCKS]
    )
    monkeypatch.setattr(threading, "Lock", lambda: named() or make_lock())
    monkeypatch.setattr(threading, "Condition", lambda lock=None: make_condition(named() or lock))
    return found


@pytest.mark.parametrize("threads", [1, 4])
def test_live_servers_take_locks_in_this_order(  # noqa: PLR0913, PLR0917 - fixtures
    pairs: set[tuple[str, str]],
    serve: Callable[..., Server],
    connect: Callable[..., Peer],
    gate: Gate,
    poller: Any,
    threads: int,
) -> None:
    def handler(text: str) -> Any:
        return b"no text" if text == "none" else gate(text)

    server = serve(handler, poller=poller, threads=threads, max_connections_per_address=4, frame_timeout=0.3)
    peers = [connect(server) for _ in range(4)]
    refused = connect(server)
    assert refused.error() == 507
    for _ in range(50):
        assert [peer.ask("ab") for peer in peers] == ["ba"] * 4
    silent, lost, stopper, other = peers
    lost.reset()
    if threads > 1:
        other.request("ab", "none", "block", "cd")
        gate.await_entry()
        assert stopper.ask("ab") == "ba"
        assert other.replies(1) == ["ba"]
        assert other.error() == 450  # early, and logged
        gate.open()
        assert other.replies(2) == ["kcolb", "dc"]
    silent.send(b"\x01")
    assert silent.error() == 504
    stopper.send(encode(FrameType.REQUEST, b"ab"), encode(FrameType.STOP))
    assert stopper.replies(1) == ["ba"]
    server.metrics()
    stopper.close()
    assert server.wait(20)
    assert ("Acceptor._lock", "Channel.lock") in pairs
    assert ("Channel.lock", "Timers._condition") in pairs
    assert sorted(pair for pair in pairs if pair[1] not in ALLOWED[pair[0]]) == []
