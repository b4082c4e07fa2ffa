"""The blocking client, against servers that behave, misbehave and vanish."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from framelet import (
    AddressError,
    AnswerMalformedError,
    AnswerTimeoutError,
    ClientLimits,
    ConnectionStateError,
    FrameletError,
    FrameTooLargeError,
    FrameType,
    HelloReceived,
    IllFormedTextError,
    PingTooLargeError,
    ProtocolError,
    StoppedReceived,
    UnexpectedTypeError,
    UnknownTypeError,
    encode,
    reverse,
)
from framelet_client import (
    AnswerError,
    Client,
    ClientError,
    ConnectError,
    ConnectionLostError,
    FatalAnswerError,
)
from framelet_client.line_source import LineSource
from framelet_server import Server, StopPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.conftest import Script, ScriptedServer, Step

PATIENCE = 20.0
ASK = len(encode(FrameType.REQUEST, b"ab"))  # octets of the request that most scripts expect


def reply(text: str) -> bytes:
    return encode(FrameType.REPLY, text.encode())


def error(body: str) -> bytes:
    return encode(FrameType.ERROR, body.encode())


def connect(server: ScriptedServer, **limits: float) -> Client:
    return Client(server.host, server.port, limits=ClientLimits().replace(**limits))


def in_background(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


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


@pytest.mark.req("REQ-FRAME-4", "REQ-ORDER-6")
def test_replies_may_come_octet_by_octet_or_all_at_once(scripted_server: Script) -> None:
    replies = b"".join(reply(text) for text in ("1", "", "3"))
    dribble = [step for octet in replies for step in (bytes([octet]), scripted_server.taken)]
    server = scripted_server(3 * ASK, replies, 3 * ASK, *dribble, unix=True)
    with connect(server) as client:
        assert list(client.pipeline(["ab"] * 3)) == ["1", "", "3"]
        assert list(client.pipeline(["ab"] * 3)) == ["1", "", "3"]


@pytest.mark.req("REQ-TYPE-3")
def test_ignorable_frames_are_passed_over(scripted_server: Script) -> None:
    noise = encode(0x80, b"\xff") + encode(0xBF, b"x" * 100_000)
    server = scripted_server(noise, ASK, noise + reply("1") + noise, ASK, reply("2"))
    with connect(server) as client:
        assert client.request("ab") == "1"
        assert client.request("ab") == "2"


def test_a_reply_that_comes_with_bad_news_is_not_lost(scripted_server: Script) -> None:
    server = scripted_server(ASK, reply("1") + error("505 enough"))
    with connect(server) as client:
        assert client.request("ab") == "1"
        assert client.closed
        with pytest.raises(ConnectionStateError, match="ERROR 505: enough"):
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


def test_a_fatal_error_is_no_recoverable_one() -> None:
    assert not issubclass(FatalAnswerError, AnswerError)
    for kind in (ConnectError, ConnectionLostError, AnswerError, FatalAnswerError):
        assert issubclass(kind, ClientError)
    assert issubclass(ClientError, FrameletError)


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


@pytest.mark.req("REQ-ERROR-13")
def test_the_text_of_an_error_decides_nothing(scripted_server: Script) -> None:
    server = scripted_server(
        ASK, error("450 500 fatal: connection closed"), ASK, error("451 "), ASK, reply("1")
    )
    with connect(server) as client:
        for code in (450, 451):
            with pytest.raises(AnswerError) as caught:
                client.request("ab")
            assert caught.value.code == code
        assert client.request("ab") == "1"


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

FAULTS = [
    pytest.param(encode(0x09), UnknownTypeError, id="unknown-critical", marks=pytest.mark.req("REQ-TYPE-7")),
    pytest.param(b"HTTP/1.1 400 B", UnknownTypeError, id="http", marks=pytest.mark.req("REQ-TYPE-7")),
    pytest.param(
        encode(FrameType.REQUEST, b"x"),
        UnexpectedTypeError,
        id="request",
        marks=pytest.mark.req("REQ-TYPE-7"),
    ),
    pytest.param(
        encode(FrameType.PONG), UnexpectedTypeError, id="wrong-type", marks=pytest.mark.req("REQ-ORDER-7")
    ),
    pytest.param(encode(0xC0), UnexpectedTypeError, id="application", marks=pytest.mark.req("REQ-ORDER-7")),
    pytest.param(
        encode(FrameType.REPLY, b"a\xc0\x80"),
        IllFormedTextError,
        id="ill-formed",
        marks=pytest.mark.req("REQ-TEXT-6"),
    ),
    pytest.param(
        encode(FrameType.ERROR, b"450 \xff"),
        IllFormedTextError,
        id="ill-formed-error",
        marks=pytest.mark.req("REQ-TEXT-6"),
    ),
    pytest.param(
        encode(FrameType.ERROR, b"no"),
        AnswerMalformedError,
        id="no-code",
        marks=pytest.mark.req("REQ-ERROR-11"),
    ),
    pytest.param(
        encode(FrameType.ERROR, b"399 no"),
        AnswerMalformedError,
        id="other-class",
        marks=pytest.mark.req("REQ-ERROR-11"),
    ),
    pytest.param(
        b"\2\1\0\0\1", FrameTooLargeError, id="too-large", marks=pytest.mark.req("REQ-SIZE-2", "REQ-SIZE-4")
    ),
]


@pytest.mark.parametrize(("answer", "expected"), FAULTS)
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


def test_an_error_that_waited_between_two_calls_is_read(scripted_server: Script) -> None:
    sent = threading.Event()
    server = scripted_server(ASK, reply("1"), error("505 idle"), scripted_server.fin, sent, unix=True)
    with connect(server) as client:
        assert client.request("ab") == "1"
        assert sent.wait(PATIENCE)
        # The ERROR came with the reply, or after it.
        with pytest.raises((FatalAnswerError, ConnectionStateError), match="ERROR 505: idle"):
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


def test_the_longest_timeout_works(scripted_server: Script) -> None:
    server = scripted_server(ASK, reply("1"))
    with connect(server, answer_timeout=365 * 86_400.0) as client:
        assert client.request("ab") == "1"


# Pipelines.


@pytest.mark.req("REQ-FLOW-4")
def test_a_server_that_writes_before_it_reads_on_is_no_deadlock(scripted_server: Script) -> None:
    text = "x" * 65_000
    count = 300  # far more than all buffers between the two ends
    one: tuple[Step, ...] = (5 + len(text), reply(text))
    server = scripted_server(*one * count)
    with connect(server) as client:
        assert sum(map(len, client.pipeline([text] * count))) == count * len(text)


@pytest.mark.req("REQ-ORDER-4", "REQ-ORDER-6")
def test_a_pipeline_keeps_its_window(scripted_server: Script) -> None:
    asked: list[int] = []
    ahead: list[int] = []

    def texts() -> Iterator[str]:
        for number in range(10):
            asked.append(number)
            yield "ab"

    def serve(sock: socket.socket) -> None:
        received = 0
        for answered in range(10):
            while received < min(answered + 4, 10) * ASK:
                received += len(sock.recv(ASK))
            ahead.append(len(asked) - answered)
            sock.sendall(reply(str(answered)))

    server = scripted_server(serve)
    with connect(server, window=4) as client:
        assert list(client.pipeline(texts())) == [str(number) for number in range(10)]
    assert max(ahead) == 4


@pytest.mark.parametrize(("limit", "value"), [("window", 1), ("window", 3), ("max_unsent", 1)])
def test_a_pipeline_works_with_the_smallest_limits(scripted_server: Script, limit: str, value: int) -> None:
    server = scripted_server(scripted_server.reverse_all)
    with connect(server, **{limit: value}) as client:
        assert list(client.pipeline(map(str, range(100)))) == [str(number)[::-1] for number in range(100)]


def test_a_pipeline_does_not_pile_up_what_the_server_does_not_read(scripted_server: Script) -> None:
    asked: list[int] = []
    ahead: list[int] = []

    def texts() -> Iterator[str]:
        for number in range(1_000):
            asked.append(number)
            yield "x" * 65_536

    def serve(sock: socket.socket) -> None:
        threading.Event().wait(0.2)  # a server that is busy with something else
        ahead.append(len(asked))
        scripted_server.reverse_all(sock)

    server = scripted_server(serve)
    with connect(server, max_unsent=65_536) as client:
        assert sum(map(len, client.pipeline(texts()))) == 65_536_000
    assert ahead[0] < 250  # what the system holds between the two ends, and a frame or two


def test_waiting_costs_no_time_of_the_processor(scripted_server: Script) -> None:
    server = scripted_server(ASK, lambda _: threading.Event().wait(0.5), reply("1"))
    read_end, write_end = os.pipe()
    timer = threading.Timer(0.5, os.close, (write_end,))
    with connect(server) as client:
        started = time.thread_time()
        assert client.request("ab") == "1"  # waits for the answer
        timer.start()
        assert list(client.exchange(LineSource(read_end, 65_536, print))) == []  # waits for the input
        assert time.thread_time() - started < 0.25
    os.close(read_end)
    timer.join()


def test_a_pipeline_is_lazy_and_takes_endless_input(scripted_server: Script) -> None:
    server = scripted_server(scripted_server.reverse_all)
    numbers = itertools.count()
    with connect(server, window=16) as client:
        replies = client.pipeline(map(str, numbers))
        assert next(numbers) == 0  # nothing is asked for before the first reply is
        assert list(itertools.islice(replies, 1_000)) == [str(number)[::-1] for number in range(1, 1_001)]
        assert next(numbers) <= 1_001 + 2 * 16


def test_a_slow_iterable_has_each_text_sent_at_once(scripted_server: Script) -> None:
    received = [threading.Event() for _ in range(3)]
    steps: list[Step] = [step for event in received for step in (ASK, event, reply("1"))]
    server = scripted_server(*steps)

    def texts() -> Iterator[str]:
        for event in received:
            time.sleep(0.01)
            yield "ab"
            assert event.wait(PATIENCE)  # the next text is ready only when this one has been received

    with connect(server) as client:
        assert list(client.pipeline(texts())) == ["1"] * 3


def test_an_empty_pipeline_ends_at_once(scripted_server: Script) -> None:
    with connect(scripted_server()) as client:
        assert list(client.pipeline([])) == []
        assert not client.closed


@pytest.mark.parametrize("bad", ["\ud800", "x" * 65_537])
def test_what_goes_wrong_with_a_text_comes_in_its_place(scripted_server: Script, bad: str) -> None:
    server = scripted_server(scripted_server.reverse_all)
    with connect(server, max_body=65_536) as client:
        replies = client.pipeline(["ab", "cd", bad, "ef"])
        assert [next(replies), next(replies)] == ["ba", "dc"]
        with pytest.raises((IllFormedTextError, FrameTooLargeError)):
            next(replies)
        assert client.request("gh") == "hg"


def test_what_an_iterable_raises_comes_in_its_place(scripted_server: Script) -> None:
    def texts() -> Iterator[str]:
        yield "ab"
        yield "cd"
        raise LookupError("out of texts")

    server = scripted_server(scripted_server.reverse_all)
    with connect(server) as client:
        replies = client.pipeline(texts())
        assert [next(replies), next(replies)] == ["ba", "dc"]
        with pytest.raises(LookupError, match="out of texts"):
            next(replies)
        assert client.request("gh") == "hg"


@pytest.mark.req("REQ-TIME-6")
def test_a_pipeline_left_with_answers_outstanding_closes_the_connection(scripted_server: Script) -> None:
    server = scripted_server(2 * ASK, reply("1"))
    with connect(server) as client:
        for received in client.pipeline(["ab"] * 2):
            assert received == "1"
            break
        assert client.closed
        with pytest.raises(ConnectionStateError, match="left with answers outstanding"):
            client.request("ab")


def test_a_pipeline_left_behind_its_last_answer_does_not(scripted_server: Script) -> None:
    server = scripted_server(2 * ASK, reply("1"), reply("2"), ASK, reply("3"))
    with connect(server) as client:
        texts = ["ab"] * 2
        assert list(zip(texts, client.pipeline(texts), strict=False)) == [("ab", "1"), ("ab", "2")]
        assert client.request("ab") == "3"


# One call at a time.


def test_a_second_call_during_a_pipeline_is_refused(scripted_server: Script) -> None:
    server = scripted_server(2 * ASK, reply("1"), reply("2"))
    with connect(server) as client:
        replies = client.pipeline(["ab"] * 2)
        assert next(replies) == "1"
        with pytest.raises(ConnectionStateError, match="under way"):
            client.request("ab")
        with pytest.raises(ConnectionStateError, match="under way"):
            next(client.pipeline(["ab"]))
        assert list(replies) == ["2"]  # which is none the worse for it


def test_a_call_from_another_thread_is_refused(scripted_server: Script) -> None:
    received, refused = threading.Event(), threading.Event()
    server = scripted_server(ASK, received, lambda _: refused.wait(PATIENCE), reply("1"))
    with connect(server) as client:
        replies: list[str] = []
        thread = in_background(lambda: replies.append(client.request("ab")))
        assert received.wait(PATIENCE)
        with pytest.raises(ConnectionStateError, match="under way"):
            client.ping()
        refused.set()
        thread.join(PATIENCE)
        assert replies == ["1"]


def test_close_ends_a_call_in_another_thread(scripted_server: Script) -> None:
    received = threading.Event()
    server = scripted_server(ASK, received)
    client = connect(server)
    errors: list[str] = []

    def ask() -> None:
        with pytest.raises(ConnectionStateError) as caught:
            client.request("ab")
        errors.append(str(caught.value))

    thread = in_background(ask)
    assert received.wait(PATIENCE)
    client.close()
    thread.join(PATIENCE)
    assert errors == ["this connection is closed: the program closed it"]


def test_close_ends_a_pipeline_and_may_be_repeated(scripted_server: Script) -> None:
    server = scripted_server(2 * ASK, reply("1"))
    with connect(server) as client:
        replies = client.pipeline(["ab"] * 2)
        next(replies)
        client.close()
        client.close()
        with pytest.raises(ConnectionStateError, match="the program closed it"):
            next(replies)
        with pytest.raises(ConnectionStateError, match="the program closed it"):
            client.ping()


@pytest.mark.req("REQ-TIME-6")
def test_an_interrupted_call_closes_the_connection(scripted_server: Script) -> None:
    server = scripted_server(ASK, lambda _: os.kill(os.getpid(), signal.SIGINT))
    with connect(server) as client:
        with pytest.raises(KeyboardInterrupt):
            client.request("ab")
        assert client.closed


# Connecting.


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_nobody_listens(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(
        ConnectError, match=rf"no connection to framelet://127.0.0.1:{port}: Connection refused"
    ):
        Client(port=port)
    with pytest.raises(ConnectError, match="No such file"):
        Client(f"unix:{tmp_path}/none")
    with pytest.raises(ConnectError, match="too long"):
        Client(f"unix:/{'x' * 200}")


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "no-such-host.invalid"])
def test_the_name_is_unknown(host: str) -> None:
    with pytest.raises(ConnectError):
        Client(host, 1)


def test_the_address_is_none() -> None:
    with pytest.raises(AddressError):
        Client("ftp://127.0.0.1")
    with pytest.raises(AddressError):
        Client("framelet://127.0.0.1:1", 2)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_the_server_does_not_accept(family: int, tmp_path: Path) -> None:
    crowd = [socket.socket(family) for _ in range(4)]
    with socket.socket(family) as listener:
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "full"))
        listener.listen(0)
        address = listener.getsockname()
        for sock in crowd:  # fill the backlog
            sock.settimeout(0.0)
            sock.connect_ex(address)
        host = f"unix:{address}" if family == socket.AF_UNIX else f"127.0.0.1:{address[1]}"
        started = time.monotonic()
        with pytest.raises(ConnectError, match="timed out"):
            Client(host, limits=ClientLimits(connect_timeout=0.1))
        assert time.monotonic() - started < 5
        for sock in crowd:
            sock.close()


def test_every_address_of_a_name_gets_its_turn(
    scripted_server: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = scripted_server(ASK, reply("1"))
    kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    found = [(*kind, ("127.0.0.1", free_port())), (*kind, server.address)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with Client("twice", 1) as client:
        assert client.request("ab") == "1"
    found.pop()
    with pytest.raises(ConnectError, match="refused"):
        Client("twice", 1)


# Against the real server.


@pytest.fixture
def reversal() -> Iterator[Server]:
    with Server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.req("REQ-TEXT-4")
@pytest.mark.parametrize("text", ["", "hello", "é€😀", "\0\r\n\ufeff\u202e", "x" * 1_000_000])
def test_a_text_comes_back_reversed(reversal: Server, text: str) -> None:
    with Client(str(reversal.address)) as client:
        assert client.request(text) == reverse(text)


def test_a_long_pipeline_loses_nothing(reversal: Server) -> None:
    with Client(str(reversal.address)) as client:
        replies = client.pipeline(str(number) for number in range(20_000))
        assert all(text == str(number)[::-1] for number, text in enumerate(replies))


def test_ping_and_hello_and_an_application_type() -> None:
    with (
        Server(("127.0.0.1", 0), handlers={0xC1: str.upper}) as server,
        Client(str(server.address)) as client,
    ):
        assert 0 < client.ping() < PATIENCE
        assert 0 < client.ping("x" * 64) < PATIENCE
        with pytest.raises(PingTooLargeError):
            client.ping("x" * 65)
        hello = client.hello()
        assert isinstance(hello, HelloReceived)
        assert (hello.version, hello.parameters["max-body"]) == (1, "16777216")
        assert client.send(0xC1, "loud") == "LOUD"
        with pytest.raises(AnswerError, match="ERROR 404"):
            client.send(0xC2, "nobody")
        with pytest.raises(ConnectionStateError, match="no application type"):
            client.send(0x01, "nobody")
        assert client.request("ab") == "ba"


@pytest.mark.req("REQ-SIZE-6")
def test_after_hello_the_servers_maximum_holds(scripted_server: Script) -> None:
    server = scripted_server(5, encode(FrameType.HELLO, b"framelet/1 max-body=65536"))
    with connect(server) as client:
        client.hello()
        with pytest.raises(FrameTooLargeError):
            client.request("x" * 65_537)
        assert not client.closed


def test_stop_stops_the_server_and_closes_the_connection(tmp_path: Path) -> None:
    with Server(f"unix:{tmp_path}/sock") as server:
        other = Client(str(server.address))
        with Client(str(server.address)) as client:
            assert client.stop() == StoppedReceived(closed=1, cut=0)
            with pytest.raises(ConnectionStateError, match="the server has stopped"):
                client.request("ab")
        with pytest.raises(ConnectionLostError, match=r"0 frames|1 frame"):
            other.request("ab")
        assert server.wait(PATIENCE)


@pytest.mark.req("REQ-STOP-13")
def test_frames_behind_a_stop_are_reported_as_unanswered(scripted_server: Script) -> None:
    stopped = encode(FrameType.STOPPED, b"closed=0 cut=0")
    server = scripted_server(5, stopped, scripted_server.fin)
    with connect(server) as client:
        client.stop()
        with pytest.raises(ConnectionStateError):
            client.request("ab")


def test_a_stop_with_the_wrong_token_changes_nothing() -> None:
    with (
        Server(("127.0.0.1", 0), stop_policy=StopPolicy.with_token("right")) as server,
        Client(str(server.address)) as client,
    ):
        with pytest.raises(AnswerError) as caught:
            client.stop("wrong")
        assert caught.value.code == 403
        assert client.request("ab") == "ba"
        assert client.stop("right") == StoppedReceived(0, 0)


def test_all_kinds_of_address(tmp_path: Path) -> None:
    addresses: list[Any] = [f"unix:{tmp_path}/sock", ("127.0.0.1", 0)]
    if socket.has_ipv6:
        addresses.append(("::1", 0))
    for address in addresses:
        with Server(address) as server, Client(str(server.address)) as client:
            assert client.request("ab") == "ba"
            assert client.address == server.address


def test_many_threads_with_a_client_each(reversal: Server) -> None:
    results: list[bool] = []

    def work(name: str) -> None:
        with Client(str(reversal.address)) as client:
            results.append(
                all(
                    text == f"{name}{number}"[::-1]
                    for number, text in enumerate(client.pipeline(f"{name}{n}" for n in range(1_000)))
                )
            )

    threads = [in_background(lambda name=name: work(name)) for name in "abcdefgh"]  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
    for thread in threads:
        thread.join(PATIENCE)
    assert results == [True] * 8
