"""Having a rest of the answers wait in the server's own memory, and seeing what becomes of it.

A client that takes nothing sends one REQUEST after another.  The octets of the answers that the server has
not given to its system are still in its memory: that is the rest.  It is at most one small answer, so that
the server still reads what comes next.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from framelet import HEADER_SIZE
from framelet_conformance.expectations import reply
from framelet_conformance.verdicts import Failed, Skipped
from framelet_conformance.wire.frames import REQUEST, frame, text_of

if TYPE_CHECKING:
    from framelet_conformance.expectations import Expectation
    from framelet_conformance.play import Play
    from framelet_conformance.targets.setup import ServerUnderTest
    from framelet_conformance.wire.conversation import Conversation

SMALL, LARGE = 1 << 20, 1 << 23  # octets of the first REQUEST: the system's buffers hold it, or they do not
_STEP = 16_384  # octets of each frame after it
_MOST = 1 << 27  # octets that no system holds for one connection
_TICK = 0.001  # seconds between two looks


class Rest:
    """A client that takes none of its answers, of which a rest waits in the server's own memory.

    ``asked`` is when the last REQUEST was sent, when nothing waited; ``seen`` is since when the rest is as it
    is.  ``answers`` are all that are due.
    """

    def __init__(self, conversation: Conversation) -> None:
        """Nothing was asked yet."""
        self.conversation = conversation
        self.answers: list[Expectation] = []
        self.asked = self.seen = time.monotonic()
        self._due = 0

    @property
    def octets(self) -> int:
        """How many they are; none where the server has ended its side."""
        queues = self.conversation.queues_of_peer
        return self._due - queues.given if queues is not None and queues.open else 0

    @property
    def over(self) -> bool:
        """Whether the server has ended its side."""
        queues = self.conversation.queues_of_peer
        return queues is None or not queues.open

    @property
    def read(self) -> bool:
        """Whether the server has read all that was sent."""
        queues = self.conversation.queues_of_peer
        return queues is None or not queues.unread

    def ask(self, text: str) -> None:
        """Send one REQUEST."""
        self._due += HEADER_SIZE + len(text.encode())
        self.answers.append(reply(text))
        self.asked = time.monotonic()
        self.conversation.send(frame(REQUEST, text), reading=False)

    def await_rest(self, seconds: float) -> bool:
        """Whether octets stay in the server's memory for so long, once it has taken in what was asked."""
        before, self.seen = 0, time.monotonic()
        end = self.seen + seconds + self.conversation.times.answer
        while (octets := self.octets) > 0:
            now = time.monotonic()
            if now > end:
                raise Failed("the server has not read a frame, although nothing else waits to be taken")
            if octets != before or not self.read:
                before, self.seen = octets, now
            elif now - self.seen >= seconds:
                self.conversation.log.event(f"{octets:,} octets of answers are in the server's own memory")
                return True
            time.sleep(_TICK)
        if self.over:
            raise Failed("the server ended a connection while its client had answers to take")
        return False

    def take_some(self) -> None:
        """Read until the rest is less than it was."""
        before = self.octets
        while self.octets >= before > 0 or self.octets >= before > 0:  # it may seem less for a moment
            self.conversation.read_more()
        self.seen = time.monotonic()


def rest_of(play: Play, server: ServerUnderTest, name: str = "", first: int = SMALL) -> Rest:
    """A client of whose answers a rest is left; the first has so many octets, if the server takes as many."""
    size = min(first, server.max_body or 1 << 16)
    if size < LARGE <= first:
        message = f"needs a server that takes a body of {LARGE:,} octets"
        raise Skipped(message)
    begin, text = text_of(1 << 16) * (size >> 16), text_of(_STEP - HEADER_SIZE)  # made before the clocks run
    rest = Rest(play.open(server, name, receive_buffer=8_192))
    if rest.conversation.queues_of_peer is None:
        raise Skipped("needs a server on this machine, over TCP, and Linux, to see what the system holds")
    rest.ask(begin)
    while not rest.await_rest(play.times.quiet):
        rest.ask(text)
        if len(rest.answers) * _STEP > _MOST:
            message = f"the server's system took {_MOST:,} octets that nobody read"
            raise Skipped(message)
    return rest
