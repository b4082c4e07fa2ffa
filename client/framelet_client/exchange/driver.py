"""Moves octets between one client connection and its socket.  Nothing here waits.

The users differ in how they wait: the engine on one socket and the source of its frames, the load generator
on thousands of sockets.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, cast

from framelet import (
    ApplicationReceived,
    ClientConnection,
    ConnectionStateError,
    ErrorReceived,
    FrameletError,
    HelloReceived,
    PongReceived,
    ReplyReceived,
    StoppedReceived,
)
from framelet_client.errors import AnswerError

from .ending import error_of_end

if TYPE_CHECKING:
    from framelet_client.config import ClientLimits
    from framelet_client.net.transport import OpenedConnection

Answer = str | ApplicationReceived | PongReceived | HelloReceived | StoppedReceived | ErrorReceived
"""What answers one frame: the text of a reply, or an event; an ErrorReceived here is recoverable."""


def checked(answer: Answer) -> Answer:
    """The answer; raises AnswerError where it is a recoverable ERROR."""
    if isinstance(answer, ErrorReceived):
        raise AnswerError(answer.code, answer.text)
    return answer


_RECEIVE_SIZE = 262_144
_PROCESS = [os.getpid()]  # this one; to ask the system each time would take 0.2 microseconds
os.register_at_fork(after_in_child=lambda: _PROCESS.__setitem__(0, os.getpid()))
_LATE = 0.1  # seconds after a deadline: who looks no sooner was not waiting


class Driver:
    """A ClientConnection together with the non-blocking socket, and the TLS, that it is spoken over.

    It belongs to the process that made it.  A fork has the same socket and a copy of the state: two that read
    one stream would take each other's answers.
    """

    def __init__(
        self,
        opened: OpenedConnection,
        limits: ClientLimits,
        connection: type[ClientConnection] = ClientConnection,
    ) -> None:
        """Take over the socket, and take in the octets that came with the end of the TLS handshake."""
        self.socket: socket.socket = opened.socket
        _, self._tls, early = opened
        self.connection: ClientConnection = connection(limits, now=time.monotonic())
        # Whether octets need not be shown to anyone, nor encrypted.
        self._is_plain = self._tls is None and connection is ClientConnection
        self.unsent: memoryview = memoryview(b"")  # output that the socket has not taken yet
        self.broken: OSError | None = None  # the socket's error, once it has failed
        self.end: FrameletError | None = None  # why the connection is over
        self.received_at: float = time.monotonic()  # when octets last came, at first when it was opened
        self._process = _PROCESS[0]
        self._output_ended = False  # nothing further is taken from the connection
        self._fin_sent = False
        self._take_in(early, over=self._tls is not None and self._tls.ended)

    @property
    def waiting_octets(self) -> int:
        """How many octets wait to be written."""
        return len(self.unsent) + self.connection.output_size

    @property
    def is_foreign(self) -> bool:
        """Whether another process, of which this one is a fork, made the connection."""
        return _PROCESS[0] != self._process

    def require_own_process(self) -> None:
        """Raise ConnectionStateError in a fork."""
        if _PROCESS[0] != self._process:
            message = f"this connection belongs to process {self._process}: open another one in this process"
            raise ConnectionStateError(message)

    def send(self) -> None:
        """Write as much as the socket takes, and FIN where due; raises ConnectionStateError in a fork."""
        if _PROCESS[0] != self._process:
            self.require_own_process()
        if self.broken is not None:
            return
        try:
            if self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
            if not (self.unsent or self._output_ended):
                self.unsent = memoryview(self._take_output())
                if self.unsent:
                    self.unsent = self.unsent[self.socket.send(self.unsent) :]
            if self._output_ended and not (self.unsent or self._fin_sent):
                self.socket.shutdown(socket.SHUT_WR)
                self._fin_sent = True
        except BlockingIOError:
            return
        except OSError as error:
            # Reading goes on: the server may have sent a fatal ERROR before it closed.
            self.broken = error
            self.unsent = memoryview(b"")

    def send_request(self, text: str) -> None:
        """Queue a REQUEST and write it, and what else waits; raises as ``send`` and the connection."""
        if self.unsent or self.broken is not None or not self._is_plain or _PROCESS[0] != self._process:
            self.connection.send_request(text)
            self.send()
            return
        data = self.connection.request_to_send(text, time.monotonic())
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.broken = error  # as in ``send``
            return
        if sent < len(data):
            self.unsent = memoryview(data)[sent:]

    def receive(self) -> list[Answer]:
        """Take in what the socket holds; the answers in it, as ``take_answers``.  Raises as ``send``."""
        if _PROCESS[0] != self._process:
            self.require_own_process()
        try:
            data = self.socket.recv(_RECEIVE_SIZE)
            self.received_at = time.monotonic()
            over = not data
            if data and self._tls is not None:
                data = self._tls.receive(data)
                over = self._tls.ended
            return self._take_in(data, over=over)
        except BlockingIOError:
            return self.take_answers()
        except OSError as error:
            self.broken = error
            return self._take_in(b"", over=True)

    def check_deadline(self) -> list[Answer]:
        """Give the connection up where an answer is overdue, and none has come meanwhile (REQ-TIME-6).

        Otherwise the answers that have come.
        """
        due = self.connection.next_deadline()
        if due is None or time.monotonic() < due:
            return []
        answers = self.receive()
        if not answers:
            self.connection.check_deadlines(time.monotonic())
            answers = self.take_answers()
        return answers

    def take_answers(self, replies: list[Answer] | None = None) -> list[Answer]:
        """All answers received, after the replies given.

        ``end`` is set once they are followed by the event that ends the connection.
        """
        answers: list[Answer] = replies or []
        while True:
            answers += self.connection.take_replies()
            event = self.connection.next_event()
            if event is None:
                return answers
            end = error_of_end(event, self.broken)
            if end is not None:
                self.end = self.end or end  # the first is the reason
                return answers
            answers.append(event.text if isinstance(event, ReplyReceived) else cast("Answer", event))

    def shut_down(self) -> None:
        """Shut the socket down, which wakes a thread that waits for it; does nothing in a fork."""
        if not self.is_foreign:
            with contextlib.suppress(OSError):  # the server has ended the connection first
                self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the socket; end TLS in order where nothing is half-sent.  May be repeated."""
        done = self._output_ended or self.unsent or self.broken or self.socket.fileno() < 0
        if self._tls is not None and not done and not self.is_foreign:
            with contextlib.suppress(OSError):  # close_notify is a courtesy: the server sees FIN anyway
                self.socket.send(self._tls.end())
        self.socket.close()

    def _take_output(self) -> bytes:
        """All octets to be written next; the last ones if the connection will send nothing more."""
        data = self.connection.data_to_send(time.monotonic())
        self._output_ended = self.connection.finished
        if self._tls is None:
            return data
        records = self._tls.send([data])
        if self._output_ended:
            records.append(self._tls.end())
        return b"".join(records)

    def _take_in(self, data: bytes, *, over: bool) -> list[Answer]:
        """Hand plain octets, and the end of the stream, to the connection; the answers in them."""
        replies: list[Answer] = []
        if data:
            replies += self.connection.receive_replies(data, self.received_at)
            if not replies:
                due = self.connection.next_deadline()
                if due is not None and self.received_at > due + _LATE:
                    # The answer may be more than one read holds (REQ-TIME-8).
                    self.connection.resume(self.received_at)
            elif self.connection.at_rest and not over:
                return replies  # the common case: there is nothing else in it
        if over:
            self.connection.receive_eof()
        return self.take_answers(replies)
