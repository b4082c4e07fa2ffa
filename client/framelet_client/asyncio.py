"""The client for asyncio: any number of tasks ask at once over one connection."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, Literal, Self, cast, overload

from framelet import (
    Address,
    ApplicationReceived,
    ClientConnection,
    ConnectionStateError,
    ErrorReceived,
    HelloReceived,
    StoppedReceived,
    parse_address,
)
from framelet.address import DEFAULT_HOST

from .config import ClientLimits
from .errors import AnswerError
from .exchange.driver import checked
from .exchange.multiplexer import Multiplexer
from .exchange.source import Texts
from .net.in_loop import open_in_loop
from .net.transport import Configured
from .tls import ClientTls

if TYPE_CHECKING:
    from types import TracebackType

    from .exchange.driver import Answer
    from .exchange.run import Run

__all__ = ["Client", "connect"]


class Client(Configured):
    """A connection to a Framelet server, for all tasks of one loop::

        async with connect("127.0.0.1", 6666) as client:
            await client.request("hello")  # "olleh"

    Its methods are those of the blocking ``framelet_client.Client``, with the same limits and errors.  Each
    call may be cancelled, or given up by ``asyncio.timeout``: that costs no other call anything, as the
    answer is dropped when it comes.  A call waits while ``limits.window`` frames are unanswered or
    ``limits.max_unsent`` octets unsent.  Where no answer at all comes within ``limits.answer_timeout``, the
    connection is given up, with AnswerTimeoutError for all who wait (REQ-TIME-6).
    """  # noqa: D400, D415 - the first line introduces the example

    def __init__(
        self,
        host: Address | tuple[str, int] | str = DEFAULT_HOST,
        port: int | None = None,
        *,
        limits: ClientLimits | None = None,
        tls: ClientTls | None = None,
    ) -> None:
        """Prepare; ``async with``, or ``open``, connects.

        The arguments are those of ``framelet_client.Client``.  Raises AddressError or ConfigurationError.
        """
        super().__init__(limits, tls, parse_address(host, port))
        self._opened: Multiplexer | None = None
        self._opening: object = None  # a mark of the ``open`` under way

    def __repr__(self) -> str:
        """Where the server is, and whether it is connected."""
        connected = "not connected" if self._opened is None else "closed" if self.closed else "connected"
        return f"<Client {self._address} {connected}>"

    async def open(self) -> Self:
        """Connect, in the running loop; raises ConnectError, or its TlsError.

        To be called once, or again where it has failed.
        """
        if self._opened is not None or self._opening is not None:
            message = "this client was already connected, or is connecting: create a new one"
            raise ConnectionStateError(message)
        mine = self._opening = object()
        try:
            opened = await open_in_loop(self._address, self._tls, self._limits.connect_timeout)
            if self._opening is not mine:
                opened.socket.close()
                raise ConnectionStateError("the program closed this client while it was being connected")
            self._opened = Multiplexer(opened, self._limits)
        finally:
            if self._opening is mine:
                self._opening = None
        return self

    @property
    def closed(self) -> bool:
        """Whether the connection is over, or another process's, or about to be closed."""
        return self._opened is not None and (self._opened.closed is not None or self._opened.is_foreign)

    async def request(self, text: str) -> str:
        """Ask for the reply to one text.

        Raises AnswerError for a recoverable ERROR, after which the connection goes on; FatalAnswerError,
        ConnectionLostError, AnswerTimeoutError and ProtocolError when it is over.  A text that cannot be
        sent raises IllFormedTextError or FrameTooLargeError, and costs nothing.
        """
        opened = self._opened
        if opened is None or asyncio.get_running_loop() is not opened.loop:
            opened = self._multiplexer()  # raises
        if opened.crowded:
            await opened.enter(text)
        answer = await opened.request(text)
        return answer if isinstance(answer, str) else cast("str", checked(answer))

    async def ping(self, text: str = "") -> float:
        """Measure the round trip, in seconds; ``text`` is at most 64 octets.  Raises as ``request``."""
        started = time.perf_counter()
        await self._ask(ClientConnection.send_ping, text)
        return time.perf_counter() - started

    async def hello(self) -> HelloReceived:
        """Exchange versions and limits (section 9).  Raises as ``request``."""
        return cast("HelloReceived", await self._ask(ClientConnection.send_hello))

    async def stop(self, token: str = "") -> StoppedReceived:
        """Ask the server to end, and wait until it has; the connection is closed then (section 10).

        Raises AnswerError with code 403 where the server's policy does not allow it, else as ``request``.
        """
        answer = await self._ask(ClientConnection.send_stop, token)
        self._multiplexer().close("the server has stopped")
        return cast("StoppedReceived", answer)

    async def send(self, frame_type: int, text: str) -> str:
        """Ask for the answer to an application frame, of a type from 0xC0 to 0xFF; raises as ``request``."""
        answer = await self._ask(ClientConnection.send_application, frame_type, text)
        return cast("ApplicationReceived", answer).text

    @overload
    def pipeline(
        self, texts: Iterable[str] | AsyncIterable[str], *, return_errors: Literal[False] = False
    ) -> AsyncGenerator[str]: ...

    @overload
    def pipeline(
        self, texts: Iterable[str] | AsyncIterable[str], *, return_errors: Literal[True]
    ) -> AsyncGenerator[str | AnswerError]: ...

    async def pipeline(
        self, texts: Iterable[str] | AsyncIterable[str], *, return_errors: bool = False
    ) -> AsyncGenerator[str | AnswerError]:
        """Ask for the replies to many texts without waiting for each; yields them in order, as they come.

        ``texts`` may be endless: it is asked for further ones while fewer than ``limits.window`` of its
        frames are unanswered, or answered and not taken.  A plain iterable must not wait; an asynchronous one
        may, and is asked in a task of its own.  A recoverable ERROR is raised as AnswerError, which ends the
        pipeline; with ``return_errors`` it is yielded instead of its reply.  Other errors are those of
        ``request``.  What ``texts`` raises, and the error of a text that cannot be sent, comes after the
        replies to all texts before it.  A pipeline that is left costs the connection nothing.
        """
        async with contextlib.aclosing(self._exchange(texts)) as exchange:
            async for answers in exchange:
                for answer in answers:
                    if isinstance(answer, str):
                        yield answer
                    elif return_errors:
                        error = cast("ErrorReceived", answer)
                        yield AnswerError(error.code, error.text)
                    else:
                        checked(answer)

    async def close(self, *, drain: bool = False) -> None:
        """Close the connection; calls under way end with ConnectionStateError.

        With ``drain`` no further call begins, and those under way are waited for.
        """
        self._opening = None  # an ``open`` under way sees that, and closes its socket
        if (opened := self._opened) is not None:
            try:
                if drain:
                    await opened.drained("the program is closing it")
            finally:
                opened.close("the program closed it")

    async def __aenter__(self) -> Self:
        """Connect."""
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    def _multiplexer(self) -> Multiplexer:
        if self._opened is None:
            raise ConnectionStateError("this client is not connected: use it in async with, or await open()")
        self._opened.require_own_loop()
        return self._opened

    async def _ask(self, queue: Callable[..., None], *arguments: object) -> Answer:
        """The answer to the one frame that ``queue`` queues on the connection."""
        opened = self._multiplexer()
        if opened.crowded:
            await opened.enter()
        return checked(await opened.ask(queue, *arguments))

    async def _exchange(self, texts: Iterable[str] | AsyncIterable[str]) -> AsyncGenerator[list[Answer]]:
        """The answers to requests, in lists as they come."""
        opened = self._multiplexer()
        run = opened.begin_run()
        source = feeding = None
        try:
            if isinstance(texts, AsyncIterable):
                feeding = asyncio.create_task(self._feed(opened, run, texts))
            else:
                source = Texts(texts)
            while not run.fed or run.held:
                answers = run.take()
                if source is not None and not run.fed:
                    await self._feed_batch(opened, run, source)
                if answers:
                    yield answers
                elif run.held or not run.fed:
                    await run.change()
        finally:
            opened.leave(run)
            if feeding is not None:
                feeding.cancel()
                await asyncio.wait([feeding])
        if run.error is not None:
            raise run.error

    async def _feed_batch(self, opened: Multiplexer, run: Run, source: Texts) -> None:
        """Ask for the next texts of a plain iterable, as far as there is room."""
        window = self._limits.window
        batch = max(1, window // 4)  # worth a system call, and the server works on one while the next is made
        if window - run.held < batch:
            return
        if opened.crowded:
            if run.held:
                return
            await opened.enter()
        with opened.room(batch) as frames:
            texts = source.take(frames, self._limits.max_unsent)
        if run.fed:  # the program has closed the connection while it made the texts
            return
        opened.ask_for(run, lambda connection: source.send(connection, texts))
        if source.exhausted:
            run.end(source.error)

    async def _feed(self, opened: Multiplexer, run: Run, texts: AsyncIterable[str]) -> None:
        """Ask for the texts of an asynchronous iterable, each when it comes."""
        error: BaseException | None = None
        try:
            async for text in texts:
                if not await run.room(self._limits.window):
                    return  # ``texts`` has swallowed the cancellation
                if opened.crowded:
                    await opened.enter(text)
                opened.ask_for(run, lambda connection: connection.send_request(text))  # noqa: B023 - called at once
        except (Exception, asyncio.CancelledError) as fault:  # noqa: BLE001 - raised by the pipeline, after the answers to earlier texts
            error = fault
        run.end(error)


connect = Client
"""The same class, under a name that reads well in ``async with``."""
