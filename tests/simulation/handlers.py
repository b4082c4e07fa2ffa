"""The handlers of a simulated server: one that blocks, and those of asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from .clients import SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .machine import Machine


def _answer(text: str) -> str:
    if text.endswith("x"):
        raise ValueError(text)
    return text[::-1]


def blocking(machine: Machine) -> Callable[[str], str]:
    """A handler that holds up its thread where its text says so."""

    def reverse(text: str) -> str:
        if seconds := SECONDS.get(text[-1:]):
            machine.wait(lambda: False, seconds)
        return _answer(text)

    return reverse


class LoopHandlers:
    """Handlers for a loop; they see that no client has more calls under way than it may."""

    def __init__(self, machine: Machine, most: int) -> None:
        self._machine, self._most = machine, most
        self.running: Counter[str] = Counter()  # by client, whose texts begin with its name

    async def reverse(self, text: str) -> str:
        with self._call(text):
            seconds = SECONDS.get(text[-1:], 0.0)
            if seconds or text[-1:] in "13579":  # others end at once
                await asyncio.sleep(seconds)
            return _answer(text)

    def quick(self, text: str) -> str:
        with self._call(text):
            return _answer(text)

    @contextlib.contextmanager
    def _call(self, text: str) -> Iterator[None]:
        self.running[text[:1]] += 1
        if self.running[text[:1]] > self._most:
            self._machine.fail("a client has more calls under way than it may")
        try:
            yield
        finally:
            self.running[text[:1]] -= 1
