"""The blocking client: answers, ERRORs, and servers that misbehave or vanish."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.integration.commands import error

from framelet import (
    AnswerMalformedError,
    AnswerTimeoutError,
    ConnectionStateError,
    FrameTooLargeError,
    FrameType,
    IllFormedTextError,
    ProtocolError,
    UnexpectedTypeError,
    UnknownTypeError,
    encode,
)
from framelet_client import (
    AnswerError,
    ClientError,
    ConnectError,
    ConnectionLostError,
    FatalAnswerError,
)
from framelet_client.cli.line_source import LineSource
from framelet_client.exchange.source import Texts

from .scripted import ASK, PATIENCE, connect, reply

if TYPE_CHECKING:
    from tests.integration.conftest import Script


# Answers that come as they may.


@pytest.mark.req("REQ-FRAME-4", "REQ-CLOSE-4")
def test_a_reply_may_be_cut_at_every_octet(scripted_server: Script) -> None:
    whole = reply("bä\0€")
    steps = [
        step
        for cut in range(1, len(whole))
        for step in (ASK, whole[:cut], scripted_server.taken, whole[cut:])
    ]
    server = scripted_server(*steps, unix=True)
    with connect(server) as client:
        assert [client.request("ab") for _ in range(1, len(whole))] == ["bä\0€"] * (len(whole) - 1)


@pytest.mark.req("REQ-CLOSE-1")
def test_an_exchange_may_close_the_sending_direction_behind_it(scripted_server: Script) -> None:
    server = scripted_server(scripted_server.reverse_all)
    with connect(server) as client:
        assert [len(answers) for answers in client.exchange(Texts(["ab"]), half_close=True)] == [1]
        assert client.closed
        with pytest.raises(ConnectionStateError, match="its sending direction has been closed"):
            client.request("ab")


def test_a_reply_that_comes_with_bad_news_is_not_lost(scripted_server: Script) -> None:
    server = scripted_server(ASK, reply("1") + error("505 enough"))
    with connect(server) as client:
        assert client.request("ab") == "1"
        assert client.closed
        with pytest.raises(FatalAnswerError, match="ERROR 505: enough; 0 frames"):
            client.request("ab")
        with pytest.raises(ConnectionStateError, match=r"closed: .*ERROR 505: enough"):
            client.request("ab")


# ERROR.


@pytest.mark.req("REQ-ERROR-10", "REQ-ERROR-12")
@pytest.mark.parametrize("code", [400, 450, 499])
def test_a_recoverable_error_answers_one_frame(scripted_server: Script, code: int) -> None:
    server = scripted_server(ASK, error(f"{code} no\x1b[2J"), ASK, reply("1"))
    with connect(server) as client:
        with pytest.raises(AnswerError) as caught:
            client.request("ab")
        assert (caught.value.code, caught.value.text) == (code, "no\x1b[2J")
        assert str(caught.value) == f"the server answered ERROR {code}: no\\x1b[2J"
        assert client.request("ab") == "1"


@pytest.mark.req("REQ-ERROR-10", "REQ-ERROR-12")
@pytest.mark.parametrize("code", [500, 503, 599])
def test_a_fatal_error_ends_the_connection(scripted_server: Script, code: int) -> None:
    server = scripted_server(3 * ASK, reply("1") + error(f"{code} over"), scripted_server.fin)
    client = connect(server)
    replies = client.pipeline(["ab"] * 3)
    assert next(replies) == "1"
    with pytest.raises(FatalAnswerError, match=f"ERROR {code}: over; 2 frames are unanswered") as caught:
        next(replies)
    assert (caught.value.code, caught.value.text, caught.value.unanswered) == (code, "over", 2)
    assert client.closed


@pytest.mark.parametrize(
    "error",
    [
        ConnectError("framelet://h:1", "why"),
        ConnectionLostError("gone", 1),
        AnswerError(450, "t"),
        FatalAnswerError(500, "t", 0),
    ],
)
def test_errors_survive_pickling(error: ClientError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own octets
    assert (type(copy), vars(copy), str(copy)) == (type(error), vars(error), str(error))


def test_a_pipeline_goes_on_behind_errors_that_are_asked_for(scripted_server: Script) -> None:
    server = scripted_server(3 * ASK, reply("1") + error("450 no") + reply("3"))
    with connect(server) as client:
        first, second, third = client.pipeline(["ab"] * 3, return_errors=True)
    assert (first, third) == ("1", "3")
    assert isinstance(second, AnswerError)
    assert (second.code, second.text) == (450, "no")


@pytest.mark.req("REQ-TIME-6")
def test_a_pipeline_that_raises_an_error_closes_the_connection(scripted_server: Script) -> None:
    server = scripted_server(3 * ASK, error("450 no"))
    with connect(server) as client:
        with pytest.raises(AnswerError):
            next(client.pipeline(["ab"] * 3))
        assert client.closed


# Servers that break the protocol.


@pytest.mark.req("REQ-TYPE-7", "REQ-CLOSE-7", "REQ-ORDER-7", "REQ-TEXT-6", "REQ-ERROR-11", "REQ-SIZE-4")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 400 B", UnknownTypeError),
        (encode(FrameType.PONG), UnexpectedTypeError),
        (encode(FrameType.REPLY, b"a\xc0\x80"), IllFormedTextError),
        (encode(FrameType.ERROR, b"no"), AnswerMalformedError),
        (b"\2\1\0\0\1", FrameTooLargeError),
    ],
)
def test_a_server_that_breaks_the_protocol_is_left(
    scripted_server: Script, answer: bytes, expected: type[ProtocolError]
) -> None:
    server = scripted_server(ASK, answer)
    with connect(server) as client:
        with pytest.raises(expected):
            client.request("ab")
        assert client.closed
        with pytest.raises(ConnectionStateError, match="this connection is closed"):
            client.request("ab")
    server.close()
    scripted_server.servers.clear()
    assert server.received == encode(FrameType.REQUEST, b"ab")  # an ERROR is not for a client to send


@pytest.mark.req("REQ-ORDER-7")
def test_what_came_before_a_request_is_no_answer_to_it(scripted_server: Script) -> None:
    sent = threading.Event()
    server = scripted_server(reply("stray"), sent, unix=True)
    with connect(server) as client:
        assert sent.wait(PATIENCE)
        with pytest.raises(UnexpectedTypeError):
            client.request("ab")
        assert client.closed
    server.close()
    scripted_server.servers.clear()
    assert not server.received


@pytest.mark.req("REQ-HELLO-7")
@pytest.mark.parametrize("body", ["framelet/2", "framelet/1 max-body=1", "hello", "framelet/1 a=b a=c"])
def test_a_hello_that_is_none_ends_the_connection(scripted_server: Script, body: str) -> None:
    server = scripted_server(5, encode(FrameType.HELLO, body.encode()))
    with connect(server) as client:
        with pytest.raises(AnswerMalformedError):
            client.hello()
        assert client.closed


# Servers that vanish.


@pytest.mark.req("REQ-CLOSE-3")
def test_the_end_of_the_stream_leaves_frames_unanswered(scripted_server: Script) -> None:
    server = scripted_server(3 * ASK, reply("1"), scripted_server.fin)
    with connect(server) as client:
        replies = client.pipeline(["ab"] * 3)
        assert next(replies) == "1"
        with pytest.raises(
            ConnectionLostError, match="closed the connection; 2 frames are unanswered"
        ) as caught:
            next(replies)
        assert caught.value.unanswered == 2
        assert client.closed


@pytest.mark.req("REQ-CLOSE-4")
@pytest.mark.parametrize("size", range(1, len(reply("12"))))
def test_a_part_of_a_frame_is_no_answer(scripted_server: Script, size: int) -> None:
    server = scripted_server(ASK, reply("12")[:size], scripted_server.fin)
    with connect(server) as client, pytest.raises(ConnectionLostError, match=r"inside a frame; 1 frame is"):
        client.request("ab")


@pytest.mark.req("REQ-CLOSE-3")
@pytest.mark.parametrize("part", [b"", b"\2\0\0"])
def test_a_reset_is_a_loss(scripted_server: Script, part: bytes) -> None:
    server = scripted_server(ASK, part, scripted_server.rst)
    with connect(server) as client, pytest.raises(ConnectionLostError, match=r"reset|broke") as caught:
        client.request("ab")
    assert ("inside a frame" in str(caught.value)) == bool(part)


@pytest.mark.parametrize("unix", [False, True])
def test_an_error_is_read_although_the_server_closed_before_it_took_the_request(
    scripted_server: Script, *, unix: bool
) -> None:
    server = scripted_server(5, error("503 too large"), scripted_server.close, unix=unix)
    for _ in range(20):
        with connect(server) as client, pytest.raises(FatalAnswerError, match="ERROR 503"):
            client.request("x" * 8_000_000)


def test_an_error_is_read_although_writing_failed_before_it_came(scripted_server: Script) -> None:
    deaf = threading.Event()
    server = scripted_server(
        lambda sock: sock.shutdown(socket.SHUT_RD),
        deaf,
        lambda _: threading.Event().wait(0.2),  # the client finds that it cannot write
        error("500 no more"),
        scripted_server.close,
        unix=True,
    )
    with connect(server) as client:
        assert deaf.wait(PATIENCE)
        with pytest.raises(FatalAnswerError, match="ERROR 500: no more; 1 frame"):
            client.request("ab")


def test_an_error_that_waited_between_two_calls_is_read(scripted_server: Script) -> None:
    sent = threading.Event()
    server = scripted_server(ASK, reply("1"), error("505 idle"), scripted_server.fin, sent, unix=True)
    with connect(server) as client:
        assert client.request("ab") == "1"
        assert sent.wait(PATIENCE)
        # The ERROR came with the reply, or after it.
        with pytest.raises(FatalAnswerError, match="ERROR 505: idle"):
            client.request("ab")


@pytest.mark.req("REQ-TIME-6")
def test_silence_ends_the_connection(scripted_server: Script) -> None:
    server = scripted_server(2 * ASK)
    with connect(server, answer_timeout=0.05) as client:
        with pytest.raises(AnswerTimeoutError, match=r"no answer came within 0\.05 seconds"):
            list(client.pipeline(["ab"] * 2))
        assert client.closed
        with pytest.raises(ConnectionStateError, match="closed: no answer came"):
            client.request("ab")


@pytest.mark.req("REQ-TIME-6")
@pytest.mark.parametrize(
    ("first", "drop"), [(b"", encode(0x80, b"x")), (b"\2\0\xff\0\0", b"x")], ids=["ignorable", "partial"]
)
def test_octets_that_are_no_answer_do_not_extend_the_wait(
    scripted_server: Script, first: bytes, drop: bytes
) -> None:
    left = threading.Event()

    def drip(sock: socket.socket) -> None:
        sock.sendall(first)
        while not left.wait(0.01):
            try:
                sock.sendall(drop)
            except OSError:
                return

    server = scripted_server(ASK, drip)
    with connect(server, answer_timeout=0.2) as client:
        with pytest.raises(AnswerTimeoutError):
            client.request("ab")
        left.set()


def test_the_time_that_the_program_takes_is_not_the_servers(scripted_server: Script) -> None:
    large = reply("x" * 8_000_000)  # more than the system holds, so that it comes only as it is read
    server = scripted_server(2 * ASK, large, large)
    with connect(server, answer_timeout=0.5) as client:
        for received in client.pipeline(["ab"] * 2):
            assert len(received) == 8_000_000
            time.sleep(0.7)  # the program's own work


@pytest.mark.req("REQ-TIME-8")
def test_the_time_in_which_the_client_is_stopped_is_not_the_servers(scripted_server: Script) -> None:
    begun, rest = reply("x" * 8_000_000)[:100_000], reply("x" * 8_000_000)[100_000:]
    waits, stopped, filled = threading.Event(), threading.Event(), threading.Event()

    def go_on_while_it_is_stopped(sock: socket.socket) -> None:
        waits.set()
        assert stopped.wait(PATIENCE)
        sent = sock.send(rest, socket.MSG_DONTWAIT)  # what the system holds: several reads
        filled.set()
        sock.sendall(rest[sent:])

    server = scripted_server(ASK, begun, go_on_while_it_is_stopped)
    program = (
        "from framelet_client import Client, ClientLimits\n"
        f"with Client('{server.host}', {server.port}, limits=ClientLimits(answer_timeout=2.0)) as client:\n"
        "    print(len(client.request('ab')))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as client:
        assert waits.wait(PATIENCE)
        client.send_signal(signal.SIGSTOP)
        time.sleep(2.5)  # past the deadline
        stopped.set()
        assert filled.wait(PATIENCE)
        client.send_signal(signal.SIGCONT)
        assert client.communicate(timeout=PATIENCE)[0] == b"8000000\n"


def test_a_connection_is_not_idle_before_it_begins(scripted_server: Script) -> None:
    read_end, write_end = os.pipe()
    server = scripted_server(ASK, reply("1"))
    line = threading.Timer(0.2, os.write, (write_end, b"ab\n"))
    with connect(server) as client:
        line.start()
        answers = client.exchange(LineSource(read_end, 65_536, print), keep_alive=PATIENCE)
        assert next(answers) == ["1"]  # to the line: no PING went out before it
        os.close(write_end)
        assert list(answers) == []
    os.close(read_end)
    line.join()


def test_the_longest_timeout_works(scripted_server: Script) -> None:
    server = scripted_server(ASK, reply("1"))
    with connect(server, answer_timeout=365 * 86_400.0) as client:
        assert client.request("ab") == "1"
