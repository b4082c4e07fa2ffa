"""spec/framelet.lua, run by tshark over real traffic, shows the frames that were sent.

Needs tshark, and to be allowed to capture.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from framelet import FrameType, Role, encode
from framelet_server import ListenError, Server

from .dissecting import (
    GET,
    PATIENCE,
    TOO_LARGE,
    TSHARK,
    assert_same,
    dissect,
    needs_tshark,
    sent_stream,
    shown_stream,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .peers import Peer

    Connect = Callable[..., Peer]

pytestmark = needs_tshark


class Capture:
    """Captures what goes to and from a port of 127.0.0.1, between ``begin`` and ``end``."""

    def __init__(self, path: Path, port: int, probe: Peer) -> None:
        self.path = path
        self._probe = probe
        self._process = subprocess.Popen(
            [TSHARK, "-q", "-i", "lo", "-f", f"tcp port {port}", "-w", path],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def begin(self) -> None:
        """Wait until what is sent is captured; skips the test where that is not allowed."""
        self._see(b"the capture has begun")

    def _see(self, mark: bytes) -> None:
        """Send a PING until both it and its PONG are in the file."""
        deadline = time.monotonic() + PATIENCE
        while not self.path.exists() or self.path.read_bytes().count(mark) < 2:
            if self._process.poll() is not None:
                _, errors = self._process.communicate()
                pytest.skip(f"tshark may not capture here: {' '.join(errors.decode().split())}")
            assert time.monotonic() < deadline, "nothing is captured"
            self._probe.send(encode(FrameType.PING, mark))
            self._probe.take(1)
            threading.Event().wait(0.02)  # the file is written every tenth of a second

    def end(self) -> Path:
        """Wait until all that was sent so far is in the file, and stop."""
        self._see(b"the capture ends")
        self.stop()
        return self.path

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=PATIENCE)


@pytest.fixture
def served(serve: Callable[..., Server]) -> tuple[Server, int]:
    """A server and its port, below those that clients get: Wireshark looks up the lower port first."""
    for port in range(26_660, 26_760):
        try:
            return serve(address=("127.0.0.1", port)), port
        except ListenError:
            continue
    pytest.skip("no port between 26,660 and 26,759 is free")


@pytest.fixture
def capture(served: tuple[Server, int], connect: Connect, tmp_path: Path) -> Iterator[Capture]:
    server, port = served
    taken = Capture(tmp_path / "real.pcapng", port, connect(server))
    try:
        taken.begin()
        yield taken
    finally:
        taken.stop()


CONVERSATIONS: dict[str, list[bytes]] = {
    "text": [text(1, "h\N{LATIN SMALL LETTER E WITH ACUTE}\N{EURO SIGN}\N{GRINNING FACE}")],
    "empty, NUL, line ends": [text(1) + text(1, "a\0b\r\n\0")],
    "two frames in one segment": [text(1, "ab") + text(6, "c")],
    "one frame in many segments": [bytes([octet]) for octet in text(1, "hello")],
    "cut where no frame ends": [(text(1, "ab") + text(6, "c"))[:9], (text(1, "ab") + text(6, "c"))[9:]],
    "long": [text(1, "0123456789" * 30_000)],
    "ill-formed": [text(1, "ab") + encode(1, b"\xed\xa0\x80") + text(6, "end")],
    "HELLO": [text(8, "framelet/1 max-body=65536 name=x") + text(8, "framelet/1 ") + text(8, "framelet/2")],
    "application, ignorable": [text(0xC0, "x") + encode(0x80, b"\xff") + text(6, "end")],
    "PING too large": [text(6, "x" * 65)],
    "HTTP": [GET],
    "too large": [text(1, "ab") + TOO_LARGE],
    "wrong side": [text(1, "ab") + text(2, "ba")],
}


@pytest.mark.req("REQ-FRAME-1", "REQ-FRAME-4", "REQ-ORDER-1", "REQ-ERROR-1", "REQ-TYPE-1", "REQ-TEXT-2")
def test_captured_traffic_is_shown_as_it_was_sent(
    capture: Capture, served: tuple[Server, int], connect: Connect
) -> None:
    server, port = served
    conversations = {}
    for name, pieces in CONVERSATIONS.items():
        peer = connect(server)
        for piece in pieces:
            peer.send(piece)
            peer.await_receipt()  # so that each piece is a segment of its own
        peer.end()
        answers = b"".join(encode(*frame) for frame in peer.rest())
        conversations[name] = peer.sock.getsockname()[1], b"".join(pieces), answers
    packets = dissect(capture.end(), "-o", f"framelet.ports:{port}")
    for name, (source, asked, answers) in conversations.items():
        assert answers, name
        assert_same(shown_stream(packets, source, port), sent_stream(asked, Role.CLIENT), name)
        assert_same(shown_stream(packets, port, source), sent_stream(answers, Role.SERVER), name)

    def packets_of(name: str) -> list[int]:
        """How many frames each packet of the client has."""
        return [len(packet.layers) for packet in packets if packet.source == conversations[name][0]]

    assert packets_of("two frames in one segment") == [2]
    assert packets_of("one frame in many segments") == [1]
    assert packets_of("cut where no frame ends") == [1, 1]
