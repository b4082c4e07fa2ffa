"""The asyncio client in programs that do odd things: no hang, no wrong answer, nothing left open."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import ConfigurationError, ConnectionStateError, FrameType, encode
from framelet_client import ClientLimits, ConnectionLostError, FatalAnswerError
from framelet_client.asyncio import connect

from .looping import all_of, descriptors, run, slowly, until
from .scripted import ASK, PATIENCE, fin, fork, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.integration.conftest import Script

    from framelet_server import Server

    Serve = Callable[..., Server]


# Pipelines whose texts do not come, or do not end as they should.


@pytest.mark.parametrize("end", ["server", "close", "drain"])
def test_a_pipeline_that_waits_for_its_texts_hears_of_the_end(scripted_server: Script, end: str) -> None:
    go = threading.Event()
    server = scripted_server(ASK, reply("1"), lambda _: go.wait(PATIENCE), fin)

    async def main() -> None:
        async def texts() -> AsyncIterator[str]:
            yield "ab"
            await asyncio.Event().wait()

        async with connect(server.host, server.port) as client:
            taken: Any = asyncio.create_task(all_of(client.pipeline(texts())))
            await until(lambda: client._opened and client._opened.connection.frames_received)
            if end == "server":
                go.set()
            else:
                await client.close(drain=end == "drain")
            found, error = await taken
            assert found == ["1"]
            assert isinstance(error, ConnectionLostError if end == "server" else ConnectionStateError)
            with pytest.raises(ConnectionStateError, match="this connection is closed"):
                await anext(client.pipeline(texts()))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        go.set()

    run(main())


def test_what_is_cancelled_inside_the_texts_cancels_their_pipeline(serve: Serve) -> None:
    server = serve()

    async def main() -> None:
        async def texts() -> AsyncIterator[str]:
            yield "ab"
            never = asyncio.get_running_loop().create_future()
            never.cancel()
            await never

        async with connect(str(server.address)) as client:
            pipeline = client.pipeline(texts())
            assert await anext(pipeline) == "ba"
            with pytest.raises(asyncio.CancelledError):
                await anext(pipeline)
            assert await client.request("ab") == "ba"

    run(main())


@pytest.mark.parametrize("kind", [iter, slowly])
def test_lost_answers_are_more_of_a_reason_than_what_the_texts_raise(
    scripted_server: Script, kind: Any
) -> None:
    go = threading.Event()
    server = scripted_server(2 * ASK, reply("1"), lambda _: go.wait(PATIENCE), fin)

    def texts() -> Iterator[str]:
        yield from ("ab", "ab")
        raise LookupError

    async def main() -> None:
        async with connect(server.host, server.port) as client:
            pipeline = client.pipeline(kind(texts()))
            assert await anext(pipeline) == "1"
            go.set()
            with pytest.raises(ConnectionLostError, match="1 frame is unanswered"):
                await anext(pipeline)

    run(main())


@pytest.mark.parametrize("window", [1, 3])
def test_a_pipeline_is_left_although_its_texts_go_on_when_they_are_cancelled(
    serve: Serve, window: int
) -> None:
    server = serve()

    async def main() -> None:
        async def texts() -> AsyncIterator[str]:
            yield "ab"
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            while True:
                yield "ab"

        async with connect(str(server.address), limits=ClientLimits(window=window)) as client:
            pipeline: Any = client.pipeline(texts())
            assert await anext(pipeline) == "ba"
            await asyncio.sleep(0)
            await pipeline.aclose()
            assert await client.request("cd") == "dc"
        await asyncio.sleep(0)  # what closed the texts ends in this pass of the loop
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


@pytest.mark.req("REQ-ORDER-6")
def test_what_makes_the_texts_may_ask_and_close(serve: Serve) -> None:
    """As a task does that begins at once, by ``asyncio.eager_task_factory``."""
    server = serve()

    async def main() -> None:
        async with connect(str(server.address)) as client:
            asked: list[Any] = []

            def texts(*, close: bool) -> Iterator[str]:
                for number in range(10, 20):
                    asked.append(client.request(f"r{number}").send(None))  # up to the answer
                    yield f"t{number}"
                if close:
                    with pytest.raises(StopIteration):
                        client.close().send(None)
                    yield "cd"

            taken, error = await all_of(client.pipeline(texts(close=False)))
            assert (taken, error) == (
                [f"t{number}"[::-1] for number in range(10, 20)],
                None,
            )
            assert await asyncio.gather(*asked) == [f"r{number}"[::-1] for number in range(10, 20)]
            taken, error = await all_of(client.pipeline(texts(close=True)))
            assert (taken, type(error)) == ([], ConnectionStateError)
            await asyncio.gather(*asked, return_exceptions=True)

    run(main())


def test_the_window_holds_for_pipelines_and_calls_together(serve: Serve) -> None:
    server = serve()

    async def main(window: int) -> None:
        async with connect(str(server.address), limits=ClientLimits(window=window)) as client:
            opened = client._opened
            assert opened is not None
            most, flush = 0, opened._flush

            def count() -> None:
                nonlocal most
                most = max(most, opened.connection.unanswered)
                flush()

            opened._flush = count  # type: ignore[method-assign]
            asking = [asyncio.create_task(client.request("ab")) for _ in range(200)]
            pipelines = [all_of(client.pipeline(map(str, range(100)))) for _ in range(5)]
            pipelines += [all_of(client.pipeline(slowly(map(str, range(100))))) for _ in range(2)]
            for taken, error in await asyncio.gather(*pipelines):
                assert (taken, error) == ([str(number)[::-1] for number in range(100)], None)
            await asyncio.gather(*asking)
            assert most == window

    for window in (1, 2, 8, 100):
        run(main(window))


def test_what_is_no_text_is_told_so_whether_or_not_there_is_room(scripted_server: Script) -> None:
    go = threading.Event()
    server = scripted_server(ASK, lambda _: go.wait(PATIENCE), reply("1"))

    async def main() -> None:
        async with connect(server.host, server.port, limits=ClientLimits(window=1)) as client:
            wrong: Any = 5
            with pytest.raises(ConfigurationError, match="a text must be a str, not int"):
                await client.request(wrong)
            asking = [asyncio.create_task(client.request(text)) for text in ("ab", wrong)]
            pipeline = asyncio.create_task(all_of(client.pipeline(slowly(iter([wrong])))))
            await until(lambda: client._opened and len(client._opened._crowd) == 2)
            go.set()
            found: Any = await asyncio.gather(*asking, return_exceptions=True)
            assert (found[0], type(found[1])) == ("1", ConfigurationError)
            assert type((await pipeline)[1]) is ConfigurationError

    run(main())


# The end.


def test_an_end_that_only_cancelled_calls_have_met_is_told_to_the_next(scripted_server: Script) -> None:
    go = threading.Event()
    fatal = encode(FrameType.ERROR, b"505 idle")
    server = scripted_server(ASK, lambda _: go.wait(PATIENCE), fatal, fin)

    async def main() -> None:
        async with connect(server.host, server.port) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await client.request("ab")
            go.set()
            await until(lambda: client.closed)
            with pytest.raises(FatalAnswerError, match="505"):
                await client.request("ab")

    run(main())


def test_a_second_drain_waits_like_the_first(scripted_server: Script) -> None:
    go = threading.Event()
    server = scripted_server(ASK, lambda _: go.wait(PATIENCE), reply("1"))

    async def main() -> None:
        async with connect(server.host, server.port) as client:
            asking = asyncio.create_task(client.request("ab"))
            await until(lambda: server.received)
            drains = [asyncio.create_task(client.close(drain=True)) for _ in range(2)]
            await asyncio.sleep(0)
            assert client.closed
            go.set()
            assert await asking == "1"
            await asyncio.gather(*drains)
            await client.close(drain=True)

    run(main())


# Connecting, loops and processes.


def test_a_client_is_opened_once_and_closed_also_while_it_is_opened(serve: Serve) -> None:
    server = serve()

    async def main() -> None:
        before = descriptors()
        client = connect(str(server.address))
        found = await asyncio.gather(client.open(), client.open(), return_exceptions=True)
        assert found[0] is client
        assert isinstance(found[1], ConnectionStateError)
        await client.close()
        client = connect(str(server.address))
        opening = asyncio.create_task(client.open())
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(ConnectionStateError, match="closed this client while it was being connected"):
            await opening
        await until(lambda: descriptors() == before)  # the server has closed them, too
        async with client:  # it never was connected
            assert await client.request("ab") == "ba"

    run(main())


def test_a_connection_belongs_to_its_loop(serve: Serve) -> None:
    server = serve()
    client = connect(str(server.address))

    async def ask() -> None:
        for call in (client.request("ab"), client.ping(), anext(client.pipeline("ab"))):
            with pytest.raises(ConnectionStateError, match="belongs to another event loop"):
                await call

    async def close_elsewhere() -> None:
        with pytest.raises(ConnectionStateError, match="belongs to another event loop"):
            await client.close()

    with asyncio.Runner() as runner:
        runner.run(client.open())
        run(ask())
        run(close_elsewhere())
        assert runner.run(client.request("ab")) == "ba"
    run(ask())
    run(client.close())  # its own loop is closed
    assert client.closed
    assert client._opened is not None
    assert client._opened._socket.fileno() < 0


def test_a_client_is_closed_also_where_its_loop_was_closed_amid_a_call(scripted_server: Script) -> None:
    server = scripted_server(ASK)
    client = connect(server.host, server.port)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.open())
    asking: Any = loop.create_task(client.request("ab"))
    loop.run_until_complete(until(lambda: server.received))
    loop.close()
    asking._log_destroy_pending = False
    run(client.close())
    assert client._opened is not None
    assert client._opened._socket.fileno() < 0


def test_a_fork_does_nothing_to_the_connection(serve: Serve) -> None:
    server = serve()
    client = connect(str(server.address))

    async def child() -> None:
        assert client.closed
        for call in (client.request("ab"), client.ping(), anext(client.pipeline("ab"))):
            with pytest.raises(ConnectionStateError, match=f"belongs to process {os.getppid()}"):
                await call
        await client.close()

    with asyncio.Runner() as runner:
        runner.run(client.open())
        process = fork(lambda: asyncio.run(child()))
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
        assert runner.run(client.request("ab")) == "ba"
        runner.run(client.close())
