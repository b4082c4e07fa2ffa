"""Two servers behind a real HAProxy, as configured in deploy/: checks, addresses, and a rolling restart."""

from __future__ import annotations

import concurrent.futures
import contextlib
import csv
import itertools
import operator
import os
import re
import shutil
import socket
import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, TcpAddress, encode

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Command, Peer, Script

    from .peers import Connect

    Site = Callable[..., tuple["HAProxy", list[Command]]]

HAPROXY = shutil.which("haproxy", path=os.defpath + ":/usr/sbin:/usr/local/sbin")
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
BEHIND = ("--proxy-from", "127.0.0.1")

pytestmark = pytest.mark.skipif(not HAPROXY, reason="haproxy is not installed: apt-get install haproxy")


class HAProxy:
    """A HAProxy with the configuration that is shipped."""

    def __init__(self, folder: Path, *servers: str) -> None:
        self.servers = servers
        self._stats = folder / "haproxy.sock"
        self._log = (folder / "haproxy.log").open("w+", encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
            self.address = TcpAddress(*listener.getsockname())
            self._process = subprocess.Popen(
                [str(HAPROXY), "-db", "-f", CONFIGURATION],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[listener.fileno()],
                env={
                    "FRAMELET_BIND": f"fd@{listener.fileno()}",  # a port that nobody else takes meanwhile
                    "FRAMELET_SERVER_1": servers[0],
                    "FRAMELET_SERVER_2": servers[1],
                    "FRAMELET_STATS": str(self._stats),
                },
            )

    def health(self) -> dict[str, tuple[str, str]]:
        """Of each server whether HAProxy takes it to be up, and how the last check went."""
        return {
            row["svname"]: (row["status"].split()[0], row["check_status"].removeprefix("* "))
            for row in self._servers()
        }

    def sessions(self) -> list[int]:
        """How many clients each server has."""
        return [int(row["scur"]) for row in self._servers()]

    def _servers(self) -> list[dict[str, str]]:
        assert self._process.poll() is None, Path(self._log.name).read_text(encoding="utf-8")
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(self._stats))
            except (FileNotFoundError, ConnectionRefusedError):
                return []  # it has just been started
            sock.sendall(b"show stat\n")
            answer = b"".join(iter(lambda: sock.recv(65_536), b"")).decode().removeprefix("# ")
        return [row for row in csv.DictReader(answer.splitlines()) if row["svname"] in ("one", "two")]

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)
        self._log.close()


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[Callable[[str, str], HAProxy]]:
    """Start HAProxy in front of two addresses."""
    started: list[HAProxy] = []

    def start(one: str, two: str) -> HAProxy:
        started.append(HAProxy(tmp_path, one, two))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.fixture
def site(
    command: Callable[..., Command], haproxy: Callable[[str, str], HAProxy]
) -> Callable[..., tuple[HAProxy, list[Command]]]:
    """Start two servers with the same options and HAProxy in front of them, which takes both to be up."""

    def start(*options: str, **keywords: Any) -> tuple[HAProxy, list[Command]]:
        servers = [command(*BEHIND, *options, **keywords) for _ in range(2)]
        front = haproxy(*map(address_of, servers))
        until(lambda: [status for status, _ in front.health().values()] == ["UP"] * 2)
        return front, servers

    return start


def address_of(server: Command) -> str:
    """Where a server listens, as HAProxy writes it."""
    return server.address().removeprefix("framelet://")


def name_of(peer: Peer) -> str:
    """A client as the servers name it, up to the port of the relay."""
    host, port = peer.sock.getsockname()
    return f"{host}:{port} via 127.0.0.1:"


def test_the_health_check_wants_a_pong_and_leaves_no_trace_in_the_log(
    command: Callable[..., Command], haproxy: Callable[[str, str], HAProxy], scripted_server: Script
) -> None:
    server = command(*BEHIND, "--log-level", "info")
    other = scripted_server(
        b"220 ready\r\n", scripted_server.fin
    )  # accepts, as servers do that are none of ours
    front = haproxy(address_of(server), f"{other.host}:{other.port}")
    until(lambda: front.health() == {"one": ("UP", "L7OK"), "two": ("DOWN", "L7RSP")})
    front.close()
    # HAProxy speaks for itself: LOCAL.
    assert bytes(other.received).startswith(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0" + encode(FrameType.PING))
    server.process.terminate()
    status, log = server.finish()
    assert status == 0
    assert [line.split()[3] for line in log.splitlines()] == ["listening", "draining", "drained:"]


def test_clients_count_by_their_real_address(site: Site, connect: Connect) -> None:
    front, servers = site("--max-connections-per-address", "2")
    # Two for each server, as HAProxy gives a new connection to the one that has the fewest.
    early = [connect(front.address, source="127.0.0.2") for _ in range(4)]
    assert [peer.ask("ab") for peer in early] == ["ba"] * 4
    late = connect(front.address, source="127.0.0.2")
    assert late.error() == 507
    line = "refused: per-address connection limit (2) reached"
    until(
        lambda: any(name_of(late) in error and line in error for server in servers for error in server.errors)
    )
    other = connect(front.address, source="127.0.0.3")
    other.request("half", "closed")
    other.end()
    assert other.replies(2) == ["flah", "desolc"]
    assert other.rest() == []


@pytest.mark.req("REQ-STOP-1")
def test_nobody_behind_a_relay_may_stop_a_server_as_local(site: Site, connect: Connect) -> None:
    front, servers = site()
    for source in ("127.0.0.1", "127.0.0.2"):
        peer = connect(front.address, source=source)
        peer.send(encode(FrameType.STOP))
        assert peer.error() == 403
        until(lambda: any(name_of(peer) in line for server in servers for line in server.errors))  # noqa: B023 - called here
        assert peer.ask("ab") == "ba"


def test_one_address_may_not_take_all_the_room_of_haproxy(site: Site, connect: Connect) -> None:
    front, _ = site()
    crowd = [connect(front.address, source="127.0.0.2") for _ in range(100)]
    assert crowd[-1].ask("ab") == "ba"
    with contextlib.suppress(ConnectionError):
        assert connect(front.address, source="127.0.0.2").receive() is None
    assert connect(front.address, source="127.0.0.3").ask("ab") == "ba"


SLOW = """
import pathlib, time

def handler(text):
    if text == "slow":
        pathlib.Path("begun").touch()
        while not pathlib.Path("go on").exists():
            time.sleep(0.01)
    return text[::-1]
"""


def test_a_server_that_drains_is_down_for_new_clients_and_still_answers_its_own(
    site: Site, connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    front, servers = site("--handler", "slow:handler", "--log-level", "info")
    old = connect(front.address)
    assert old.ask("ab") == "ba"
    (number,) = (index for index, count in enumerate(front.sessions()) if count)
    old.request("slow")
    until((tmp_path / "begun").exists)
    servers[number].process.terminate()
    until(lambda: any("draining" in line for line in servers[number].errors))
    # Half of these are for the server that is gone, as far as HAProxy knows; none has to try again.
    new = [connect(front.address) for _ in range(6)]
    assert [peer.ask("ab") for peer in new] == ["ba"] * 6
    until(lambda: front.health()[("one", "two")[number]][0] == "DOWN")
    (tmp_path / "go on").touch()
    assert old.replies(1) == ["wols"]
    assert old.rest() == []
    old.close()
    assert servers[number].finish()[0] == 0


class Callers:
    """Clients that send on and on, and send what was not answered again on a new connection."""

    NUMBER, PIPELINE, PATIENCE = 8, 20, 500

    def __init__(self, connect: Connect, front: HAProxy) -> None:
        self._connect = connect
        self._front = front
        self._over = threading.Event()
        self._answered, self._retries = [0] * self.NUMBER, [0] * self.NUMBER
        self._pool = concurrent.futures.ThreadPoolExecutor(self.NUMBER)
        self._calls = [self._pool.submit(self._call, number) for number in range(self.NUMBER)]

    @property
    def answered(self) -> int:
        return sum(self._answered)

    @property
    def retries(self) -> int:
        return sum(self._retries)

    def go_on(self) -> None:
        """Wait until each has had some more answers."""
        enough = [count + 2 * self.PIPELINE for count in self._answered]
        until(lambda: self._failed() or all(map(operator.ge, self._answered, enough)))

    def finish(self) -> None:
        self._over.set()
        self._pool.shutdown()
        for call in self._calls:
            call.result()

    def _failed(self) -> bool:
        return any(call.done() for call in self._calls)

    def _call(self, number: int) -> None:
        peer: Peer | None = None
        for turn in itertools.count():
            if self._over.is_set():
                return
            texts = deque(f"é{number}.{turn}.{item}" for item in range(self.PIPELINE))
            while texts:
                try:
                    peer = peer or self._connect(self._front.address)
                    self._exchange(peer, texts, number)
                except ConnectionError:
                    if peer is not None:
                        peer.close()
                    self._retries[number] += 1
                    assert self._retries[number] < self.PATIENCE, "there is no server"
                    peer = None
                    self._over.wait(0.01)

    def _exchange(self, peer: Peer, texts: deque[str], number: int) -> None:
        peer.request(*texts)
        while texts:
            frame = peer.receive()
            if frame is None:
                raise ConnectionResetError
            assert (frame.type, frame.body.decode()) == (FrameType.REPLY, texts[0][::-1])
            texts.popleft()
            self._answered[number] += 1


def test_a_rolling_restart_under_load_loses_no_request_of_clients_that_retry(
    site: Site, command: Callable[..., Command], connect: Connect
) -> None:
    front, (one, two) = site("--log-level", "info")
    callers = Callers(connect, front)
    try:
        callers.go_on()
        port = front.servers[0].rpartition(":")[2]
        closed = stop(one)
        callers.go_on()
        again = command(*BEHIND, "--port", port)
        again.address()
        until(lambda: front.health()["one"][0] == "UP")  # if HAProxy saw at all that it was gone
        closed += stop(two)
        callers.go_on()
        assert again.process.poll() is None
    finally:
        callers.finish()
    # Each connection that was ended in order sent its client to the other server.
    assert callers.retries >= closed >= Callers.NUMBER
    assert callers.answered >= 3 * 2 * Callers.PIPELINE * Callers.NUMBER


def stop(server: Command) -> int:
    """Stop a server by a signal; how many connections it closed in order: all that it had."""
    server.process.terminate()
    status, log = server.finish()
    assert status == 0
    match = re.search(r"drained: (\d+) connections closed, 0 cut off", log)
    assert match is not None, log
    return int(match[1])
