"""What a handler that asks for it is told of its call: on every road, and while the call is under way."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet import encode
from framelet_client import AnswerError, Client
from framelet_server import CallContext
from framelet_server.service.executors import make_executor

from .scripted import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from .peers import Connect

    Serve = Callable[..., Any]

APPLICATION = 0xC1


def describe(text: str, context: CallContext) -> str:
    facts = (int(context.type), context.peer.name, sorted(context.roles), context.deadline, context.cancelled)
    return f"{text} {facts}"


async def describe_later(text: str, context: CallContext) -> str:
    return describe(text, context)


@pytest.mark.parametrize("road", ["worker", "executor", "process", "loop", "task"])
def test_a_handler_that_asks_is_told_who_asks_for_what(serve: Serve, connect: Connect, road: str) -> None:
    with contextlib.ExitStack() as stack:
        pool: concurrent.futures.Executor | None = None
        if road in {"executor", "process"}:
            pool = make_executor("thread:2" if road == "executor" else "process:1")
            stack.enter_context(pool)
        handler: Any = describe_later if road == "task" else describe
        server = serve(
            handler, handlers={APPLICATION: handler}, executor=pool, in_loop=road in {"loop", "task"}
        )
        for peer in (connect(server), connect(server)):
            host, port = peer.sock.getsockname()
            facts = f"'{host}:{port}', [], None, False)"
            for texts in (["a"], ["a", "b", "c"]):
                peer.request(*texts)
                assert peer.replies(len(texts)) == [f"{text} (1, {facts}" for text in texts]
            peer.send(encode(APPLICATION, b"x"))
            assert peer.take(1) == [(APPLICATION, f"x (193, {facts}".encode())]
        server.begin_drain()
        server.wait(PATIENCE)
    gc.collect()
    assert not [found for found in gc.get_objects() if isinstance(found, CallContext)]


class Waiting:
    """A handler that waits until its call is cancelled, and takes down what it is told meanwhile."""

    def __init__(self) -> None:
        self.contexts: list[CallContext] = []
        self.entered = threading.Semaphore(0)
        self.cancelled = threading.Semaphore(0)

    def __call__(self, text: str, context: CallContext) -> str:
        self.contexts.append(context)
        self.entered.release()
        until = time.monotonic() + PATIENCE
        while text == "wait" and not context.cancelled:
            assert time.monotonic() < until, "it was not cancelled"
            time.sleep(0.001)
        self.cancelled.release()
        return text


@pytest.mark.parametrize("elsewhere", [0, 1])
def test_a_call_whose_client_is_gone_is_cancelled(serve: Serve, connect: Connect, elsewhere: int) -> None:
    handler = Waiting()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        peer = connect(serve(handler, executor=pool if elsewhere else None))
        peer.request("wait")
        assert handler.entered.acquire(timeout=PATIENCE)
        assert not handler.contexts[0].cancelled
        peer.reset()
        assert handler.cancelled.acquire(timeout=PATIENCE)


def test_a_client_that_has_only_ended_its_stream_waits_for_its_answer(serve: Serve, connect: Connect) -> None:
    entered, ended = threading.Event(), threading.Event()

    def handler(text: str, context: CallContext) -> str:
        entered.set()
        assert ended.wait(PATIENCE)
        return f"{text} {context.cancelled}"

    peer = connect(serve(handler))
    peer.request("a")
    assert entered.wait(PATIENCE)
    peer.end()
    ended.set()
    assert peer.replies(1) == ["a False"]


def test_a_drain_gives_calls_a_deadline_and_its_end_cancels_them(serve: Serve, connect: Connect) -> None:
    handler = Waiting()
    server = serve(handler, drain_timeout=100.0)
    connect(server).request("wait")
    assert handler.entered.acquire(timeout=PATIENCE)
    (context,) = handler.contexts
    assert context.deadline is None
    before = time.monotonic()
    server.begin_drain()
    assert context.deadline is not None
    assert before + 100.0 <= context.deadline <= time.monotonic() + 100.0
    assert not context.cancelled
    server.force()
    assert handler.cancelled.acquire(timeout=PATIENCE)


def test_the_example_has_four_services_on_one_server() -> None:
    example = Path(__file__).parents[2] / "examples" / "services.py"
    with subprocess.Popen([sys.executable, example, "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split()[2].rstrip(";")
            with Client(address) as client:
                assert client.request("hello") == "HELLO"
                assert client.send(0xC0, "one two three") == "3"
                assert [client.send(0xC1, text) for text in ("a=1", "a")] == ["1", "1"]
                with pytest.raises(AnswerError, match="ERROR 460: no such key: b"):
                    client.send(0xC1, "b")
                assert client.send(0xC2, "hello").startswith("hello, 127.0.0.1:")
                with pytest.raises(AnswerError, match="ERROR 404"):
                    client.send(0xC3, "")
                client.stop()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
