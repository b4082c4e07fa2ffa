"""The pool of blocking clients, and what it asks of a client: whether it is open still, and free."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from framelet import ConfigurationError, ConnectionStateError, FrameType, UnixAddress, encode
from framelet_client import (
    AnswerError,
    Client,
    ClientLimits,
    ClientTls,
    ConnectError,
    ConnectionLostError,
    FatalAnswerError,
    Pool,
    TlsError,
)
from framelet_server import ServerTls

from .scripted import ASK, PATIENCE, fin, fork, in_a_fork, reply, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Script

    from .peers import Serve


def fatal(code: int) -> bytes:
    return encode(FrameType.ERROR, b"%d no more" % code)


# A client tells whether it is open still.


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (fatal(505), FatalAnswerError),
        (b"", ConnectionStateError),
        (reply("nobody asked"), ConnectionStateError),
    ],
)
def test_an_end_is_noticed_before_the_next_request(
    scripted_server: Script, last: bytes, error: type[Exception]
) -> None:
    go = threading.Event()
    server = scripted_server(ASK, reply("1"), lambda _: go.wait(PATIENCE), last, fin)
    with Client(server.host, server.port) as client:
        assert client.request("ab") == "1"
        assert not client.closed
        go.set()
        until(lambda: client.closed)
        with pytest.raises(error, match=r"ERROR 505|closed: (the server|.*where nothing is awaited)"):
            client.request("ab")
    assert server.received == encode(FrameType.REQUEST, b"ab")


def test_a_request_that_finds_the_end_says_that_nothing_was_sent(scripted_server: Script) -> None:
    server = scripted_server(fatal(505), fin)
    with Client(server.host, server.port) as client:
        client._engine._readable(PATIENCE)
        with pytest.raises(FatalAnswerError) as caught:
            client.request("ab")
    assert (caught.value.code, caught.value.unanswered) == (505, 0)


def test_a_look_at_a_client_leaves_a_call_under_way_alone(serve: Serve) -> None:
    with Client(str(serve().address)) as client:
        assert client.free
        pipeline = client.pipeline(["ab", "cd"])
        assert next(pipeline) == "ba"
        assert (client.closed, client.free) == (False, False)
        assert list(pipeline) == ["dc"]
        assert client.free
    assert not client.free


# A client over a socket that is connected already.


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_a_client_takes_a_connected_socket(
    serve: Serve, tmp_path: Path, certificates: Any, kind: str
) -> None:
    tls = ClientTls(ca_file=certificates.ca_file) if kind == "tls" else None
    options = {"tls": ServerTls(certificates.server)} if tls else {}
    where: Any = f"unix:{tmp_path}/socket" if kind == "unix" else ("127.0.0.1", 0)
    address: Any = serve(address=where, **options).address
    if isinstance(address, UnixAddress):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address.path)
    else:
        sock = socket.create_connection((address.host, address.port))
    with Client(sock, tls=tls) as client:
        assert client.address == address
        assert client.request("ab") == "ba"
    assert sock.fileno() < 0


def test_a_client_takes_one_of_a_pair() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Client(ours) as client:
        theirs.sendall(reply("early"))
        assert client.closed  # nothing was asked


def test_a_socket_that_is_of_no_use_is_refused(certificates: Any) -> None:
    with socket.socket() as unconnected, pytest.raises(ConfigurationError, match="not connected"):
        Client(unconnected)
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        datagrams.connect(("127.0.0.1", 9))
        with pytest.raises(ConfigurationError, match="stream"):
            Client(datagrams)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(ConfigurationError, match="port"):
            Client(ours, 6666)
        with pytest.raises(ConfigurationError, match="cannot have TLS"):
            Client(ours, tls=ClientTls())
        context = certificates.context(check_hostname=False)
        wrapped = context.wrap_socket(ours, do_handshake_on_connect=False)
        with wrapped, pytest.raises(ConfigurationError, match="ClientTls"):
            Client(wrapped)


# The pool.


def test_many_threads_share_a_few_connections(serve: Serve) -> None:
    server = serve(str.upper)
    with Pool(str(server.address), size=3) as pool, ThreadPoolExecutor(16) as threads:
        texts = [f"t{number}" for number in range(600)]
        assert list(threads.map(pool.request, texts)) == [text.upper() for text in texts]
        assert pool.address == server.address
        assert server.metrics().connections <= 3
        with pytest.raises(AnswerError, match="404"):
            pool.send(0xC0, "nobody is there for this")
        assert pool.request("an error costs nothing") == "AN ERROR COSTS NOTHING"
    assert server.metrics().connections <= 3


def test_no_more_than_size_are_lent_and_a_wait_has_its_end(serve: Serve) -> None:
    limits = ClientLimits(connect_timeout=0.2)
    with (
        Pool(str(serve().address), size=2, limits=limits) as pool,
        pool.client() as one,
        pool.client() as two,
    ):
        assert one is not two
        with pytest.raises(ConnectError, match="all 2 connections of the pool are in use"):
            pool.request("ab")
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(Pool.request, pool, "ab")
            pool.close()
            with pytest.raises(ConnectionStateError, match="this pool is closed"):
                waiting.result(PATIENCE)
        assert one.request("ab") == "ba"  # until it is given back
    assert one.closed


def test_what_ended_while_it_was_idle_is_not_lent(serve: Serve) -> None:
    server = serve(idle_timeout=0.1)
    with Pool(str(server.address)) as pool:
        with pool.client() as first:
            assert first.request("ab") == "ba"
        until(lambda: first.closed)
        assert pool.request("ab") == "ba"
        assert server.metrics().connections == 2
        assert pool._idle != [first]


def test_what_comes_back_with_a_call_under_way_is_not_lent_again(serve: Serve) -> None:
    with Pool(str(serve().address)) as pool:
        with pool.client() as client:
            pipeline = client.pipeline(["ab", "cd"])
            next(pipeline)
        assert pool.request("ab") == "ba"
        assert client.closed
        with pytest.raises(ValueError, match="of the program"), pool.client() as client:
            raise ValueError("of the program")
        with pool.client() as again:
            assert again is client


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_request_that_may_have_been_served_is_repeated_only_where_that_does_no_harm(
    scripted_server: Script, *, idempotent: bool
) -> None:
    turns: Any = iter([lambda sock: sock.close(), lambda sock: sock.sendall(reply("2"))])
    server = scripted_server(ASK, lambda sock: next(turns)(sock))  # noqa: PLW0108 - another one for each client
    with Pool(server.host, server.port) as pool:
        if idempotent:
            assert pool.request("ab", idempotent=True) == "2"
        else:
            with pytest.raises(ConnectionLostError, match="1 frame is unanswered"):
                pool.request("ab")
            assert pool.request("ab") == "2"


def test_what_another_connection_would_get_too_is_not_repeated(scripted_server: Script) -> None:
    server = scripted_server(ASK, fatal(503), fin)
    with Pool(server.host, server.port) as pool, pytest.raises(FatalAnswerError, match="503"):
        pool.request("ab", idempotent=True)
    assert len(server.received) == ASK
    server = scripted_server(ASK, fatal(507), fin)
    with Pool(server.host, server.port) as pool, pytest.raises(FatalAnswerError, match="507"):
        pool.request("ab", idempotent=True)
    assert len(server.received) == 3 * ASK


def test_a_server_that_starts_late_is_waited_for(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    with Pool("127.0.0.1", port) as pool, ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(pool.request, "ab") for _ in range(4)]
        with pytest.raises(TimeoutError):
            asking[0].result(0.2)
        serve(address=("127.0.0.1", port))
        assert [asked.result(PATIENCE) for asked in asking] == ["ba"] * 4


def test_who_waits_for_a_server_ends_with_the_pool_and_without_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    with (
        Pool("127.0.0.1", port, limits=ClientLimits(connect_timeout=0.2)) as pool,
        pytest.raises(ConnectError, match="refused"),
    ):
        pool.request("ab")
    pool = Pool("127.0.0.1", port, limits=ClientLimits(connect_timeout=1_000))
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(pool.request, "ab")
        time.sleep(0.1)
        pool.close()
        with pytest.raises((ConnectError, ConnectionStateError)):
            asking.result(PATIENCE)


def test_a_server_that_cannot_be_trusted_is_not_asked_again(serve: Serve, certificates: Any) -> None:
    server = serve(tls=ServerTls(certificates.server))
    limits = ClientLimits(connect_timeout=1_000)
    with Pool(str(server.address), tls=ClientTls(ca_file=certificates.other_ca_file), limits=limits) as pool:
        began = time.monotonic()
        with pytest.raises(TlsError):
            pool.request("ab")
        assert time.monotonic() - began < 100
        assert not pool._lent


def test_a_pool_is_of_its_process(serve: Serve) -> None:
    with Pool(str(serve().address)) as pool:
        assert pool.request("ab") == "ba"

        def ask() -> None:
            with pytest.raises(ConnectionStateError, match=f"process {os.getppid()}"):
                pool.request("ab")

        in_a_fork(ask)
        assert pool.request("ab") == "ba"


def test_a_fork_closes_a_pool_whose_lock_another_thread_held(serve: Serve) -> None:
    def leave() -> None:
        pool._give_back(threading.Lock(), None)
        pool.close()

    with Pool(str(serve().address)) as pool:
        with pool._lock:
            child = fork(leave)
        until(lambda: os.waitpid(child, os.WNOHANG) == (child, 0))
        assert pool.request("ab") == "ba"


@pytest.mark.parametrize("size", [0, -1, True, "8", 1.5])
def test_a_size_is_a_number_of_connections(size: Any) -> None:
    with pytest.raises(ConfigurationError, match="size is"):
        Pool(size=size)


def test_who_asks_again_and_again_gets_no_turn_before_those_who_wait(serve: Serve) -> None:
    turns: list[int] = []

    def ask(number: int) -> None:
        with pool.client():
            turns.append(number)

    with Pool(str(serve().address), size=1) as pool, ThreadPoolExecutor(2) as threads:
        for number in range(20):
            with pool.client():
                asking = [threads.submit(ask, waits) for waits in (1, 2)]
                until(lambda: len(pool._queue) == 2)
            ask(0)
            for asked in asking:
                asked.result(PATIENCE)
            assert sorted(turns[3 * number :][:2]) == [1, 2]


def test_a_thread_that_gives_up_waiting_lets_the_next_one_in(serve: Serve) -> None:
    with Pool(str(serve().address), size=1, limits=ClientLimits(connect_timeout=0.2)) as pool:
        with ThreadPoolExecutor(2) as threads, pool.client():
            asking = [threads.submit(pool.request, "ab") for _ in range(2)]
            for asked in asking:
                with pytest.raises(ConnectError, match="are in use"):
                    asked.result(PATIENCE)
        assert not pool._queue
        assert pool.request("ab") == "ba"
