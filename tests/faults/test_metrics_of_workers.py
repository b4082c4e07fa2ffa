"""Metrics and health of several processes at one address, while these die, stand still, reload and drain."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.test_observability import endpoint_of, get, series

from .children import lives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Command, Peer

    from .children import Pool

    Start = Callable[..., Pool]
    Until = Callable[[Callable[[], object]], None]

QUICK = 15.0
"""Seconds within which a page comes, whatever the processes do; half a second on a machine that is free."""

IMPATIENT = "from framelet_server.process import overview\noverview.SILENCE = 1.5"
"""As of ``framelet_server.observe.liveness``, of which a test has no ten seconds."""

SLOW_RELOAD = """
import pathlib, time
from framelet_server.cli import command
def reload():
    while not pathlib.Path("reload").exists():
        time.sleep(0.001)
command._ON_RELOAD = reload
"""


class Scraped:
    """A pool of two with an endpoint."""

    def __init__(self, pool: Start, *arguments: str, **keywords: Any) -> None:
        self.pool = pool("--metrics", "0", *arguments, **keywords)
        self.where = endpoint_of(self.pool.server)

    def page(self) -> dict[str, float]:
        began = time.monotonic()
        status, text = get(self.where, "/metrics")
        assert (status, time.monotonic() - began < QUICK) == (200, True)
        return series(text)

    def each(self, name: str) -> list[float]:
        """The values of both workers."""
        page = self.page()
        return [page[f"framelet_worker_{name}[{worker}]"] for worker in (1, 2)]

    def frames(self) -> float:
        return self.page()["framelet_frames_total"]


@pytest.fixture
def watched() -> Iterator[Callable[[Scraped], list[dict[str, float]]]]:
    """Scrape again and again until the test ends; the pages, of which none may fall behind the one before."""
    ended = threading.Event()
    pages: list[dict[str, float]] = []
    threads: list[threading.Thread] = []
    failures: list[BaseException] = []

    def watch(scraped: Scraped) -> list[dict[str, float]]:
        def scrape() -> None:
            try:
                while not ended.is_set():
                    pages.append(scraped.page())
            except BaseException as error:  # noqa: BLE001 - raised again below
                failures.append(error)

        threads.append(threading.Thread(target=scrape))
        threads[-1].start()
        return pages

    yield watch
    ended.set()
    for thread in threads:
        thread.join(20)
    assert failures == []
    for before, after in itertools.pairwise(pages):
        for name in before:
            if any(part in name for part in ("_total", "_count", "_sum", "_bucket")):
                assert after[name] >= before[name], name


def test_the_sums_are_of_all_workers_and_stay_when_these_are_replaced(
    pool: Start, until: Until, watched: Callable[[Scraped], list[dict[str, float]]]
) -> None:
    scraped = Scraped(pool)
    children = scraped.pool
    pages = watched(scraped)
    killed = next(iter(children.peers))
    assert scraped.each("up") == [1, 1]
    assert (
        scraped.page()["framelet_connections_open"]
        == children.clients
        == sum(scraped.each("connections_open"))
    )

    before = scraped.frames()
    for peer in children.peers.values():
        for _ in range(10):
            peer.ask("ab")
    # What the killed one has counted by now is known, once it was asked after the last of them.
    until(lambda: scraped.frames() == before + 20)
    os.kill(killed, signal.SIGKILL)
    until(lambda: sum(scraped.each("restarts_total")) == 1)
    until(lambda: scraped.each("up") == [1, 1])
    page = scraped.page()
    assert page["framelet_frames_total"] == page["framelet_handler_seconds_count"] == before + 20
    assert page["framelet_connections_open"] < children.clients
    seen = len(pages)
    until(lambda: len(pages) > seen + 2)


def test_a_worker_that_drains_tells_what_it_counted_up_to_its_end(pool: Start, until: Until) -> None:
    scraped = Scraped(pool)
    pid, peer = next(iter(scraped.pool.peers.items()))
    before = scraped.frames()
    for _ in range(10):
        peer.ask("ab")
    os.kill(pid, signal.SIGTERM)
    until(lambda: not lives(pid))
    until(lambda: sum(scraped.each("restarts_total")) == 1)
    assert scraped.frames() == before + 10


@pytest.mark.parametrize(("hold", "held"), [("stopped", 1), ("reloading", 2)])
def test_of_a_worker_that_does_not_answer_the_last_numbers_are_shown(
    pool: Start, until: Until, tmp_path: Path, hold: str, held: int
) -> None:
    scraped = Scraped(pool, program=IMPATIENT + SLOW_RELOAD)
    pid, peer = next(iter(scraped.pool.peers.items()))
    assert peer.ask("ab") == "ba"
    before = scraped.page()
    assert get(scraped.where, "/healthz") == (200, "ready\n")
    if hold == "stopped":
        os.kill(pid, signal.SIGSTOP)
    else:
        scraped.pool.server.process.send_signal(signal.SIGHUP)
    until(lambda: sum(scraped.each("stale")) == held)
    now = scraped.page()
    for name in ("frames_total", "connections_total", "connections_open", "threads"):
        assert now[f"framelet_{name}"] == before[f"framelet_{name}"]
    until(lambda: get(scraped.where, "/healthz")[1].count("does not answer") == held)
    assert get(scraped.where, "/healthz")[0] == 503
    assert get(scraped.where, "/readyz")[0] == (200 if held == 1 else 503)
    assert sum(scraped.each("up")) == 2 - held
    (tmp_path / "reload").touch()
    os.kill(pid, signal.SIGCONT)
    until(lambda: get(scraped.where, "/healthz") == (200, "ready\n"))
    assert scraped.each("up") == [1, 1]
    assert sum(scraped.each("restarts_total")) == 0


STICKING = """
import gc, os
from framelet_server.pool.acceptor import Acceptor
def handler(text):
    if text == "stick":  # the next client that comes stops a worker for good, in the server's own code
        for found in gc.get_objects():
            if isinstance(found, Acceptor):
                found._lock.acquire()
    return str(os.getpid())
"""


def test_a_worker_that_is_stuck_is_replaced_although_it_tells_its_numbers(
    command: Callable[..., Command], connect: Callable[..., Peer], until: Until, tmp_path: Path
) -> None:
    (tmp_path / "sticking.py").write_text(STICKING)
    server = command(
        *("--workers", "2", "--metrics", "0", "--log-level", "info", "--handler", "sticking:handler"),
        env={"WATCHDOG_USEC": "2000000"},
    )
    address = server.address()
    where = endpoint_of(server)
    pid = int(connect(address).ask("stick"))

    def is_killed() -> bool:
        connect(address)
        assert get(where, "/metrics")[0] == 200
        return any(f"child {pid} makes no progress and is killed" in line for line in server.errors)

    try:
        until(is_killed)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # no drain would end it


def test_health_says_which_worker_is_missing(pool: Start, until: Until, tmp_path: Path) -> None:
    # A handler that cannot be imported for now: the pauses before the next attempt grow.
    program = "import os, pathlib\nif pathlib.Path('broken').exists(): os._exit(9)"
    scraped = Scraped(pool, program=program)
    (tmp_path / "broken").touch()
    first, second = scraped.pool.peers
    os.kill(first, signal.SIGKILL)
    words = "has ended and is to be replaced"
    until(lambda: (page := get(scraped.where, "/healthz"))[0] == 503 and words in page[1])
    assert get(scraped.where, "/readyz")[0] == 200
    assert sum(scraped.each("up")) == 1
    os.kill(second, signal.SIGKILL)
    until(lambda: get(scraped.where, "/readyz")[0] == 503)
    (tmp_path / "broken").unlink()
    until(lambda: get(scraped.where, "/healthz") == (200, "ready\n"))


def test_a_drain_is_not_ready(pool: Start, until: Until, tmp_path: Path) -> None:
    scraped = Scraped(pool)
    peer = next(iter(scraped.pool.peers.values()))
    peer.request("block")
    until((tmp_path / "blocked").exists)
    scraped.pool.server.process.terminate()
    until(lambda: get(scraped.where, "/readyz") == (503, "draining\n"))
    assert get(scraped.where, "/healthz") == (200, "draining\n")
    assert scraped.page()["framelet_draining"] == 1
    (tmp_path / "opened").touch()
    assert peer.replies(1) == ["kcolb"]
    scraped.pool.close()
    assert scraped.pool.server.finish()[0] == 0


def test_pages_leave_no_descriptor_and_no_thread_behind(pool: Start, until: Until) -> None:
    scraped = Scraped(pool)
    pids = [scraped.pool.server.process.pid, *scraped.pool.peers]

    def held() -> list[int]:
        return [len([*Path(f"/proc/{pid}/{what}").iterdir()]) for pid in pids for what in ("fd", "task")]

    assert scraped.page()
    before = held()
    for _ in range(100):
        assert scraped.page()
    # What served the first page may have been counted in; it is gone soon, as is what served the last one.
    until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))
