"""A server inside trio, with all deadlines, STOP and drain: one task for each client.

python examples/trio_server.py [PORT]; SIGTERM, SIGINT or `framelet stop` end it in order.
Those who wait to be accepted just then are not let in, as a server SHOULD do (REQ-DRAIN-2): trio closes its
listeners at once.
"""

# pyright: reportMissingImports=false
# What this example shows is no part of what checks it.
from __future__ import annotations

import contextlib
import os
import signal

import trio
from embedded import Service, unread

from framelet import State

PIECE = 65_536
service = Service()


class Client:
    """One client, and the task that speaks to it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        """Begin."""
        self.stream, self.waiting, self.whole = stream, trio.CancelScope(), trio.CancelScope()
        self.abort = self.whole.cancel
        self.connection = service.connect(trio.current_time(), self)

    def fileno(self) -> int:
        """The descriptor of its socket."""
        return int(self.stream.socket.fileno())

    def wake(self) -> None:
        """Wait no longer for what it sends."""
        self.waiting.cancel()

    async def send(self, data: bytes) -> None:
        """Send all; raises TooSlowError for a client that takes nothing of it (REQ-TIME-5)."""
        while data:
            with trio.fail_after(service.limits.write_timeout):
                data = data[await self.stream.socket.send(data[:PIECE]) :]
        self.connection.resume(trio.current_time())  # nothing was read in the meantime (REQ-TIME-8)

    async def receive(self) -> None:
        """Read something, or enforce a deadline."""
        due = self.connection.next_deadline()
        if due is None or unread(self):  # nothing is overdue that was only not read yet
            due = float("inf")
        with trio.CancelScope(deadline=due) as self.waiting:
            await trio.lowlevel.wait_readable(self.stream.socket)
            # Read and taken in at one step: a drain must find each octet in the system or in the connection.
            with contextlib.suppress(BlockingIOError):
                service.receive(self.connection, os.read(self.fileno(), PIECE), trio.current_time())
        service.check_deadlines(self.connection, self, trio.current_time())

    async def speak(self) -> None:
        """Answer until the connection has ended; raises what says that the client is lost."""
        shut = False
        while True:
            service.answer(self.connection)
            if data := self.connection.data_to_send(trio.current_time()):
                await self.send(data)
            elif self.connection.finished and not shut:
                shut = True
                await self.stream.send_eof()  # and read on, until the client closes (REQ-ERROR-8)
                service.sent_fin(self.connection)
            elif self.connection.state is State.CLOSED:
                return
            else:
                await self.receive()


async def serve(stream: trio.SocketStream) -> None:
    """Speak to one client until its connection has ended."""
    client = Client(stream)
    try:
        with client.whole:
            async with stream:
                await client.speak()
    except trio.TooSlowError:
        service.sent_fin(client.connection, cut=True)  # it takes nothing
    except (trio.BrokenResourceError, OSError):
        pass  # the client is lost
    finally:
        service.ended(client.connection)


async def main() -> None:
    """Serve until a drain has ended."""

    async def wait_for_signals() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                service.drain()

    async def force_drain() -> None:
        await trio.sleep(service.limits.drain_timeout)
        service.force()

    def stop_accepting() -> None:
        accepting.cancel()
        background.start_soon(force_drain)

    accepting = trio.CancelScope()
    service.on_drain = stop_accepting
    async with trio.open_nursery() as background:
        background.start_soon(wait_for_signals)
        async with trio.open_nursery() as clients:
            with accepting:
                listeners = await trio.open_tcp_listeners(service.port, host="127.0.0.1")
                print(f"listening on 127.0.0.1:{listeners[0].socket.getsockname()[1]}", flush=True)
                await trio.serve_listeners(serve, listeners, handler_nursery=clients)
        background.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
