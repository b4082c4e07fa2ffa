"""The client for asyncio: many tasks on one connection, none of which costs another anything."""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet import (
    AnswerTimeoutError,
    ConfigurationError,
    ConnectionStateError,
    ErrorCode,
    FrameTooLargeError,
    FrameType,
    IllFormedTextError,
    PingTooLargeError,
    encode,
)
from framelet_client import (
    AnswerError,
    ClientLimits,
    ClientTls,
    ConnectError,
    ConnectionLostError,
    FatalAnswerError,
    TlsError,
)
from framelet_client.asyncio import Client, connect
from framelet_server import ServerTls, StopPolicy

from .looping import all_of, descriptors, outcomes, run, slowly, until
from .scripted import ASK, PATIENCE, reply, reverse_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Script

    from framelet_server import Server

    Serve = Callable[..., Server]


@pytest.fixture(params=["tcp", "unix", "tls"])
def reached(request: pytest.FixtureRequest, serve: Serve, certificates: Any, tmp_path: Path) -> Any:
    """A server, and what a client needs to reach it."""
    if request.param == "unix":
        return serve(str.upper, address=f"unix:{tmp_path}/socket"), None
    if request.param == "tcp":
        return serve(str.upper), None
    return serve(str.upper, tls=ServerTls(certificates.server)), ClientTls(ca_file=certificates.ca_file)


def test_every_call_over_every_transport(reached: Any) -> None:
    server, tls = reached

    async def main() -> None:
        async with connect(str(server.address), tls=tls) as client:
            assert client.address == server.address
            assert not client.closed
            large = "x" * 1_000_000
            found = await asyncio.gather(*(client.request(f"t{number}") for number in range(1_200)))
            assert found == [f"T{number}" for number in range(1_200)]
            mixed = (client.request(large), client.ping("p"), client.hello(), client.request("a"))
            answers: Any = await asyncio.gather(*mixed)
            assert answers[0] == large.upper()
            assert 0 < answers[1] < PATIENCE
            assert (answers[2].version, answers[3]) == (1, "A")
            with pytest.raises(AnswerError, match="404"):
                await client.send(0xC0, "nobody is there for this")
            assert [text async for text in client.pipeline("abc")] == ["A", "B", "C"]
            stopped = await client.stop()
            assert (stopped.closed, stopped.cut) == (0, 0)
            with pytest.raises(ConnectionStateError, match="this connection is closed: the server"):
                await client.ping()

    run(main())


def test_what_is_asked_in_one_pass_of_the_loop_leaves_in_one_write(serve: Serve) -> None:
    server = serve()

    async def main() -> None:
        async with connect(str(server.address)) as client:
            assert client._opened is not None
            driver, sent = client._opened._driver, 0
            send = driver.send

            def count() -> None:
                nonlocal sent
                sent += 1
                send()

            driver.send = count  # type: ignore[method-assign]
            for passes in range(1, 4):
                await asyncio.gather(*(client.request("ab") for _ in range(100)), client.ping())
                assert sent == passes

    run(main())


@pytest.mark.req("REQ-ORDER-6")
@pytest.mark.parametrize("how", ["cancelled", "timed out"])
def test_a_call_that_is_given_up_costs_no_other(scripted_server: Script, how: str) -> None:
    go = threading.Event()
    late = (
        reply("1")
        + reply("2")
        + encode(FrameType.PONG, b"x")
        + reply("4")
        + encode(FrameType.ERROR, b"450 no")
    )
    server = scripted_server(3 * ASK + ASK - 1 + ASK, lambda _: go.wait(PATIENCE), late, ASK, reply("6"))

    async def main() -> None:
        async with connect(server.host, server.port) as client:
            calls = [client.request("ab"), client.request("ab"), client.ping("x"), client.request("ab")]
            tasks = [asyncio.create_task(call) for call in (*calls, client.request("ab"))]
            await until(lambda: len(server.received) >= 5 * ASK - 1)
            if how == "cancelled":
                for number in (1, 2, 4):
                    tasks[number].cancel()
            else:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await asyncio.gather(*tasks[1:3], tasks[4])
            go.set()
            assert await tasks[0] == "1"
            assert await tasks[3] == "4"
            assert await client.request("ab") == "6"
            assert all(tasks[number].cancelled() for number in (1, 2, 4))

    run(main())


@pytest.mark.req("REQ-FLOW-4")
def test_a_client_asks_for_no_more_than_fits_and_reads_while_it_writes(scripted_server: Script) -> None:
    texts, large = 32, 1_000_000  # more than the system takes
    go = threading.Event()
    server = scripted_server(ASK, lambda _: go.wait(PATIENCE), reply("1"), reverse_all)

    async def main() -> None:
        limits = ClientLimits(max_unsent=300_000)
        async with connect(server.host, server.port, limits=limits) as client:
            opened = client._opened
            assert opened is not None
            first = asyncio.create_task(client.request("ab"))
            tasks = [asyncio.create_task(client.request("x" * large)) for _ in range(texts)]
            await until(lambda: opened._crowd and opened._writing)
            assert opened._driver.waiting_octets < 300_000 + large + 5
            assert 0 < opened.connection.unanswered < texts
            go.set()
            assert await first == "1"
            assert {*await asyncio.gather(*tasks)} == {"x" * large}

    run(main())


def test_the_window_holds_for_all_calls_together_and_whoever_fails_leaves_it(scripted_server: Script) -> None:
    go = threading.Event()
    server = scripted_server(
        2 * ASK, lambda _: go.wait(PATIENCE), reply("1"), reply("2"), 2 * ASK, reply("5") * 2
    )

    async def main() -> None:
        async with connect(server.host, server.port, limits=ClientLimits(window=2)) as client:
            opened = client._opened
            assert opened is not None
            texts = ["ab", "ab", "\ud800", "given up", "\ud800", "ab", "ab"]
            tasks = [asyncio.create_task(client.request(text)) for text in texts]
            await until(lambda: len(opened._crowd) == 5)
            tasks[3].cancel()
            await until(lambda: len(opened._crowd) == 4)
            assert opened.connection.unanswered == 2
            go.set()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [found[number] for number in (0, 1, 5, 6)] == ["1", "2", "5", "5"]
            assert {type(found[2]), type(found[4])} == {IllFormedTextError}
            assert not opened.crowded

    run(main())


def test_a_text_that_cannot_be_sent_costs_nothing(serve: Serve) -> None:
    server = serve(max_body=65_536)

    async def main() -> None:
        async with connect(str(server.address)) as client:
            await client.hello()
            with pytest.raises(FrameTooLargeError):
                await client.request("x" * 65_537)
            with pytest.raises(IllFormedTextError):
                await client.request("\ud800")
            with pytest.raises(PingTooLargeError):
                await client.ping("x" * 65)
            with pytest.raises(ConnectionStateError, match="not an application type"):
                await client.send(1, "x")
            assert await client.request("ab") == "ba"

    run(main())


# Pipelines.


@pytest.mark.parametrize("window", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("kind", [iter, slowly])
def test_a_pipeline_beside_other_calls_yields_all_in_order(serve: Serve, kind: Any, window: int) -> None:
    server = serve(str.upper)

    async def main() -> None:
        async with connect(str(server.address), limits=ClientLimits(window=window)) as client:

            async def requests() -> None:
                for number in range(300):
                    assert await client.request(f"r{number}") == f"R{number}"

            asking = asyncio.create_task(requests())
            texts = kind(f"t{number}" for number in range(5_000))
            assert [text async for text in client.pipeline(texts)] == [
                f"T{number}" for number in range(5_000)
            ]
            await asking

    run(main())


@pytest.mark.parametrize("kind", [iter, slowly])
def test_an_endless_pipeline_is_asked_for_no_more_than_its_window_and_left_at_no_cost(
    serve: Serve, kind: Any
) -> None:
    server = serve()
    asked = 0

    def endless() -> Iterator[str]:
        nonlocal asked
        for number in itertools.count():
            asked += 1
            yield f"t{number}"

    async def main() -> None:
        async with connect(str(server.address), limits=ClientLimits(window=40)) as client:
            pipeline: Any = client.pipeline(kind(endless()))
            taken = 0
            async for _ in pipeline:
                taken += 1
                assert await client.request("ab") == "ba"  # the rest of the window is answered before it
                assert asked <= taken + 40 + 1  # one that waits for room
                if taken == 100:
                    break
            await pipeline.aclose()
            assert await client.request("ab") == "ba"
            assert not client.closed
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


@pytest.mark.parametrize("kind", [iter, slowly])
@pytest.mark.parametrize("fault", ["raised", "ill-formed"])
def test_what_texts_raise_comes_after_the_replies_before_it(serve: Serve, kind: Any, fault: str) -> None:
    server = serve()

    def texts() -> Iterator[str]:
        yield from ("ab", "cd")
        if fault == "raised":
            raise ValueError(fault)
        yield "\ud800"
        yield "never asked for"

    async def main() -> None:
        async with connect(str(server.address)) as client:
            taken, error = await all_of(client.pipeline(kind(texts())))
            assert taken == ["ba", "dc"]
            assert isinstance(error, ValueError if fault == "raised" else IllFormedTextError)
            assert await client.request("ab") == "ba"

    run(main())


def test_an_error_ends_a_pipeline_or_is_one_of_its_answers(serve: Serve) -> None:
    def handler(text: str) -> str:
        return str(int(text) + 1)

    server = serve(handler)

    async def main() -> None:
        async with connect(str(server.address)) as client:
            found = [answer async for answer in client.pipeline(["1", "x", "3"], return_errors=True)]
            assert found[0::2] == ["2", "4"]
            assert isinstance(found[1], AnswerError)
            taken, error = await all_of(client.pipeline(["1", "x", "3"]))
            assert (taken, error and str(error)[:29]) == (["2"], "the server answered ERROR 450")
            assert await client.request("7") == "8"

    run(main())


@pytest.mark.parametrize("kind", [iter, slowly])
def test_a_pipeline_whose_connection_ends_raises_after_the_replies(
    scripted_server: Script, kind: Any
) -> None:
    server = scripted_server(3 * ASK, reply("1"), reply("2"), lambda sock: sock.shutdown(socket.SHUT_WR))

    async def main() -> None:
        async with connect(server.host, server.port) as client:
            taken, error = await all_of(client.pipeline(kind(["ab"] * 3)))
            assert taken == ["1", "2"]
            assert isinstance(error, ConnectionLostError)
            assert error.unanswered == 1

    run(main())


# The end.


def test_the_end_of_the_stream_is_told_to_all_who_wait(scripted_server: Script) -> None:
    server = scripted_server(3 * ASK, reply("1"), lambda sock: sock.shutdown(socket.SHUT_WR))

    async def main() -> None:
        async with connect(server.host, server.port, limits=ClientLimits(window=3)) as client:
            found = await outcomes(*(client.request("ab") for _ in range(5)))
            assert found[0] == "1"
            assert [type(error) for error in found[1:]] == [ConnectionLostError] * 4
            assert len({id(error) for error in found[1:]}) == 4
            assert found[1].unanswered in (2, 3)  # the next one was let in, or not
            with pytest.raises(ConnectionStateError, match="the server closed the connection"):
                await client.request("ab")

    run(main())


def test_an_end_that_comes_while_nothing_is_asked_is_noticed_at_once(scripted_server: Script) -> None:
    go = threading.Event()
    fatal = encode(FrameType.ERROR, b"505 idle")
    server = scripted_server(
        ASK, reply("1"), lambda _: go.wait(PATIENCE), fatal, lambda sock: sock.shutdown(socket.SHUT_WR)
    )

    async def main() -> None:
        async with connect(server.host, server.port) as client:
            assert await client.request("ab") == "1"
            assert not client.closed
            go.set()
            await until(lambda: client.closed)
            with pytest.raises(FatalAnswerError, match="0 frames are unanswered") as caught:
                await client.request("ab")
            assert caught.value.code == ErrorCode.IDLE_TIMEOUT
            with pytest.raises(ConnectionStateError, match="ERROR 505"):
                await client.request("ab")

    run(main())


@pytest.mark.req("REQ-TIME-6")
def test_a_server_that_is_silent_is_given_up(scripted_server: Script) -> None:
    server = scripted_server(ASK, reply("1"), 2 * ASK)

    async def main() -> None:
        async with connect(server.host, server.port, limits=ClientLimits(answer_timeout=0.2)) as client:
            assert await client.request("ab") == "1"
            await asyncio.sleep(0.3)  # nothing is awaited: that is no silence
            assert not client.closed
            found = await outcomes(client.request("ab"), client.request("ab"))
            assert [type(error) for error in found] == [AnswerTimeoutError] * 2
            assert client.closed

    run(main())


@pytest.mark.req("REQ-TIME-8")
def test_the_time_in_which_the_loop_is_kept_busy_is_not_the_servers(
    scripted_server: Script,
) -> None:
    large = "x" * 8_000_000  # more than the system holds, so that it comes only as it is read
    answered = threading.Event()
    server = scripted_server(ASK, reply(large[:-1]), ASK, lambda _: answered.wait(PATIENCE), reply("1"), ASK)

    async def main() -> None:
        limits = ClientLimits(answer_timeout=1.0)
        async with connect(server.host, server.port, limits=limits) as client:
            asking = asyncio.create_task(client.request("ab"))
            await asyncio.sleep(0.01)
            time.sleep(1.3)  # noqa: ASYNC251 - the program's own work
            assert len(await asking) == len(large) - 1
            asking = asyncio.create_task(client.request("ab"))
            for _ in range(4):
                await asyncio.sleep(0.05)
                time.sleep(0.5)  # noqa: ASYNC251 - as above
            answered.set()
            assert await asking == "1"
            asking = asyncio.create_task(client.request("ab"))
            busy = 0
            while not asking.done():
                await asyncio.sleep(0.05)
                time.sleep(0.1)  # noqa: ASYNC251 - as above
                busy += 1
                assert busy < PATIENCE / 0.15, "the wait for a silent server does not end"
            assert isinstance(asking.exception(), AnswerTimeoutError)

    run(main())


def test_close_ends_the_calls_under_way_and_drain_waits_for_them(scripted_server: Script) -> None:
    go = threading.Event()
    server = scripted_server(2 * ASK, lambda _: go.wait(PATIENCE), reply("1"), reply("2"), ASK, reply("3"))

    async def main() -> None:
        client = await connect(server.host, server.port, limits=ClientLimits(window=2)).open()
        asking = [asyncio.create_task(client.request("ab")) for _ in range(3)]
        await until(lambda: len(server.received) == 2 * ASK)
        closing = asyncio.create_task(client.close(drain=True))
        await until(lambda: client.closed)
        with pytest.raises(ConnectionStateError, match="the program is closing it"):
            await client.request("ab")
        go.set()
        await closing
        assert await asyncio.gather(*asking) == ["1", "2", "3"]
        go.clear()
        async with connect(server.host, server.port) as client:
            asking = [asyncio.create_task(client.request("ab")) for _ in range(2)]
            await until(lambda: len(server.received) == 5 * ASK)
            draining = asyncio.create_task(client.close(drain=True))
            await asyncio.sleep(0)
            draining.cancel()  # then it is closed at once
            assert [type(error) for error in await outcomes(*asking)] == [ConnectionStateError] * 2  # type: ignore[arg-type]
            await client.close()
        go.set()
        with pytest.raises(ConnectionStateError, match="already connected"):
            await client.open()

    run(main())
    assert all(isinstance(error, ConnectionResetError | BrokenPipeError) for error in server.faults)
    server.faults.clear()


# Connecting.


def test_a_client_that_is_not_connected_says_so() -> None:
    async def main() -> None:
        client = Client()
        assert not client.closed
        with pytest.raises(ConnectionStateError, match="not connected"):
            await client.request("ab")
        await client.close()

    run(main())
    with pytest.raises(ConfigurationError, match="limits are ClientLimits"):
        connect(limits=5)  # type: ignore[arg-type]


def test_no_connection_is_told_as_to_the_blocking_client(
    tmp_path: Path, serve: Serve, certificates: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    plain = serve().address
    secure = serve(tls=ServerTls(certificates.server)).address
    tls = ClientTls(ca_file=certificates.other_ca_file)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cases: list[tuple[Any, Any, type[Exception], str]] = [
            (f"127.0.0.1:{port}", None, ConnectError, "Connection refused"),
            (f"unix:{tmp_path}/none", None, ConnectError, "No such file"),
            ("no-such-host.invalid", None, ConnectError, "no connection to"),
            (f"127.0.0.1:{plain.port}", tls, TlsError, "does not speak TLS"),  # type: ignore[union-attr]
            (str(secure), tls, TlsError, "certificate is not accepted"),
            (silent.getsockname(), tls, TlsError, "did not finish the handshake in time"),
        ]

        async def main() -> None:
            for where, tls, kind, words in cases:
                with pytest.raises(kind, match=words):
                    await connect(where, tls=tls, limits=ClientLimits(connect_timeout=0.5)).open()

        run(main())


def test_to_give_up_connecting_leaves_nothing_open(tmp_path: Path) -> None:
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    with socket.socket(socket.AF_UNIX) as full, socket.create_server(("127.0.0.1", 0)) as silent:
        full.bind(str(tmp_path / "full"))
        full.listen(0)
        for sock in crowd:
            sock.settimeout(0.0)
            sock.connect_ex(full.getsockname())
        before = descriptors()

        async def main() -> None:
            inside = descriptors()
            for where, tls in ((f"unix:{tmp_path}/full", None), (silent.getsockname(), ClientTls())):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await connect(where, tls=tls).open()
            assert descriptors() == inside

        run(main())
        assert descriptors() == before
    for sock in crowd:
        sock.close()


def test_stop_needs_what_the_policy_asks_for(serve: Serve) -> None:
    server = serve(stop_policy=StopPolicy.with_token("secret"))

    async def main() -> None:
        async with connect(str(server.address)) as client:
            with pytest.raises(AnswerError, match="403"):
                await client.stop("wrong!")
            assert await client.request("ab") == "ba"
            await client.stop("secret")
            assert client.closed

    run(main())


def test_the_example_asks_for_all_texts(serve: Serve) -> None:
    example = Path(__file__).parents[2] / "examples" / "asyncio_client.py"
    command = [sys.executable, str(example), str(serve().address), "ab", "cd"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("ba\ndc\n", "")
