"""The server as a library: starting, addresses, several at once, ending, and what is left behind: nothing."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet import AddressError, ConfigurationError, FrameletError, TcpAddress, UnixAddress
from framelet_server import ListenError, Server, ServerLimits

if TYPE_CHECKING:
    from tests.integration.conftest import Gate

    from .peers import Connect, Serve


LOOPBACK = ("127.0.0.1", 0)

QUICK = ServerLimits(linger_timeout=0.1)
"""So that a server that ends does not wait for the clients of a test."""


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the names are wanted


def test_with_starts_and_stops(connect: Connect) -> None:
    with Server(LOOPBACK, limits=QUICK) as server:
        peer = connect(server)
        assert peer.ask("ab") == "ba"
        address = server.address
        assert not server.wait(0.01)
        peer.close()
    assert server.wait(0)
    with pytest.raises(ConnectionRefusedError):
        connect(address)


def test_the_address_is_the_wanted_one_before_the_start_and_the_real_one_after() -> None:
    server = Server(LOOPBACK)
    assert server.address == TcpAddress("127.0.0.1", 0)
    assert server.addresses == []
    with server:
        assert isinstance(server.address, TcpAddress)
        assert server.address.port > 0
        assert server.addresses == [server.address]


@pytest.mark.parametrize(
    "given",
    [
        ("127.0.0.1", 0),
        ("localhost", 0),
        TcpAddress("::1", 0),
        "127.0.0.1:0",
        "[::1]:0",
        "framelet://127.0.0.1:0",
        "http://127.0.0.1:0",
    ],
)
def test_every_form_of_an_address_is_taken(connect: Connect, given: Any) -> None:
    with Server(given, limits=QUICK) as server:
        assert connect(server).ask("ab") == "ba"


def test_a_name_that_stands_for_several_addresses_is_listened_to_on_all_with_one_port(
    connect: Connect,
) -> None:
    with Server("localhost:0", limits=QUICK) as server:
        found = {info[4][0] for info in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
        ports = {address.port for address in server.addresses if isinstance(address, TcpAddress)}
        assert {address.host for address in server.addresses if isinstance(address, TcpAddress)} == found
        assert len(ports) == 1
        for address in server.addresses:
            assert connect(address).ask("ab") == "ba"


@pytest.mark.parametrize(
    "missing", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT], ids=["no address", "no family"]
)
def test_a_name_with_an_address_that_this_system_lacks_is_listened_to_on_the_others(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    # As on a machine whose hosts file has ::1 for localhost, but whose IPv6 is switched off.
    class Lacking(socket.socket):
        def bind(self, address: Any) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(missing, os.strerror(missing))
            super().bind(address)

    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", Lacking)
    with Server("localhost:0", limits=QUICK) as server:
        assert [str(address).rpartition(":")[0] for address in server.addresses] == ["framelet://127.0.0.1"]
        monkeypatch.undo()
        assert connect(server).ask("ab") == "ba"


def test_several_servers_in_one_process(serve: Serve, connect: Connect, poller: Any) -> None:
    servers = [serve(lambda text, name=name: name + text, poller=poller, threads=2) for name in "abc"]
    peers = [connect(server) for server in servers for _ in range(3)]
    assert [peer.ask("!") for peer in peers] == [f"{name}!" for name in "aaabbbccc"]
    servers[0].stop()
    assert [peer.ask("?") for peer in peers[3:]] == [f"{name}?" for name in "bbbccc"]


def test_a_server_starts_once() -> None:
    with Server(LOOPBACK, limits=QUICK) as server, pytest.raises(RuntimeError, match="already started"):
        server.start()
    with pytest.raises(RuntimeError, match="already started"):
        server.start()


@pytest.mark.parametrize("call", [Server.stop, Server.begin_drain, Server.force, Server.wait])
def test_a_server_that_was_not_started_cannot_be_ended(call: Any) -> None:
    server = Server(LOOPBACK)
    with pytest.raises(RuntimeError, match="not been started"):
        call(server)
    assert server.stuck == 0


def test_several_threads_may_stop_and_wait_at_once() -> None:
    with Server(LOOPBACK, limits=QUICK) as server:
        threads = [threading.Thread(target=server.stop) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


def test_a_handler_may_begin_the_drain_of_its_own_server(connect: Connect) -> None:
    def handler(text: str) -> str:
        server.begin_drain()
        return text.upper()

    with Server(LOOPBACK, handler, limits=QUICK) as server:
        peer = connect(server)
        assert peer.ask("ab") == "AB"
        assert peer.receive() is None


def test_nothing_is_left_behind(connect: Connect, poller: Any, listen_on: Any) -> None:
    threads, descriptors = threading.active_count(), open_descriptors()
    for _ in range(3):
        with Server(listen_on, poller=poller, limits=QUICK) as server:
            peers = [connect(server) for _ in range(5)]
            assert [peer.ask("ab") for peer in peers] == ["ba"] * 5
            server.begin_drain()
            assert [peer.receive() for peer in peers] == [None] * 5
            for peer in peers:
                peer.close()
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors


@pytest.mark.parametrize(
    ("arguments", "keywords", "expected"),
    [
        (("unix:",), {}, AddressError),
        (("gopher://localhost",), {}, AddressError),
        ((("", 0),), {}, AddressError),
        ((LOOPBACK, "no function"), {}, ConfigurationError),
        ((LOOPBACK,), {"handlers": {0xC0: None}}, ConfigurationError),
        ((LOOPBACK,), {"handlers": {0x01: str}}, ConfigurationError),
        ((LOOPBACK,), {"handlers": {0xBF: str}}, ConfigurationError),
        ((LOOPBACK,), {"handlers": {0x100: str}}, ConfigurationError),
        ((LOOPBACK,), {"handlers": {"0xC0": str}}, ConfigurationError),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_opened(
    arguments: Any, keywords: Any, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        Server(*arguments, **keywords)


@pytest.mark.parametrize(
    "host",
    ["192.0.2.1", "no-such-host.invalid", "a..b", "a" * 64 + ".example", "\udcff"],
    ids=["not ours", "no such host", "empty label", "label too long", "lone surrogate"],
)
def test_a_host_that_cannot_be_listened_to_is_named(host: str) -> None:
    descriptors = open_descriptors()
    with pytest.raises(ListenError, match="cannot listen on framelet://") as caught:
        Server(TcpAddress(host, 0)).start()
    assert isinstance(caught.value, OSError)
    assert open_descriptors() == descriptors


def test_a_port_in_use_is_reported_and_another_start_works_once_it_is_free() -> None:
    taken = socket.create_server(LOOPBACK)
    server = Server(taken.getsockname())
    threads, descriptors = threading.active_count(), open_descriptors()
    with pytest.raises(ListenError, match="in use"):
        server.start()
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors
    taken.close()
    with server:
        assert server.addresses == [server.address]


def test_a_start_that_fails_half_way_leaves_nothing_behind() -> None:
    def no_poller() -> Any:
        raise OSError(errno.EMFILE, "no descriptors left")

    threads, descriptors = threading.active_count(), open_descriptors()
    server = Server(LOOPBACK, poller=no_poller)
    with pytest.raises(OSError, match="no descriptors left"):
        server.start()
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors


class TestUnix:
    """Socket files: stale, in use, or no socket at all."""

    def test_the_file_is_made_and_removed(self, tmp_path: Path, connect: Connect) -> None:
        path = tmp_path / "server.sock"
        with Server(f"unix:{path}", limits=QUICK) as server:
            assert server.address == UnixAddress(str(path))
            assert path.is_socket()
            assert connect(server).ask("ab") == "ba"
        assert not path.exists()

    def test_a_stale_file_is_replaced(self, tmp_path: Path, connect: Connect) -> None:
        path = tmp_path / "server.sock"
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
        assert path.is_socket()
        with Server(f"unix:{path}", limits=QUICK) as server:
            assert connect(server).ask("ab") == "ba"

    def test_the_file_of_a_live_server_is_left_alone(self, tmp_path: Path, connect: Connect) -> None:
        path = tmp_path / "server.sock"
        with Server(f"unix:{path}", limits=QUICK) as server:
            with pytest.raises(ListenError, match="in use"):
                Server(f"unix:{path}").start()
            assert connect(server).ask("ab") == "ba"

    def test_the_file_of_a_live_server_whose_backlog_is_full_is_left_alone(self, tmp_path: Path) -> None:
        path = str(tmp_path / "server.sock")
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
            busy.bind(path)
            busy.listen(0)
            client.connect(path)
            with pytest.raises(ListenError, match="in use"):
                Server(f"unix:{path}").start()

    def test_a_file_that_is_no_socket_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "thesis.txt"
        path.write_text("ten years of work")
        with pytest.raises(ListenError, match="in use"):
            Server(f"unix:{path}").start()
        assert path.read_text() == "ten years of work"

    def test_a_link_to_a_stale_socket_is_left_alone(self, tmp_path: Path) -> None:
        link = tmp_path / "link"
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(tmp_path / "stale"))
        link.symlink_to("stale")
        with pytest.raises(ListenError, match="in use"):
            Server(f"unix:{link}").start()
        assert link.is_symlink()

    def test_a_socket_of_another_kind_is_left_alone(self, tmp_path: Path) -> None:
        path = str(tmp_path / "datagrams")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(path)
            with pytest.raises(ListenError, match="in use"):
                Server(f"unix:{path}").start()
            assert Path(path).is_socket()

    @pytest.mark.parametrize("path", ["x" * 200, "no/such/folder/server.sock", "", "\0abstract"])
    def test_a_path_that_cannot_be_listened_to_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(FrameletError):
            Server(UnixAddress(path)).start()

    def test_a_file_that_is_another_servers_by_now_is_left_alone(
        self, tmp_path: Path, connect: Connect
    ) -> None:
        path = tmp_path / "server.sock"
        with Server(f"unix:{path}", limits=QUICK) as first:
            path.unlink()
            with Server(f"unix:{path}", limits=QUICK) as second:
                first.stop()
                assert connect(second).ask("ab") == "ba"

    def test_a_file_that_cannot_be_removed_does_not_keep_the_server_from_ending(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unlink(self: Path, *, missing_ok: bool = False) -> None:
            del missing_ok
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

        path = tmp_path / "server.sock"
        with Server(f"unix:{path}", limits=QUICK) as server:
            monkeypatch.setattr(Path, "unlink", unlink)
            server.begin_drain()
            assert server.wait(20)
        monkeypatch.undo()
        assert "Permission denied" in caplog.text

    def test_a_new_server_may_take_the_path_as_soon_as_the_old_one_drains(
        self, tmp_path: Path, serve: Serve, connect: Connect, gate: Gate, poller: Any
    ) -> None:
        address = f"unix:{tmp_path / 'server.sock'}"
        old = serve(gate, address=address, poller=poller)
        peer = connect(old)
        peer.request("block")
        gate.await_entry()
        old.begin_drain()
        new = serve(address=address, poller=poller)
        gate.open()
        assert peer.replies(1) == ["kcolb"]
        peer.close()
        assert old.wait(20)
        assert connect(new).ask("ab") == "ba"
