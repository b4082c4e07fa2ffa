"""What a pipeline in an asyncio loop shares with the multiplexer: its frames under way, and their answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .driver import Answer


class Run:
    """The answers to many frames, as a pipeline takes them."""

    def __init__(self) -> None:
        """Begin with no frame."""
        self.unanswered: int = 0
        self.answers: list[Answer] = []  # those that have come and were not taken
        self._taken = 0  # how many were taken last: they may still be in use
        self.error: BaseException | None = None  # why no further frames were sent, or the connection ended
        self.fed: bool = False  # whether there will be no further frames
        self.left = False  # whether the pipeline was left, so that its answers are dropped
        self._change = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def held(self) -> int:
        """How many frames were sent whose answers are to come, or in memory."""
        return self.unanswered + len(self.answers) + self._taken

    def take(self) -> list[Answer]:
        """The answers that have come; those before are done with."""
        answers, self.answers = self.answers, []
        self._taken = len(answers)
        self._change.clear()
        self._room.set()
        return answers

    def end(self, error: BaseException | None) -> None:
        """No further frames are sent; the first error is the reason."""
        if not self.fed:
            self.error, self.fed = error, True
            self._change.set()

    def fail(self, error: BaseException) -> None:
        """The answers that have not come will not come: more of a reason than what ended the texts."""
        if self.unanswered or not self.fed:
            self.unanswered = 0
            self.error, self.fed = error, True
            self._change.set()

    def add(self, answers: list[Answer]) -> None:
        """Take in the next answers."""
        self.unanswered -= len(answers)
        if not self.left:
            self.answers += answers
            self._change.set()

    async def change(self) -> None:
        """Wait until something has come since answers were last taken."""
        await self._change.wait()

    async def room(self, most: int) -> bool:
        """Wait until fewer than ``most`` are held; False once the pipeline was left."""
        while self.held >= most and not self.left:
            self._room.clear()
            await self._room.wait()
        return not self.left


class Part:
    """The places of some frames of a run, one after the other."""

    __slots__ = ("frames", "run")

    def __init__(self, run: Run, frames: int) -> None:
        """A run, and how many of its frames."""
        self.run: Run = run
        self.frames: int = frames
