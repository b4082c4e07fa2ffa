"""A worker stays awake for the next client where that pays off, and sleeps where it does not."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, cast

import pytest

from framelet_client import Client, ClientLimits
from framelet_server.net.busy_poll import BusyPoll

if TYPE_CHECKING:
    from collections.abc import Iterator

    from framelet_server.net.poller import Poller

SECONDS = 0.002
LONG = 20.0


class Watched:
    """A poller of either kind with one socket that is ready always, or only once a worker sleeps."""

    def __init__(self, kind: Any) -> None:
        self.poller = kind()
        self.polls = self.sleeps = 0
        self.on_time = False
        self.sock, self.peer = socket.socketpair()
        self.poller.add(self.sock, self, read=False, write=False)

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        if timeout == 0:
            self.polls += 1
        else:
            self.sleeps += 1
        if timeout or self.on_time:
            self._arm()
        found: list[tuple[int, int]] = self.poller.poll(timeout, most)
        return found

    def _arm(self) -> None:
        self.poller.arm(self.sock, read=False, write=True)

    def busy(self, seconds: float) -> BusyPoll:
        """What waits here, with what it does counted."""
        return BusyPoll(cast("Poller", self), 9, seconds)


@pytest.fixture
def watched(poller: Any) -> Iterator[Watched]:
    made = Watched(poller)
    yield made
    made.poller.close()
    made.poller.release()
    made.sock.close()
    made.peer.close()


def test_it_does_not_sleep_while_clients_come_in_time(watched: Watched) -> None:
    watched.on_time = True
    busy = watched.busy(LONG)
    for _ in range(10):
        assert len(busy.wait()) == 1
    assert (watched.polls, watched.sleeps) == (10, 0)


def test_it_sleeps_ever_longer_where_nobody_comes_in_time(watched: Watched) -> None:
    busy = watched.busy(SECONDS)
    tried = []
    for number in range(40):
        before = watched.polls
        assert len(busy.wait()) == 1
        if watched.polls > before:
            tried.append(number)
    assert tried == [0, 3, 8, 17, 34]
    assert watched.sleeps == 40


def test_it_is_tried_at_once_again_where_it_has_paid_off(watched: Watched) -> None:
    busy = watched.busy(SECONDS)
    for _ in range(8):
        busy.wait()
    watched.on_time = True
    assert (len(busy.wait()), watched.sleeps) == (1, 8)
    watched.on_time = False
    busy.wait()
    busy.wait()
    busy.wait()
    before = watched.polls
    busy.wait()
    assert watched.polls > before


def test_nothing_is_tried_where_that_is_not_wanted(watched: Watched) -> None:
    busy = watched.busy(0.0)
    busy.wait()
    assert (watched.polls, watched.sleeps) == (0, 1)


def test_it_ends_with_the_poller(watched: Watched) -> None:
    watched.poller.close()
    found = BusyPoll(watched.poller, 9, SECONDS).wait()
    assert [number for number, _ in found if number in watched.poller.owners] == []


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_a_server_and_a_client_either_way(serve: Any, poller: Any, seconds: float) -> None:
    server = serve(poller=poller, busy_poll=seconds)
    with Client(*server.address, limits=ClientLimits(busy_poll=seconds)) as client:
        assert [client.request(text) for text in ("ab", "cd")] == ["ba", "dc"]
        assert list(client.pipeline(["ab", "cd"])) == ["ba", "dc"]
