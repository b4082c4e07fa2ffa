"""A pool of blocking clients: many threads share a few connections."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from framelet import Address, ConfigurationError, ConnectionStateError, ErrorCode, parse_address
from framelet.address import DEFAULT_HOST
from framelet.limits import SHORTEST

from .client import Client
from .config import ClientLimits
from .errors import ConnectError, ConnectionLostError, FatalAnswerError, TlsError
from .net.transport import Configured
from .tls import ClientTls

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""Seconds until a connection is tried again, at most; doubled each time.

Each pause is drawn at random from zero up to that, so that many clients do not come back at once.
"""

_ATTEMPTS = 3
"""How often an idempotent request is made at most."""

_PASSING = (
    ErrorCode.TOO_MANY_CONNECTIONS,
    ErrorCode.OVERLOADED,
    ErrorCode.IDLE_TIMEOUT,
    ErrorCode.INTERNAL_ERROR,
)
"""Fatal ERRORs that another connection may not get."""


class Pool(Configured):
    """Up to ``size`` connections to one server, each lent to one thread at a time::

        with Pool("127.0.0.1", 6666) as pool:
            pool.request("hello", idempotent=True)  # "olleh"

    A connection is checked before it is lent: one that its server has ended, or that was given back with a
    call under way, is replaced.  A pool belongs to the process that made it.
    """  # noqa: D400, D415 - the first line introduces the example

    def __init__(
        self,
        host: Address | tuple[str, int] | str = DEFAULT_HOST,
        port: int | None = None,
        *,
        size: int = 8,
        limits: ClientLimits | None = None,
        tls: ClientTls | None = None,
    ) -> None:
        """Prepare; connections are opened when they are needed.

        The other arguments are those of ``Client``.  Raises AddressError or ConfigurationError.
        """
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            message = f"size is {size!r}: expected a number of connections, 1 or more"
            raise ConfigurationError(message)
        super().__init__(limits, tls, parse_address(host, port))
        self._size = size
        self._process = os.getpid()
        self._changed = threading.Condition()  # guards the rest
        self._idle: list[Client] = []  # the one that was used last comes first
        self._lent = 0
        self._closed = False
        self._closing = threading.Event()

    def __repr__(self) -> str:
        """Where the server is, and what becomes of the connections."""
        return f"<Pool {self._address} {self._lent} of {self._size} lent, {len(self._idle)} idle>"

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """Lend a connection, for ``with``; waits for it up to ``limits.connect_timeout``.

        Raises ConnectError, or its TlsError, if there is none by then, and ConnectionStateError if the pool
        is closed.
        """
        client = self._take(time.monotonic() + self._limits.connect_timeout)
        try:
            yield client
        finally:
            self._give_back(client)

    def request(self, text: str, *, idempotent: bool = False) -> str:
        """Ask for the reply to one text; raises as ``client`` and ``Client.request``.

        A request that was not sent, because its connection had ended, is made again on another one.  A
        request that may have been served is made again, up to three times in all, only with ``idempotent``:
        that says that serving it twice does no harm.
        """
        return self._ask(lambda client: client.request(text), idempotent=idempotent)

    def send(self, frame_type: int, text: str, *, idempotent: bool = False) -> str:
        """Ask for the answer to an application frame, as ``request`` does for a text."""
        return self._ask(lambda client: client.send(frame_type, text), idempotent=idempotent)

    def close(self) -> None:
        """Close all connections, those that are lent when they are given back; in a fork, do nothing."""
        if os.getpid() != self._process:  # a fork: the thread that holds the lock may not exist here
            return
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        self._closing.set()
        for client in idle:
            client.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _ask(self, ask: Callable[[Client], str], *, idempotent: bool) -> str:
        attempt = 0
        while True:
            attempt += 1
            try:
                with self.client() as client:
                    return ask(client)
            except (ConnectionLostError, FatalAnswerError) as error:
                if attempt == _ATTEMPTS or (error.unanswered and not idempotent):
                    raise
                if isinstance(error, FatalAnswerError) and error.code not in _PASSING:
                    raise
            self._closing.wait(_pause(attempt))

    def _take(self, deadline: float) -> Client:
        """A connection to be lent: an idle one that is still open, or a new one."""
        if os.getpid() != self._process:
            message = f"this pool belongs to process {self._process}: create a new one in this process"
            raise ConnectionStateError(message)
        with self._changed:
            free = self._changed.wait_for(
                lambda: self._closed or self._lent < self._size, max(deadline - time.monotonic(), 0.0)
            )
            if self._closed:
                raise ConnectionStateError("this pool is closed")
            if not free:
                raise ConnectError(str(self._address), f"all {self._size} connections of the pool are in use")
            self._lent += 1
        try:
            return self._open_one() or self._connect(deadline)
        except BaseException:
            self._give_back(None)
            raise

    def _open_one(self) -> Client | None:
        """An idle connection that is open; those that have ended are closed."""
        while True:
            with self._changed:
                if not self._idle:
                    return None
                client = self._idle.pop()
            if not client.closed:
                return client
            client.close()

    def _connect(self, deadline: float) -> Client:
        """Open a connection; again and again where the server cannot be reached."""
        attempt = 0
        while True:
            attempt += 1
            left = max(deadline - time.monotonic(), SHORTEST)
            try:
                return Client(self._address, limits=self._limits.replace(connect_timeout=left), tls=self._tls)
            except TlsError:
                raise
            except ConnectError:
                pause = _pause(attempt)
                if time.monotonic() + pause >= deadline or self._closing.wait(pause):
                    raise

    def _give_back(self, client: Client | None) -> None:
        """Take a connection back; close it unless it can be lent again."""
        if os.getpid() != self._process:
            return
        useful = client is not None and client.free
        with self._changed:
            self._lent -= 1
            if useful and not self._closed:
                self._idle.append(client)  # type: ignore[arg-type]  # a useful one is not None
                client = None
            self._changed.notify()
        if client is not None:
            client.close()


def _pause(attempt: int) -> float:
    """Seconds before the next attempt."""
    return random.uniform(0.0, min(_FIRST_PAUSE * 2.0 ** (attempt - 1), _LONGEST_PAUSE))  # noqa: S311 - spreads load, keeps no secret
