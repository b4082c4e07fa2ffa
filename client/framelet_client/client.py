"""The blocking client: one object is one connection."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal, cast, overload

from framelet import (
    Address,
    ApplicationReceived,
    ClientConnection,
    ConfigurationError,
    ConnectionStateError,
    ErrorReceived,
    FrameletError,
    HelloReceived,
    StoppedReceived,
    parse_address,
)
from framelet.address import DEFAULT_HOST
from framelet_client.config import ClientLimits
from framelet_client.exchange.driver import Answer, checked
from framelet_client.exchange.engine import Engine
from framelet_client.exchange.source import Source, Texts
from framelet_client.exchange.turns import Call, Turns
from framelet_client.net.transport import Configured, address_of, open_connection
from framelet_client.tls import ClientTls

from .errors import AnswerError, FatalAnswerError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


_BY_PROGRAM = "the program closed it"
_ORDERLY = (FrameletError, GeneratorExit, type(None))
"""The ends of a call after which the engine still knows the state of the connection."""


class Client(Configured):
    """A connection to a Framelet server, for one thread at a time::

        with Client("127.0.0.1", 6666) as client:
            client.request("hello")  # "olleh"

    A connection that has failed, whose answer came too late, that was left with answers outstanding, or whose
    call was interrupted by an exception is closed for good, so that no answer is ever taken for another
    frame's (REQ-TIME-6).  The server ends one that is idle for as long as ``hello`` tells: ``ping`` in time
    keeps it.  It belongs to the process that made it: in a fork its calls raise
    ConnectionStateError, and closing it there leaves it to the other process as it is.
    """  # noqa: D400, D415 - the first line introduces the example

    def __init__(
        self,
        host: Address | tuple[str, int] | str | socket.socket = DEFAULT_HOST,
        port: int | None = None,
        *,
        limits: ClientLimits | None = None,
        tls: ClientTls | None = None,
        connection: type[ClientConnection] = ClientConnection,
    ) -> None:
        """Connect.

        ``host`` is anything that ``framelet.parse_address`` reads, ``unix:PATH`` included; ``port`` is used
        where it names none, 6666 by default.  With ``framelets://``, or with ``tls``, the connection
        speaks TLS.  It may also be a connected socket, which the client takes over.  ``connection`` may
        be a class that looks at the octets, by ``pieces_to_send`` and ``receive_replies``.  Raises
        AddressError, ConfigurationError, ConnectError, or its TlsError.
        """
        sock = host if isinstance(host, socket.socket) else None
        if sock is not None and port is not None:
            raise ConfigurationError("a connected socket cannot be combined with a port")
        address = parse_address(host, port) if not isinstance(host, socket.socket) else address_of(host)
        super().__init__(limits, tls, address)
        opened = open_connection(self._address, self._tls, self._limits.connect_timeout, sock)
        self._engine = Engine(opened, self._limits, connection)
        self._turns = Turns()
        self._closed: str | None = None  # why it is closed
        self._untold: FatalAnswerError | None = None  # came behind the last answer; the next call raises it

    def __repr__(self) -> str:
        """Where the server is, and whether it is connected."""
        return f"<Client {self._address} {'closed' if self.closed else 'connected'}>"

    @property
    def closed(self) -> bool:
        """Whether the connection is over, or another process's.

        The server may end it at any time; it is looked at now, unless a call is under way.
        """
        return not self._look() and (self._closed is not None or self._engine.is_foreign)

    @property
    def free(self) -> bool:
        """Whether a call may begin: the connection is open, and none is under way."""
        return self._look()

    def request(self, text: str) -> str:
        """Ask for the reply to one text.

        Raises AnswerError for a recoverable ERROR, after which the connection goes on; FatalAnswerError,
        ConnectionLostError, AnswerTimeoutError and ProtocolError when it is over.  A text that cannot be
        sent raises IllFormedTextError or FrameTooLargeError, and costs nothing.
        """
        call = Call(self._leave)
        with call, call:
            answer = self._begin(call).request(text)
        return answer if isinstance(answer, str) else cast("str", checked(answer))

    @overload
    def pipeline(self, texts: Iterable[str], *, return_errors: Literal[False] = False) -> Iterator[str]: ...

    @overload
    def pipeline(
        self, texts: Iterable[str], *, return_errors: Literal[True]
    ) -> Iterator[str | AnswerError]: ...

    def pipeline(
        self, texts: Iterable[str], *, return_errors: bool = False
    ) -> Iterator[str] | Iterator[str | AnswerError]:
        """Ask for the replies to many texts without waiting for each; yields them in order, as they come.

        ``texts`` may be endless: at most ``limits.window`` frames are unanswered, and about
        ``limits.max_unsent`` octets unsent, at once.  It is asked for texts ahead of their replies, so it
        must not wait for these: texts that come within 2 ms are sent together, once the next one is there.
        It is not asked while a frame is half sent.  A recoverable ERROR is raised as AnswerError, which ends
        the pipeline; with ``return_errors`` it is yielded instead of its reply.  Other errors are those of
        ``request``.  What ``texts`` raises, and the error of a text that cannot be sent, comes after the
        replies to all texts before it.  A pipeline that is left while answers are outstanding closes the
        connection.
        """
        for answers in self.exchange(Texts(texts)):
            for answer in answers:
                if isinstance(answer, str):
                    yield answer
                    continue
                error = cast("ErrorReceived", answer)
                if not return_errors:
                    raise AnswerError(error.code, error.text)
                yield AnswerError(error.code, error.text)

    def ping(self, text: str = "") -> float:
        """Measure the round trip, in seconds; ``text`` is at most 64 octets.  Raises as ``request``."""
        started = time.perf_counter()
        self._ask(lambda connection: connection.send_ping(text))
        return time.perf_counter() - started

    def hello(self) -> HelloReceived:
        """Exchange versions and limits (section 9).  Raises as ``request``."""
        return cast("HelloReceived", self._ask(lambda connection: connection.send_hello()))

    def stop(self, token: str = "") -> StoppedReceived:
        """Ask the server to end, and wait until it has; the connection is closed then (section 10).

        Raises AnswerError with code 403 where the server's policy does not allow it, else as ``request``.
        """
        stopped = cast("StoppedReceived", self._ask(lambda connection: connection.send_stop(token)))
        self._close("the server has stopped")
        return stopped

    def send(self, frame_type: int, text: str) -> str:
        """Ask for the answer to an application frame, of a type from 0xC0 to 0xFF; raises as ``request``."""
        answer = self._ask(lambda connection: connection.send_application(frame_type, text))
        return cast("ApplicationReceived", answer).text

    def exchange(
        self, source: Source, *, half_close: bool = False, keep_alive: float | None = None
    ) -> Iterator[list[Answer]]:
        """Answers to all frames of a source, in lists as they come: a reply is its text, others are events.

        For programs whose frames come from a descriptor; ``pipeline`` is this for iterables.  With
        ``half_close`` FIN follows the last frame, and the connection is over after it (section 11).  With
        ``keep_alive`` a PING goes out after so many seconds without a frame: choose less than the server's
        idle timeout, which ``hello`` tells.
        """
        call = Call(self._leave)
        with call, call:
            yield from self._begin(call).exchange(source, half_close=half_close, keep_alive=keep_alive)
        if source.error is not None:
            raise source.error

    def close(self) -> None:
        """Close the connection; a call under way in another thread ends with an error."""
        self._close(_BY_PROGRAM)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _look(self) -> bool:
        """Take in what came while no call was under way; returns whether a call may begin."""
        if self._closed is not None or self._engine.is_foreign:
            return False
        call = Call(self._leave)
        with call, call:
            mine = self._turns.take(call)
            if mine:
                self._engine.look()
        return mine and self._closed is None

    def _ask(self, ask: Callable[[ClientConnection], None]) -> Answer:
        """The answer to one frame, of the type that belongs to it: the connection checks that."""
        call = Call(self._leave)
        with call, call:
            answer = self._begin(call).ask(ask)
        return checked(answer)

    def _begin(self, call: Call) -> Engine:
        """Take the turn: no other call may use the connection until ``_leave``."""
        self._engine.require_own_process()
        if not self._turns.take(call):
            raise ConnectionStateError(
                "another call or pipeline is under way on this connection: end it first, "
                "or use one Client for each thread"
            )
        if self._closed is not None:
            untold, self._untold = self._untold, None
            raise untold or self._is_closed()
        return self._engine

    def _leave(self, call: Call, error: BaseException | None) -> None:
        """End the turn of a call, if it has it; close the connection if it is, or may be, out of step.

        May be called again after an exception at any of its instructions.
        """
        if self._turns.held_by(call):
            if not isinstance(error, _ORDERLY):
                self._closed = self._closed or f"a call was interrupted ({type(error).__name__})"
            end = self._engine.end
            if error is None and self._closed is None and isinstance(end, FatalAnswerError):
                self._untold = end
            self._closed = self._closed or self._engine.out_of_step
            self._release(call)
        # ``close`` may have come during the turn: then it left the socket to this call.
        self._release(call)
        failed = isinstance(error, FrameletError) and not isinstance(error, ConnectionStateError)
        if failed and self._closed == _BY_PROGRAM:
            raise self._is_closed() from error

    def _release(self, call: Call) -> None:
        """Release the socket if the connection is closed and no other call is using it; end the turn.

        Never earlier: the system may give the descriptor to another file at once.
        """
        if self._closed is not None and self._turns.take(call):
            self._engine.close()
        self._turns.give_back(call)

    def _is_closed(self) -> ConnectionStateError:
        return ConnectionStateError(f"this connection is closed: {self._closed}")

    def _close(self, why: str) -> None:
        call = Call(self._leave)
        with call, call:
            self._closed, self._untold = self._closed or why, None
            if not self._turns.take(call):
                self._engine.shut_down()
