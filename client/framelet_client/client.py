"""The blocking client: one object is one connection."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Literal, cast, overload

from framelet import (
    ApplicationReceived,
    ConnectionStateError,
    ErrorReceived,
    FrameletError,
    HelloReceived,
    StoppedReceived,
    parse_address,
)
from framelet.address import DEFAULT_HOST
from framelet_client.exchange.engine import Engine
from framelet_client.exchange.source import Texts
from framelet_client.net.transport import open_connection, secured

from .config import ClientLimits
from .errors import AnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from framelet import Address, ClientConnection
    from framelet_client.exchange.driver import Answer
    from framelet_client.exchange.source import Source

    from .tls import ClientTls

_BY_PROGRAM = "the program closed it"


class Client:
    """A connection to a Framelet server, for one thread at a time::

        with Client("127.0.0.1", 6666) as client:
            client.request("hello")  # "olleh"

    A connection that has failed, whose answer came too late, or that was left with answers outstanding is
    closed for good, so that no answer is ever taken for another frame's (REQ-TIME-6).
    """  # noqa: D400, D415 - the first line introduces the example

    def __init__(
        self,
        host: str = DEFAULT_HOST,
        port: int | None = None,
        *,
        limits: ClientLimits | None = None,
        tls: ClientTls | None = None,
    ) -> None:
        """Connect.

        ``host`` is anything that ``framelet.parse_address`` reads, ``unix:PATH`` included; ``port`` is used
        where it names none, 6666 by default.  With ``framelets://``, or with ``tls``, the connection
        speaks TLS.  Raises AddressError, ConfigurationError, ConnectError, or its TlsError.
        """
        self._limits = limits or ClientLimits()
        self._address, tls = secured(parse_address(host, port), tls)
        opened = open_connection(self._address, tls, self._limits.connect_timeout)
        self._engine = Engine(opened, self._limits)
        self._turn_lock = threading.Lock()
        self._closed: str | None = None  # why it is closed

    @property
    def address(self) -> Address:
        """Where the server is."""
        return self._address

    @property
    def limits(self) -> ClientLimits:
        """The limits in force."""
        return self._limits

    @property
    def closed(self) -> bool:
        """Whether the connection is over."""
        return self._closed is not None

    def request(self, text: str) -> str:
        """Ask for the reply to one text.

        Raises AnswerError for a recoverable ERROR, after which the connection goes on; FatalAnswerError,
        ConnectionLostError, AnswerTimeoutError and ProtocolError when it is over.  A text that cannot be
        sent raises IllFormedTextError or FrameTooLargeError, and costs nothing.
        """
        answer = self._ask(lambda connection: connection.send_request(text))
        return cast("str", answer)

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
        must not wait for these.  A recoverable ERROR is raised as AnswerError, which ends the pipeline;
        with ``return_errors`` it is yielded instead of its reply.  Other errors are those of ``request``.
        What ``texts`` raises, and the error of a text that cannot be sent, comes after the replies to all
        texts before it.  A pipeline that is left while answers are outstanding closes the connection.
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

    def exchange(self, source: Source, *, half_close: bool = False) -> Iterator[list[Answer]]:
        """Answers to all frames of a source, in lists as they come: a reply is its text, others are events.

        For programs whose frames come from a descriptor; ``pipeline`` is this for iterables.  With
        ``half_close`` FIN follows the last frame, and the connection is over after it (section 11).
        """
        engine = self._begin()
        try:
            yield from engine.exchange(source, half_close=half_close)
        except FrameletError as error:
            self._explain(error)
            raise
        finally:
            self._end()

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

    def _ask(self, ask: Callable[[ClientConnection], None]) -> Answer:
        """The answer to one frame, of the type that belongs to it: the connection checks that."""
        engine = self._begin()
        try:
            answer = engine.ask(ask)
        except FrameletError as error:
            self._explain(error)
            raise
        finally:
            self._end()
        if isinstance(answer, ErrorReceived):
            raise AnswerError(answer.code, answer.text)
        return answer

    def _begin(self) -> Engine:
        """Take the turn: no other call may use the connection until ``_end``."""
        if not self._turn_lock.acquire(blocking=False):
            raise ConnectionStateError(
                "another call or pipeline is under way on this connection: end it first, "
                "or use one Client for each thread"
            )
        if self._closed is not None:
            self._turn_lock.release()
            self._release()
            message = f"this connection is closed: {self._closed}"
            raise ConnectionStateError(message)
        return self._engine

    def _explain(self, error: FrameletError) -> None:
        """Raise a ConnectionStateError instead if the turn failed because ``close`` was called meanwhile."""
        if self._closed == _BY_PROGRAM:
            message = f"this connection is closed: {self._closed}"
            raise ConnectionStateError(message) from error

    def _end(self) -> None:
        """End the turn; close the connection if it is out of step."""
        self._closed = self._closed or self._engine.out_of_step
        self._turn_lock.release()
        self._release()

    def _close(self, why: str) -> None:
        self._closed = self._closed or why
        if not self._release():
            self._engine.shut_down()

    def _release(self) -> bool:
        """Release the socket if the connection is closed and no call is using it; returns whether it is so.

        Never earlier: the system may give the descriptor to another file at once.  ``close`` and the end of a
        turn both call this, and both set ``_closed`` before they try the lock, so that the last one succeeds.
        """
        if self._closed is None or not self._turn_lock.acquire(blocking=False):
            return False
        try:
            self._engine.close()
        finally:
            self._turn_lock.release()
        return True
