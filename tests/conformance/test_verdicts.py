"""Verdicts and exit statuses of the suite, against servers that are wrong in one way each."""

from __future__ import annotations

import shlex
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

FEW = ("--only", "order.first-*", "--time-scale", "0.3")
FOREIGN = ("--only", "foreign.zeros", "--time-scale", "0.3")

Fixture = Any


def test_a_server_that_conforms(suite: Fixture, server_address: str) -> None:
    run = suite("server", server_address, "--only", "order.*", "--only", "foreign.*", "--only", "utf8.*")
    assert run.status == 0
    assert run.report["counts"]["pass"] > 80
    assert run.report["counts"]["fail"] == 0
    assert "conforms" in run.output


@pytest.mark.slow
def test_the_fake_is_right_where_it_should_be(suite: Fixture, fake: Fixture, polite: Fixture) -> None:
    run = suite("server", fake(lambda sock, _: polite(sock)).address, *FEW)
    assert set(run.verdicts.values()) == {"pass"}
    assert run.status == 0


@pytest.mark.slow
def test_wrong_content_of_the_right_length_fails(suite: Fixture, fake: Fixture, polite: Fixture) -> None:
    wrong = fake(lambda sock, _: polite(sock, reply=lambda text: text[::-1].replace("é", "è")))
    run = suite("server", wrong.address, "--only", "vector.reversal-*.whole", "--time-scale", "0.3")
    assert run.status == 1
    assert "fail" in run.verdicts.values()
    assert "REQ-REV-1" in run.output
    failure = next(case for case in run.report["cases"] if case["verdict"] == "fail")
    assert "differ at octet" in failure["reason"]
    assert failure["wire"][0]["entries"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (b"400 " + b"x" * 1_021, ["REQ-ERROR-14"]),
        (b"four hundred", ["REQ-ERROR-1"]),
        (b"400 \xff", ["REQ-ERROR-1", "REQ-TEXT-1"]),
        (b"400 at /home/me/server.py", ["REQ-SEC-2"]),
        (b"404 no handler", ["REQ-TEXT-2", "REQ-TEXT-3", "REQ-ERROR-4"]),
    ],
)
def test_a_bad_error_is_blamed_on_what_it_breaks(
    suite: Fixture, fake: Fixture, polite: Fixture, error: bytes, broken: list[str]
) -> None:
    wrong = fake(lambda sock, _: polite(sock, error=error))
    run = suite("server", wrong.address, "--only", "utf8.never-ff.request", "--time-scale", "0.3")
    assert run.status == 1
    assert run.report["cases"][0]["broken"] == broken


def test_a_bare_fin_where_an_error_was_due_is_non_strict(
    suite: Fixture, fake: Fixture, polite: Fixture
) -> None:
    bare = fake(lambda sock, _: polite(sock, unknown=None))
    run = suite("server", bare.address, *FOREIGN)
    assert run.verdicts == {"foreign.zeros": "non-strict"}
    case = run.report["cases"][0]
    assert (case["close"], case["close_verdict"]) == ("FIN", "non-strict")
    assert run.status == 0
    assert suite("server", bare.address, *FOREIGN, "--strict").status == 1


@pytest.mark.slow
def test_a_reset_where_an_error_was_due_is_non_strict(suite: Fixture, fake: Fixture, polite: Fixture) -> None:
    def serve(sock: socket.socket, _: int) -> None:
        if sock.recv(1, socket.MSG_PEEK) == b"\0":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        polite(sock)

    run = suite("server", fake(serve).address, *FOREIGN)
    assert run.verdicts == {"foreign.zeros": "non-strict"}
    assert run.report["cases"][0]["close"] == "RST"


def test_silence_where_an_error_was_due_fails(suite: Fixture, fake: Fixture, polite: Fixture) -> None:
    def serve(sock: socket.socket, _: int) -> None:
        if sock.recv(1, socket.MSG_PEEK) == b"\0":
            while sock.recv(1_000):
                pass
            return
        polite(sock)

    run = suite("server", fake(serve).address, *FOREIGN)
    assert run.verdicts == {"foreign.zeros": "fail"}
    assert run.status == 1


@pytest.mark.slow
def test_an_error_without_an_end_fails(suite: Fixture, fake: Fixture, polite: Fixture) -> None:
    def serve(sock: socket.socket, _: int) -> None:
        if sock.recv(1, socket.MSG_PEEK) == b"\0":
            sock.sendall(b"\x05\0\0\0\x0b501 unknown")
            while sock.recv(1_000):
                pass
            return
        polite(sock)

    run = suite("server", fake(serve).address, *FOREIGN)
    assert run.verdicts == {"foreign.zeros": "fail"}
    assert run.report["cases"][0]["broken"] == ["REQ-ERROR-8"]


def test_what_fails_once_is_flaky(suite: Fixture, fake: Fixture, polite: Fixture) -> None:
    seen: list[int] = []

    def serve(sock: socket.socket, number: int) -> None:
        if sock.recv(1, socket.MSG_PEEK) == b"\0" and not seen:
            seen.append(number)
            polite(sock, unknown=b"502 wrong")
        else:
            polite(sock)

    run = suite("server", fake(serve).address, *FOREIGN)
    assert run.verdicts == {"foreign.zeros": "flaky"}
    assert run.status == 1


@pytest.mark.slow
def test_expected_failures(suite: Fixture, fake: Fixture, polite: Fixture, tmp_path: Path) -> None:
    wrong = fake(lambda sock, _: polite(sock, unknown=b"502 wrong"))
    listed = tmp_path / "known"
    listed.write_text("# known\nforeign.zeros  # some day\n", encoding="utf-8")
    assert suite("server", wrong.address, *FOREIGN).status == 1
    assert suite("server", wrong.address, *FOREIGN, "--expect-fail", f"@{listed}").status == 0
    right = fake(lambda sock, _: polite(sock))
    stale = suite("server", right.address, *FOREIGN, "--expect-fail", f"@{listed}")
    assert stale.status == 1
    assert "STALE" in stale.output


def test_a_missing_precondition_skips_with_its_reason(suite: Fixture, server_address: str) -> None:
    run = suite("server", server_address, "--only", "deadlines.idle-timeout", "--only", "stop.drains")
    assert set(run.verdicts.values()) == {"skipped"}
    assert all("--launch" in case["reason"] for case in run.report["cases"])
    assert run.status == 0


@pytest.mark.slow
def test_a_generated_failure_is_shrunk_and_can_be_replayed(
    suite: Fixture, fake: Fixture, polite: Fixture
) -> None:
    wrong = fake(lambda sock, _: polite(sock, reply=lambda text: text[::-1].replace("0", "1")))
    options = ("--only", "conversations.good", "--time-scale", "0.3", "--examples", "1000")
    run = suite("server", wrong.address, *options)
    assert run.verdicts == {"conversations.good": "fail"}
    case = run.report["cases"][0]
    assert case["reason"].endswith("the smallest conversation that fails: 01 00 00 00 01 30")
    again = suite("server", wrong.address, "--replay", case["replay"])
    assert again.status == 1
    assert "01 00 00 00 01 30" in again.output
    right = fake(lambda sock, _: polite(sock))
    assert suite("server", right.address, "--replay", case["replay"]).status == 0


def test_a_launched_server(suite: Fixture) -> None:
    serve = f"{shlex.quote(sys.executable)} -m framelet_server --port {{port}}"
    command = serve + " [--stop {stop}] [--idle-timeout {idle_timeout}]"
    run = suite(
        "server",
        "--launch",
        command,
        *("--only", "stop.drains", "--only", "deadlines.idle-timeout", "--only", "flow.too-many-connections"),
    )
    assert run.verdicts == {
        "deadlines.idle-timeout": "pass",
        "flow.too-many-connections": "skipped",
        "stop.drains": "pass",
    }
    assert run.status == 0
    assert "{max_connections}" in run.output


@pytest.mark.slow
def test_a_server_that_may_be_stopped_is_stopped_last_and_once(suite: Fixture) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "framelet_server", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().rsplit("/", 1)[1].strip()
        run = suite(
            *("server", address, "--allow-stop", "--only", "stop.*", "--only", "vector.stop-*.whole"),
            *("--only", "order.no-greeting", "--exclude", "REQ-STOP-12"),
        )
        assert run.status == 0
        passed = [name for name, verdict in run.verdicts.items() if verdict == "pass"]
        assert passed[-1].startswith(("stop.", "vector.stop"))
        assert sum(name.startswith(("stop.", "vector.stop")) for name in passed) == 1
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(5)
        if process.stdout is not None:
            process.stdout.close()
