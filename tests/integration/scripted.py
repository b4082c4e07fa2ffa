"""A scripted server, which does what no real server would, and the steps of its scripts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import termios
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from framelet import FrameType, RequestReceived, ServerConnection, UnixAddress, encode, reverse
from framelet_client import Client, ClientLimits

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 60.0
"""Seconds after which a test that waits for something has failed."""

HELLO = encode(FrameType.HELLO, b"framelet/1 max-body=16777216")
ASK = len(encode(FrameType.REQUEST, b"ab"))
"""Octets of the request that most scripts expect."""


Step = bytes | int | threading.Event | Callable[[socket.socket], object]


class ScriptedServer:
    """Listens, and plays the same script to every client, one after the other.

    The steps of a script: octets are sent; a number of octets is received; an event is set; a function is
    called with the socket.  After the last step the server reads until the client closes.
    """

    def __init__(self, listener: socket.socket, steps: tuple[Step, ...]) -> None:
        self.address = listener.getsockname()
        self.received = bytearray()
        self.faults: list[BaseException] = []
        self._listener = listener
        self._steps = steps
        self._thread = threading.Thread(target=self._serve, name="scripted-server")
        self._thread.start()

    @property
    def host(self) -> str:
        return str(UnixAddress(self.address)) if isinstance(self.address, str) else str(self.address[0])

    @property
    def port(self) -> int | None:
        return None if isinstance(self.address, str) else int(self.address[1])

    @property
    def arguments(self) -> tuple[str, ...]:
        """Host and port for the command line."""
        return (self.host,) if self.port is None else (self.host, str(self.port))

    def close(self) -> None:
        """Stop listening, and see that the script went as it should."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()
        assert not self._thread.is_alive(), "the script does not end"
        for fault in self.faults:
            raise fault

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(PATIENCE)
                try:
                    self._play(client)
                except BaseException as fault:  # noqa: BLE001 - raised again by close
                    self.faults.append(fault)

    def _play(self, client: socket.socket) -> None:
        for step in self._steps:
            if isinstance(step, bytes):
                client.sendall(step)
            elif isinstance(step, int):
                self.received += receive(client, step)
            elif isinstance(step, threading.Event):
                step.set()
            elif callable(step):
                step(client)
        if client.fileno() >= 0:
            self._read_to_the_end(client)

    def _read_to_the_end(self, client: socket.socket) -> None:
        try:
            while data := client.recv(65_536):
                self.received += data
        except ConnectionError:
            return  # the client did not want what was left


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly so many octets."""
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"the stream ended after {len(data)} of {size} octets: {bytes(data)!r}"
        data += piece
    return bytes(data)


def fin(sock: socket.socket) -> None:
    """A step: close the sending direction."""
    sock.shutdown(socket.SHUT_WR)


def rst(sock: socket.socket) -> None:
    """A step: reset the connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def close(sock: socket.socket) -> None:
    """A step: close at once; a reset, where something is unread."""
    sock.close()


def taken(sock: socket.socket) -> None:
    """A step for unix sockets: wait until the client has taken everything that was sent."""

    def unread() -> int:
        return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0])

    until(lambda: unread() == 0)


def reverse_all(sock: socket.socket) -> None:
    """A step: reverse every REQUEST until the client closes, then close too."""
    connection = ServerConnection(now=0.0)
    with contextlib.suppress(ConnectionError):  # the client may leave without its answers
        while not connection.finished:
            data = sock.recv(262_144)
            if data:
                connection.receive_data(data, 0.0)
            else:
                connection.receive_eof()
            while (event := connection.next_event()) is not None:
                if isinstance(event, RequestReceived):
                    connection.send_reply(event, reverse(event.text))
            sock.sendall(connection.data_to_send(0.0))
        sock.shutdown(socket.SHUT_WR)


def reply(text: str) -> bytes:
    """A step that answers."""
    return encode(FrameType.REPLY, text.encode())


def connect(server: ScriptedServer, **limits: float) -> Client:
    """A client of a scripted server."""
    return Client(server.host, server.port, limits=ClientLimits().replace(**limits))


def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for a condition, but not for ever."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.0005)


class Script:
    """Starts scripted servers; carries the steps that tests name, as they cannot import them."""

    greeting = len(HELLO), HELLO
    """The first steps for a client that asks for the server's limits."""

    fin = staticmethod(fin)
    rst = staticmethod(rst)
    close = staticmethod(close)
    taken = staticmethod(taken)
    reverse_all = staticmethod(reverse_all)
    until = staticmethod(until)

    def __init__(self, folder: Path) -> None:
        self.servers: list[ScriptedServer] = []
        self._folder = folder

    def __call__(self, *steps: Step, unix: bool = False) -> ScriptedServer:
        if unix:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self._folder / f"{len(self.servers)}.sock"))
            listener.listen()
        else:
            listener = socket.create_server(("127.0.0.1", 0))
        self.servers.append(ScriptedServer(listener, steps))
        return self.servers[-1]


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors, as a process that is about to be started has them."""
    for number in descriptors:
        os.close(number)


def fork(act: Callable[[], object]) -> int:
    """Run something in a fork of this process; its number.  Its status is 0 if nothing is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads: the child uses none of them
        process = os.fork()
    if process == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    return process


def in_a_fork(act: Callable[[], object]) -> None:
    """Run something in a fork of this process, and fail if it raises."""
    assert os.waitstatus_to_exitcode(os.waitpid(fork(act), 0)[1]) == 0
