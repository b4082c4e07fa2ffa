"""What the suite makes of servers that end by themselves, and of a machine that stands still."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from framelet_conformance.options import RunOptions
from framelet_conformance.play import Case, Play
from framelet_conformance.running.attempts import Attempts
from framelet_conformance.running.lateness import MachineLateness
from framelet_conformance.targets.launch import Process
from framelet_conformance.targets.servers import Servers
from framelet_conformance.verdicts import Failed, Verdict

if TYPE_CHECKING:
    import pytest

Fixture = Any


def test_a_launched_server_that_ends_is_launched_again() -> None:
    launch = f"{shlex.quote(sys.executable)} -m tests.mutants.reference_server --port {{port}}"
    servers = Servers(RunOptions("server", launch=launch))
    try:
        first = servers.main.process
        assert first is not None
        first.send_signal(signal.SIGTERM)
        assert first.wait(20.0) == 0
        servers.sanity()
        assert servers.main.process is not first
        assert servers.facts()["servers that ended by themselves"] == "1, with status 0"
    finally:
        servers.close()


def test_the_page_keeps_all_of_a_failure_and_little_of_the_rest(
    suite: Fixture, fake: Fixture, polite: Fixture, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    wrong = fake(lambda sock, _: polite(sock, pong=lambda body: body[:32]))
    only = ("--only", "vector.ping-64.whole", "--only", "order.first-ping", "--report-html", str(page))
    run = suite("server", wrong.address, *only, "--time-scale", "0.5")
    assert run.verdicts == {"vector.ping-64.whole": "fail", "order.first-ping": "pass"}
    text = page.read_text(encoding="utf-8")
    log = text.partition('id="vector.ping-64.whole"')[2].partition("</details>")[0]
    sent = log.partition("→")[2].partition("←")[0]
    assert sent.count(" 70") == 64  # each octet of the body, 16 in a row
    assert "Replay file: <code>" in log
    assert "5 lines" in text
    assert 'href="#vector.ping-64.whole"' in text
    assert page.stat().st_size < 200_000


def test_how_late_the_machine_was_is_known() -> None:
    lateness = MachineLateness()
    try:
        began = time.monotonic()
        sum(range(30_000_000))  # one call, during which no other thread runs
        held = time.monotonic() - began
        assert lateness.most_since(began) > held / 2
        assert lateness.most_since(time.monotonic() + 3_600.0) == 0.0
    finally:
        lateness.stop()


def test_on_a_busy_machine_a_case_that_fails_is_tried_again_with_longer_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scales: list[float] = []
    case = Case("x.y", "z", (), alone=False, stops=False, reruns=1, slow=False)

    def action(play: Play) -> None:
        scales.append(play.times.scale)
        if play.times.scale < 8:
            message = "too short"
            raise Failed(message)

    for late, asked in ((0.0, [1.0, 1.0]), (0.2, [1.0, 4.0, 8.0]), (9.0, [1.0, 10.0])):
        attempts = Attempts(RunOptions("server"), cast("Any", None))
        monkeypatch.setattr(MachineLateness, "most_since", lambda *_, late=late: late)
        scales.clear()
        try:
            result = attempts.run(case, action)
        finally:
            attempts.stop()
        assert scales == asked
        assert result.verdict is (Verdict.PASS if late else Verdict.FAIL)


def test_what_a_launched_peer_has_started_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    process = Process(["sh", "-c", f"sleep 600 & echo $! > {note}.new; mv {note}.new {note}; read line"])
    assert process.wait(20.0) is not None  # it reads from nothing
    child = int(note.read_text())
    end = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and " Z " not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)  # its number may be another's by now
    process.end()
