"""What a server's end owes its client: each answer in its turn, and many replies at a time; no I/O."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import codec, grammar
from .connection import LARGE, SHORT, Connection
from .errors import (
    ConfigurationError,
    ConnectionStateError,
    HelloMalformedError,
    PingTooLargeError,
    VersionUnsupportedError,
    recoverable,
)
from .events import ApplicationReceived, FrameRefused, RequestReceived, StopReceived
from .limits import MAX_ERROR_BODY, MAX_LENGTH, MAX_PING_BODY, ConnectionLimits
from .registry import APPLICATION_CODES, VERSION, ErrorCode, FrameType, Role
from .states import State, Trigger

Answerable = RequestReceived | ApplicationReceived | StopReceived
"""What a server's program answers."""

_REQUEST, _REPLY, _ERROR = map(int, (FrameType.REQUEST, FrameType.REPLY, FrameType.ERROR))


# Look-ups of a batch, done once.
_OPEN, _PACK, _ONLY_STR = State.OPEN, codec.HEADER.pack, {str}
_HEADERS = [_PACK(_REPLY, size) for size in range(SHORT)]
_NO_ERRORS: Mapping[ErrorCode, int] = {}

_PLACE = codec.size_of(OrderedDict.fromkeys(range(1_000))) // 1_000 + codec.size_of(1 << 40)
"""Octets that the place of an answer takes in the order, beside the answer."""


class ErrorAnswer(NamedTuple):
    """Stands for an answer in a batch where there is none: a recoverable ERROR (REQ-ERROR-4).

    ``text`` is for people, and the registry's words where it is empty.
    """

    code: int
    text: str = ""


class Ready(NamedTuple):
    """An answer that has been given.

    The client takes bodies of up to ``peer_max_body`` after it, where that is given.  ``event`` is what it
    answers, kept so that no other gets the same id.
    """

    type: int
    body: bytes
    peer_max_body: int | None = None
    event: Answerable | None = None


_READY = codec.size_of(Ready(0, b""))


class AnsweringConnection(Connection):
    """The half of ServerConnection that answers: each frame once, in their order (REQ-ORDER-1, 2)."""

    frames_sent: int

    __slots__ = (
        "_allowed",
        "_batch",
        "_error_received",
        "_limits",
        "_overdue",
        "_owed",
        "_owed_size",
        "errors",
    )

    _decoder_class = codec.PatientDecoder
    _role = Role.SERVER

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        """Begin at the time ``now``."""
        if not isinstance(limits, ConnectionLimits):
            message = f"limits must be ConnectionLimits, not {type(limits).__name__}"
            raise TypeError(message)
        self._limits = limits
        super().__init__(limits, now)
        # The answers owed, oldest first: so many to a batch of REQUESTs; then for each frame its event, or an
        # answer that waits for its turn, by the id of the object.  An empty queue is None, see Connection.
        self._batch = 0
        self._owed: OrderedDict[int, Answerable | Ready] | None = None
        self._owed_size = 0  # octets of memory in it, counted as they come and go
        self._allowed: StopReceived | None = None
        self._overdue: FrameRefused | None = None  # what a deadline did, to be told
        self._error_received = False  # then none may be sent but the answers that are owed (REQ-ERROR-9)
        self.errors: Mapping[ErrorCode, int] = _NO_ERRORS
        """How often each code was the case; replaced and never changed, so that any thread may look."""

    @property
    def owes(self) -> int:
        """How many frames have no answer sent yet, those whose answer waits for its turn included."""
        return self._batch + len(self._owed or ())

    @property
    def held(self) -> int:
        """Octets of memory that frames which wait to be served, answered or sent take, about."""
        return self._decoder.held + self._output_size + self._owed_size

    def send_reply(self, event: RequestReceived | ApplicationReceived, text: str) -> None:
        """Answer a REQUEST or application frame; it is sent when those before it are answered (REQ-ORDER-2).

        A text larger than client and server allow then becomes ERROR 451 (REQ-HELLO-5).  Raises
        IllFormedTextError for a lone surrogate and ConfigurationError for what is not a str: then call
        ``send_error``.  Raises ConnectionStateError for an event that this connection owes no answer.
        """
        kind = type(event)
        if kind is RequestReceived:
            frame_type = _REPLY
        elif kind is ApplicationReceived:
            frame_type = event.type  # type: ignore[union-attr] # of this class only
        else:
            message = f"a reply answers a RequestReceived or ApplicationReceived, not a {kind.__name__}"
            raise TypeError(message)
        self._check_owed(event)
        self._answer(event, Ready(frame_type, codec.encode_text(text), event=event))

    def send_error(self, event: Answerable, code: int, text: str = "") -> None:
        """Answer a frame with a recoverable ERROR in its turn (REQ-ERROR-4).

        ``code`` is an ErrorCode of 400 to 499, or its number; 460 to 499 are the application's own
        (REQ-ERROR-15).  ``text`` is for people, and the registry's words where it is empty.  Raises
        TypeError or ConfigurationError for another code, and ConnectionStateError for an event that is not
        owed an answer by this connection.
        """
        code = recoverable(code)
        if not isinstance(event, Answerable):
            kind = type(event).__name__
            message = f"an ERROR answers a RequestReceived, ApplicationReceived or StopReceived, not a {kind}"
            raise TypeError(message)
        if type(event) is StopReceived and code in APPLICATION_CODES:
            message = f"{code:d} is an application error, which cannot answer a STOP"
            raise ConfigurationError(message)
        self._check_owed(event)
        self._count(code)
        self._answer(event, Ready(_ERROR, error_body(code, text), event=event))

    def allow_stop(self, event: StopReceived) -> None:
        """Accept the STOP just received: nothing after it is taken any more (REQ-STOP-10).

        Raises ConnectionStateError where an event after it was taken, or it was answered.
        """
        self._check_stop(event)
        if self._owed is None or next(reversed(self._owed.values())) is not event:
            raise ConnectionStateError("too late to allow this STOP: a later frame was handled")
        self._move(Trigger.STOP_ALLOWED)
        self._allowed = event

    def send_stopped(self, event: StopReceived, closed: int, cut: int) -> None:
        """Answer the STOP that was allowed, as the last frame (REQ-STOP-8)."""
        self._check_stop(event)
        if self._allowed is not event:
            raise ConnectionStateError("this STOP was not allowed")
        body = grammar.StoppedBody.build({"closed": str(closed), "cut": str(cut)})
        self._answer(event, Ready(FrameType.STOPPED, body, event=event))

    def replies_to_send(  # noqa: C901, PLR0912 - one function: a call would take as long as a reply
        self, answers: Sequence[str | ErrorAnswer], now: float
    ) -> list[bytes]:
        """Answer the oldest REQUESTs that ``receive_requests`` gave; everything to be written to the client.

        That is what ``pieces_to_send`` returns: one piece as a rule, and bodies from 64 KiB on as their own.
        Raises what ``queue_replies`` raises; nothing has happened then.
        """
        count = len(answers)
        if count > self._batch:
            message = f"{count} replies for a batch of {self._batch} requests"
            raise ConnectionStateError(message)
        octets = None
        if count and not (self._owed or self._output_size) and self._state is _OPEN:
            # As a rule nothing goes out before these answers, all are text, and none is large.  They are made
            # here then, without a call for each of them: seven times faster.
            before = -1
            texts: Any = answers
            try:
                if count == 1:
                    if len(texts[0]) < LARGE:  # else it is not worth a try
                        only = str.encode(texts[0])
                        size = len(only)
                        if size < SHORT:
                            octets = _HEADERS[size] + only
                        elif size < LARGE:
                            octets = _PACK(_REPLY, size) + only
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
        self.queue_replies(answers)
        return self.pieces_to_send(now)

    def queue_replies(self, answers: Sequence[str | ErrorAnswer]) -> None:
        """Answer the oldest REQUESTs that ``receive_requests`` gave; ``pieces_to_send`` returns it later.

        Raises what ``send_reply`` raises where one of the answers cannot be sent, and ConnectionStateError
        for more answers than are owed; nothing has happened then.
        """
        if len(answers) > self._batch:
            message = f"{len(answers)} replies for a batch of {self._batch} requests"
            raise ConnectionStateError(message)
        for answer, ready in [(answer, _ready(answer)) for answer in answers]:  # all or nothing
            if isinstance(answer, ErrorAnswer):
                self._count(ErrorCode(answer.code))
            self._batch -= 1
            self._write_own(ready)
        self._send_those_ready()

    def return_requests(self, texts: Sequence[str]) -> None:
        """Let the last requests that ``receive_requests`` gave come again, as events before all others.

        This is for a program that has to stop in the middle of a batch.  Raises ConnectionStateError for more
        than are owed, and where an event that came after them was taken.
        """
        if len(texts) > self._batch or self._owed or self._overdue or not self._taking:
            raise ConnectionStateError("only the latest requests can be returned, before the next event")
        self._batch -= len(texts)
        self._decoder.put_back(b"".join([codec.encode(_REQUEST, codec.encode_text(text)) for text in texts]))

    def _count(self, code: ErrorCode) -> None:
        self.errors = {**self.errors, code: self.errors.get(code, 0) + 1}

    def _check_owed(self, event: Answerable) -> None:
        if self._owed is None or self._owed.get(id(event)) is not event:
            message = (
                f"this {type(event).__name__} cannot be answered: it already was, or the connection has ended"
            )
            raise ConnectionStateError(message)

    def _check_stop(self, event: StopReceived) -> None:
        if type(event) is not StopReceived:
            message = f"expected a StopReceived, not a {type(event).__name__}"
            raise TypeError(message)
        self._check_owed(event)

    def _answer(self, event: Answerable, ready: Ready) -> None:
        """Replace an event that is owed an answer by that answer."""
        assert self._owed is not None  # noqa: S101 - for the type checkers: it was looked up there
        self._owed[id(event)] = ready
        self._owed_size += _size(ready) - _size(event)
        self._send_those_ready()

    def _send_those_ready(self) -> None:
        """Send all answers whose turn has come."""
        owed = self._owed
        while owed and not self._batch and isinstance(ready := next(iter(owed.values())), Ready):
            owed.popitem(last=False)
            self._owed_size -= _PLACE + _size(ready)
            self._write_own(ready)
        if not owed:
            self._owed = None
        self._settle()

    def _owe(self, answer: Answerable | Ready) -> None:
        if self._owed is None:
            self._owed = OrderedDict()
        self._owed[id(answer)] = answer
        self._owed_size += _PLACE + _size(answer)

    def _send_own(self, ready: Ready) -> None:
        """Send an answer of our own, after those that the program still owes."""
        if self._batch or self._owed:
            self._owe(ready)
        else:
            self._write_own(ready)

    def _write_own(self, ready: Ready) -> None:
        """Queue an answer in its turn: what client and server allow is known only now (REQ-HELLO-5)."""
        frame_type, body = ready.type, ready.body
        allowed = min(self._limits.max_body, self._peer_max_body)
        if len(body) > allowed:
            self._count(ErrorCode.ANSWER_TOO_LARGE)
            text = f"an answer of {len(body)} octets exceeds the maximum of {allowed}"
            frame_type, body = _ERROR, error_body(ErrorCode.ANSWER_TOO_LARGE, text)
        self._write(frame_type, body)
        if ready.peer_max_body is not None:
            self._peer_max_body = ready.peer_max_body

    def _settle(self) -> None:
        """Once nothing is owed by a draining connection, its stream can end."""
        if Trigger.SETTLED in self._transitions and not (self._batch or self._owed):
            self._move(Trigger.SETTLED)
            self._close_if_ended()

    def _close_if_ended(self) -> None:
        """Be closed once the client has ended its stream and all is sent."""
        ending = self.input_ended and self.finished and Trigger.INPUT_ENDED in self._transitions
        if ending and not self._output_size:
            self._move(Trigger.INPUT_ENDED)


def _ready(answer: str | ErrorAnswer) -> Ready:
    """The answer to a REQUEST of a batch."""
    if not isinstance(answer, ErrorAnswer):
        return Ready(_REPLY, codec.encode_text(answer))
    return Ready(_ERROR, error_body(recoverable(answer.code), answer.text))


def _size(answer: Answerable | Ready) -> int:
    """Octets of memory that an answer takes, or an event that has none."""
    if isinstance(answer, Ready):
        size = _READY + codec.size_of(answer.body)
        return size if answer.event is None else size + _size(answer.event)
    text = answer.token if isinstance(answer, StopReceived) else answer.text
    return codec.size_of(answer) + codec.size_of(text)


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
        message = f"version {hello.version} is not supported: expected {VERSION}"
        raise VersionUnsupportedError(message)
    own = _hello_body(limits.max_body, limits.frame_timeout, limits.idle_timeout)
    return Ready(FrameType.HELLO, own, int(hello.parameters.get("max-body", MAX_LENGTH)))


@functools.lru_cache(maxsize=16)  # it is the same for all clients of a server
def _hello_body(max_body: int, frame_timeout: float, idle_timeout: float) -> bytes:
    parameters = {
        "max-body": str(max_body),
        "frame-timeout-ms": str(round(frame_timeout * 1000)),
        "idle-timeout-ms": str(round(idle_timeout * 1000)),
    }
    body: bytes = grammar.HelloBody.build(grammar.Hello(VERSION, parameters))
    return body
