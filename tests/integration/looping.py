"""What tests of clients in an asyncio loop share."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .scripted import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def in_time() -> Any:
        async with asyncio.timeout(2 * PATIENCE):
            return await main

    return asyncio.run(in_time())


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - of any kind
        await asyncio.sleep(0.001)


async def outcomes(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def all_of(pipeline: AsyncIterator[str]) -> tuple[list[str], Exception | None]:
    """What a pipeline yields, and what it raises then."""
    taken: list[str] = []
    try:
        async for text in pipeline:
            taken.append(text)  # noqa: PERF401 - up to the error
    except Exception as error:  # noqa: BLE001 - whatever it is
        return taken, error
    return taken, None


async def slowly(texts: Iterator[str]) -> AsyncIterator[str]:
    for number, text in enumerate(texts):
        if number % 7 == 0:
            await asyncio.sleep(0)
        yield text


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
