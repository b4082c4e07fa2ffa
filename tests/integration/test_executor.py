"""Handlers that an executor calls: in order, up to a number, and not for those who are gone."""

from __future__ import annotations

import concurrent.futures
import functools
import gc
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks.calls import CallCounter

from framelet import ConfigurationError, FrameType, RequestReceived, TcpAddress, encode
from framelet_client import Client
from framelet_server import EpollPoller, StopPolicy
from framelet_server.service import handlers
from framelet_server.service.executors import ProcessExecutor, make_executor

from .peers import sessions
from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.peers import Gate

    from .peers import Connect, Serve


WORK = """
import hashlib, os, signal
from framelet import HandlerError

class NotFoundError(HandlerError):
    def __init__(self, what):
        super().__init__(462, f"no {what}")

def digest(text):
    "Real work, that holds the processor."
    return hashlib.pbkdf2_hmac("sha256", text.encode(), b"salt", 2_000).hex()[:16]

def obey(text):
    "Does what the text says."
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "raise":
        raise ValueError("secret")
    if text == "refuse":
        raise NotFoundError("room")
    if text == "unpicklable":
        return lambda: None
    return f"{text} by {os.getpid()}" if text == "who" else text
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that other processes can import, too."""
    (tmp_path / "elsewhere.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "elsewhere", raising=False)
    import elsewhere  # type: ignore[import-not-found]  # noqa: PLC0415 - written just now

    return elsewhere


@pytest.fixture
def threads() -> Iterator[Callable[[int], concurrent.futures.ThreadPoolExecutor]]:
    """Executors with so many threads, shut down behind the server."""
    made: list[concurrent.futures.ThreadPoolExecutor] = []

    def make(count: int) -> concurrent.futures.ThreadPoolExecutor:
        made.append(concurrent.futures.ThreadPoolExecutor(count))
        return made[-1]

    yield make
    for executor in made:
        executor.shutdown(cancel_futures=True)


@pytest.fixture
def processes(work: Any) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Two processes."""
    del work  # its folder has to be found by them
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, context) as executor:
        yield executor


class ByHand(concurrent.futures.Executor):
    """Calls nothing until it is told to, in any order."""

    def __init__(self) -> None:
        self.calls: list[tuple[concurrent.futures.Future[Any], Callable[[], Any]]] = []

    def submit(
        self, function: Callable[..., Any], /, *args: Any, **keywords: Any
    ) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.calls.append((future, functools.partial(function, *args, **keywords)))
        return future

    def run(self, index: int) -> None:
        future, call = self.calls[index]
        if future.set_running_or_notify_cancel():
            future.set_result(call())


@pytest.fixture
def by_hand() -> ByHand:
    return ByHand()


# What is kept in memory.


def test_of_a_client_that_left_nothing_is_kept_but_its_place(
    serve: Serve, connect: Connect, gate: Gate, threads: Any
) -> None:
    text = "x" * 1_000_000
    executor = threads(1)
    server = serve(gate, executor=executor)
    connect(server).request("block")
    gate.await_entry()
    for _ in range(3):
        peer = connect(server)
        peer.request(*[text] * 10)
        until(lambda: server.metrics().in_flight == 11)
        peer.reset()
        until(lambda: server.metrics().in_flight == 1)
    gc.collect()
    calls = [found for found in gc.get_objects() if isinstance(found, handlers._Call)]
    kept = [argument for call in calls for argument in call._arguments]
    kept += [found.text for found in gc.get_objects() if isinstance(found, RequestReceived)]
    assert text not in kept
    assert "block" in kept
    gate.open()


def test_an_executor_holds_no_more_calls_than_so_many(
    serve: Serve, connect: Connect, by_hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "_MOST_QUEUED", 10)
    server = serve(str.upper, executor=by_hand)
    first = connect(server)
    first.request(*["a"] * 10)
    until(lambda: len(by_hand.calls) == 10)
    first.reset()
    until(lambda: server.metrics().in_flight == 0)
    second = connect(server)
    second.request("b")
    assert second.error() == 450  # the ten were cancelled, and are still there
    by_hand.calls.clear()
    gc.collect()
    second.request("c")
    until(lambda: len(by_hand.calls) == 1)
    by_hand.run(0)
    assert second.replies(1) == ["C"]


# Order.


@pytest.mark.req("REQ-ORDER-2")
@pytest.mark.parametrize("max_unsent", [1, 1_000_000])
def test_answers_come_in_the_order_of_their_requests_and_all_of_them(
    serve: Serve, connect: Connect, by_hand: ByHand, poller: Any, max_unsent: int
) -> None:
    # All answers but the first are there when that comes: nothing wakes the server for them any more.
    peer = connect(serve(str.upper, executor=by_hand, poller=poller, max_unsent=max_unsent))
    texts = [f"text {number}" for number in range(100)]
    peer.request(*texts)
    until(lambda: len(by_hand.calls) == 100)
    for index in reversed(range(100)):
        by_hand.run(index)
    assert peer.replies(100) == [text.upper() for text in texts]


@pytest.mark.req("REQ-ORDER-2")
def test_what_needs_no_handler_waits_for_its_turn(serve: Serve, connect: Connect, by_hand: ByHand) -> None:
    server = serve(str.upper, executor=by_hand, handlers={0xC0: str.lower}, stop_policy=StopPolicy.off())
    peer = connect(server)
    peer.request("a")
    peer.send(
        encode(FrameType.PING, b"1"),
        encode(0xC1, b"?"),
        encode(FrameType.STOP),
        encode(FrameType.REQUEST, b"\xff"),
    )
    peer.send(encode(0xC0, b"B"), encode(FrameType.PING, b"2"))
    other = connect(server)
    other.send(encode(FrameType.PING))
    assert other.take(1)[0].type == FrameType.PONG
    until(lambda: len(by_hand.calls) == 2)
    by_hand.run(1)
    by_hand.run(0)
    frames = [(frame.type, frame.body[:4]) for frame in peer.take(7)]
    assert frames == [
        (FrameType.REPLY, b"A"),
        (FrameType.PONG, b"1"),
        (FrameType.ERROR, b"404 "),
        (FrameType.ERROR, b"403 "),
        (FrameType.ERROR, b"400 "),
        (0xC0, b"b"),
        (FrameType.PONG, b"2"),
    ]


def test_threads_serve_one_client_at_the_same_time(serve: Serve, connect: Connect, threads: Any) -> None:
    together = threading.Barrier(4)

    def handler(text: str) -> str:
        together.wait(20)
        return text.upper()

    peer = connect(serve(handler, executor=threads(4), threads=1))
    texts = [f"text {number}" for number in range(40)]
    peer.request(*texts)
    assert peer.replies(40) == [text.upper() for text in texts]


def test_processes_do_real_work(serve: Serve, connect: Connect, work: Any, processes: Any) -> None:
    peers = [connect(server) for server in (serve(work.digest, executor=processes),) * 3]
    for name, peer in zip("abc", peers, strict=True):
        peer.request(*(f"{name}{number}" for number in range(20)))
    for name, peer in zip("abc", peers, strict=True):
        assert peer.replies(20) == [work.digest(f"{name}{number}") for number in range(20)]


def test_two_servers_share_an_executor(serve: Serve, connect: Connect, threads: Any) -> None:
    executor = threads(2)
    first, second = serve(str.upper, executor=executor), serve(str.lower, executor=executor)
    assert connect(first).ask("Ab") == "AB"
    first.stop()
    assert connect(second).ask("Ab") == "ab"


# The number in flight.


def test_no_more_answers_than_allowed_are_in_flight_and_the_client_is_not_read_meanwhile(
    serve: Serve, connect: Connect, by_hand: ByHand, poller: Any
) -> None:
    server = serve(str.upper, executor=by_hand, poller=poller, max_in_flight=4, turn_octets=1_000)
    peer = connect(server)
    text = "x" * 500
    peer.request(*[text] * 100)
    peer.await_receipt()
    for done in range(100):
        until(lambda done=done: len(by_hand.calls) == min(done + 4, 100))  # type: ignore[misc]  # bound above
        assert server.metrics().in_flight <= 4
        if done < 90:
            assert server.metrics().received_bytes < (done + 8) * 505
        by_hand.run(done)
    assert peer.replies(100) == [text.upper()] * 100


def test_an_answer_costs_the_same_however_many_frames_wait(serve: Serve, connect: Connect) -> None:
    def calls_for_an_answer(frames: int) -> float:
        executor, answers = ByHand(), 100
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_048_576)
        peer = connect(TcpAddress(*listener.getsockname()))
        peer.request(*["ab"] * frames)
        peer.await_receipt()  # so that one read takes as many as it can
        with CallCounter() as counter:
            server = serve(str, address=None, sockets=[listener], executor=executor, max_in_flight=1)
        until(lambda: executor.calls)
        assert server.metrics().frames >= min(frames, 37_000)
        before = counter.calls
        for number in range(answers):
            executor.run(number)
            until(lambda: len(executor.calls) == number + 2)  # noqa: B023 - called here and now
        return (counter.calls - before) / answers

    few, many = calls_for_an_answer(200), calls_for_an_answer(50_000)
    assert many < 1.2 * few, f"{few:.0f} Python calls with 200 frames waiting, and {many:.0f} with 50,000"


def test_what_is_in_flight_counts_as_memory(serve: Serve, connect: Connect, by_hand: ByHand) -> None:
    server = serve(lambda text: text * 100, executor=by_hand, turn_octets=1_000)
    peer = connect(server)
    peer.request(*["x" * 1_000] * 3)
    until(lambda: len(by_hand.calls) == 3)
    until(lambda: 12_000 <= server.metrics().memory_bytes < 20_000)
    by_hand.run(2)  # its answer waits for two others
    until(lambda: server.metrics().memory_bytes > 100_000)
    by_hand.run(0)
    by_hand.run(1)
    assert peer.replies(3) == ["x" * 100_000] * 3
    until(lambda: server.metrics().memory_bytes == 0)


# Clients that go.


@pytest.mark.parametrize("full", [False, True])
def test_a_client_that_resets_has_what_was_not_begun_cancelled(
    serve: Serve, connect: Connect, by_hand: ByHand, *, full: bool
) -> None:
    server = serve(str.upper, executor=by_hand, max_in_flight=3 if full else 10, poller=EpollPoller)
    peer = connect(server)
    peer.request("a", "b", "c", "d")
    until(lambda: len(by_hand.calls) == 3 + (not full))
    began = by_hand.calls[0][0]
    assert began.set_running_or_notify_cancel()
    spent = time.process_time()
    peer.reset()
    until(lambda: server.metrics().connections_open == 0)
    assert time.process_time() - spent < 1, "the server span on a client that was gone"
    assert all(future.cancelled() for future, _ in by_hand.calls[1:])
    began.set_result("too late")  # heard by nobody
    assert server.metrics().connections_ended == {"lost": 1}
    assert connect(server).sock.fileno() >= 0


def test_a_client_that_closes_is_gone_with_its_first_answer(
    serve: Serve, connect: Connect, by_hand: ByHand
) -> None:
    # Until an answer is refused, it may have closed its sending direction alone.
    server = serve(str.upper, executor=by_hand)
    peer = connect(server)
    peer.request(*"abcdef")
    until(lambda: len(by_hand.calls) == 6)
    peer.close()
    for index in range(6):
        by_hand.run(index)
        if index == 0:
            until(lambda: server.metrics().connections_open == 0)
    assert all(future.cancelled() for future, _ in by_hand.calls[1:])


# The end.


@pytest.mark.req("REQ-STOP-7")
def test_a_drain_waits_for_what_is_in_flight(serve: Serve, connect: Connect, by_hand: ByHand) -> None:
    server = serve(str.upper, executor=by_hand, max_in_flight=2)
    peer = connect(server)
    peer.request(*"abcd")
    until(lambda: len(by_hand.calls) == 2)
    peer.await_receipt()
    server.begin_drain()
    for index in range(4):
        until(lambda index=index: len(by_hand.calls) > index)  # type: ignore[misc]  # bound above
        assert not server.wait(0)
        by_hand.run(index)
    assert peer.replies(4) == list("ABCD")
    assert peer.receive() is None
    peer.close()
    assert server.wait(20)


@pytest.mark.parametrize("sends_on", [False, True])
def test_a_drain_waits_without_spinning(
    serve: Serve, connect: Connect, by_hand: ByHand, poller: Any, *, sends_on: bool
) -> None:
    server = serve(str.upper, executor=by_hand, poller=poller)
    peer = connect(server)
    peer.request("a")
    until(lambda: len(by_hand.calls) == 1)
    (session,) = sessions(server)
    server.begin_drain()
    until(lambda: session.connection.draining)
    if sends_on:
        peer.request("not before the drain")
    before = time.process_time()
    threading.Event().wait(0.5)  # a span to measure in
    assert time.process_time() - before < 0.2
    by_hand.run(0)
    assert peer.replies(1) == ["A"]
    assert peer.receive() is None


@pytest.mark.req("REQ-STOP-12")
def test_the_deadline_of_a_drain_cuts_off_futures_that_never_end(
    serve: Serve, connect: Connect, by_hand: ByHand
) -> None:
    server = serve(str.upper, executor=by_hand, drain_timeout=0.2)
    peer = connect(server)
    peer.request("a", "b")
    until(lambda: len(by_hand.calls) == 2)
    server.begin_drain()
    assert server.wait(20)
    assert all(future.cancelled() for future, _ in by_hand.calls)
    assert server.metrics().connections_ended == {"cut": 1}


@pytest.mark.req("REQ-STOP-8")
def test_stopped_comes_behind_the_answers_that_were_owed_before_the_stop(
    serve: Serve, connect: Connect, by_hand: ByHand
) -> None:
    server = serve(str.upper, executor=by_hand)
    peer, other = connect(server), connect(server)
    other.request("z")
    until(lambda: len(by_hand.calls) == 1)
    peer.request("a", "b")
    peer.send(encode(FrameType.STOP))
    until(lambda: len(by_hand.calls) == 3)
    by_hand.run(0)
    assert other.replies(1) == ["Z"]
    assert other.receive() is None
    other.close()
    until(
        lambda: server._running().drain._concluded
    )  # nobody else is left, and still the answers owed come first
    before = server.metrics().received_bytes
    peer.send(encode(FrameType.PING))  # wakes a worker, which must not take its chance
    until(lambda: server.metrics().received_bytes > before)
    by_hand.run(2)
    by_hand.run(1)
    assert peer.replies(2) == ["A", "B"]
    (stopped,) = peer.take(1)
    assert (stopped.type, stopped.body) == (FrameType.STOPPED, b"closed=1 cut=0")
    assert peer.receive() is None


# Faults.


def test_whatever_goes_wrong_elsewhere_costs_one_request(
    serve: Serve, connect: Connect, work: Any, processes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(work.obey, executor=processes, handlers={0xC0: lambda text: text})
    peer = connect(server)
    peer.request("a", "raise", "unpicklable", "refuse", "b")
    peer.send(encode(0xC0, b"a handler that cannot be sent to a process"))
    frames = peer.take(6)
    assert [frame.body[:4] for frame in frames] == [b"a", b"450 ", b"450 ", b"462 ", b"b", b"450 "]
    assert frames[3].body == b"462 no room"
    assert b"secret" not in b"".join(frame.body for frame in frames)
    assert sum("handler" in record.message for record in caplog.records) == 3
    assert server.metrics().errors == {"450": 3, "462": 1}


def test_an_executor_that_is_shut_down_costs_errors(serve: Serve, connect: Connect, threads: Any) -> None:
    executor = threads(1)
    peer = connect(serve(str.upper, executor=executor))
    assert peer.ask("a") == "A"
    executor.shutdown()
    peer.request("b")
    assert peer.error() == 450
    peer.send(encode(FrameType.PING))
    assert peer.take(1)[0].type == FrameType.PONG


def test_a_process_that_dies_costs_its_requests_and_the_server_lives(
    serve: Serve, connect: Connect, work: Any, processes: Any
) -> None:
    peer = connect(serve(work.obey, executor=processes))
    peer.request("die", "b")
    assert peer.error() == 450
    peer.take(1)  # in time or not
    peer.request("c")
    assert peer.error() == 450  # the standard pool is of no use any more
    peer.send(encode(FrameType.PING))
    assert peer.take(1)[0].type == FrameType.PONG


@pytest.mark.usefixtures("work")
def test_the_command_has_processes_that_are_replaced(command: Callable[..., Any]) -> None:
    server = command("--handler", "elsewhere:obey", "--executor", "process:1")
    with Client(server.address()) as client:
        before = client.request("who")
        assert str(server.process.pid) not in before
        with pytest.raises(Exception, match="450"):
            client.request("die")
        assert client.request("who") != before
        server.process.send_signal(signal.SIGTERM)
    status, log = server.finish()
    assert status == 0
    assert "a process that called handlers has died" in log


@pytest.mark.usefixtures("work")
def test_no_process_outlives_a_command_that_is_killed(command: Callable[..., Any]) -> None:
    server = command("--handler", "elsewhere:obey", "--executor", "process:1")
    with Client(server.address()) as client:
        number = int(client.request("who").rpartition(" ")[2])
        server.process.kill()

    def gone() -> bool:
        # It stays a zombie where nobody waits for orphans.
        shown = subprocess.run(
            ["/bin/sh", "-c", f"cat /proc/{number}/stat"], check=False, capture_output=True, text=True
        ).stdout
        return not shown or shown.split()[2] == "Z"

    until(gone)


@pytest.mark.parametrize("executor", ["thread:1", "process:1"])
def test_a_handler_that_never_returns_does_not_keep_the_command(
    command: Callable[..., Any], connect: Connect, tmp_path: Path, executor: str
) -> None:
    (tmp_path / "stuck.py").write_text(
        "import pathlib, threading\n"
        "def wait(text): pathlib.Path('entered').touch(); threading.Event().wait()\n"
    )
    server = command("--handler", "stuck:wait", "--executor", executor, "--drain-timeout", "0.2")
    peer = connect(server.address())
    peer.request("for ever")
    until((tmp_path / "entered").exists)
    server.process.send_signal(signal.SIGTERM)
    assert server.finish()[0] == 0


@pytest.mark.parametrize("text", ["", "process", "thread:0", "process:-1", "thread:x", "fork:2", "process:²"])
def test_an_executor_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an executor: expected thread:N or process:N"):
        make_executor(text)


def test_the_replaced_pool_keeps_the_number_of_its_processes(work: Any) -> None:
    executor = ProcessExecutor(2)
    try:
        for _ in range(2):
            with pytest.raises(concurrent.futures.BrokenExecutor):
                executor.submit(work.obey, "die").result(20)
        assert executor.submit(work.obey, "alive").result(20) == "alive"
        assert len(multiprocessing.active_children()) <= 2
    finally:
        executor.shutdown()


def test_the_environment_of_the_program_that_has_it_stays_as_it_was(work: Any) -> None:
    before = dict(os.environ)
    executor = ProcessExecutor(1)
    try:
        assert executor.submit(work.obey, "alive").result(20) == "alive"
        assert dict(os.environ) == before
        assert executor.submit(os.getenv, "PYTHONSAFEPATH").result(20) == before.get("PYTHONSAFEPATH")
    finally:
        executor.shutdown()
