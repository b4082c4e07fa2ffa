"""How clients come in: accepted, admitted or refused, and given a channel."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from framelet import ErrorCode, ServerConnection
from framelet_server.connection.channel import Channel
from framelet_server.net.peer import Peer, peer_of
from framelet_server.net.sockets import SocketFile
from framelet_server.net.transport import Layer, LayerError

if TYPE_CHECKING:
    from framelet_server.connection.context import Context

    from .admission import Admission
    from .connections import ConnectionTable

_log = logging.getLogger("framelet_server")

Layers = Callable[[], Sequence[Layer]]
"""Makes what a new client speaks below its frames."""

Entrance = Callable[[Peer], tuple[Peer, Layers]]
"""Who a new client is until its layers know better, and what makes them.

Raises LayerError where it may not come in.
"""

_BATCH = 64
"""Clients accepted in one turn, so that many waiting clients do not hold a worker."""

_UNREAD = 65_536
"""Octets read of a client that is refused."""

_OF_ONE_CLIENT = {
    getattr(errno, name, None)
    for name in (
        *("ECONNABORTED", "ECONNRESET", "EPROTO", "EPERM", "EINTR", "ETIMEDOUT", "ENOPROTOOPT"),
        *("ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENONET"),
    )
}
"""What accept(2) reports of the client that it would have given: there may be others."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0
"""Seconds without accepting after the system ran out of something; doubled each time."""

_PATIENCE = 5.0
"""Seconds of this after which those who wait are told so; until then others may leave and make room."""

_INHERITED = sys.platform == "linux"
"""Whether an accepted socket has the TCP options of its listening socket."""


class Acceptor:
    """Accepts clients on one listening socket, in turns like any other owner of a socket."""

    def __init__(  # noqa: PLR0913 - what belongs to a door
        self,
        context: Context,
        sock: socket.socket,
        admission: Admission,
        table: ConnectionTable,
        entrance: Entrance,
        *,
        alone: bool = True,
    ) -> None:
        """Begin to accept; ``alone`` says that no other process has or will have the socket.

        Then the file of a unix socket is removed with the end of accepting.
        """
        self._context = context
        self._sock = sock
        self._admission = admission
        self._table = table
        self._entrance = entrance
        self._lock = threading.Lock()  # against closing while another thread accepts
        self._closed = False
        self._kept = False  # whether the poller goes on to watch
        self._burst = 1  # clients to be accepted in a turn
        self._lost = 0  # clients in a row that had gone away before they were accepted
        self._pause = 0.0
        self._resting = False  # until the pause is over; a poller may report a broken socket all the same
        self._short_since = 0.0  # when the system ran out of something
        self._reserve = _open_reserve()
        self._file = SocketFile(sock) if alone and sock.family == socket.AF_UNIX else None
        sock.settimeout(0)
        if sock.family != socket.AF_UNIX:
            # Answers are written in one piece per turn; waiting for more would only delay them.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context.poller.add(sock, self, read=True, write=False)

    def ready(self, *, gone: bool) -> None:
        """Accept those who wait, up to a number."""
        del gone
        with self._lock:
            if self._closed or self._resting:
                return
            try:
                # Only the first few, unless more came the last time: to find that there are none is an error.
                most = self._burst if self._kept else _BATCH
                count = 0
                while count < most and self._accept():
                    count += 1
                self._burst = min(2 * most, _BATCH) if count == most else max(count, 1)
                if not (self._kept and self._context.keep_armed):
                    self._watch()
            except Exception as error:  # noqa: BLE001 - whatever it is, others will want to come in
                self._back_off(error)
            else:
                self._pause = 0.0

    def _watch(self) -> None:
        """Be woken for the next client; for all further ones while one worker serves all."""
        assert self._lock.locked()
        poller, self._kept = self._context.poller, False
        if self._context.keep_armed:
            self._kept = poller.keep(self._sock)
        else:
            poller.arm(self._sock, read=True, write=False)

    def close(self, *, last: bool) -> None:
        """Stop accepting; the ``last`` holder of the socket first accepts the clients that wait now."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # The file goes first: another server that wants the path finds none, or one that is in use.
            if self._file is not None:
                self._file.remove()
            if last:
                self._accept_waiting()
            self._context.poller.discard(self._sock)
            self._close_reserve()

    def forked(self) -> None:
        """Close the copy of a fork."""
        self._sock.close()

    def _accept_waiting(self) -> None:
        """Let those in who have connected: closing the socket would reset them."""
        try:
            for _ in range(self._context.limits.backlog + 1):  # as Linux queues one more
                if not self._accept():
                    return
        except Exception as error:  # noqa: BLE001 - whatever it is, the server is about to end
            _log.warning("clients that had connected before the end are lost: %s", error)
            self._turn_away()

    def _accept(self) -> bool:
        """Accept one client; False if none waits."""
        try:
            sock, peer = self._sock.accept()
        except BlockingIOError:
            self._lost = 0
            return False
        except OSError as error:
            self._lost += 1
            if error.errno not in _OF_ONE_CLIENT or self._lost > _BATCH:
                raise
            return True  # this client went away while it waited; there may be others
        self._lost = 0
        try:
            sock.settimeout(0)
            if sock.family != socket.AF_UNIX and not _INHERITED:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._let_in(sock, peer_of(sock.family, peer))
        except BaseException:
            sock.close()
            raise
        return True

    def _let_in(self, sock: socket.socket, client: Peer) -> None:
        """Give a client its channel, or refuse it (REQ-FLOW-6); nothing is built before that is decided."""
        try:
            peer, layers = self._entrance(client)
        except LayerError as error:
            self._admission.record_refusal(client, "layer", str(error))
            sock.close()
            return
        refusal = self._admission.enter(peer)
        if refusal is not None and refusal.silent:
            sock.close()
            return
        try:
            channel = Channel(self._context, sock, peer, layers())
        except BaseException:
            self._admission.leave(peer.host, refused=refusal is not None)
            raise
        channel.session.refused = refusal is not None  # before the drain may look
        self._table.add(channel)
        channel.begin(refusal=refusal.text if refusal else "")

    def _back_off(self, error: Exception) -> None:
        """Out of descriptors or memory, or worse: stop accepting for a moment instead of spinning."""
        if self._pause == 0.0:
            reason = getattr(error, "strerror", None) or repr(error)
            self._context.handlers.limited_log.error(
                "accepting", "cannot accept: %s; trying again until it works", reason
            )
            self._short_since = time.monotonic()
        elif time.monotonic() - self._short_since > _PATIENCE:
            self._turn_away()
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._context.timers.schedule(time.monotonic() + self._pause, self._resume)
        self._resting = True
        if self._kept:
            self._kept = False
            self._context.poller.arm(self._sock, read=False, write=False)

    def _turn_away(self) -> None:
        """Use the descriptor kept for this to tell those who wait that there is no room (REQ-FLOW-6)."""
        self._close_reserve()
        try:
            for _ in range(_BATCH):
                sock, address = self._sock.accept()
                with sock:
                    self._tell(sock, peer_of(sock.family, address))
        except OSError:
            pass  # the client has left, or another thread took the descriptor
        finally:
            self._reserve = _open_reserve()

    def _tell(self, sock: socket.socket, peer: Peer) -> None:
        self._admission.record_refusal(peer, "exhausted", "out of descriptors or memory")
        sock.settimeout(0)
        with contextlib.suppress(OSError, LayerError):
            if self._entrance(peer)[1]():
                return  # it would not understand
            connection = ServerConnection(now=0.0)
            connection.fail(ErrorCode.TOO_MANY_CONNECTIONS, "the system allows no further connection")
            sock.send(connection.data_to_send(0.0))
            sock.shutdown(socket.SHUT_WR)
            sock.recv(_UNREAD)  # what is left unread would turn the end into a reset

    def _close_reserve(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _resume(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._resting = False
            try:
                self._context.poller.arm(self._sock, read=True, write=False)
            except Exception as error:  # noqa: BLE001 - as in a turn
                self._back_off(error)


def _open_reserve() -> int | None:
    """A descriptor to give up when there is no other."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
