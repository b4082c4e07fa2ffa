"""An exception at any instruction of a call, and a fork at any moment: no connection is ever out of step."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import os
import socket
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.scripted import in_a_fork

from framelet import ConnectionStateError, FrameType, encode
from framelet_client import Client, ClientTls
from framelet_client import asyncio as asyncio_client
from framelet_client.net import connect as connect_module
from framelet_server import Server, ServerTls

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType as CallFrame

    from tests.integration.conftest import Script

MOST = 2_500  # instructions of one call at which it is interrupted, spread over all of them


class Interruption(Exception):  # noqa: N818 - what a signal's handler may raise
    """Comes between two instructions."""


def run_traced(call: Callable[[], object], at: int, only: str = "") -> int:
    """Run a call, with an Interruption before instruction ``at`` of it; how many it has come to.

    Only those count of files in whose name ``only`` is.
    """
    count = 0

    def trace(frame: CallFrame, event: str, _: object) -> Any:
        nonlocal count
        if only not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_code is not call.__code__:
            count += 1
            if count == at:
                raise Interruption
        return trace

    before = sys.gettrace()
    gc.disable()  # its callbacks would be counted, and an Interruption of one is lost
    sys._getframe().f_trace_opcodes = True  # Python 3.12 reports opcodes only if one frame asked before
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def instructions(call: Callable[[], object], only: str = "", most: int = MOST) -> Iterator[int]:
    """Those at which to interrupt a call like this one."""
    count = run_traced(call, 0, only)
    assert count > 50
    return iter(range(1, count + 1, -(-count // most)))


def descriptors() -> list[str]:
    return sorted(link.name for link in Path("/proc/self/fd").iterdir())


def is_released(client: Client) -> bool:
    return client._engine._driver.socket.fileno() == -1


@pytest.fixture
def reversal() -> Iterator[Server]:
    """A server that accepts nothing any more while a later test counts descriptors."""
    with Server(("127.0.0.1", 0)) as server:
        yield server


def ask(client: Client) -> None:
    assert client.request("abc") == "cba"


def ask_for_many(client: Client) -> None:
    assert list(client.pipeline(["ab", "cd", "ef"])) == ["ba", "dc", "fe"]


def leave_a_pipeline(client: Client) -> None:
    for reply in client.pipeline(["ab", "cd", "ef"]):
        assert reply == "ba"
        break


@pytest.mark.req("REQ-TIME-6")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in a generator's own end
@pytest.mark.parametrize("use", [ask, ask_for_many, leave_a_pipeline])
def test_a_call_interrupted_anywhere_leaves_all_or_nothing(
    reversal: Server, use: Callable[[Client], None]
) -> None:
    with Client(str(reversal.address)) as whole:
        places = instructions(lambda: use(whole))
    closed = 0
    for place in places:
        client = Client(str(reversal.address))
        try:
            run_traced(lambda: use(client), place)  # noqa: B023 - called at once
        except Interruption as error:
            caught: Exception | None = error  # a program that keeps it keeps its frames
        else:
            caught = None
        if client.closed:
            closed += 1
            assert is_released(client), place
            with pytest.raises(ConnectionStateError, match="this connection is closed"):
                client.request("xyz")
        else:
            assert client.request("xyz") == "zyx", place
            client.close()
            assert is_released(client), place
        del caught
    assert closed > 50


async def ask_in_a_loop(client: asyncio_client.Client) -> None:
    assert await client.request("abc") == "cba"


async def ask_for_many_in_a_loop(client: asyncio_client.Client) -> None:
    assert [reply async for reply in client.pipeline(["ab", "cd", "ef"])] == ["ba", "dc", "fe"]


@pytest.mark.req("REQ-ORDER-6")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("use", [ask_in_a_loop, ask_for_many_in_a_loop])
def test_a_task_interrupted_anywhere_gives_no_later_one_a_wrong_answer(
    use: Callable[[asyncio_client.Client], Coroutine[Any, Any, None]],
) -> None:
    async def use_for_a_while(client: asyncio_client.Client) -> None:
        with contextlib.suppress(Interruption, ConnectionStateError, RuntimeError, TimeoutError):
            async with asyncio.timeout(1.0):  # what the loop calls may not even have begun
                await use(client)

    async def ask_again(client: asyncio_client.Client) -> list[str]:
        async with asyncio.timeout(1.0):
            return list(await asyncio.gather(client.request("xyz"), client.request("12")))

    closed = 0
    with Server(("127.0.0.1", 0)) as server, asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda *_: None)  # an Interruption of what the loop calls
        ours = str(Path(asyncio_client.__file__).parent)

        def opened() -> asyncio_client.Client:
            return runner.run(asyncio_client.connect(str(server.address)).open())

        whole = opened()
        for place in instructions(lambda: runner.run(use(whole)), ours, 300):
            client = opened()
            run_traced(lambda: runner.run(use_for_a_while(client)), place, ours)  # noqa: B023 - called at once
            try:
                assert runner.run(ask_again(client)) == ["zyx", "21"], place
            except (ConnectionStateError, TimeoutError):
                closed += 1
            runner.run(client.close())
            assert client._opened is not None
            assert client._opened._socket.fileno() < 0
        runner.run(whole.close())
    assert closed > 50


def test_an_interrupted_close_can_be_repeated(reversal: Server) -> None:
    whole = Client(str(reversal.address))
    places = list(instructions(lambda: whole.close()))  # noqa: PLW0108 - a function with code of its own
    interrupted = 0
    for place in places:
        client = Client(str(reversal.address))
        try:
            run_traced(lambda: client.close(), place)  # noqa: B023, PLW0108 - called at once; see above
        except Interruption:
            interrupted += 1
        assert is_released(client) or not client.closed, place
        client.close()
        assert is_released(client), place
    # Python 3.15 leaves out a few instructions now and then, after a C function that releases the GIL.
    assert interrupted >= (len(places) if sys.version_info < (3, 15) else len(places) - 20)


@pytest.mark.parametrize("holes", [0, 2], ids=["one address", "several"])
def test_an_interrupted_connect_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch, holes: int) -> None:
    with contextlib.ExitStack() as undo:
        listener = undo.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4_096))
        host, port = listener.getsockname()
        hole = undo.enter_context(socket.create_server(("127.0.0.2", 0), backlog=0)).getsockname()
        for _ in range(4):  # the system drops the SYN of whoever comes after them
            sock = undo.enter_context(socket.socket())
            sock.settimeout(0.0)
            sock.connect_ex(hole)
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        found = [*[(*kind, hole)] * holes, (*kind, (host, port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        monkeypatch.setattr(connect_module, "_STAGGER", 0.001)

        def connect() -> None:
            Client(host, port).close()

        gc.collect()  # of what other tests have left
        before = descriptors()
        for place in instructions(connect):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                with contextlib.suppress(Interruption):
                    run_traced(connect, place)
                gc.collect(0)
            assert set(descriptors()) <= set(before), place


# A fork has the same socket.


USES: dict[str, Callable[[Client], object]] = {
    "request": ask,
    "ping": Client.ping,
    "hello": Client.hello,
    "stop": Client.stop,
    "pipeline": ask_for_many,
}


@pytest.mark.parametrize("layer", ["plain", "tls"])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_fork_does_nothing_to_the_connection(
    serve: Callable[..., Server], certificates: Any, use: Callable[[Client], object], layer: str
) -> None:
    server = serve(tls=ServerTls(certificates.server) if layer == "tls" else None)
    trust = ClientTls(ca_file=certificates.ca_file) if layer == "tls" else None
    with Client(str(server.address), tls=trust) as client:
        ask(client)

        def child() -> None:
            assert client.closed
            with client, pytest.raises(ConnectionStateError, match=f"belongs to process {os.getppid()}"):
                use(client)
            client.close()
            assert is_released(client)

        in_a_fork(child)
        ask(client)


def test_a_pipeline_under_way_belongs_to_its_process(reversal: Server) -> None:
    with Client(str(reversal.address)) as client:
        texts = [str(number) for number in range(10, 5_000)]
        replies = client.pipeline(texts)
        taken = [next(replies)]

        def child() -> None:
            with pytest.raises(ConnectionStateError, match="belongs to process"):
                list(replies)
            client.close()
            assert is_released(client)

        in_a_fork(child)
        in_a_fork(replies.close)  # type: ignore[attr-defined] # it is a generator
        taken += replies
        assert taken == [text[::-1] for text in texts]


def test_a_call_in_another_thread_is_not_disturbed_by_a_fork(scripted_server: Script) -> None:
    received, go_on = threading.Event(), threading.Event()
    size = len(encode(FrameType.REQUEST, b"abc"))
    server = scripted_server(size, received, lambda _: go_on.wait(20), encode(FrameType.REPLY, b"cba"))
    client = Client(server.host, server.port)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reply = pool.submit(client.request, "abc")
        assert received.wait(20)
        in_a_fork(client.close)
        go_on.set()
        assert reply.result(20) == "cba"
    client.close()
