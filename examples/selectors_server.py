"""A server in one thread on ``selectors``, with all deadlines, backpressure, STOP and drain.

python examples/selectors_server.py [PORT]; SIGTERM, SIGINT or `framelet stop` end it in order.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import time

from embedded import Service

from framelet import State

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
ENOUGH = 65_536  # octets that wait for a client before it is read no further
NEVER = float("inf")


class Peer:
    """One client."""

    def __init__(self, sock: socket.socket, now: float, service: Service) -> None:
        """Begin at the time ``now``."""
        self.sock, self.out, self.service = sock, bytearray(), service
        self.ended = False  # nothing more comes
        self.shut = False  # nothing more goes
        self.taken = now  # when something was taken, or began to wait
        self.woken = True  # there may be something to do, whatever comes
        self.cut = False
        self.connection = service.connect(now, self)

    def fileno(self) -> int:
        """The descriptor of its socket."""
        return self.sock.fileno()

    def wake(self) -> None:
        """Have a turn soon."""
        self.woken = True

    def abort(self) -> None:
        """Be cut off in that turn."""
        self.woken = self.cut = True

    def interest(self) -> int | None:
        """What to wait for, 0 while its STOP awaits the others' ends; None for a client that is done with."""
        if self.connection.state is State.CLOSED and not self.out:
            return None
        return (0 if self.ended or len(self.out) >= ENOUGH else READ) | (WRITE if self.out else 0)

    def deadline(self) -> float:
        """When to look again though nothing has come."""
        if self.woken:
            return 0.0
        if self.out:
            return float(self.taken + self.service.limits.write_timeout)  # it must take some (REQ-TIME-5)
        due = self.connection.next_deadline()
        return NEVER if due is None else due

    def turn(self, ready: int, now: float) -> int | None:
        """Read, answer, write; what to wait for next, as ``interest``."""
        try:
            self.exchange(ready, now)
        except BlockingIOError:
            pass
        except OSError:
            return None
        return self.interest()

    def exchange(self, ready: int, now: float) -> None:
        """Read, answer, write; raises OSError for a client that is lost."""
        connection, self.woken = self.connection, False
        if self.cut or (self.out and self.deadline() <= now and not ready & WRITE):
            self.service.sent_fin(connection, cut=True)
            raise TimeoutError
        if ready & READ:
            data = self.sock.recv(65_536)
            self.ended = not data
            self.service.receive(connection, data, now)
        elif not self.out:
            self.service.check_deadlines(connection, self, now)
        self.service.answer(connection)
        waited, full = bool(self.out), len(self.out) >= ENOUGH
        self.taken = self.taken if self.out else now
        self.out += connection.data_to_send(now)
        sent = self.sock.send(self.out) if self.out and (ready & WRITE or not full) else 0
        del self.out[:sent]
        self.taken = now if sent else self.taken
        if (full and len(self.out) < ENOUGH) or (waited and not self.out):
            connection.resume(now)  # time in which it is not read, or answers wait (REQ-TIME-8, REQ-TIME-4)
        if connection.finished and not self.out and not self.shut:
            self.shut = True
            self.sock.shutdown(socket.SHUT_WR)  # and read on, until the client closes (REQ-ERROR-8)
            self.service.sent_fin(connection)


class Server:
    """The loop."""

    def __init__(self, service: Service) -> None:
        """Listen."""
        self.service, self.selector = service, selectors.DefaultSelector()
        self.peers: dict[Peer, int] = {}  # each with what it waits for
        self.drain_ends = NEVER
        self.listener = socket.create_server(("127.0.0.1", service.port), backlog=128)
        self.listener.settimeout(0.0)
        self.alarm, bell = socket.socketpair()
        bell.settimeout(0.0)
        signal.set_wakeup_fd(bell.detach())  # a signal ends the wait below
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self.selector.register(self.listener, READ, self.accept)
        self.selector.register(self.alarm, READ, self.heed_signal)
        service.on_drain = self.stop_accepting

    def accept(self) -> None:
        """Let in all who wait."""
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(0.0)
                peer = Peer(sock, time.monotonic(), self.service)
                self.peers[peer] = READ
                self.selector.register(sock, READ, peer)

    def heed_signal(self) -> None:
        """Begin the drain."""
        self.alarm.recv(64)
        self.service.drain()

    def stop_accepting(self) -> None:
        """Close the door behind those who wait (REQ-DRAIN-2)."""
        self.accept()
        self.drain_ends = time.monotonic() + self.service.limits.drain_timeout
        self.selector.unregister(self.listener)
        self.listener.close()

    def run(self) -> None:
        """Serve until a drain has ended."""
        while self.peers or not self.service.draining:
            wait = min([self.drain_ends, *(peer.deadline() for peer in self.peers)]) - time.monotonic()
            ready = {key.data: mask for key, mask in self.selector.select(min(max(wait, 0.0), 60.0))}
            now = time.monotonic()
            for act in (self.accept, self.heed_signal):
                if act in ready:
                    act()
            if self.drain_ends <= now:
                self.drain_ends = NEVER
                self.service.force()
            for peer in [peer for peer in self.peers if peer in ready or peer.deadline() <= now]:
                self.serve(peer, peer.turn(ready.get(peer, 0), now))

    def serve(self, peer: Peer, wanted: int | None) -> None:
        """Wait for what a client wants now, or let go of it."""
        if self.peers[peer] and not wanted:
            self.selector.unregister(peer.sock)
        if wanted is None:
            peer.sock.close()
            del self.peers[peer]
            self.service.ended(peer.connection)
        elif wanted != self.peers[peer]:
            if not self.peers[peer]:
                self.selector.register(peer.sock, wanted, peer)
            elif wanted:
                self.selector.modify(peer.sock, wanted, peer)
            self.peers[peer] = wanted


if __name__ == "__main__":
    server = Server(Service())
    print(f"listening on 127.0.0.1:{server.listener.getsockname()[1]}", flush=True)
    server.run()
