"""The benchmarks: every peer does the work, wrong replies are noticed, and the guard can fail."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from benchmarks.lockstep import Lockstep
from benchmarks.peers import FRAMELET, LIMIT, LOOP, PEERS
from benchmarks.peers.common import REVERSE
from benchmarks.processes import BenchmarkError, Shape, WireFiles, ask, load, serve
from benchmarks.rows import ROWS, quiet
from benchmarks.rows.clients import BOUND
from benchmarks.rows.servers import PASSES
from benchmarks.suite import Bench, measured
from benchmarks.work import exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CC", "cc")) is None, reason="there is no C compiler"
)


def run_module(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", name, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("name", "handler"), [(name, kind) for name in PEERS for kind in PEERS[name].handlers]
)
def test_every_peer_does_the_work(name: str, handler: str) -> None:
    peer = PEERS[name]
    if peer.missing:
        pytest.skip(peer.missing)
    if name == LIMIT and not shutil.which(os.environ.get("CC", "cc")):
        pytest.skip("there is no C compiler")
    with serve(peer, handler=handler) as server:
        for work in ("ping-pong", "pipelined"):
            assert ask(peer, server.port, work, 3, handler=handler) > 0


def test_handlers_that_block_do_so_side_by_side() -> None:
    peer = PEERS[FRAMELET]
    with serve(peer, threads=8, delay=0.03) as server:
        together = ask(peer, server.port, "parallel", 16, 8)
        alone = ask(peer, server.port, "ping-pong", 16)
    assert together < alone / 2


@contextlib.contextmanager
def wrong_server(answer: bytes) -> Iterator[int]:
    """Answers every 69 octets, a request of the clients here, with the same; yields its port."""

    class Wrong(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                while self.rfile.read(69):
                    self.wfile.write(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Wrong) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def frame(body: bytes, *, frame_type: int = 2) -> bytes:
    return frame_type.to_bytes() + len(body).to_bytes(4) + body


TEXT = "".join(map(chr, range(32, 96)))
GOOD = frame(TEXT[::-1].encode())


@needs_compiler
@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (GOOD[:-1] + b"?", "reply 0 of a connection is wrong: octet 68 is 3f instead of 20"),
        (GOOD[:3] + b"\1" + GOOD[4:], "octet 3 is 01 instead of 00"),
        (GOOD + b"!", "reply 1 of a connection is wrong: octet 0 is 21 instead of 02"),
        (GOOD[:-1], "no octet for 0.3 seconds, with 1 replies outstanding"),
        (GOOD * 2, "the server sent more than it was asked for"),
    ],
    ids=["last octet", "length", "between replies", "too short", "too much"],
)
def test_the_load_generator_notices_every_wrong_octet(tmp_path: Path, answer: bytes, complaint: str) -> None:
    files = WireFiles(tmp_path).of("framelet", TEXT)
    with wrong_server(answer) as port, pytest.raises(BenchmarkError) as caught:
        load(files, port, Shape(count=1 if answer in {GOOD[:-1], GOOD * 2} else 5, patience=0.3), 0)
    assert complaint in str(caught.value)


def test_clients_in_step_notice_a_wrong_reply() -> None:
    octets = exchange("framelet", TEXT, REVERSE)
    with (
        wrong_server(GOOD[:-1] + b"?") as port,
        Lockstep(port, octets, 2) as clients,
        pytest.raises(BenchmarkError, match="a reply is wrong"),
    ):
        clients.round()


@needs_compiler
def test_a_peer_that_fails_costs_itself_its_row_and_the_run_its_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Bench([FRAMELET, LIMIT], 0.01, 2) as bench, wrong_server(GOOD) as port:
        monkeypatch.setattr(bench.server(FRAMELET, handler=REVERSE), "port", port)
        [outcome] = measured(bench, ROWS["pipelined-1"])
    assert len(outcome.values[LIMIT]) == 2
    assert outcome.values[FRAMELET] == []
    assert "is wrong" in outcome.failed[FRAMELET]


@needs_compiler
def test_rows_with_clients_of_their_own_and_bounds_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "SPARSE_SECONDS", 0.1)
    names = ("mixed-1m-own", "clients-blocking", "sparse-own", "tls-own")
    with Bench([FRAMELET, LIMIT], 0.01, 1) as bench:
        outcomes = [measured(bench, ROWS[name])[0] for name in names]
    assert [outcome.failed for outcome in outcomes] == [{}] * 4
    entries = [[FRAMELET, PASSES], [FRAMELET, BOUND], [FRAMELET], ["plain", "tls"]]
    assert [list(outcome.titles) for outcome in outcomes] == entries
    assert all(value > 0 for outcome in outcomes for values in outcome.values.values() for value in values)
    assert outcomes[1].values[BOUND] == [3200]


@needs_compiler
def test_a_run_writes_rounds_as_json_and_shows_targets(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    done = run_module(
        "benchmarks",
        *("--rows", "ping-pong-64,ping-pong-64-own,decode", "--peers", "framelet,limit,epoll_loop"),
        *("--rounds", "2", "--seconds", "0.01", "--json", str(file)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "ratio to C limit" in done.stdout
    assert "| at least 0.6  |" in done.stdout
    assert "ratio to bare epoll loop" in done.stdout
    rows = {row["name"]: row for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}
    assert [len(entry["values"]) for entry in rows["ping-pong-64"]["entries"]] == [2, 2, 2]
    assert [entry["name"] for entry in rows["ping-pong-64-own"]["entries"]] == [FRAMELET, LOOP]
    assert [entry["name"] for entry in rows["decode"]["entries"]] == ["codec", "grammar"]


def test_the_guard_fails_a_handler_that_is_slow() -> None:
    done = run_module("benchmarks.guard", "--rounds", "1", "--seconds", "0.01", "--delay", "0.001")
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("pipelined")]
    assert [line.partition(":")[0] for line in lines] == ["pipelined, reversal", "pipelined, own handler"]
    assert all(line.endswith("TOO SLOW") for line in lines)
