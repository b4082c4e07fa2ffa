"""A task goes on where its answer is read: as itself, at most once, and whatever interrupts it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
from typing import TYPE_CHECKING, Any

import pytest

from framelet import ConnectionStateError
from framelet_client import ClientLimits
from framelet_client.asyncio import connect
from framelet_client.exchange import wake

from .looping import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from framelet_server import Server

    Serve = Callable[..., Server]


async def within(*waits: asyncio.Future[str]) -> list[Any]:
    async with asyncio.timeout(20.0):
        return await asyncio.gather(*waits, return_exceptions=True)


_PLACE = contextvars.ContextVar("place", default="outside")


@pytest.mark.parametrize("made_by", ["asyncio", "plain Python"])
def test_a_task_goes_on_as_itself_and_in_the_pass_that_reads_its_answer(serve: Serve, made_by: str) -> None:
    server = serve()
    asked: list[object] = []  # for a further pass

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        soon = loop.call_soon

        def count(*arguments: Any, **named: Any) -> asyncio.Handle:
            asked.append(arguments)
            handle: asyncio.Handle = soon(*arguments, **named)
            return handle

        if made_by == "plain Python":
            python_task: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]
            loop.set_task_factory(lambda loop, coroutine, **named: python_task(coroutine, loop=loop, **named))

        async def ask(name: str) -> None:
            _PLACE.set(name)
            me = asyncio.current_task()
            await client.request("ab")  # the first one is sent at the end of a pass
            loop.call_soon = count
            for _ in range(20):
                assert await client.request("ab") == "ba"
                assert (asyncio.current_task(), _PLACE.get()) == (me, name)
            loop.call_soon = soon

        async with connect(str(server.address)) as client:
            await asyncio.create_task(ask("inside"))
            assert _PLACE.get() == "outside"

    run(main())
    assert asked == []


def test_what_a_task_raises_past_its_loop_leaves_its_connection_in_step(serve: Serve) -> None:
    server = serve()
    loop = asyncio.new_event_loop()

    async def interrupted() -> None:
        assert await client.request("ab") == "ba"
        raise KeyboardInterrupt

    async def opened() -> Any:
        return await connect(str(server.address)).__aenter__()

    try:
        client = loop.run_until_complete(opened())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(interrupted())
        assert loop.run_until_complete(client.request("cd")) == "dc"
        loop.run_until_complete(client.close())
    finally:
        loop.close()


def test_an_interruption_at_any_line_leaves_no_task_waiting(serve: Serve) -> None:
    """KeyboardInterrupt, as a signal's handler may raise it, before each line on the way to the task."""
    server = serve()
    codes = {wake.answer_and_wake.__code__}
    ended: set[str] = set()

    left = 0

    def interrupt(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code in codes and event == "line":
            left -= 1
            if not left:
                raise KeyboardInterrupt
        return interrupt if (event == "call" and frame.f_code in codes) or event == "line" else None

    async def opened() -> Any:
        client = await connect(str(server.address), limits=ClientLimits(answer_timeout=5.0)).__aenter__()
        await client.request("ab")
        return client

    for line in range(1, 30):
        loop, left = asyncio.new_event_loop(), line
        try:
            client = loop.run_until_complete(opened())
            task = loop.create_task(client.request("ab"))
            sys.settrace(interrupt)
            with contextlib.suppress(KeyboardInterrupt):
                loop.run_until_complete(asyncio.wait([task], timeout=20.0))
            sys.settrace(None)
            assert loop.run_until_complete(asyncio.wait([task], timeout=20.0))[0], f"waits after line {line}"
            outcome = task.exception() or task.result()
            assert outcome == "ba" or isinstance(outcome, ConnectionStateError), (line, outcome)
            ended.add("answer" if outcome == "ba" else "error")
            loop.run_until_complete(client.close())
        finally:
            sys.settrace(None)
            loop.close()
        if left > 0:
            break  # it has no more lines
    assert left > 0
    assert ended == {"answer", "error"}


def test_an_answer_that_several_await_or_that_none_awaits_any_more(
    serve: Serve,
) -> None:
    server = serve()

    async def main() -> None:
        async with connect(str(server.address)) as client:
            await client.request("ab")
            shared = asyncio.ensure_future(client.request("ab"))
            assert await within(asyncio.shield(shared), asyncio.shield(shared)) == ["ba", "ba"]
            alone: Any = client._opened.request("cd")  # type: ignore[union-attr]
            assert await within(alone, asyncio.shield(alone)) == ["dc", "dc"]
            left = asyncio.create_task(client.request("ef"))
            await asyncio.sleep(0)
            left.cancel()
            with pytest.raises(asyncio.CancelledError):
                await left
            assert await client.request("gh") == "hg"

    run(main())
