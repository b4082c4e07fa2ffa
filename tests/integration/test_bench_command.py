"""``framelet bench`` against real servers: what it measures, and how it says so."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet import HEADER_SIZE, FrameType, encode
from framelet.errors import install_command
from framelet_client.cli.command import run
from framelet_server import ServerTls

from .scripted import PATIENCE

if TYPE_CHECKING:
    import socket

    from tests.integration.conftest import FrameletCommand, Script

    from framelet_server import Server

    from .peers import Serve


DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
SIZE = len(encode(FrameType.REQUEST, b"x" * 64))
PERCENTILES = ("p50", "p90", "p99", "p99.9", "p99.99", "max")


class Counting:
    """A handler that reverses, counts, and stands still before its answer to one request."""

    def __init__(self, stall_at: int = 0, stall: float = 0.0) -> None:
        self.calls = 0
        self._count = itertools.count(1)
        self._stall_at = stall_at
        self._stall = stall

    def __call__(self, text: str) -> str:
        number = next(self._count)
        self.calls = max(self.calls, number)
        if number == self._stall_at:
            threading.Event().wait(self._stall)
        return text[::-1]


def measure(framelet: FrameletCommand, server: Server, *options: object, code: int = 0) -> Any:
    """The report of a run that ends without a word on standard error."""
    result = framelet("bench", server.address, "--json", *options)
    assert (result.returncode, result.stderr) == (code, b"")
    report = json.loads(result.stdout)
    check(report)
    return report


def check(report: Any) -> None:
    """What holds for every report."""
    requests, latency = report["requests"], report["latency"]
    ends = ("answered", "wrong", "timed_out", "lost", "abandoned")
    assert requests["sent"] == sum(requests[end] for end in ends) + sum(requests["errors"].values())
    assert sum(number for _, number in report["histogram"]) == latency["count"]
    assert latency["count"] == requests["answered"]
    figures = [latency[name] for name in PERCENTILES]
    assert figures == sorted(figures)
    assert figures[0] > 0
    assert 0 < latency["mean"] <= latency["max"]
    assert report["requests_per_second"] == pytest.approx(requests["answered"] / report["seconds"])
    assert len(report["generator_cores"]) == len(report["generator_busy"]) == report["processes"]


# Closed loops.


def test_a_closed_loop_of_a_number_of_requests(framelet: FrameletCommand, serve: Serve) -> None:
    handler = Counting()
    sizes = "0,16,1000"
    report = measure(
        framelet,
        serve(handler),
        *("--count", 600, "--connections", 3, "--window", 4, "--size", sizes, "--text", "mixed"),
    )
    assert handler.calls == report["requests"]["sent"] == report["requests"]["answered"] == 600
    assert (report["loop"], report["connections"], report["window"]) == ("closed", 3, 4)
    assert (report["sizes"], report["text"]) == ([0, 16, 1000], "mixed")
    octets = 200 * (0 + 16 + 1000)
    for direction in ("sent", "received"):
        assert report[f"octets_{direction}_per_second"] == pytest.approx(octets / report["seconds"])
    assert report["rate_reached"] is report["since_sent"] is report["sent_late"] is None


def test_a_window_is_kept_in_flight(framelet: FrameletCommand, scripted_server: Script) -> None:
    def serve_one_by_one(sock: socket.socket) -> None:
        waiting, received = b"", 0
        for answered in range(9):
            wanted = min(9, answered + 3)
            while received < wanted * SIZE:
                data = sock.recv(65_536)
                waiting, received = waiting + data, received + len(data)
            assert received == wanted * SIZE, "there are more in flight than the window"
            text, waiting = waiting[HEADER_SIZE:SIZE], waiting[SIZE:]
            sock.sendall(encode(FrameType.REPLY, text[::-1]))

    server = scripted_server(serve_one_by_one)
    result = framelet("bench", *server.arguments, "--json", "--count", 9, "--window", 3)
    assert (result.returncode, result.stderr) == (0, b"")
    check(json.loads(result.stdout))


def test_the_warmup_does_not_count(framelet: FrameletCommand, serve: Serve) -> None:
    handler = Counting()
    report = measure(framelet, serve(handler), "--duration", 0.3, "--warmup", 0.3, "--window", 2)
    assert 0 < report["requests"]["answered"] < handler.calls
    assert report["seconds"] >= 0.299


@pytest.mark.slow
def test_tls_and_unix_sockets(
    framelet: FrameletCommand, serve: Serve, certificates: Any, tmp_path: Path
) -> None:
    options = ("--count", 50, "--connections", 2, "--processes", 2)
    server = serve(tls=ServerTls(certificates.server))
    report = measure(framelet, server, "--ca-file", certificates.ca_file, *options)
    assert report["address"] == str(server.address)
    server = serve(address=f"unix:{tmp_path / 'sock'}")
    assert measure(framelet, server, *options)["requests"]["answered"] == 50


def test_other_handlers(framelet: FrameletCommand, serve: Serve) -> None:
    assert measure(framelet, serve(str), "--expect", "echo", "--count", 9)["requests"]["answered"] == 9
    report = measure(framelet, serve(lambda text: f"{text}é"), "--expect", "any", "--count", 9, "--size", 8)
    assert report["octets_sent_per_second"] == pytest.approx(72 / report["seconds"])
    assert report["octets_received_per_second"] == pytest.approx(90 / report["seconds"])


# Open loops.


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_open_loop_keeps_a_low_rate(framelet: FrameletCommand, serve: Serve, processes: int) -> None:
    handler = Counting()
    report = measure(
        framelet,
        serve(handler),
        *("--rate", 100, "--duration", 0.8, "--warmup", 0.2),
        *("--connections", 2, "--processes", processes),
    )
    assert report["loop"] == "open"
    # A machine that stands still at the end of the run keeps some from being sent.
    assert report["requests"]["sent"] + report["requests"]["unsent"] == 80
    assert report["requests"]["answered"] >= 40
    assert report["seconds"] >= 0.799
    assert report["sent_late"]["count"] == report["since_sent"]["count"] == report["requests"]["answered"]
    assert report["sent_late"]["late"] <= 80
    assert handler.calls <= 100


def test_latency_is_measured_from_when_a_request_was_due(framelet: FrameletCommand, serve: Serve) -> None:
    """A stall of half a second at 100 requests a second holds up 50 of them, wherever they have to wait."""
    handler = Counting(50, 0.5)
    report = measure(framelet, serve(handler), "--rate", 100, "--count", 150, "--window", 1)
    # 40 of the 50 wait for more than 0.1 seconds, fewer on a busy machine; one where the wait is omitted.
    assert sum(number for time, number in report["histogram"] if time > 0.1) >= 20
    assert report["latency"]["p90"] > 0.2
    # Measured from when each was sent, it is one request of 150: that is the omission.
    assert report["since_sent"]["max"] > 0.45
    assert report["since_sent"]["p90"] < report["latency"]["p90"] / 2
    assert report["sent_late"]["late"] >= 20
    # A closed loop has nothing due, so that the stall delays what nobody misses.
    handler = Counting(50, 0.5)
    closed = measure(framelet, serve(handler), "--count", 150)
    assert closed["latency"]["max"] > 0.45
    assert closed["latency"]["p90"] < report["latency"]["p90"] / 2


def test_a_rate_that_is_not_reached_is_said(framelet: FrameletCommand, serve: Serve) -> None:
    pause = threading.Event()

    def slow(text: str) -> str:
        pause.wait(0.02)
        return text[::-1]

    options = ("--rate", 500, "--duration", 0.6, "--warmup", 0.1, "--window", 2)
    server = serve(slow)
    report = measure(framelet, server, *options)
    requests = report["requests"]
    assert report["rate_reached"] is False
    assert report["requests_per_second"] < 60
    assert requests["sent"] + requests["unsent"] == 300
    assert requests["unsent"] > 200
    result = framelet("bench", server.address, *options)
    assert (result.returncode, result.stderr) == (0, b"")
    remark = r"^the rate of 500 requests/s was not reached: it was [\d.]+; \d+ requests due and never sent$"
    assert re.search(remark, result.stdout.decode(), re.MULTILINE)


# Reports.


def shape(text: str) -> list[str]:
    """A report with its numbers and spaces made alike."""
    lines = [line for line in text.splitlines() if line]
    return [re.sub(r" +", " ", re.sub(r"[\d,.]*\d", "N", line)) for line in lines]


def test_the_reports_of_the_document_are_real(framelet: FrameletCommand, serve: Serve) -> None:
    blocks = re.findall(r"```text\n\$ framelet (bench .*)\n([^`]*)```", DOCUMENT.read_text(encoding="utf-8"))
    assert len(blocks) == 2
    server = serve()
    for command, shown in blocks:
        arguments = re.sub(r"--duration \d+", "--duration 0.3 --warmup 0", command)
        arguments = re.sub(r"127.0.0.1 6666", str(server.address), arguments)
        result = framelet(*arguments.split())
        assert result.returncode == 0
        rows = 8 if "--rate" in command else 6  # behind them are the remarks that this run calls for
        assert shape(result.stdout.decode())[:rows] == shape(shown)[:rows]


@pytest.mark.parametrize("ending", ["svg", pytest.param("png", marks=pytest.mark.slow)])
def test_a_plot(framelet: FrameletCommand, serve: Serve, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"plot.{ending}"
    loop = ("--rate", 1_000) if ending == "svg" else ()
    report = measure(framelet, serve(), "--count", 100, "--plot", file, *loop)
    assert report["requests"]["answered"] == 100
    drawn = file.read_bytes()
    if ending == "png":
        assert drawn.startswith(b"\x89PNG")
    else:
        assert b"<svg" in drawn
        for words in (
            b"percentile",
            b"milliseconds",
            b"since due",
            b"since sent",
            report["address"].encode(),
        ):
            assert b"<!-- " + words + b" -->" in drawn


def test_progress_is_shown_on_a_terminal_alone(
    framelet: FrameletCommand, serve: Serve, tmp_path: Path
) -> None:
    command = framelet.command("bench", serve().address, "--duration", 0.5, "--warmup", 0)
    with (tmp_path / "output").open("w+b") as output:
        code, shown = framelet.in_terminal(["env", "TERM=xterm", *command], stdout=output, stderr=None)
        output.seek(0)
        assert b"\x1b" not in output.read()
    assert code == 0
    assert re.search(rb"[\d,]+ answered, [\d,]+/s", shown)


# The command line.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--count", "0"], "Invalid value for '--count'"),
        (["--rate", "0"], "Invalid value for '--rate'"),
        (["--rate", "nan"], "Invalid value for '--rate': nan is not a number"),
        (["--duration", "inf"], "Invalid value for '--duration'"),
        (["--count", "1", "--duration", "1"], "--duration cannot be combined with --count"),
        (["--size", "1,x"], "--size '1,x' is not a size: expected octets, as in 64 or 16,64,1k"),
        (["--size", "65537", "--max-body", "65536"], "--size 65537 is more than --max-body 65536"),
        (["--processes", "2"], "--processes 2 is more than --connections 1: each needs one"),
        (["--connections", "999999"], "--connections 999999 needs 1000063 descriptors, "),
        (["--plot", "x.txt"], "--plot: unsupported extension '.txt': expected one of "),
        (["--plot", "none/x.svg"], "--plot none/x.svg cannot be written"),
        (["--expect", "x"], "Invalid value for '--expect'"),
    ],
)
def test_wrong_usage_is_said_in_one_line(
    capfd: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert run(["bench", "127.0.0.1", "1", *options]) == 2
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert stderr.startswith(f"framelet: error: {words}")
    assert stderr.count("\n") == 1


def test_a_missing_extra_is_named() -> None:
    words = f'--plot needs the extra "plot": {install_command("plot")}'
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from framelet_client.cli.command import run; sys.exit(run())"
    )
    command = [sys.executable, "-c", program, "bench", "--plot", "x.svg"]
    result = subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.decode() == f"framelet: error: {words} (see framelet bench --help)\n"


@pytest.mark.uncounted
def test_other_commands_do_not_wait_for_what_bench_needs() -> None:
    program = (
        "import sys, framelet_client.cli.command\n"
        "print({'matplotlib', 'multiprocessing', 'framelet_client.bench.load'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert result.stdout == "set()\n"


def test_the_series_is_written_as_csv_and_is_the_whole(
    framelet: FrameletCommand, serve: Serve, tmp_path: Path
) -> None:
    options = ("--rate", 40, "--duration", "2.5s", "--connections", 2, "--processes", 2, "--warmup", 0)
    report = measure(framelet, serve(), *options, "--csv", tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [list(row) for row in rows] == [list(row) for row in report["series"]]
    assert [float(row["end"]) for row in rows][:2] == [1.0, 2.0]
    assert sum(int(row["answered"]) for row in rows) == report["requests"]["answered"] == 100
    assert max(float(row["max"]) for row in rows) == report["latency"]["max"]


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_ends_it_with_a_report(
    framelet: FrameletCommand, serve: Serve, until: Any, processes: int
) -> None:
    server = serve()
    options = ("--duration", 60, "--warmup", 0, "--connections", 2, "--processes", processes, "--json")
    command = framelet.command("bench", server.address, *options)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    until(lambda: server.metrics().frames > 50)
    os.killpg(process.pid, signal.SIGTERM)  # as service managers do it: to all processes
    report = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == -signal.SIGTERM
    assert report["interrupted"]
    check(report)
