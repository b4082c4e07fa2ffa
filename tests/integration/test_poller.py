"""Both pollers keep the same promise: each readiness wakes one thread, once, until armed again."""

from __future__ import annotations

import queue
import select
import socket
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from framelet_server import EpollPoller, SelectorPoller
from framelet_server.net.poller import GONE

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framelet_server.net.poller import Poller

WAIT = 20.0
SHORT = 0.05
"""Seconds in which a wake-up that must not come would come."""


class Owner:
    """Something to be woken; never called, only compared."""


class Ready(NamedTuple):
    """Whose socket is ready, and whether its peer is gone altogether."""

    owner: object
    gone: bool


def look(poller: Poller, timeout: float, most: int) -> list[Ready]:
    """What a poller says, by owners, as a worker takes it."""
    return [
        Ready(poller.owners[number], mask & GONE > 0)
        for number, mask in poller.poll(timeout, most)
        if number in poller.owners
    ]


class Waiters:
    """Threads that wait, each again and again."""

    def __init__(self, poller: Poller, threads: int) -> None:
        self.woken: queue.SimpleQueue[Ready] = queue.SimpleQueue()
        self.poller = poller
        self.threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        while not self.poller.closed:
            for ready in look(self.poller, -1, 1):
                self.woken.put(ready)

    def next(self) -> Ready:
        return self.woken.get(timeout=WAIT)

    def nothing(self) -> bool:
        try:
            self.woken.get(timeout=SHORT)
        except queue.Empty:
            return True
        return False


@pytest.fixture
def waiters(poller: Any) -> Iterator[Waiters]:
    waiting = Waiters(poller(), threads=4)
    yield waiting
    waiting.poller.close()
    for thread in waiting.threads:
        thread.join(WAIT)
        assert not thread.is_alive()
    waiting.poller.release()


@pytest.fixture
def pair() -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    """Connected sockets: the one to watch, and its peer."""
    made: list[socket.socket] = []

    def make() -> tuple[socket.socket, socket.socket]:
        watched, peer = socket.socketpair()
        watched.setblocking(False)  # noqa: FBT003 - its only parameter
        made.extend((watched, peer))
        return watched, peer

    yield make
    for sock in made:
        sock.close()


Pair = "Callable[[], tuple[socket.socket, socket.socket]]"


def test_a_readiness_wakes_one_thread_once(waiters: Waiters, pair: Any) -> None:
    watched, peer = pair()
    owner = Owner()
    waiters.poller.add(watched, owner, read=True, write=False)
    assert waiters.nothing()
    peer.send(b"x")
    assert waiters.next().owner is owner
    peer.send(b"y")
    assert waiters.nothing(), "woken again without being armed"


def test_arming_tells_of_what_is_ready_already(waiters: Waiters, pair: Any) -> None:
    watched, peer = pair()
    owner = Owner()
    peer.send(b"x")
    waiters.poller.add(watched, owner, read=True, write=False)
    for _ in range(3):
        assert waiters.next().owner is owner
        waiters.poller.arm(watched, read=True, write=False)
    assert waiters.next().owner is owner


def test_keeping_tells_of_all_further_input_until_armed_for_nothing(poller: Any, pair: Any) -> None:
    polled = poller()
    (watched, peer), (other, _) = pair(), pair()
    owner, writer = Owner(), Owner()
    polled.add(watched, owner, read=False, write=False)
    polled.add(other, writer, read=False, write=False)
    stays = polled.keep(watched)
    for _ in range(3):
        peer.send(b"x")
        assert [ready.owner for ready in look(polled, -1, 9)] == [owner]
        watched.recv(1)
        if not stays:
            polled.keep(watched)
    polled.arm(watched, read=False, write=False)
    peer.send(b"x")
    polled.arm(other, read=False, write=True)
    assert [ready.owner for ready in look(polled, -1, 9)] == [writer]
    polled.close()
    polled.release()


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="the system has no epoll")
def test_a_client_that_another_thread_serves_wakes_a_worker_once(serve: Any, connect: Any) -> None:
    class Counting(EpollPoller):
        woken = 0

        def __init__(self) -> None:
            super().__init__()
            poll = self.poll

            def counting(timeout: float, most: int) -> list[tuple[int, int]]:
                ready = poll(timeout, most)
                self.woken += len(ready)
                return ready

            self.poll = counting

    poller = Counting()
    server = serve(poller=lambda: poller)
    held = connect(server)
    assert held.ask("ab") == "ba"
    channels: list[Any] = server._running().table.all()
    (channel,) = channels
    other = connect(server)
    assert [held.ask("ab"), other.ask("ab")] == ["ba", "ba"]
    until(lambda: not channel.owned)  # its turn is over
    with channel.lock:
        channel.owned = True
    try:
        before = poller.woken
        held.request("ab")
        for _ in range(50):
            assert other.ask("ab") == "ba"
        assert poller.woken - before < 60  # the liveness probe is among them
    finally:
        channel.release()
    assert held.replies(1) == ["ba"]


def test_what_is_ready_now_is_told_without_waiting(poller: Any, pair: Any) -> None:
    polled = poller()
    watched, peer = pair()
    owner = Owner()
    polled.add(watched, owner, read=True, write=False)
    assert look(polled, 0, 9) == []
    peer.send(b"x")
    assert [ready.owner for ready in look(polled, 0, 9)] == [owner]
    assert look(polled, 0, 9) == []
    polled.close()
    assert look(polled, 0, 9) == []
    assert look(polled, -1, 9) == []
    polled.release()


def test_nothing_is_told_of_a_direction_that_is_not_asked_for(waiters: Waiters, pair: Any) -> None:
    watched, peer = pair()
    owner = Owner()
    peer.send(b"x")
    waiters.poller.add(watched, owner, read=False, write=False)
    assert waiters.nothing()
    waiters.poller.arm(watched, read=False, write=True)
    assert waiters.next().owner is owner
    watched.recv(1)
    waiters.poller.arm(watched, read=True, write=False)
    assert waiters.nothing()


def test_arming_anew_replaces_what_was_asked_for(waiters: Waiters, pair: Any) -> None:
    watched, peer = pair()
    waiters.poller.add(watched, Owner(), read=True, write=False)
    waiters.poller.arm(watched, read=False, write=False)
    peer.send(b"x")
    assert waiters.nothing()


def test_the_end_of_the_stream_is_a_readiness(waiters: Waiters, pair: Any) -> None:
    watched, peer = pair()
    owner = Owner()
    waiters.poller.add(watched, owner, read=True, write=False)
    peer.shutdown(socket.SHUT_WR)
    assert waiters.next() == (owner, False)


def test_a_discarded_socket_is_closed_and_wakes_nobody(waiters: Waiters, pair: Any) -> None:
    watched, peer = pair()
    waiters.poller.add(watched, Owner(), read=True, write=False)
    waiters.poller.discard(watched)
    peer.settimeout(WAIT)
    assert peer.recv(1) == b"", "the peer does not see the end"
    assert waiters.nothing()
    assert watched.fileno() == -1


def test_a_number_that_is_used_again_belongs_to_the_new_socket(waiters: Waiters, pair: Any) -> None:
    watched, peer = pair()
    number = watched.fileno()
    waiters.poller.add(watched, Owner(), read=True, write=False)
    waiters.poller.discard(watched)
    peer.settimeout(WAIT)
    assert peer.recv(1) == b""
    new, new_peer = pair()
    assert number in (new.fileno(), new_peer.fileno()), "the system has not used the number again"
    owner = Owner()
    waiters.poller.add(new, owner, read=True, write=False)
    new_peer.send(b"x")
    assert waiters.next().owner is owner
    assert waiters.nothing()


def test_each_of_many_sockets_wakes_once(waiters: Waiters, pair: Any) -> None:
    pairs = [pair() for _ in range(200)]
    owners = [Owner() for _ in pairs]
    for (watched, _), owner in zip(pairs, owners, strict=True):
        waiters.poller.add(watched, owner, read=True, write=False)
    for _, peer in pairs:
        peer.send(b"x")
    woken = [waiters.next().owner for _ in pairs]
    assert {id(owner) for owner in woken} == {id(owner) for owner in owners}
    assert waiters.nothing()


def test_close_lets_every_thread_go(poller: Any) -> None:
    waiting = Waiters(poller(), threads=8)
    waiting.poller.close()
    for thread in waiting.threads:
        thread.join(WAIT)
        assert not thread.is_alive()
    assert look(waiting.poller, -1, 1) == []
    waiting.poller.close()
    waiting.poller.release()


def test_a_discard_after_close_still_closes_the_socket(poller: Any, pair: Any) -> None:
    watched, peer = pair()
    waiting = Waiters(poller(), threads=1)
    waiting.poller.add(watched, Owner(), read=True, write=False)
    waiting.poller.close()
    for thread in waiting.threads:
        thread.join(WAIT)
    waiting.poller.discard(watched)
    waiting.poller.release()
    peer.settimeout(WAIT)
    assert peer.recv(1) == b""


def test_what_is_discarded_just_before_the_end_is_closed_by_the_last_to_wait(pair: Any) -> None:
    # Otherwise it would stay open for as long as one thread does not come back from its work.
    watched, peer = pair()
    poller = SelectorPoller()
    poller.add(watched, Owner(), read=True, write=False)
    with poller._leading:  # as while a thread waits
        poller.discard(watched)
        poller.close()
    assert look(poller, -1, 1) == []
    peer.settimeout(WAIT)
    assert peer.recv(1) == b""
    poller.release()
