"""What both ends of a connection share: decoder, output, state and clocks; no I/O.

A connection is driven by its program, which owns the socket and the clock::

    connection.receive_data(sock.recv(65536), now)      # or receive_eof() for b""
    while (event := connection.next_event()) is not None:
        ...                                              # send_... answers or asks
    sock.sendall(connection.data_to_send(now))
    if connection.finished:
        sock.shutdown(socket.SHUT_WR)

``now`` is in seconds on any clock that never goes back, the same at each call.  ``next_deadline`` says
when to call ``check_deadlines`` if nothing else happens before.

What a connection does in a state is read off the tables in ``states``, once for each state that it enters.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any

from . import codec, states
from .errors import (
    AnswerMalformedError,
    ConnectionStateError,
    ErrorReceivedError,
    FrameTooLargeError,
    IllFormedTextError,
    UnexpectedTypeError,
    UnknownTypeError,
)
from .frame_format import Octets, no_octets
from .limits import (
    MAX_ERROR_BODY,
    MAX_HELLO_BODY,
    MAX_PING_BODY,
    MAX_STOPPED_BODY,
    MIN_MAX_BODY,
    ClientConnectionLimits,
    ConnectionLimits,
)
from .registry import FrameType, Role, TypeRange, type_kinds
from .states import Action, State, Trigger

if TYPE_CHECKING:
    from .errors import ProtocolError

LARGE = MIN_MAX_BODY
"""Octets from which copying a body costs more than sending it as a piece of its own.

Smaller ones are allowed by every limit that a server or a client may have.
"""

SHORT = 1_024
"""Octets or characters up to which many bodies are converted faster together than each by itself."""

_USED: set[int] = set()
"""The ids of connections in use, under ``python -X dev`` alone."""


def _by_one_thread(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, raising ConnectionStateError while another thread is inside one of the same connection."""

    def checked(self: Connection, *arguments: object, **named: object) -> object:
        if id(self) not in _USED:
            _USED.add(id(self))
            try:
                return method(self, *arguments, **named)
            finally:
                _USED.discard(id(self))
        frame = sys._getframe(1)  # noqa: SLF001 - documented; a call from within a call is no other thread
        while frame.f_code is not checked.__code__ or frame.f_locals["self"] is not self:
            if frame.f_back is None:
                message = "two threads use this connection at once: use it in one, or hold a lock"
                raise ConnectionStateError(message)
            frame = frame.f_back
        return method(self, *arguments, **named)

    return functools.update_wrapper(checked, method)


class Connection:
    """The base of ServerConnection and ClientConnection."""

    _decoder_class = codec.FrameDecoder
    _role: Role

    __slots__ = (
        "_actions",
        "_batching",
        "_decoder",
        "_frame_started",
        "_idle_since",
        "_output",
        "_output_frames",
        "_output_size",
        "_peer_max_body",
        "_pieces",
        "_reading",
        "_state",
        "_taking",
        "frames_received",
        "frames_sent",
        "input_ended",
    )

    def __init__(self, limits: ClientConnectionLimits | ConnectionLimits, now: float) -> None:
        """Start open, at a boundary, at the time ``now``."""
        self._decoder = self._decoder_class(limits.max_body)
        # An idle connection holds no containers: thousands of them would take more memory than all else.
        self._pieces: tuple[bytes, ...] = ()  # what is to be sent first, in pieces to be sent as they are
        self._output: bytearray | None = None  # what follows: joined, as small ones take ten times as much
        self._output_size: int = 0  # octets in both
        self._output_frames = 0
        self.frames_received: int = 0  # whole frames, also those that are refused or discarded
        self.frames_sent: int = 0  # frames that ``pieces_to_send`` has given away
        self.input_ended: bool = False  # whether the peer has ended its stream
        self._peer_max_body: int = limits.max_body
        self._frame_started: float | None = None  # when the frame under way began
        self._idle_since: float = now  # when octets last came or went
        self._enter(State.OPEN)

    def __init_subclass__(cls) -> None:
        """Have the public methods look for other threads, under ``python -X dev``."""
        if sys.flags.dev_mode:
            for name in dir(cls):
                method = getattr(cls, name)
                if isinstance(method, FunctionType) and name[0] != "_" and not hasattr(method, "__wrapped__"):
                    setattr(cls, name, _by_one_thread(method))

    def __repr__(self) -> str:
        """The state, and how much waits."""
        waiting = f"{self.input_size} octets in, {self.output_size} out"
        return f"<{type(self).__name__} {self._state.value}, {waiting}>"

    @property
    def state(self) -> State:
        """The present state (section 15)."""
        return self._state

    @property
    def finished(self) -> bool:
        """Whether nothing will be sent after ``data_to_send``: send that, then FIN."""
        return self._state in (State.CLOSING, State.CLOSED)

    @property
    def output_size(self) -> int:
        """Octets that ``data_to_send`` would return."""
        return self._output_size

    @property
    def input_size(self) -> int:
        """Octets received that ``next_event`` has not made use of yet."""
        return self._decoder.size

    @property
    def held(self) -> int:
        """Octets of memory that frames which wait to be served or sent take, about."""
        return self._decoder.held + self._output_size

    def receive_data(self, data: Octets, now: float) -> None:
        """Take in octets from the peer, cut anywhere (REQ-FRAME-4); then ask for events.

        Raises ConfigurationError for none: what a socket reads at its end is for ``receive_eof``.
        """
        if self.input_ended:
            raise ConnectionStateError("data after the end of the stream")
        if type(data) is not bytes:
            data = memoryview(data)  # raises TypeError for what holds no octets
        if not data:
            raise no_octets()
        self._idle_since = now
        if not self._reading:
            return  # read and discarded
        try:
            completed = self._decoder.receive_data(data)
        except FrameTooLargeError:
            return  # next_event says so; what follows the refused header is dropped
        self.frames_received += completed
        if completed or self._frame_started is None:
            self._frame_started = now if self._decoder.inside_frame else None

    def receive_eof(self) -> None:
        """Take note of the end of the peer's stream; then ask for events."""
        self.input_ended = True

    def data_to_send(self, now: float) -> bytes:
        """Everything to be written to the peer, as one piece; empty where there is nothing."""
        return b"".join(self.pieces_to_send(now))

    def pieces_to_send(self, now: float) -> list[bytes]:
        """Everything to be written to the peer, in as few pieces as go without copying a large body."""
        if not self._output_size:
            return []
        self._idle_since = now
        self.frames_sent += self._output_frames
        pieces = [*self._pieces, bytes(self._output)] if self._output else [*self._pieces]
        self._pieces, self._output, self._output_size, self._output_frames = (), None, 0, 0
        if self.input_ended:
            self._close_if_ended()
        return pieces

    def resume(self, now: float) -> None:
        """Start the clocks afresh after a time in which this end did not read (section 12)."""
        self._idle_since = now
        if self._frame_started is not None:
            self._frame_started = now

    def _receive_to_boundary(self, data: bytes, now: float) -> int:
        """Take in what ends the frame under way, if there is one; how many octets of ``data`` that were."""
        start = 0
        # Its header, then its body; one call for each, as it ends there or all is discarded.
        while start < len(data) and self._reading and (lacking := self._decoder.lacking):
            self.receive_data(data[start : start + lacking], now)
            start += lacking
        return min(start, len(data))

    def _close_if_ended(self) -> None:
        """Be closed once both directions have ended: a closed connection has nothing left to send."""

    def _enter(self, state: State) -> None:
        """Do from here on what the table says of this state."""
        rules = states.rules(self._role, state)
        self._state, self._actions = state, rules.actions
        self._batching: bool = rules.batches
        # Whether frames mean anything here, and whether octets that come are still made frames of.
        self._taking = self._reading = rules.takes_frames
        if not self._taking:
            self._decoder.clear()

    def _move(self, trigger: Trigger) -> None:
        if trigger not in self._transitions:
            message = f"{trigger.name} cannot happen to a {self._role.value} that is {self._state.value}"
            raise ConnectionStateError(message)
        self._enter(self._transitions[trigger])

    @property
    def _transitions(self) -> Mapping[Trigger, State]:
        """What the table says of this state."""
        return states.TRANSITIONS[self._role][self._state]

    def _break_off(self) -> None:
        """Move to where a fault leads, and read no further: what comes cannot be told apart any more."""
        self._move(Trigger.FAULT)
        self._decoder.clear()
        self._frame_started = None
        self._taking = self._reading = False

    def _write(self, frame_type: int, body: bytes) -> None:
        """Queue a frame."""
        length = len(body)
        header = codec.encode_header(frame_type, length)
        if length >= LARGE:  # not worth a copy
            self._pieces += (bytes(self._output or b"") + header, body)
            self._output = None
        else:
            self._output = self._output or bytearray()
            self._output += header
            self._output += body
        self._output_size += codec.HEADER_SIZE + length
        self._output_frames += 1

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Type and body of the next whole frame; raises the error of a header that is to be refused.

        A frame is refused at its header: for its type first, then for its length (REQ-ERROR-3).
        """
        decoder = self._decoder
        if decoder.frames:
            return decoder.pop()
        if decoder.refused is not None:
            self._judge(decoder.refused.type)
            raise decoder.refused
        if (header := decoder.pending_header) is not None:
            self._judge(header[0])
        return None

    def _judge(self, frame_type: int) -> None:
        """Raise for a type that is to be refused without its body (REQ-TYPE-1, 2 and 7, REQ-ERROR-9)."""
        action = self._actions[frame_type]
        if action in REFUSALS:
            raise refusal(frame_type, action)


REFUSALS = (Action.REFUSE_UNKNOWN, Action.REFUSE_UNEXPECTED, Action.CLOSE, Action.FAIL)
"""What is done at the header already.  A tuple: a set would call the hash function of the enumeration."""

_UNKNOWN = (TypeRange.NEVER, TypeRange.CRITICAL)


def refusal(frame_type: int, action: Action) -> ProtocolError:
    """The error for a frame whose type is refused."""
    kind = type_kinds[frame_type]
    if action is Action.REFUSE_UNKNOWN or (action is Action.FAIL and kind in _UNKNOWN):
        return UnknownTypeError(f"type {frame_type:02X} is unknown and not ignorable{_hint(frame_type)}")
    message = f"{kind.name} is not sent to this end"
    return ErrorReceivedError(message) if action is Action.CLOSE else UnexpectedTypeError(message)


def text_of(frame_type: int, body: bytes) -> str:
    """The text of a received body; raises IllFormedTextError naming the frame (REQ-TEXT-2, 6)."""
    try:
        return codec.decode_text(body)
    except IllFormedTextError as error:
        kind = type_kinds[frame_type]
        message = f"{kind.name} body is {error}"
        raise IllFormedTextError(message) from None


_LONGEST: dict[int, int] = {
    FrameType.STOPPED: MAX_STOPPED_BODY,
    FrameType.ERROR: MAX_ERROR_BODY,
    FrameType.PONG: MAX_PING_BODY,
    FrameType.HELLO: MAX_HELLO_BODY,
}
"""The longest bodies of answers that are not the program's, in octets."""


def check_length(frame_type: int, length: int) -> None:
    """Refuse what is longer than an answer of its type can be: to parse it would cost fifty times as much."""
    most = _LONGEST.get(frame_type, length)
    if length > most:
        message = f"{name_of(frame_type)} body is {length} octets long, more than {most}"
        raise AnswerMalformedError(message)


def name_of(frame_type: int) -> str:
    """How messages call a frame of a type."""
    kind = type_kinds[frame_type]
    return kind.name if isinstance(kind, FrameType) else f"type {frame_type:#04x}"


FIRST_OCTETS = {0x15: "TLS", 0x16: "TLS", 0x53: "SSH"} | dict.fromkeys(b"GPH<", "HTTP")
"""What else a peer may be speaking, by its first octet."""


def _hint(frame_type: int) -> str:
    """Help for a person who mixed up two ports."""
    protocol = FIRST_OCTETS.get(frame_type)
    return f"; the peer seems to speak {protocol}" if protocol else ""
