"""The reference client: SPEC.md and nothing else, one conversation, and a switch for each bug.

    python -m tests.mutants.reference_client HOST PORT [--bug NAME] < ask.json

It is an adapter of the conformance suite: it reads one JSON object, `{"ask": [{"type": "REQUEST", "body":
"hex"}, ...], "pipeline": true, "max_body": null, "answer_timeout": seconds}`, and prints one line for each
frame asked, in order, `{"answer": "hex"}`, `{"error": code}` or `{"failed": "reason"}`, and then
`{"fatal": code or null, "closed": true}`.  A HELLO without a body is written by the client itself.  With
"repeat" it does so several times, each on a connection of its own.
"""

import argparse
import json
import re
import socket
import sys
import time
import unicodedata
from collections import deque
from dataclasses import dataclass
from typing import Any

from . import bugs
from .bugs import bug
from .wire import (
    ANSWER_TO,
    DEFAULT_MAXIMUM,
    ERROR,
    ERROR_LIMIT,
    HEADER,
    HELLO,
    PING,
    PONG,
    REPLY,
    REQUEST,
    STOP,
    STOPPED,
    is_application,
    is_ignorable,
    pack,
    parse_hello,
    parse_stopped,
    unpack_header,
    wait,
)

READ = 65_536  # octets taken in at once
END_WAIT = 1.0  # seconds to wait for the server's end of the stream behind our own
NAMES = {"REQUEST": REQUEST, "STOP": STOP, "PING": PING, "HELLO": HELLO}
KNOWN_CODES = {400, 403, 404, 413, 422, 426, 450, 451, 500, 501, 502, 503, 504, 505, 507}


_survivors = bytearray()
_announced: dict[str, int] = {}
_left: deque["Asked"] = deque()


class FaultError(Exception):
    """The server broke the protocol, or was too slow: the connection must be closed."""


class EndError(Exception):
    """The connection has ended: by the end of the stream, or by a fatal ERROR."""


@dataclass
class Asked:
    """A frame that the program asked for, and what came of it."""

    kind: int
    body: bytes
    outcome: dict[str, Any] | None = None


class Client:
    """One connection, from the first frame to its end."""

    def __init__(self, sock: socket.socket, maximum: int, answer_timeout: float) -> None:
        self.fatal: int | None = None
        self._socket = sock
        sock.settimeout(0.0)  # a blocking send would stop the reading
        self._maximum = maximum
        self._answer_timeout = answer_timeout
        # The server's maximum, once its HELLO has come (REQ-SIZE-6).
        self._announced: int | None = _announced.get("") if bug("limit-survives") else None
        self._inbox = _survivors if bug("inbox-survives") else bytearray()
        self._taken = 0  # answers
        self._set_aside = bytearray()
        self._outbox = bytearray()
        self._unanswered: deque[Asked] = _left if bug("unanswered-survive") else deque()
        self._waiting_since = time.monotonic()

    def run(self, asked: list[Asked], *, pipeline: bool) -> None:
        """Send each frame and take its answer; every frame has an outcome afterwards (REQ-CLOSE-3)."""
        reason = "the server closed"
        try:
            for number, ask in enumerate(asked):
                self._send(ask)
                if not pipeline or number == len(asked) - 1:
                    self._take_answers()
            self._leave()
        except FaultError as fault:
            reason = str(fault)
        except (EndError, OSError):
            pass
        self._socket.close()
        for ask in asked:
            if ask.outcome is None:
                ask.outcome = {"answer": ""} if bug("end-answers-rest") else {"failed": reason}

    def _send(self, ask: Asked) -> None:
        """Queue a frame, unless this client must not send it."""
        refusal = self._refusal(ask)
        if refusal:
            ask.outcome = {"failed": refusal}
            return
        if not self._unanswered:
            self._waiting_since = time.monotonic()
        self._unanswered.append(ask)
        self._outbox += pack(ask.kind, ask.body)
        if bug("newline-behind-frames"):
            self._outbox += b"\n"

    def _refusal(self, ask: Asked) -> str | None:
        """Why a frame must not be sent, if so."""
        if ask.kind not in ANSWER_TO and not is_application(ask.kind) and not bug("sends-any-type"):
            return "a client does not ask with this type"  # REQ-TYPE-8
        if self._announced is not None and len(ask.body) > self._announced and not bug("sends-too-large"):
            return "the server announced a smaller maximum"  # REQ-SIZE-6
        try:
            ask.body.decode()
        except UnicodeDecodeError:
            return None if bug("sends-ill-formed") else "not well-formed UTF-8"  # REQ-TEXT-1
        return None

    def _take_answers(self) -> None:
        """Write what is queued and read what comes (REQ-FLOW-4) until every frame is answered."""
        if bug("writes-before-it-reads"):
            self._socket.settimeout(None)
            self._socket.sendall(self._outbox)
            self._outbox.clear()
        while self._unanswered:
            try:
                timeout = 3600 if bug("no-answer-timeout") else self._answer_timeout
                self._turn(self._waiting_since + timeout * (0.7 if bug("gives-up-early") else 1))
            except TimeoutError:
                if not bug("goes-on-after-timeout"):
                    raise FaultError("no answer in time") from None  # REQ-TIME-6
                self._end_oldest({"failed": "no answer in time"})

    def _leave(self) -> None:
        """Close the sending direction, and see how the server ends."""
        self._socket.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + END_WAIT
        while True:
            try:
                self._turn(deadline)
            except TimeoutError:
                return

    def _turn(self, deadline: float) -> None:
        """Wait for the socket, write, read, and take whole frames.  Raises TimeoutError behind the deadline."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        readable, writable = wait(self._socket, read=True, write=bool(self._outbox), timeout=left)
        if writable:
            del self._outbox[: self._socket.send(self._outbox)]
        if readable:
            self._receive()

    def _receive(self) -> None:
        octets = self._socket.recv(READ)
        if not octets:
            if self._inbox and self._unanswered and bug("part-taken-at-end"):
                self._take(self._inbox[0], bytes(self._inbox[HEADER:]))
            raise EndError  # part of a frame is no answer (REQ-CLOSE-4)
        if bug("one-read-one-frame"):
            self._inbox.clear()
        self._inbox += octets
        while (frame := self._next_frame()) is not None:
            self._take(*frame)
            if bug("coalesced-answers-dropped"):
                self._inbox.clear()
        if bug("octets-extend-wait"):
            self._waiting_since = time.monotonic()

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Type and body of the next frame, or None while it is not whole."""
        if len(self._inbox) < HEADER:
            return None
        kind, length = unpack_header(self._inbox)
        end = HEADER + length
        if not self._may_come(kind):
            raise FaultError(f"a frame of type {kind:02X} from a server")  # REQ-TYPE-7
        if length > self._maximum and not bug("no-maximum"):
            if not bug("size-checked-after-body") or len(self._inbox) >= end:
                raise FaultError("a frame larger than the maximum")  # REQ-SIZE-4
        if bug("empty-body-is-end") and not length:
            raise EndError
        if len(self._inbox) < end:
            if bug("allocates-announced-length"):
                self._set_aside = bytearray(length)
            return None
        body = bytes(self._inbox[HEADER:end])
        del self._inbox[:end]
        return kind, body

    def _may_come(self, kind: int) -> bool:
        """Whether a server may send this type at all."""
        if is_ignorable(kind):
            return not bug("ignorable-refused")
        if kind in {REQUEST, STOP, PING} and bug("client-types-skipped"):
            return True
        if 0x09 <= kind <= 0x7F and bug("unknown-critical-skipped"):
            return True
        return kind in {REPLY, STOPPED, ERROR, PONG, HELLO} or is_application(kind)

    def _take(self, kind: int, body: bytes) -> None:
        """Take a whole frame: an answer, an ERROR, or one to discard."""
        if is_ignorable(kind) and bug("ignorable-extends-wait"):
            self._waiting_since = time.monotonic()
        if is_ignorable(kind) and bug("ignorable-takes-a-place") and self._unanswered:
            self._end_oldest({"answer": body.hex()})
        if kind == ERROR:
            self._take_error(body)
        elif kind in ANSWER_TO.values() or is_application(kind):
            self._take_answer(kind, body)

    def _end_oldest(self, outcome: dict[str, Any]) -> None:
        """Give the oldest unanswered frame its outcome; the next one's time begins."""
        self._unanswered.popleft().outcome = outcome
        if not bug("wait-counts-from-first"):
            self._waiting_since = time.monotonic()
        self._taken += 1
        if bug("answer-65536-dropped") and self._taken == 65_536:
            self._inbox.clear()

    def _take_answer(self, kind: int, body: bytes) -> None:
        """Check an answer, and give it to the oldest unanswered frame (REQ-ORDER-6)."""
        if not self._unanswered:
            if bug("unasked-answer-ignored"):
                return
            raise FaultError("an answer while none is awaited")  # REQ-ORDER-7
        ask = self._choose(kind)
        if kind != ANSWER_TO.get(ask.kind, ask.kind) and not bug("answer-type-unchecked"):
            raise FaultError("an answer of another type than the oldest frame calls for")  # REQ-ORDER-7
        body = self._check_text(body)
        if bug("pong-compared-to-nul") and kind == PONG and body.split(b"\0")[0] == ask.body.split(b"\0")[0]:
            ask.body = body
        if kind == PONG and body != ask.body and not bug("pong-unchecked"):
            raise FaultError("a PONG with another body than its PING")  # REQ-PING-3
        if kind == HELLO and not bug("hello-unchecked"):
            self._take_hello(ask, body)
        if kind == STOPPED and not bug("stopped-unchecked"):
            try:
                parse_stopped(body)
            except ValueError:
                raise FaultError("a malformed STOPPED") from None  # REQ-STOP-14
        if ask is not self._unanswered[0]:
            self._unanswered.remove(ask)
            self._unanswered.appendleft(ask)
        self._end_oldest({"answer": body.hex()})

    def _choose(self, kind: int) -> Asked:
        if bug("newest-answered-first"):
            return self._unanswered[-1]
        if bug("answers-taken-by-type"):
            fitting = [ask for ask in self._unanswered if kind == ANSWER_TO.get(ask.kind, ask.kind)]
            return fitting[0] if fitting else self._unanswered[0]
        return self._unanswered[0]

    def _check_text(self, body: bytes) -> bytes:
        """The body as it came.  Raises FaultError where it is not well-formed (REQ-TEXT-6)."""
        try:
            text = body.decode()
        except UnicodeDecodeError:
            if bug("ill-formed-delivered"):
                return body
            if bug("ill-formed-repaired"):
                return body.decode("utf-8", "replace").encode()
            raise FaultError("an answer that is not well-formed UTF-8") from None
        if bug("strips-bom"):
            return text.removeprefix("\ufeff").encode()
        if bug("trims"):
            return text.strip().encode()
        if bug("normalises"):
            return unicodedata.normalize("NFC", text).encode()
        return body

    def _take_hello(self, ask: Asked, body: bytes) -> None:
        """REQ-HELLO-7."""
        try:
            version, parameters = parse_hello(body)
            asked_version, _ = parse_hello(ask.body)
        except ValueError:
            raise FaultError("a malformed HELLO") from None
        if version != asked_version and not bug("hello-any-version"):
            raise FaultError("a HELLO of another version")
        if bug("hello-without-limit-refused") and "max-body" not in parameters:
            raise FaultError("a HELLO without max-body")
        if bug("hello-without-limit-lifts"):
            self._announced = None
        if "max-body" in parameters:
            self._announced = _announced[""] = int(parameters["max-body"])
            self._announced -= (1 << 32) * (bug("hello-limit-signed") and self._announced >= 1 << 31)

    def _take_error(self, body: bytes) -> None:
        """A recoverable ERROR answers the oldest frame, a fatal one ends the connection (REQ-ERROR-12)."""
        code = self._error_code(body)
        recoverable = code < 500
        if bug("recoverable-is-fatal") or (bug("unknown-recoverable-is-fatal") and code not in KNOWN_CODES):
            recoverable = False
        if bug("fatal-is-recoverable") or (bug("unknown-fatal-is-recoverable") and code not in KNOWN_CODES):
            recoverable = True
        if bug("error-text-decides") and b"fatal" in body:
            recoverable = False
        if recoverable and not self._unanswered:
            raise FaultError("an ERROR while no answer is awaited")
        if recoverable:
            if bug("unknown-code-is-400") and code not in KNOWN_CODES:
                code = 400
            self._end_oldest({"error": code})
            return
        self.fatal = code
        if bug("fatal-answers-oldest") and self._unanswered:
            self._end_oldest({"error": code})
        if not bug("fatal-not-heeded"):
            raise EndError

    def _error_code(self, body: bytes) -> int:
        """The code of an ERROR.  Raises FaultError where the body has another form (REQ-ERROR-11)."""
        length = len(body.decode(errors="replace")) if bug("error-length-in-characters") else len(body)
        if length > ERROR_LIMIT and not bug("error-length-unchecked"):
            raise FaultError("an ERROR longer than 1,024 octets")
        form = rb"([0-9]{3})" if bug("error-form-unchecked") else rb"([45][0-9]{2}) "
        match = re.match(form, body)
        if match is None:
            raise FaultError("a malformed ERROR")
        self._check_text(body)
        return int(match[1])


def frames_of(order: dict[str, Any]) -> list[Asked]:
    """The frames that the order asks for; a HELLO without a body is written here."""
    maximum = order.get("max_body")
    hello = "framelet/1" if maximum is None else f"framelet/1 max-body={maximum}"
    asked = []
    for frame in order["ask"]:
        kind = NAMES[frame["type"]] if frame["type"] in NAMES else int(frame["type"], 16)
        body = bytes.fromhex(frame.get("body") or "")
        asked.append(Asked(kind, hello.encode() if kind == HELLO and not body else body))
    return asked


def converse(order: dict[str, Any], host: str, port: int) -> None:
    """Hold one conversation, and print what came of it."""
    asked = frames_of(order)
    sock = socket.create_connection((host, port))
    client = Client(sock, order.get("max_body") or DEFAULT_MAXIMUM, order.get("answer_timeout") or 60.0)
    client.run(asked, pipeline=order.get("pipeline", False))
    for ask in asked:
        sys.stdout.write(json.dumps(ask.outcome) + "\n")
    sys.stdout.write(json.dumps({"fatal": client.fatal, "closed": True}) + "\n")


def main() -> int:
    """Run one conversation; exit status 0 when it ran."""
    parser = argparse.ArgumentParser(description="Framelet reference client, correct or with a bug.")
    parser.add_argument("host", nargs="?", default="127.0.0.1")
    parser.add_argument("port", nargs="?", type=int)
    bugs.add_options(parser)
    given = vars(parser.parse_args())
    if bugs.use_options("client", given):
        return 0
    order = json.load(sys.stdin)
    for _ in range(order.get("repeat", 1)):
        converse(order, given["host"], given["port"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
