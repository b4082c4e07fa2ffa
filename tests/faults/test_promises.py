"""Promises of SECURITY.md that no other test is about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from framelet import FrameType, encode
from framelet_server import StopPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Gate, Peer

    from framelet_server import Server

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]


@pytest.mark.req("REQ-TIME-1", "REQ-TIME-5")
def test_deadlines_are_enforced_while_every_worker_is_busy(
    serve: Serve, connect: Connect, gate: Gate
) -> None:
    server = serve(gate, threads=2, frame_timeout=1.0, idle_timeout=1.0)
    slow, idle, busy = connect(server), connect(server), [connect(server) for _ in range(2)]
    slow.send(encode(FrameType.REQUEST, b"ab")[:3])
    slow.await_receipt()
    assert idle.ask("ab") == "ba"  # so that the others are known by now
    for peer in busy:
        peer.request("block")
        gate.await_entry()
    assert slow.error() == 504
    assert idle.error() == 505
    gate.open()
    assert [peer.replies(1) for peer in busy] == [["kcolb"]] * 2


@pytest.mark.req("REQ-SEC-2", "REQ-SEC-3")
@pytest.mark.parametrize("last", [b"\x7f", b"\x01\xff\xff\xff\xff", b"\x05\0\0\0\x0a500 marker", b"\x01\0\0"])
def test_nothing_that_a_client_sent_is_in_the_log(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, last: bytes
) -> None:
    caplog.set_level(logging.DEBUG, "framelet_server")
    server = serve(stop_policy=StopPolicy.with_token("the marker is right"))
    peer = connect(server)
    marked = {
        FrameType.REQUEST: [b"marker", b"marker\xff"],
        FrameType.PING: [b"marker", b"marker" * 20],
        FrameType.HELLO: [b"framelet/1 marker=marker", b"framelet/9 marker", b"marker"],
        FrameType.STOP: [b"marker", b"marker\xff"],
        0xC0: [b"marker"],
        0x80: [b"marker"],
    }
    peer.send(*(encode(kind, body) for kind, bodies in marked.items() for body in bodies), last)
    peer.end()
    assert len(peer.rest()) >= 10
    stopper = connect(server)
    stopper.send(encode(FrameType.STOP, b"the marker is right"))
    assert stopper.take(1)[0].type == FrameType.STOPPED
    stopper.close()
    assert server.wait(20)
    assert "STOP refused" in caplog.text
    assert "marker" not in caplog.text
