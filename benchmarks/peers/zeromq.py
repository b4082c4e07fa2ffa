"""ZeroMQ: a ROUTER as the server, REQ and DEALER as its clients."""

# pyright: reportMissingImports=false
# (the package may be missing, or without types)
from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import zmq

from .common import WINDOW, Exchange, Options, announce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def serve(options: Options) -> None:
    """Serve until terminated."""
    assert not options.delay  # noqa: S101 - one thread owns the socket
    handle = options.handler()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.sndhwm = 0  # a ROUTER drops what is above it, and the client would wait for ever
        announce(router.bind_to_random_port("tcp://127.0.0.1"))
        while True:
            client, empty, body = router.recv_multipart()
            router.send_multipart([client, empty, handle(body.decode()).encode()])


@contextlib.contextmanager
def connect(port: int) -> Iterator[Callable[[str], str]]:
    """One request at a time."""
    with zmq.Context() as context, context.socket(zmq.REQ) as requester:
        requester.connect(f"tcp://127.0.0.1:{port}")

        def request(text: str) -> str:
            requester.send(text.encode())
            return requester.recv().decode()

        yield request


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """A window of requests."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(f"tcp://127.0.0.1:{port}")
        replies: list[str] = []
        started = time.perf_counter()
        for number, text in enumerate(texts):
            dealer.send_multipart([b"", text.encode()])
            if number >= WINDOW - 1:
                replies.append(dealer.recv_multipart()[1].decode())
        while len(replies) < len(texts):
            replies.append(dealer.recv_multipart()[1].decode())
        return Exchange(time.perf_counter() - started, replies)
