"""Everything at once: clients that behave, break the protocol, stall, half-close and vanish, at random.

The seeds are fixed; which thread comes first is not, so each run looks at other orders of events.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, TcpAddress, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Peer

    from framelet_server import Server

    Serve = Callable[..., Server]
    Connect = Callable[..., Peer]

CLIENTS, ROUNDS = 12, 25


def good(peer: Peer, chance: random.Random) -> None:
    texts = [str(chance.random()) * chance.choice([1, 1, 1, 500]) for _ in range(chance.randrange(1, 20))]
    thread = threading.Thread(target=peer.request, args=texts)
    thread.start()
    assert peer.replies(len(texts)) == [text[::-1] for text in texts]
    thread.join()


def half_closed(peer: Peer, chance: random.Random) -> None:
    texts = [str(chance.random()) for _ in range(chance.randrange(20))]
    peer.request(*texts)
    peer.send(encode(FrameType.REQUEST, b"part")[: chance.randrange(9)])
    peer.end()
    assert [frame.body.decode() for frame in peer.rest()] == [text[::-1] for text in texts]


def refused(peer: Peer, chance: random.Random) -> None:
    peer.request("ab")
    peer.send(chance.choice([b"\x00", b"\x02", b"\x16"]) + b"\0\0\0\0", b"x" * chance.randrange(100_000))
    assert peer.replies(1) == ["ba"]
    assert peer.error() in (501, 502)
    assert peer.receive() is None


def failing(peer: Peer, chance: random.Random) -> None:
    count = chance.randrange(1, 10)
    peer.request(*["fail"] * count)
    assert [peer.error() for _ in range(count)] == [450] * count
    assert peer.ask("ab") == "ba"


def deaf(peer: Peer, chance: random.Random) -> None:
    peer.sock.settimeout(0)
    data = encode(FrameType.REQUEST, b"x" * chance.choice([10, 100_000])) * 50
    try:
        for _ in range(chance.randrange(1, 30)):
            peer.sock.send(data)
    except BlockingIOError:
        pass


def garbage(peer: Peer, chance: random.Random) -> None:
    peer.send(chance.randbytes(chance.randrange(1, 5_000)))


def stopping(peer: Peer, chance: random.Random) -> None:
    peer.send(encode(FrameType.STOP, chance.choice([b"", b"wrong", b"\xff"])))
    assert peer.error() in (400, 403)


def silent(peer: Peer, chance: random.Random) -> None:
    del peer, chance


BEHAVIOURS = [good, good, half_closed, refused, failing, deaf, garbage, stopping, silent]


def handler(text: str) -> str:
    if text == "fail":
        raise ValueError(text)
    return text[::-1]


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_of_all_kinds(  # noqa: PLR0913 - fixtures, and one parameter
    serve: Serve,
    connect: Connect,
    until: Any,
    caplog: pytest.LogCaptureFixture,
    *,
    poller: Any,
    seed: int,
) -> None:
    server = serve(
        handler,
        poller=poller,
        threads=3,
        max_unsent=50_000,
        turn_octets=20_000,
        frame_timeout=0.3,
        write_timeout=0.3,
        linger_timeout=0.3,
        max_connections=1_000,
        address=("0.0.0.0", 0),  # noqa: S104 - so that no STOP is allowed
    )
    assert isinstance(server.address, TcpAddress)
    where = TcpAddress("127.0.0.1", server.address.port)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the number is wanted
    faults: list[BaseException] = []

    def live(number: int) -> None:
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - repeatable, not secret
        try:
            for _ in range(ROUNDS):
                options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)] if chance.random() < 0.3 else []
                peer = connect(where, *options)
                chance.choice(BEHAVIOURS)(peer, chance)
                chance.choice([peer.close, peer.reset])()
        except BaseException as fault:  # noqa: BLE001 - shown by the test
            faults.append(fault)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for fault in faults:
        raise fault
    until(lambda: len(os.listdir("/proc/self/fd")) == before)  # noqa: PTH208 - only the number is wanted
    assert connect(where).ask("ab") == "ba"
    assert {record.levelname for record in caplog.records if "handler" not in record.message} <= {
        "WARNING",
        "INFO",
    }
    server.begin_drain()
    assert server.wait(20)
