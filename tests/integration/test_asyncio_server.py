"""The server inside an asyncio loop: what is its own; the rest is the server of threads, and tested there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet import ConfigurationError, ErrorCode, FrameType, HandlerError, encode
from framelet_client import Client
from framelet_client.asyncio import connect as connect_in_loop
from framelet_server import CallContext, DrainObserver, ServerLimits
from framelet_server import server as threaded
from framelet_server.asyncio import serve as serve_in_loop

from .looping import descriptors
from .peers import LoopServer, sessions, stopped
from .scripted import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from .peers import Connect

    Serve = Callable[..., LoopServer]

ROOT = Path(__file__).parents[2]
APPLICATION = 0xC0


class Held:
    """An ``async def`` handler that waits for ``release``; whatever begins with "q" it answers at once."""

    def __init__(self) -> None:
        self.under_way: list[str] = []
        self.cancelled: list[str] = []
        self.most = 0
        self._released = threading.Event()

    async def __call__(self, text: str) -> str:
        if not text.startswith("q"):
            self.under_way.append(text)
            self.most = max(self.most, len(self.under_way))
            try:
                while not self._released.is_set():  # noqa: ASYNC110 - set in another thread
                    await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                self.cancelled.append(text)
                raise
            finally:
                self.under_way.remove(text)
        return text.upper()

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def held(serve: object) -> Any:
    del serve
    handler = Held()
    yield handler
    handler.release()


@pytest.mark.req("REQ-ORDER-2")
def test_handlers_of_one_client_run_together_up_to_a_bound_and_answer_in_order(
    serve: Serve, connect: Connect, held: Held
) -> None:
    server = serve(held, in_loop=True, max_in_flight=4)
    peer, other = connect(server), connect(server)
    texts = [f"{'q' if number % 3 else 'slow'}{number}" for number in range(30)]
    peer.request(*texts)
    until(lambda: held.under_way)
    assert other.ask("quick") == "QUICK"
    held.release()
    assert peer.replies(30) == [text.upper() for text in texts]
    assert 2 <= held.most <= 4


def test_the_bound_holds_for_what_needs_no_handler_too(serve: Serve, connect: Connect, held: Held) -> None:
    server = serve(str.lower, handlers={APPLICATION: held}, in_loop=True, max_in_flight=8)
    peer = connect(server)
    peer.send(encode(APPLICATION, b"slow"))
    until(lambda: held.under_way)
    most = 100_000
    sender = threading.Thread(target=peer.send, args=(encode(FrameType.PING) * most,))
    sender.start()
    (session,) = sessions(server)
    until(lambda: session._paused)
    assert session.connection.owes <= 8 + 64  # those that are taken at a time
    held.release()
    assert len(peer.take(1 + most)) == 1 + most
    sender.join(PATIENCE)
    peer.send(encode(APPLICATION, b"q"), encode(FrameType.REQUEST, b"A"))
    assert [frame.body for frame in peer.take(2)] == [b"Q", b"a"]


def test_a_function_behind_a_task_waits_its_turn(serve: Serve, connect: Connect, held: Held) -> None:
    called: list[str] = []

    def plain(text: str) -> str:
        called.append(text)
        if text == "fails":
            raise SystemExit
        return text * 10_000

    server = serve(plain, handlers={APPLICATION: held}, in_loop=True, max_in_flight=8)
    peer = connect(server)
    peer.send(encode(APPLICATION, b"slow"), *(encode(FrameType.REQUEST, b"x") for _ in range(20)))
    until(lambda: len(called) == 7)  # no more than fit: the first is the task
    (session,) = sessions(server)
    until(lambda: session.held > 70_000)  # their answers are in memory, and counted
    held.release()
    assert [len(frame.body) for frame in peer.take(21)] == [4, *[10_000] * 20]
    peer.request("fails")
    assert peer.error() == 450
    assert session.held == 0


def test_the_tasks_of_a_client_that_is_gone_are_cancelled(serve: Serve, connect: Connect, held: Held) -> None:
    peer = connect(serve(held, in_loop=True))
    peer.request("a", "b")
    until(lambda: len(held.under_way) == 2)
    peer.reset()
    until(lambda: len(held.cancelled) == 2)


@pytest.mark.req("REQ-ERROR-4")
@pytest.mark.parametrize(
    "error", [ValueError("secret"), asyncio.CancelledError(), BaseExceptionGroup("", [OSError()])]
)
@pytest.mark.parametrize("waits", [False, True])
def test_a_task_that_fails_costs_its_caller_one_recoverable_error(
    serve: Serve, connect: Connect, error: BaseException, *, waits: bool
) -> None:
    async def handler(text: str) -> Any:
        await asyncio.sleep(0.001 * waits)
        if text == "fail":
            raise error
        return 5 if text == "number" else text.upper()

    peer = connect(serve(handler, in_loop=True))
    peer.request("a", "fail", "number", "b")
    bodies = [frame.body for frame in peer.take(4)]
    assert (bodies[0], bodies[3]) == (b"A", b"B")
    assert bodies[1][:4] == bodies[2][:4] == b"450 "
    assert b"secret" not in bodies[1]


def test_a_task_may_ask_for_its_call_and_say_what_is_wrong(serve: Serve, connect: Connect) -> None:
    async def handler(text: str, call: CallContext) -> str:
        await asyncio.sleep(0)
        if text == "no":
            raise HandlerError(ErrorCode(462), "no such thing")
        return f"{call.peer.host} {text}"

    peer = connect(serve(handler, in_loop=True))
    peer.request("a", "no")
    assert [frame.body for frame in peer.take(2)] == [b"127.0.0.1 a", b"462 no such thing"]


def test_a_function_that_takes_long_leaves_the_loop_its_turns() -> None:
    def handler(text: str) -> str:
        time.sleep(0.002)
        return text

    async def main() -> float:
        longest, last = 0.0, time.monotonic()
        async with serve_in_loop(handler, ("127.0.0.1", 0)) as server:

            def ask() -> list[str]:
                with Client(str(server.address)) as client:
                    return list(client.pipeline(["x"] * 2_000))

            asking = asyncio.create_task(asyncio.to_thread(ask))
            while not asking.done():
                await asyncio.sleep(0)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            assert len(await asking) == 2_000
        return longest

    assert asyncio.run(main()) < 1.0  # of 4 seconds in all


def test_an_executor_calls_the_functions_and_the_loop_goes_on(serve: Serve, connect: Connect) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - of this test

    names: list[str] = []

    def handler(text: str) -> str:
        names.append(threading.current_thread().name)
        return text.upper()

    async def tasked(text: str) -> str:
        names.append(threading.current_thread().name)
        return text

    with ThreadPoolExecutor(2, "pool") as executor:
        server = serve(handler, handlers={APPLICATION: tasked}, in_loop=True, executor=executor)
        peer = connect(server)
        peer.send(encode(FrameType.REQUEST, b"a"), encode(APPLICATION, b"b"))
        assert [frame.body for frame in peer.take(2)] == [b"A", b"b"]
        server.stop()
    assert sorted(name[:4] for name in names) == ["loop", "pool"]


def test_a_stop_ends_it_and_whoever_waits_for_it(serve: Serve, connect: Connect, held: Held) -> None:
    server = serve(held, in_loop=True)
    peer, other = connect(server), connect(server)
    peer.request("slow")
    until(lambda: held.under_way)
    other.send(encode(FrameType.STOP))
    until(lambda: server.health.words == "draining")
    assert not server.do(server._server.wait(0.01))
    held.release()
    assert peer.rest() == [(FrameType.REPLY, b"SLOW")]
    assert other.rest() == [stopped(1)]
    peer.close()
    other.close()
    assert server.wait(PATIENCE)


def test_a_cancelled_stop_cuts_the_drain_short(connect: Connect) -> None:
    async def main() -> None:
        never = asyncio.Event()

        async def handler(text: str) -> str:
            await never.wait()
            return text

        async with asyncio.timeout(PATIENCE):
            server = await serve_in_loop(handler, ("127.0.0.1", 0)).start()
            peer = connect(server.address)
            peer.request("x")
            while not server.metrics().in_flight:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.001)
            stopping = asyncio.create_task(server.stop())
            await asyncio.sleep(0)
            assert server.health.words == "draining"
            stopping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stopping
            assert await server.wait(PATIENCE)
            assert server.health.words == "ended"
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(RuntimeError, match="already started"):
            await server.start()

    asyncio.run(main())


@pytest.mark.parametrize("steps", range(5))
def test_a_wait_that_is_cancelled_just_as_the_server_ends_is_cancelled(steps: int) -> None:
    async def main() -> None:
        server = await serve_in_loop(str.upper, ("127.0.0.1", 0)).start()
        waiting = asyncio.create_task(server.wait(PATIENCE))
        await asyncio.sleep(0)
        server.begin_drain()
        server.force()
        await server._inner.ended.wait()
        for _ in range(steps):
            await asyncio.sleep(0)
        taken = waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled() == taken

    asyncio.run(main())


def test_what_cannot_be_served_is_refused_at_the_start() -> None:
    async def generated(text: str) -> Any:
        yield text

    with pytest.raises(ConfigurationError, match="it is async, or a generator"):
        serve_in_loop(generated, ("127.0.0.1", 0))
    with pytest.raises(ConfigurationError, match="either an address or sockets"):
        serve_in_loop(str.upper)
    server = serve_in_loop(str.upper, ("127.0.0.1", 0), limits=ServerLimits(max_connections=1))
    assert (server.started, server.health.words) == (False, "not started")


def test_a_fault_that_stays_does_not_keep_the_loop_busy(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(in_loop=True)
    peer = connect(server)
    assert peer.ask("ab") == "ba"
    workers = server._running().workers
    calls = []

    def fail() -> bool:
        calls.append(time.monotonic())
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(workers, "serve_ready", fail)
    peer.request("ab")
    until(lambda: len(calls) == 3)
    assert calls[2] - calls[0] >= 0.2
    monkeypatch.undo()
    assert peer.replies(1) == ["ba"]
    assert "a worker failed in its turn" in caplog.text


def test_the_example_waits_for_many_requests_together() -> None:
    command = [sys.executable, str(ROOT / "examples" / "asyncio_server.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with Client(process.stdout.readline().split()[-1]) as client:
            began = time.monotonic()
            assert list(client.pipeline(["hello"] * 400)) == ["HELLO"] * 400
            assert time.monotonic() - began < 20  # forty seconds one after the other
            assert client.send(APPLICATION, "two words") == "2"
        process.terminate()
        assert process.wait(PATIENCE) == 0


HELD_UP = [
    *("blocks", "held_up", "number_of_threads", "run_at_the_same_time", "gets_stopped", "stuck"),
    *("stopped_comes_last", "says_good_bye", "nobody_is_let_in", "new_server_may_take", "costs_its_caller"),
]
"""Tests that hold up a worker, look at threads, or drain from another thread and do not wait."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_passes_the_tests_of_the_server_of_threads() -> None:
    files = ["test_server_serving", "test_server_deadlines", "test_server_lifecycle", "test_server_handlers"]
    files += ["test_drain", "test_stop", "test_tls"]
    paths = [str(ROOT / "tests" / "integration" / f"{name}.py") for name in files]
    options = ["--in-loop", "-q", "-n", "2", "-m", "not slow", "-k", f"not ({' or '.join(HELD_UP)})"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *paths],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5_000:]
    assert " passed" in done.stdout


def test_a_server_that_has_ended_sets_no_timer_in_the_loop() -> None:
    async def main() -> None:
        server = await serve_in_loop(str.upper, ("127.0.0.1", 0)).start()
        await server.stop()
        server.force()
        assert not [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]

    asyncio.run(main())


def test_to_wait_for_a_server_that_was_not_started_is_an_error() -> None:
    async def main() -> None:
        server = serve_in_loop(str.upper, ("127.0.0.1", 0))
        for call in (server.wait(), server.wait(0), server.stop()):
            with pytest.raises(RuntimeError, match="has not been started"):
                await call

    asyncio.run(main())


def test_a_start_that_failed_late_leaves_nothing_and_may_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no room for another descriptor")

    async def main() -> None:
        before = descriptors()
        server = serve_in_loop(str.upper, ("127.0.0.1", 0))
        with monkeypatch.context() as patched:
            patched.setattr(threaded, "Acceptor", fail)
            with pytest.raises(OSError, match="no room"):
                await server.start()
        assert descriptors() == before
        await asyncio.sleep(0)
        async with server:
            assert not await server.wait(0)
        assert await server.wait(0)

    asyncio.run(main())


def test_a_drain_that_another_thread_concludes_has_its_end() -> None:
    class Observer(DrainObserver):
        def drained(self, closed: int, cut: int, conclude: Callable[[int, int], None]) -> None:
            def wait_and_conclude() -> None:
                forced.wait(PATIENCE)
                conclude(closed, cut)

            self.thread = threading.Thread(target=wait_and_conclude)
            self.thread.start()

    forced = threading.Event()

    async def main() -> None:
        observer, limits = Observer(), ServerLimits(linger_timeout=0.05)
        server = serve_in_loop(str.upper, ("127.0.0.1", 0), limits=limits, drain_observer=observer)
        await server.start()
        stopper = await connect_in_loop(str(server.address)).open()
        stopping = asyncio.create_task(stopper.stop())
        while server.health.words != "draining":  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
        server.force()
        asyncio.get_running_loop().set_debug(True)  # it refuses to be called from another thread
        forced.set()
        assert await server.wait(PATIENCE)
        await stopping
        await stopper.close()
        observer.thread.join(PATIENCE)

    asyncio.run(main())
