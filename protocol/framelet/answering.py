"""What a server's end owes its client: each answer in its turn, and many replies at a time; no I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from . import codec, grammar
from .connection import LARGE, SHORT, Connection
from .errors import (
    AnswerTooLargeError,
    ConnectionStateError,
    HelloMalformedError,
    PingTooLargeError,
    VersionUnsupportedError,
)
from .limits import MAX_ERROR_BODY, MAX_LENGTH, MAX_PING_BODY, ConnectionLimits
from .registry import ANSWERS, VERSION, ErrorCode, FrameType, Role
from .states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .events import ServerEvent

_REQUEST, _REPLY, _STOP, _ERROR = map(
    int, (FrameType.REQUEST, FrameType.REPLY, FrameType.STOP, FrameType.ERROR)
)


# Look-ups of a batch, done once.
_OPEN, _PACK, _ONLY_STR = State.OPEN, codec.HEADER.pack, {str}
_NO_ERRORS: Mapping[ErrorCode, int] = {}


class Ready(NamedTuple):
    """An answer that needs no program.

    The client takes bodies of up to ``peer_max_body`` after it, where that is given; ``last`` says that
    nothing may be sent after it.
    """

    type: int
    body: bytes
    peer_max_body: int | None = None
    last: bool = False


class AnsweringConnection(Connection):
    """The half of ServerConnection that answers: oldest first, and each frame once (REQ-ORDER-1, 2)."""

    __slots__ = ("_batch", "_events", "_last_word", "_limits", "_owed", "errors")

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        """Begin at the time ``now``."""
        self._limits = limits
        super().__init__(Role.SERVER, limits, now)
        self._peer_max_body = MAX_LENGTH
        # The answers owed, oldest first: so many to a batch of REQUESTs; then for each frame its type, where
        # the program has to answer, or an answer of our own that waits for its turn.  An empty queue is None,
        # see Connection.
        self._batch = 0
        self._owed: deque[int | Ready] | None = None
        self._events: deque[ServerEvent] | None = None
        self._last_word = False  # the fatal ERROR has been sent, or none may be
        self.errors: Mapping[ErrorCode, int] = _NO_ERRORS
        """How often each code was the case; replaced and never changed, so that any thread may look."""

    @property
    def owes(self) -> int:
        """How many answers are owed."""
        return self._batch + len(self._owed or ())

    def send_reply(self, text: str) -> None:
        """Answer the oldest REQUEST or application frame.

        Raises IllFormedTextError for a lone surrogate, AnswerTooLargeError above what client and server allow
        (REQ-HELLO-5), and ConfigurationError for what is no str; ``send_error`` is due then.
        """
        frame_type = self._oldest()
        if frame_type == _STOP:
            raise ConnectionStateError("the oldest unanswered frame is a STOP, which has another answer")
        self._answer(ANSWERS[frame_type], self._reply_body(text))

    def send_error(self, code: ErrorCode, text: str = "") -> None:
        """Answer the oldest unanswered frame with a recoverable ERROR (REQ-ERROR-4).

        ``text`` is for people, and the registry's words where it is empty.
        """
        if code.fatal or code.local:
            message = f"{code.title} is not a recoverable error to be sent"
            raise ConnectionStateError(message)
        self._oldest()
        self._count(code)
        self._answer(_ERROR, error_body(code, text))

    def allow_stop(self) -> None:
        """Accept the STOP just received: nothing after it is taken any more (REQ-STOP-10)."""
        if not self._owed or self._owed[-1] != _STOP:
            raise ConnectionStateError("no STOP is waiting for a decision")
        self._move(Trigger.STOP_ALLOWED)

    def send_stopped(self, closed: int, cut: int) -> None:
        """Answer the STOP that was allowed, as the last frame (REQ-STOP-8)."""
        if self._oldest() != _STOP or self._state is not State.DRAINING:
            raise ConnectionStateError("the oldest unanswered frame is not a STOP that was allowed")
        body = grammar.StoppedBody.build({"closed": str(closed), "cut": str(cut)})
        self._answer(FrameType.STOPPED, body)

    def replies_to_send(  # noqa: C901, PLR0912 - one function: a call would take as long as a reply
        self, texts: Sequence[str], now: float
    ) -> list[bytes]:
        """Answer the oldest REQUESTs that ``receive_requests`` gave; everything to be written to the client.

        That is what ``pieces_to_send`` returns: one piece as a rule, and bodies from 64 KiB on as their own.
        Raises what ``send_reply`` raises where one of the texts cannot be sent, and ConnectionStateError for
        more texts than are owed; nothing has happened then.
        """
        count = len(texts)
        if count > self._batch:
            message = f"{count} replies for a batch of {self._batch} requests"
            raise ConnectionStateError(message)
        octets = None
        if count and not (self._owed or self._output_size) and self._state is _OPEN:
            # As a rule nothing goes out before these answers, all are text, and none is large.  They are made
            # here then, without a call for each of them: seven times faster.
            before = -1
            try:
                if count == 1:
                    if len(texts[0]) < LARGE:  # else it is not worth a try
                        only = str.encode(texts[0])
                        if len(only) < LARGE:
                            octets = _PACK(_REPLY, len(only)) + only
                else:
                    # ASCII has as many octets as characters: it is encoded once, after all was joined.  Only
                    # for str itself, as a subclass may have another idea of its length.
                    at_once = (
                        len(texts[0]) < SHORT
                        and "".join(texts).isascii()
                        and {*map(type, texts)} == _ONLY_STR
                    )
                    pieces: list[Any] = []
                    header: str | bytes = b""
                    append = pieces.append
                    for body in texts if at_once else map(str.encode, texts):
                        size = len(body)
                        if size != before:
                            if size >= LARGE:
                                break
                            packed = _PACK(_REPLY, size)
                            header, before = packed.decode("latin-1") if at_once else packed, size
                        append(header)
                        append(body)
                    else:
                        octets = "".join(pieces).encode("latin-1") if at_once else b"".join(pieces)
            except Exception:  # noqa: BLE001, S110 - said below in words, whatever its ``__len__`` has raised
                pass
        if octets is not None:
            self._batch -= count
            self._idle_since = now
            self.frames_sent += count
            return [octets]
        for body in [self._reply_body(text) for text in texts]:  # all or nothing
            self._answer(_REPLY, body)
        return self.pieces_to_send(now)

    def return_requests(self, texts: Sequence[str]) -> None:
        """Let the last requests that ``receive_requests`` gave come again, as events before all others.

        This is for a program that has to stop in the middle of a batch.  Raises ConnectionStateError for more
        than are owed, and where an event that came after them was taken.
        """
        if len(texts) > self._batch or self._owed or self._events or not self._taking:
            raise ConnectionStateError("only the latest requests can be returned, before the next event")
        self._batch -= len(texts)
        self._decoder.put_back([(_REQUEST, codec.encode_text(text)) for text in texts])

    def _reply_body(self, text: str) -> bytes:
        """The body of a reply that may be sent to the oldest unanswered frame."""
        body = codec.encode_text(text)
        allowed = min(self._limits.max_body, self._peer_max_body)
        if len(body) > allowed:
            message = f"an answer of {len(body)} octets exceeds the maximum of {allowed}"
            raise AnswerTooLargeError(message)
        return body

    def _count(self, code: ErrorCode) -> None:
        self.errors = {**self.errors, code: self.errors.get(code, 0) + 1}

    def _oldest(self) -> int:
        """The type of the oldest unanswered frame."""
        if self._batch:
            return _REQUEST
        # A ready answer is never the oldest one: it has been sent.
        oldest = self._owed[0] if self._owed else None
        if not isinstance(oldest, int):
            raise ConnectionStateError("there is no frame to answer")
        return oldest

    def _answer(self, frame_type: int, body: bytes) -> None:
        """Send the answer to the oldest unanswered frame, and the ready ones after it."""
        owed = self._owed
        if self._batch:
            self._batch -= 1
        elif owed:
            owed.popleft()
        self._write(frame_type, body)
        while owed and not self._batch and not isinstance(ready := owed[0], int):
            owed.popleft()
            self._write_own(ready)
        if not owed:
            self._owed = None
        self._settle()

    def _owe(self, answer: int | Ready) -> None:
        if self._owed is None:
            self._owed = deque()
        self._owed.append(answer)

    def _send_own(self, ready: Ready) -> None:
        """Send an answer of our own, after those that the program still owes."""
        if self._batch or self._owed:
            self._owe(ready)
        else:
            self._write_own(ready)

    def _write_own(self, ready: Ready) -> None:
        self._write(ready.type, ready.body)
        self._last_word |= ready.last
        if ready.peer_max_body is not None:
            self._peer_max_body = ready.peer_max_body

    def _settle(self) -> None:
        """Once nothing is owed by a draining connection, its stream can end."""
        if Trigger.SETTLED in self._transitions and not (self._batch or self._owed):
            self._move(Trigger.SETTLED)
            if self._input_ended:
                self._move(Trigger.INPUT_ENDED)


def own_answer(frame_type: int, body: bytes, limits: ConnectionLimits) -> Ready | None:
    """The answer to a PING or HELLO; None for what the program answers.

    Raises the error of a body that is not of its form.
    """
    if frame_type == FrameType.PING:
        return Ready(FrameType.PONG, _check_ping(body))
    return _answer_hello(body, limits) if frame_type == FrameType.HELLO else None


def error_body(code: ErrorCode, text: str = "") -> bytes:
    """The body of an ERROR (REQ-ERROR-1), its text cut to what REQ-ERROR-14 allows."""
    words = text or code.condition.replace("`", "")
    body = f"{code:d} {words}".encode("utf-8", "replace")[:MAX_ERROR_BODY]
    return body.decode("utf-8", "ignore").encode()


def _check_ping(body: bytes) -> bytes:
    if len(body) > MAX_PING_BODY:
        message = f"the body of a PING is {len(body)} octets long, more than {MAX_PING_BODY}"
        raise PingTooLargeError(message)
    return body


def _answer_hello(body: bytes, limits: ConnectionLimits) -> Ready:
    """The answer to a HELLO, with what it changes for the answers after it (REQ-HELLO-1 to 5)."""
    try:
        hello = grammar.parse_body(grammar.HelloBody, body)
    except ValueError as error:
        raise HelloMalformedError(str(error)) from None
    if hello.version != VERSION:
        message = f"version {hello.version} is not spoken here, only {VERSION}"
        raise VersionUnsupportedError(message)
    parameters = {
        "max-body": str(limits.max_body),
        "frame-timeout-ms": str(round(limits.frame_timeout * 1000)),
        "idle-timeout-ms": str(round(limits.idle_timeout * 1000)),
    }
    return Ready(
        FrameType.HELLO,
        grammar.HelloBody.build(grammar.Hello(VERSION, parameters)),
        int(hello.parameters.get("max-body", MAX_LENGTH)),
    )
