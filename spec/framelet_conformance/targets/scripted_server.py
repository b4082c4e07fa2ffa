"""The server that a client under test meets: it plays a scenario and judges every octet that comes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from construct import ConstructError

from framelet import HEADER_SIZE, grammar, limits
from framelet.registry import FrameType, TypeRange, type_kinds
from framelet_conformance.judging.comparing import first_difference, show_octets
from framelet_conformance.scenario import RESET, asked
from framelet_conformance.verdicts import Failed, Verdict
from framelet_conformance.wire.conversation import Conversation, Silence
from framelet_conformance.wire.frames import frame
from framelet_conformance.wire.log import Ending

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from framelet_conformance.judging.judge import CloseRecord
    from framelet_conformance.scenario import Asked, Scenario, Step
    from framelet_conformance.wire.times import Times


_SIP = 65_536  # octets read at a time by a server that reads little


class ServerEnd(Conversation):
    """The server's end of a connection, with the frames that the client was asked to send."""

    def __init__(
        self, sock: socket.socket, times: Times, scenario: Scenario, name: str, memory: Callable[[], int]
    ) -> None:
        """Take over an accepted socket; ``memory`` tells what the client's process takes, in octets."""
        super().__init__(sock, times, name)
        self._memory = memory
        self._weight: int | None = None
        self._scenario = scenario
        self._left = [item for place, item in enumerate(scenario.ask) if place not in scenario.skips]
        self._sent = 0

    def perform(self, play: CloseRecord) -> None:
        """Play the scenario; raises Failed where the client does not send what it must, or does not end."""
        reset = False
        for step in self._scenario.steps:
            self._do(step)
            reset = reset or step == RESET
        if reset:
            play.ended(Ending.RST, Verdict.PASS)  # the suite's own
            return
        self._await_end(play)

    def _do(self, step: Step) -> None:
        value = step.value
        actions: dict[str, Callable[[], object]] = {
            "read": lambda: self._read_frames(value),
            "send": lambda: self.send(value),
            "write": lambda: self._write(value),
            "last": lambda: self.send_last(value),
            "maybe": lambda: self._answer_if_asked(value),
            "serve": lambda: self._serve(value),
            "echo": lambda: self._echo(value),
            "weigh": lambda: self._weigh(value),
            "pause": lambda: self.pause(value * self.times.scale),
            "deaf": lambda: self._stay_deaf(value * self.times.scale),
            "sip": lambda: self._sip(value * self.times.scale),
            "fin": self.send_fin,
            "rst": self.reset,
        }
        actions[step.do]()

    def _read_frames(self, count: int) -> None:
        for _ in range(count):
            self._read_asked()

    def _answer_if_asked(self, answer: bytes) -> None:
        while not self._received and self.ending is Ending.OPEN:
            self.read_more()
        if self._received:
            self._read_asked()
            self.send(answer)

    def _serve(self, answer: bytes) -> None:
        while self._left:
            self._read_asked()
            self._write(answer)

    def _echo(self, answer: bytes | None) -> None:
        """Answer each REQUEST with its own body, or with these octets, those that came at once together."""
        answers = bytearray()
        while self._left:
            body = self._left[0].body
            self._read_asked()
            answers += frame(FrameType.REPLY, body) if answer is None else answer
            if not self._received:
                self._write(bytes(answers))
                answers.clear()

    def _write(self, data: bytes) -> None:
        """Send without reading; a client that reads nothing either is told from a slow one."""
        if self.send(data, reading=False) < len(data) and self.writable:
            message = (
                f"the client took no octet for {self.times.answer:.3g} s while it had frames to write: a "
                "server that does not read before its answers are taken waits for it for ever"
            )
            raise Failed(message, "REQ-FLOW-4")

    def _weigh(self, allowed: int) -> None:
        before, now = self._weight, self._memory()
        self._weight = now
        if before is not None and now - before > allowed:
            message = f"the client took {now - before:,} octets of memory, more than the {allowed:,} allowed"
            raise Failed(message, "REQ-SIZE-5")

    def _stay_deaf(self, seconds: float) -> None:
        time.sleep(seconds)
        self.log.event(f"read nothing for {seconds:.3g} s")

    def _sip(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.ending is Ending.OPEN:
            self.drink(_SIP)
            self.drink(_SIP)  # so much that the client's system soon tells it of room
            time.sleep(seconds / 50)

    # What the client sends.

    def _read_asked(self) -> None:
        """See the next frame come, whole and octet for octet."""
        if not self._left:
            message = "the scenario reads more frames than were asked for"
            raise AssertionError(message)
        item, self._sent = self._left[0], self._sent + 1
        while not self._take_asked(item):
            if self.ending is not Ending.OPEN:
                inside = f" inside it, after {show_octets(self.waiting)}" if self._received else ""
                message = (
                    f"frame {self._sent}, {item.type} {show_octets(item.body)}, did not come: "
                    f"the client's stream ended by {self.ending}{inside}"
                )
                raise Failed(message)
            try:
                self.read_more()
            except Silence:
                message = (
                    f"frame {self._sent}, {item.type} {show_octets(item.body)}, did not come whole: "
                    f"only {show_octets(self.waiting)}"
                )
                raise Failed(message) from None
        self._left.pop(0)

    def _take_asked(self, item: Asked) -> bool:
        """Take the frame from what came, if it is all there; raises Failed at the first wrong octet."""
        if item.type == "HELLO":
            return self._take_hello()
        expected = item.octets
        have = min(len(expected), len(self._received))
        if self._received[:have] != expected[:have]:
            self._differ(item, expected)
        if have < len(expected):
            return False
        del self._received[:have]
        return True

    def _take_hello(self) -> bool:
        """A HELLO, which the client words itself."""
        if self._received and self._received[0] != FrameType.HELLO:
            self._differ(asked("HELLO"), asked("HELLO").octets)
        if len(self._received) < HEADER_SIZE:
            return False
        length = int.from_bytes(self._received[1:HEADER_SIZE], "big")
        if length > limits.MAX_HELLO_BODY:
            message = f"the HELLO states a length of {length:,}: octets {show_octets(self.waiting)}"
            raise Failed(message, "REQ-FRAME-2" if self._received[1] else "REQ-FRAME-3")
        frame = self._take()
        if frame is None:
            return False
        try:
            hello: Any = grammar.HelloBody.parse(frame.body)
        except ConstructError:
            message = f"the client's HELLO is not of the form hello-body: {show_octets(frame.body)}"
            raise Failed(message, "REQ-FRAME-1") from None
        if hello.version != 1:
            message = f"the client's HELLO names version {hello.version}"
            raise Failed(message)
        stated, maximum = hello.parameters.get("max-body"), self._scenario.max_body
        if maximum is not None and stated not in {None, str(maximum)}:
            message = (
                f"the client's HELLO states max-body={stated}, but it was told to accept {maximum:,} octets"
            )
            raise Failed(message, "REQ-SIZE-2")
        return True

    def _differ(self, item: Asked, expected: bytes) -> None:
        """Say what is wrong with the frame that comes."""
        for skipped in self._scenario.skips:
            forbidden = self._scenario.ask[skipped].octets
            have = min(len(forbidden), len(self._received))
            if self._received[:have] == forbidden[:have]:
                message = f"the client sent a frame that it must refuse to send: {show_octets(forbidden)}"
                raise Failed(message)
        for further in self._left[1:2]:
            if self._received.startswith(further.octets):
                message = f"frame {self._sent}, {item.type} {show_octets(item.body)}, was left out"
                raise Failed(message)
        came = bytes(self._received[: len(expected)])
        place = first_difference(came, expected)
        message = (
            f"frame {self._sent}, {item.type}, differs at octet {place}\n"
            f"  asked for {show_octets(expected)}\n  received  {show_octets(came)}"
        )
        raise Failed(message, *_blame(came, expected, place))

    # The end.

    def _await_end(self, play: CloseRecord) -> None:
        """See that the client ends its stream, after frames that it was asked to send and nothing else."""
        must_close = self._scenario.then == "closed"
        allowed = len(self._scenario.ask) if self._scenario.allowed is None else self._scenario.allowed
        if not must_close and self._left:
            message = "a scenario in which all goes well must read all frames"
            raise AssertionError(message)
        try:
            while self.ending is Ending.OPEN:
                self._check_tail(allowed)
                self.read_more()
            self._check_tail(allowed)
        except Silence:
            play.ended(Ending.SILENCE, Verdict.FAIL)
            why = "at what it received" if must_close else "when it had all answers"
            message = f"the client did not close the connection {why}, within {self.times.answer:.3g} s"
            raise Failed(message) from None
        bad = self.ending is Ending.RST and not must_close
        play.ended(self.ending, Verdict.NON_STRICT if bad else Verdict.PASS)
        if bad:
            play.remark = "the client reset the connection (RST) where it had all answers: FIN is due"

    def _check_tail(self, allowed: int) -> None:
        """What comes after the frames that were read may only be further frames that were asked for."""
        while self._received and self._left:
            if self._sent >= allowed:
                message = f"the client went on where it must close: it sent {show_octets(self.waiting)}"
                raise Failed(message)
            self._sent += 1
            if not self._take_asked(self._left[0]):
                self._sent -= 1
                return
            self._left.pop(0)
        if self._received:
            message = f"the client sent what it was not asked for: {show_octets(self.waiting)}"
            raise Failed(message, "REQ-FRAME-1")


def _blame(came: bytes, expected: bytes, place: int) -> tuple[str, ...]:
    """The requirements that a frame other than the one asked for breaks."""
    if place == 0:
        kind = type_kinds[came[0]]
        assigned = isinstance(kind, FrameType) or kind in {TypeRange.IGNORABLE, TypeRange.APPLICATION}
        return ("REQ-FRAME-1",) if assigned else ("REQ-FRAME-1", "REQ-TYPE-8")
    if place < HEADER_SIZE:
        if came[1:HEADER_SIZE] == expected[1:HEADER_SIZE][::-1]:
            return ("REQ-FRAME-2",)
        return ("REQ-FRAME-3", "REQ-FRAME-1")
    try:
        came[HEADER_SIZE:].decode()
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return ("REQ-TEXT-1", "REQ-FRAME-1")
    return ("REQ-FRAME-1",)
