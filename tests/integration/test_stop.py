"""STOP and the signals that ask for the same: who may, and how the server ends; test_drain has the rest."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from framelet import Frame, FrameType, TcpAddress, decode_text, encode, parse_address
from framelet_server import StopPolicy

from .peers import refuses_connections, stopped
from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .peers import Command, Connect, Serve

    Start = Callable[..., Command]

STOP = encode(FrameType.STOP)


class TestPolicy:
    """Who may stop a server (REQ-STOP-1 to 5)."""

    @pytest.mark.req("REQ-STOP-1", "REQ-STOP-2", "REQ-STOP-8")
    def test_by_default_a_local_client_may(self, serve: Serve, connect: Connect, listen_on: Any) -> None:
        server = serve(address=listen_on)
        peer = connect(server)
        peer.send(STOP)
        assert peer.rest() == [stopped(0)]
        peer.close()
        assert server.wait(20)

    @pytest.mark.req("REQ-STOP-1")
    @pytest.mark.parametrize(
        ("policy", "token"),
        [
            (StopPolicy.local(), ""),
            (StopPolicy.local(), "any token"),
            (StopPolicy.with_token("secret é"), "secret é"),
        ],
    )
    def test_a_stop_that_is_allowed(
        self, serve: Serve, connect: Connect, policy: StopPolicy, token: str
    ) -> None:
        server = serve(stop_policy=policy)
        peer = connect(server)
        peer.send(encode(FrameType.STOP, token.encode()))
        assert peer.rest() == [stopped(0)]
        peer.close()
        assert server.wait(20)

    @pytest.mark.req("REQ-STOP-1", "REQ-STOP-3", "REQ-STOP-5", "REQ-SEC-3")
    @pytest.mark.parametrize(
        ("host", "policy", "token"),
        [
            ("127.0.0.1", StopPolicy.with_token("secret"), ""),
            ("127.0.0.1", StopPolicy.with_token("secret"), "Secret"),
            ("127.0.0.1", StopPolicy.with_token("secret"), "secret "),
            ("127.0.0.1", StopPolicy.with_token("secret"), "secre"),
            ("127.0.0.1", StopPolicy.with_token("secret"), "x" * 100_000),
            ("127.0.0.1", StopPolicy.off(), ""),
            ("127.0.0.1", StopPolicy.off(), "secret"),
            ("0.0.0.0", StopPolicy.local(), ""),  # noqa: S104 - what the policy must refuse
            ("::", StopPolicy.local(), ""),
        ],
    )
    def test_a_stop_that_is_refused_changes_nothing(  # noqa: PLR0913 - a matrix
        self,
        serve: Serve,
        connect: Connect,
        caplog: pytest.LogCaptureFixture,
        *,
        host: str,
        policy: StopPolicy,
        token: str,
    ) -> None:
        server = serve(address=(host, 0), stop_policy=policy)
        assert isinstance(server.address, TcpAddress)
        where = TcpAddress("::1" if ":" in host else "127.0.0.1", server.address.port)
        peer, other = connect(where), connect(where)
        assert other.ask("ab") == "ba"
        peer.request("before")
        peer.send(encode(FrameType.STOP, token.encode()))
        peer.request("after")
        reply, error, last = peer.take(3)
        assert (reply.body, last.body) == (b"erofeb", b"retfa")
        assert error.type == FrameType.ERROR
        assert error.body[:4] == b"403 "
        assert not server.wait(0.05)
        assert other.ask("ab") == "ba"
        assert connect(where).ask("ab") == "ba"
        for text in (caplog.text, decode_text(error.body)):
            assert not token or token not in text
            assert "secret" not in text


@pytest.fixture
def stuck(command: Start, tmp_path: Path) -> Start:
    """Start a server whose handler says that it was called, and never returns."""
    (tmp_path / "stuck.py").write_text(
        "import threading\n"
        "def handler(text):\n"
        "    print('called', flush=True)\n"
        "    threading.Event().wait()\n"
    )
    return lambda: command("--handler", "stuck:handler", "--drain-timeout", "1000", "--linger-timeout", "0.1")


class TestSignals:
    """The same drain, asked for by the system; in a process of its own."""

    @pytest.mark.req("REQ-STOP-6", "REQ-STOP-7")
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_drains_and_exits_with_0(
        self, command: Start, connect: Connect, number: signal.Signals
    ) -> None:
        server = command("--log-level", "info")
        address = server.address()
        idle, busy = connect(address), connect(address)
        busy.request(*["ab"] * 10_000)
        busy.await_receipt()
        assert idle.ask("ab") == "ba"
        server.process.send_signal(number)
        assert idle.receive() is None
        assert busy.replies(10_000) == ["ba"] * 10_000
        assert busy.receive() is None
        idle.close()
        busy.close()
        status, log = server.finish()
        assert status == 0
        assert number.name in log
        assert re.search(r"drained: 2 connections closed, 0 cut off", log)
        assert "Traceback" not in log

    @pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
    def test_a_second_signal_hastens(self, stuck: Start, connect: Connect, second: signal.Signals) -> None:
        server = stuck()
        address = server.address()
        peer = connect(address)
        peer.request("ab")
        assert server.line() == "called\n"
        server.process.send_signal(signal.SIGTERM)
        until(lambda: refuses_connections(parse_address(address)))
        server.process.send_signal(second)
        status, log = server.finish()
        assert status == (0 if second is signal.SIGTERM else -signal.SIGINT)
        assert "1 handlers have not returned" in log

    def test_two_signals_at_once_are_a_drain_cut_short(self, stuck: Start, connect: Connect) -> None:
        server = stuck()
        peer = connect(server.address())
        peer.request("ab")
        assert server.line() == "called\n"
        # Signals of one kind that come at once are one; of two kinds, they are two.
        os.kill(server.process.pid, signal.SIGTERM)
        os.kill(server.process.pid, signal.SIGINT)
        assert server.finish()[0] in {0, -signal.SIGINT}  # whichever the system tells of first

    def test_a_signal_that_cannot_be_obeyed_is_not_the_last_one(self, command: Start, until: Any) -> None:
        server = command(
            program="from framelet_server.process.notify import NotifyingObserver\n"
            "def drain_began(observer, reason): raise RuntimeError(reason)\n"
            "NotifyingObserver.drain_began = drain_began"
        )
        server.address()
        server.process.send_signal(signal.SIGTERM)
        until(lambda: any("SIGTERM could not be obeyed" in line for line in server.errors))
        server.process.send_signal(signal.SIGTERM)
        assert server.finish()[0] == 0

    @pytest.mark.req("REQ-STOP-8")
    def test_a_stop_ends_the_process_with_0(self, command: Start, connect: Connect, tmp_path: Any) -> None:
        path = tmp_path / "server.sock"
        server = command("--unix", str(path))
        peer = connect(server.address())
        peer.send(encode(FrameType.REQUEST, b"ab"), STOP)
        assert peer.rest() == [Frame(FrameType.REPLY, b"ba"), stopped(0)]
        peer.close()
        assert server.finish() == (0, "")
        assert not path.exists()
