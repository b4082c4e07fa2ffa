"""A pool of blocking clients: many threads share a few connections."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections import deque
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
        self._lock = threading.Lock()  # guards the rest
        self._idle: list[Client] = []  # the one that was used last comes first
        # A loan is a lock.  It waits in the queue, and is released when it moves to those that are lent.
        self._queue: deque[threading.Lock] = deque()
        self._lent: set[threading.Lock] = set()
        self._closed = False
        self._closing = threading.Event()

    def __repr__(self) -> str:
        """Where the server is, and what becomes of the connections."""
        return f"<Pool {self._address} {len(self._lent)} of {self._size} lent, {len(self._idle)} idle>"

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """Lend a connection, for ``with``; waits for it up to ``limits.connect_timeout``, in turn.

        Raises ConnectError, or its TlsError, if there is none by then, and ConnectionStateError if the pool
        is closed.
        """
        loan, client = threading.Lock(), None
        try:
            client = self._take(loan, time.monotonic() + self._limits.connect_timeout)
            yield client
        finally:
            self._give_back(loan, client)

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
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            while self._queue:
                self._queue.popleft().release()
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

    def _take(self, loan: threading.Lock, deadline: float) -> Client:
        """A connection to be lent: an idle one that is still open, or a new one."""
        if os.getpid() != self._process:
            message = f"this pool belongs to process {self._process}: create a new one in this process"
            raise ConnectionStateError(message)
        loan.acquire()
        with self._lock:
            self._queue.append(loan)
            self._let_in()
        loan.acquire(timeout=max(deadline - time.monotonic(), 0.0))
        with self._lock:
            if self._closed:
                raise ConnectionStateError("this pool is closed")
            if loan not in self._lent:
                raise ConnectError(str(self._address), f"all {self._size} connections of the pool are in use")
        return self._open_one() or self._connect(deadline)

    def _let_in(self) -> None:
        """Let waiting loans begin, in their order, as far as there are connections; the lock is held."""
        while self._queue and len(self._lent) < self._size:
            loan = self._queue.popleft()
            self._lent.add(loan)
            loan.release()

    def _open_one(self) -> Client | None:
        """An idle connection that is open; those that have ended are closed."""
        while True:
            with self._lock:
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

    def _give_back(self, loan: threading.Lock, client: Client | None) -> None:
        """End a loan, whether or not it began; close its connection unless it can be lent again."""
        if os.getpid() != self._process:
            return
        useful = client is not None and client.free
        with self._lock:
            if loan in self._queue:
                self._queue.remove(loan)
            self._lent.discard(loan)
            if useful and not self._closed:
                self._idle.append(client)  # type: ignore[arg-type]  # a useful one is not None
                client = None
            self._let_in()
        if client is not None:
            client.close()


def _pause(attempt: int) -> float:
    """Seconds before the next attempt."""
    return random.uniform(0.0, min(_FIRST_PAUSE * 2.0 ** (attempt - 1), _LONGEST_PAUSE))  # noqa: S311 - spreads load, keeps no secret
