"""What an operator sees of a server: its log, its numbers, its health."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from framelet import FrameType, encode
from framelet.errors import install_command
from framelet_server import Endpoint, ListenError, MissingExtraError, Server, StopPolicy, registry
from framelet_server.observe import liveness
from framelet_server.observe.metrics import describe

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Command, Gate, Peer

    from .peers import Connect, Serve


DOCS = Path(__file__).parents[2] / "docs"


def get(where: object, path: str) -> tuple[int, str]:
    """Status and content of a page."""
    try:
        with urllib.request.urlopen(f"http://{where}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def endpoint_of(server: Command) -> str:
    """Where a command that logs at info says that its pages are."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for line in server.errors:
            if found := re.search(r"metrics on http://(\S+)/metrics", line):
                return found[1]
        time.sleep(0.001)
    raise AssertionError("no line names an endpoint")


def series(text: str) -> dict[str, float]:
    """All samples of a page of metrics, by name and labels."""
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def endpoint() -> Iterator[Callable[[Server], Endpoint]]:
    """Start endpoints on any free port."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(Endpoint(server))


# One line for each connection.


def end_by_closing(peer: Peer) -> None:
    peer.end()
    assert peer.receive() is None


def end_by_error(peer: Peer) -> None:
    peer.send(encode(0x00))
    assert peer.error() == 501
    assert peer.receive() is None
    peer.close()


def end_inside_a_frame(peer: Peer) -> None:
    peer.send(b"\x01\x00")
    end_by_closing(peer)


def end_by_reset(peer: Peer) -> None:
    peer.reset()


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (end_by_closing, "client"),
        (end_by_error, "type-unknown"),
        (end_inside_a_frame, "frame-truncated"),
        (end_by_reset, "lost"),
    ],
)
def test_a_connection_leaves_one_line(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, *, end: Any, how: str
) -> None:
    caplog.set_level("INFO", "framelet_server")
    server = serve()
    caplog.clear()
    peer = connect(server)
    peer.request("ab", "\0")
    peer.send(encode(FrameType.REQUEST, b"\xff"), encode(FrameType.PING))
    peer.take(4)
    end(peer)
    until(lambda: caplog.records)
    until(lambda: not server.metrics().connections_open)
    (record,) = caplog.records
    fields = vars(record)
    assert record.levelname == "INFO"
    assert fields["event"] == "connection"
    assert fields["ended"] == how
    assert fields["peer"].startswith("127.0.0.1:")
    fatal = how == "type-unknown"
    assert fields["frames"] == 4 + fatal
    assert fields["answers"] == 4 + fatal
    assert fields["octets_in"] == 24 + {"type-unknown": 5, "frame-truncated": 2}.get(how, 0)
    assert fields["octets_out"] > 20
    assert 0 < fields["seconds"] < 60
    assert server.metrics().connections_ended == {how: 1}


def test_what_ends_many_is_told_apart(serve: Serve, connect: Connect, gate: Gate) -> None:
    server = serve(idle_timeout=0.1)
    peer = connect(server)
    assert peer.error() == 505
    peer.close()
    until(lambda: server.metrics().connections_ended == {"idle-timeout": 1})
    aged = serve(max_age=0.1)
    peer = connect(aged)
    assert peer.receive() is None
    peer.close()
    until(lambda: aged.metrics().connections_ended == {"age": 1})
    ending = serve(gate)
    idle, busy = connect(ending), connect(ending)
    assert idle.ask("a") == "a"
    busy.request("block")
    gate.await_entry()
    ending.begin_drain()
    assert idle.receive() is None
    idle.close()
    until(lambda: ending.metrics().connections_ended == {"drain": 1})
    ending.force()
    gate.open()
    assert ending.wait(20)
    assert ending.metrics().connections_ended == {"drain": 1, "cut": 1}


# Forgery and floods.


@pytest.mark.parametrize("form", ["human", "json"])
def test_a_request_cannot_forge_a_line_of_the_log(
    command: Callable[..., Any], connect: Connect, tmp_path: Path, form: str
) -> None:
    (tmp_path / "naive.py").write_text("def handler(text): raise ValueError('cannot serve ' + text)")
    server = command("--handler", "naive:handler", "--log-format", form, "--log-level", "debug")
    peer = connect(server.address())
    peer.request('x\n2026-01-01 00:00:00,000 ERROR forged\r\x1b]0;title\x07\u2028{"level": "error"}\n{}')
    assert peer.error() == 450
    peer.send(encode(FrameType.HELLO, b"framelet/1 a=\n2026 ERROR forged"))
    assert peer.error() == 422
    peer.close()
    server.process.send_signal(signal.SIGTERM)
    status, log = server.finish()
    assert status == 0
    lines = log.removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    if form == "json":
        levels = [json.loads(line)["level"] for line in lines]
        (failed,) = [json.loads(line) for line in lines if "traceback" in line]
        assert "ERROR forged" in failed["traceback"]
        assert levels.count("error") == 1
    else:
        begun = [line for line in lines if not line.startswith("    ")]
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ", line) for line in begun)
        assert sum(" ERROR " in line[:40] for line in begun) == 1
        assert "ERROR forged" in log


def test_refusals_do_not_flood_the_log_and_are_all_counted(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(max_connections=1)
    first = connect(server)
    assert first.ask("ab") == "ba"
    for _ in range(30):
        peer = connect(server)
        assert peer.error() == 507
        peer.close()
    assert server.metrics().refusals == {"connections": 30}
    assert server.metrics().errors == {"507": 30}
    assert len(caplog.records) == 10
    server.stop()
    assert caplog.records[-1].getMessage() == "refused clients: 20 further lines were not logged"
    assert server.metrics().log_lines_suppressed == 20


# Numbers.


def test_the_numbers_of_a_server(serve: Serve, connect: Connect, endpoint: Any) -> None:
    server = serve(str.upper, handlers={0xC0: str.lower}, stop_policy=StopPolicy.with_token("sesame"))
    where = endpoint(server)
    peer = connect(server)
    peer.request("a", "bc")
    peer.send(encode(FrameType.PING, b"!"), encode(0xC1), encode(FrameType.STOP, b"guess"), encode(0x80))
    peer.take(5)
    found = series(get(where, "/metrics")[1])
    assert found["framelet_frames_total"] == 6
    assert found["framelet_answers_total"] == 5
    assert found["framelet_received_bytes_total"] == 6 * 5 + 9
    assert found["framelet_errors_total[404]"] == found["framelet_errors_total[403]"] == 1
    assert found["framelet_stops_refused_total"] == 1
    assert found["framelet_handler_seconds_count"] == 2
    assert 0 < found["framelet_handler_seconds_sum"] < 10
    assert (found["framelet_connections_total"], found["framelet_connections_open"]) == (1, 1)
    assert found["framelet_threads"] == 8
    peer.close()
    until(lambda: server.metrics().connections_open == 0)
    again = series(get(where, "/metrics")[1])
    assert again["framelet_connections_ended_total[client]"] == 1
    for name in found.keys() & again.keys():
        if name.endswith(("_total", "_count")):
            assert again[name] >= found[name], name


def test_each_server_has_a_registry_of_its_own(serve: Serve, connect: Connect) -> None:
    first, second = serve(), serve()
    assert connect(first).ask("ab") == "ba"
    counts = [registry(server).get_sample_value("framelet_frames_total") for server in (first, second)]
    assert counts == [1, 0]


def test_numbers_are_right_under_load_and_never_fall(serve: Serve, connect: Connect) -> None:
    server = serve(threads=4)
    frames: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            frames.append(server.metrics().frames)

    def load() -> None:
        for _ in range(5):
            peer = connect(server)
            peer.request(*["ab"] * 200)
            peer.replies(200)
            peer.close()

    threads = [threading.Thread(target=work) for work in (watch, load, load, load, load)]
    for thread in threads:
        thread.start()
    for thread in threads[1:]:
        thread.join()
    done.set()
    threads[0].join()
    assert frames == sorted(frames)
    assert server.metrics().frames == server.metrics().answers == 4 * 5 * 200
    server.stop()
    assert server.metrics().frames == 4 * 5 * 200
    assert sum(server.metrics().connections_ended.values()) == server.metrics().connections == 20


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=re.escape(install_command("metrics"))):
        Endpoint(Server(("127.0.0.1", 0)))


def test_the_document_names_each_metric() -> None:
    text = (DOCS / "observability.md").read_text(encoding="utf-8")
    for info in describe():
        assert re.search(
            rf"^\| `{info.series}` +\| {info.kind} +\|.*{re.escape(info.purpose)}", text, re.MULTILINE
        ), info


# Health.


def test_all_is_told_while_every_worker_is_stuck(
    serve: Serve, connect: Connect, gate: Gate, endpoint: Any
) -> None:
    server = serve(gate, threads=2)
    where = endpoint(server)
    until(lambda: 0 < server.metrics().thread_wait_seconds < 1)
    peers = [connect(server) for _ in range(2)]
    for peer in peers:
        peer.request("block")
        gate.await_entry()
    until(lambda: server.metrics().thread_wait_seconds > 1.2)
    found = series(get(where, "/metrics")[1])
    assert found["framelet_threads_busy"] == 2
    assert found["framelet_thread_wait_seconds"] > 1.2
    assert get(where, "/healthz") == (200, "ready\n")
    assert get(where, "/readyz") == (200, "ready\n")
    server.begin_drain()
    assert get(where, "/healthz") == (200, "draining\n")
    assert get(where, "/readyz") == (503, "draining\n")
    gate.open()
    for peer in peers:
        assert peer.replies(1) == ["kcolb"]
        peer.close()
    assert server.wait(20)
    assert get(where, "/healthz") == (503, "ended\n")
    assert get(where, "/metrics")[0] == 200


def test_a_pause_is_no_standstill(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "SILENCE", 0.05)  # less than between two beats
    server, go_on = serve(), threading.Event()
    server._running().context.timers.schedule(0.0, go_on.wait)
    try:
        until(lambda: time.monotonic() - server._running().probe._beat_at > 0.1)
        assert server.health.alive
        until(lambda: not server.health.alive)
    finally:
        go_on.set()
    until(lambda: server.health.alive)


def test_a_server_that_was_not_started_is_not_ready(endpoint: Any) -> None:
    where = endpoint(Server(("127.0.0.1", 0)))
    assert get(where, "/readyz") == (503, "not started\n")
    assert get(where, "/healthz") == (503, "not started\n")
    assert get(where, "/metrics") == (503, "not started\n")


def test_slow_and_bad_requests_do_not_block_others(serve: Serve, endpoint: Any) -> None:
    where = endpoint(serve())
    with contextlib.ExitStack() as stack:
        for number in range(100):
            slow = stack.enter_context(socket.create_connection(where.address))
            slow.sendall((b"GET /hea", b"", b"\0\xff\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n")[number % 4])
        began = time.monotonic()
        assert get(where, "/healthz")[0] == 200
        assert get(where, "/nothing")[0] == 404
        assert time.monotonic() - began < 10
        assert sum("process_request" in thread.name for thread in threading.enumerate()) <= 40
    with socket.create_connection(where.address) as client:
        client.settimeout(20)
        client.sendall(b"POST /metrics HTTP/1.1\r\n\r\n")
        assert b" 501 " in client.recv(4096)


@pytest.mark.parametrize(
    ("host", "name", "status"),
    [
        ("127.0.0.1", "evil.example:1", 421),
        ("127.0.0.1", "127.0.0.1.evil.example", 421),
        ("127.0.0.1", "[", 421),
        ("127.0.0.1", "", 421),
        ("127.0.0.1", "10.1.2.3:1", 200),
        ("127.0.0.1", "[::1]:1", 200),
        ("127.0.0.1", "LocalHost", 200),
        ("localhost", "localhost:1", 200),
        ("0.0.0.0", "evil.example", 200),  # noqa: S104 - what a program may ask for
    ],
)
def test_a_page_of_another_name_reads_nothing(host: str, name: str, status: int) -> None:
    with Endpoint(Server(("127.0.0.1", 0)), host) as where:
        request = urllib.request.Request(f"http://{host}:{where.address[1]}/metrics", headers={"Host": name})
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request, timeout=20)  # noqa: S310 - http
        with error.value:
            assert error.value.code == (503 if status == 200 else status)  # 503: the server is not started


def test_the_command_serves_its_metrics(command: Callable[..., Any], connect: Connect) -> None:
    server = command("--metrics", "0", "--log-level", "info", "--log-format", "json")
    peer = connect(server.address())
    assert peer.ask("ab") == "ba"
    where = endpoint_of(server)
    assert where.startswith("127.0.0.1:")
    assert series(get(where, "/metrics")[1])["framelet_frames_total"] == 1
    assert get(where, "/readyz") == (200, "ready\n")
    peer.close()
    until(lambda: series(get(where, "/metrics")[1])["framelet_connections_open"] == 0)
    server.process.send_signal(signal.SIGTERM)
    status, log = server.finish()
    assert status == 0
    (ended,) = [json.loads(line) for line in log.splitlines() if '"connection"' in line]
    assert (ended["frames"], ended["answers"], ended["ended"]) == (1, 1, "client")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_for_metrics_that_is_taken_costs_one_line_and_status_1(
    command: Callable[..., Any], workers: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        status, log = command("--metrics", where, "--workers", workers).finish()
    assert (status, log) == (
        1,
        (
            f"framelet-server: error: cannot serve metrics on {where}: Address already in use; "
            "another program uses it: stop that program, or use another address\n"
        ),
    )


@pytest.mark.parametrize("text", ["x", "localhost:", "localhost:70000"])
def test_a_wrong_place_for_metrics_costs_one_line_and_status_2(
    command: Callable[..., Any], text: str
) -> None:
    status, log = command("--metrics", text).finish()
    assert status == 2
    assert log.count("\n") == 1
    assert "is not a port" in log


def test_without_the_package_the_command_says_the_same_for_one_process_and_for_several(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise ModuleNotFoundError(name=__name__)")
    first = {"PYTHONPATH": str(tmp_path)}
    ended = [command("--metrics", "0", "--workers", workers, env=first).finish() for workers in ("1", "2")]
    assert ended[0] == ended[1]
    assert ended[0][0] == 2
    assert install_command("metrics") in ended[0][1]


def test_a_page_needs_no_module_that_was_not_read_before() -> None:
    # There may be no descriptor left to read it with.  Other tests of this process have read them all.
    program = """
import sys, urllib.request
from framelet_server import Endpoint, Server
with Server(("127.0.0.1", 0)) as server, Endpoint(server) as endpoint:
    with urllib.request.urlopen(f"http://{endpoint}/healthz") as page:
        page.read()
    before = set(sys.modules)
    with urllib.request.urlopen(f"http://{endpoint}/metrics") as page:
        assert page.read()
    print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_pages_come_while_the_system_allows_no_further_thread(serve: Serve, endpoint: Any) -> None:
    where = endpoint(serve())
    before = threading.stack_size(1 << 46)  # more than there is
    try:
        with pytest.raises(RuntimeError):
            threading.Thread(target=print).start()
        assert get(where, "/readyz") == (200, "ready\n")
    finally:
        threading.stack_size(before)


def test_an_endpoint_says_where_it_cannot_listen() -> None:
    with pytest.raises(ListenError, match=r"cannot serve metrics on no-such-host\.invalid:1: "):
        Endpoint(Server(("127.0.0.1", 0)), "no-such-host.invalid", 1)
