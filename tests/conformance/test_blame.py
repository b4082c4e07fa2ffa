"""What the suite says of a failure: whom it blames, in words for people, and no more than is of use."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PYTHON = shlex.quote(sys.executable)
REFERENCE = f"{PYTHON} -m tests.mutants.reference_server --port {{port}}"


def case_of(run: Any, name: str) -> Any:
    return next(case for case in run.report["cases"] if case["id"] == name)


def test_pongs_out_of_order_blame_order_alone(suite: Callable[..., Any]) -> None:
    name = "order.long-before-short"
    run = suite("server", "--launch", f"{REFERENCE} --bug pong-overtakes", "--only", name)
    found = case_of(run, name)
    assert (found["verdict"], found["broken"]) == ("fail", ["REQ-ORDER-1", "REQ-ORDER-2"])
    assert "does not conform: " in run.output
    assert len(run.output.splitlines()[-1]) < 100


def test_a_failure_without_a_culprit_blames_all_that_its_case_holds_the_peer_to(
    suite: Callable[..., Any],
) -> None:
    run = suite("server", "--launch", f"{REFERENCE} --bug pong-reversed", "--only", "vector.ping-64.whole")
    found = case_of(run, "vector.ping-64.whole")
    assert found["broken"] == found["requirements"] != []


@pytest.mark.slow
def test_an_error_that_comes_without_fin_is_not_said_to_be_missing(suite: Callable[..., Any]) -> None:
    name = "deadlines.trickle-does-not-extend"
    launch = f"{REFERENCE} [--frame-timeout {{frame_timeout}}] --bug no-fin-behind-fatal --linger-timeout 60"
    found = case_of(suite("server", "--launch", launch, "--only", name), name)
    assert (found["verdict"], found["broken"]) == ("fail", ["REQ-ERROR-8"])
    assert found["reason"] == "the server did not close its side after the fatal ERROR"


def test_the_greatest_maximum_is_no_fault_of_the_suite(suite: Callable[..., Any]) -> None:
    run = suite("server", "--launch", f"{REFERENCE} --max-body 4294967295", "--only", "limits.*")
    assert run.status == 0
    assert set(run.verdicts.values()) <= {"pass", "skipped"}


def test_a_server_on_all_addresses_gets_a_hint(suite: Callable[..., Any]) -> None:
    launch = f"{PYTHON} -m framelet_server --host 0.0.0.0 --port {{port}} [--stop {{stop}}]"
    run = suite("server", "--launch", launch, "--only", "stop.drains", "--only", "stop.local-unless-told")
    assert set(run.verdicts.values()) == {"skipped"}
    assert "listens on all addresses" in run.output


@pytest.mark.slow
def test_what_is_large_is_not_kept(suite: Callable[..., Any], tmp_path: Path) -> None:
    run = suite(
        "server", "--launch", f"{REFERENCE} --bug frame-256-not-answered", "--only", "flow.deep-requests"
    )
    found = case_of(run, "flow.deep-requests")
    assert "--only flow.deep-requests runs the case again" in found["replay"]
    assert not list(tmp_path.glob("replays/*"))
    run = suite("server", "--launch", REFERENCE, "--only", "vector.ping-64.whole")
    assert [case["wire"] for case in run.report["cases"]] == [[]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_server_and_no_token_file(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "pids").mkdir()
    options = ("--stop {stop}", "--stop-token-file {stop_token_file}", "--idle-timeout {idle_timeout}")
    server = REFERENCE + "".join(f" [{each}]" for each in options)
    launch = f"sh -c {shlex.quote(f'touch {tmp_path}/pids/$$; exec {server}')}"
    command = [sys.executable, "-m", "framelet_conformance", "server", "--launch", launch]
    command += ["--only", "deadlines.no-idle-while-owing", "--only", "stop.wrong-token", "--time-scale", "20"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    with process.stderr:
        end = time.monotonic() + 60
        while len(list(tmp_path.glob("pids/*"))) < 2 or not list(tmp_path.glob("framelet-token-*")):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(60) == -number
        assert process.stderr.read().strip() == b""
    assert not list(tmp_path.glob("framelet-token-*"))
    for path in tmp_path.glob("pids/*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)
