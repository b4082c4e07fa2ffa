"""The blocking client's life: connecting, one call at a time, and each call against the real server."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.commands import free_port

from framelet import (
    ConnectionStateError,
    FrameletError,
    HelloReceived,
    PingTooLargeError,
    StoppedReceived,
    reverse,
)
from framelet_client import (
    AnswerError,
    Client,
    ClientLimits,
    ConnectError,
    ConnectionLostError,
)
from framelet_server import Server, StopPolicy

from .scripted import ASK, PATIENCE, connect, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Script


def in_background(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


# Connecting.


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
        assert time.monotonic() - started < 9  # the default is 10
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


def test_an_address_that_swallows_packets_does_not_hold_up_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as undo:
        server = undo.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()
        listener = undo.enter_context(socket.create_server(("127.0.0.2", 0), backlog=0))
        hole = listener.getsockname()
        for _ in range(4):  # the system drops the SYN of whoever comes after them
            sock = undo.enter_context(socket.socket())
            sock.settimeout(0.0)
            sock.connect_ex(hole)
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", free_port(), 0, 0))
        found = [(*kind, hole), (*kind, hole), six, (*kind, server), (*kind, hole)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        gc.collect()
        before = len(list(Path("/proc/self/fd").iterdir()))
        started = time.monotonic()
        # A fifth of this time for each address would be minutes.
        with Client("several", 1, limits=ClientLimits(connect_timeout=500.0)) as client:
            assert time.monotonic() - started < 20
            assert len(list(Path("/proc/self/fd").iterdir())) == before + 1  # none of the losing attempts
            assert not client.closed


def connect_as(where: Any, **settings: Any) -> Client:
    return Client(getattr(where, "address", where), **settings)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.request(b"x"),
        lambda client: client.request(None),
        lambda client: client.ping(5),
        lambda client: client.stop(b"token"),
        lambda client: client.send("C1", "x"),
        lambda client: client.send(None, "x"),
        lambda client: client.send(0xC1, b"x"),
        lambda client: list(client.pipeline(b"ab")),
        lambda client: list(client.pipeline([None])),
        lambda client: connect_as(client, limits={}),
        lambda client: connect_as(client, limits=5),
        lambda client: connect_as(client, tls=True),
        lambda client: Client(client.address.host, client.address.port + 65_536),
        lambda client: Client(client.address.host, 10**30),
        lambda client: Client(client.address.host, client.address.port > 0),
        lambda client: connect_as([client]),
    ],
)
def test_an_argument_of_the_wrong_kind_is_told_and_costs_nothing(
    reversal: Server, call: Callable[[Client], object]
) -> None:
    with Client(reversal.address) as client:
        with pytest.raises(FrameletError, match=r" is not? | must be | is a(?:re)? |are ClientLimits"):
            call(client)
        assert client.request("ab") == "ba"


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
        with pytest.raises(ConnectionStateError, match="not an application type"):
            client.send(0x01, "nobody")
        assert client.request("ab") == "ba"


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


def test_a_stop_with_the_wrong_token_changes_nothing() -> None:
    with (
        Server(("127.0.0.1", 0), stop_policy=StopPolicy.with_token("rightly")) as server,
        Client(str(server.address)) as client,
    ):
        with pytest.raises(AnswerError) as caught:
            client.stop("wrong")
        assert caught.value.code == 403
        assert client.request("ab") == "ba"
        assert client.stop("rightly") == StoppedReceived(0, 0)
