"""The exercise that Framelet began as: its command line, fallbacks and messages, row by row."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from framelet import TcpAddress, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def port(command: Callable[..., Any]) -> int:
    """The port of a real server in a process of its own."""
    address = parse_address(command().address())
    assert isinstance(address, TcpAddress)
    return address.port


@pytest.fixture
def default_port(command: Callable[..., Any]) -> None:
    """A server where the fallbacks look for it; another program may hold that port."""
    try:
        with socket.create_server(("127.0.0.1", 6666)):
            pass
    except OSError as error:
        pytest.skip(f"port 6666 of this machine is in use: {error}")
    command("--host", "127.0.0.1", "--port", "6666").address()


# Objectives.


def test_the_server_declares_that_it_is_ready(command: Callable[..., Any]) -> None:
    address = parse_address(command().address())
    assert isinstance(address, TcpAddress)
    socket.create_connection(address).close()  # ready when it says so, and not only soon after


@pytest.mark.req("REQ-REV-1")
def test_a_message_is_answered_with_its_reverse(framelet: Any, port: int) -> None:
    ended = framelet("send", "http://127.0.0.1", port, "Hello CPHBusiness")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"ssenisuBHPC olleH\n", b"")


def test_the_server_keeps_listening_until_a_client_says_stop(
    framelet: Any, command: Callable[..., Any]
) -> None:
    server = command()
    port = server.address().rsplit(":", 1)[1]
    for text in ("one", "two", "three"):
        assert framelet("send", "http://127.0.0.1", port, text).stdout.decode() == text[::-1] + "\n"
        assert server.process.poll() is None
    ended = framelet("send", "http://127.0.0.1", port, "stop")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert server.finish() == (0, "")


def test_many_clients_are_served_at_once(framelet: Any, port: int) -> None:
    # All of them are connected before the first one goes on.
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda n: framelet("send", "127.0.0.1", port, f"client {n}"), range(8)))
    for sock in sockets:
        sock.close()
    assert [end.stdout.decode() for end in ended] == [f"client {n}"[::-1] + "\n" for n in range(8)]


# Conditions.


@pytest.mark.usefixtures("default_port")
def test_without_host_port_and_payload_the_fallbacks_hold(framelet: Any) -> None:
    ended = framelet("send")
    assert (ended.returncode, ended.stdout) == (0, b"daolyap tluafed\n")


@pytest.mark.usefixtures("default_port")
@pytest.mark.parametrize("host", ["http://127.0.0.1", "127.0.0.1", "tcp://127.0.0.1", "framelet://127.0.0.1"])
def test_without_port_it_is_6666(framelet: Any, host: str) -> None:
    ended = framelet("send", host)
    assert (ended.returncode, ended.stdout) == (0, b"daolyap tluafed\n")


def test_without_payload_it_is_default_payload(framelet: Any, port: int) -> None:
    ended = framelet("send", "http://127.0.0.1", port)
    assert (ended.returncode, ended.stdout) == (0, b"daolyap tluafed\n")


# Exceptions.


@pytest.mark.parametrize("host", ["http://127.0.0.1", "127.0.0.1", "framelet://127.0.0.1", "localhost"])
@pytest.mark.parametrize("payload", ["Hello", "stop", "-"])
def test_a_request_that_fails_names_the_host_as_given(
    framelet: Any, nobody: int, host: str, payload: str
) -> None:
    ended = framelet("send", host, nobody, payload)
    assert (ended.returncode, ended.stdout) == (3, b"")
    assert ended.stderr.decode().startswith(f"Couldn't get connection to {host}{os.linesep}")


def test_a_host_without_an_address_is_no_connection(framelet: Any) -> None:
    ended = framelet("send", "http://no-such-host.invalid")
    assert ended.returncode == 3
    assert ended.stderr.startswith(b"Couldn't get connection to http://no-such-host.invalid\n")
