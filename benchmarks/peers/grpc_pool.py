"""gRPC with generic handlers: its framing and its pool of threads, without messages of protobuf."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false
# (the package may be missing, or without types)
from __future__ import annotations

import concurrent.futures
import contextlib
import time
from typing import TYPE_CHECKING, Any

import grpc

from .common import Exchange, Options, announce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

THREADS = 8
SERVICE = "benchmarks.Reverser"


def serve(options: Options) -> None:
    """Serve until terminated."""
    handle = options.handler()

    def one(text: str, _: object) -> str:
        return handle(text)

    def many(texts: Iterator[str], _: object) -> Iterator[str]:
        return map(handle, texts)

    types = {"request_deserializer": bytes.decode, "response_serializer": str.encode}
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(options.threads or THREADS))
    handlers = {
        "One": grpc.unary_unary_rpc_method_handler(one, **types),
        "Many": grpc.stream_stream_rpc_method_handler(many, **types),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    announce(port)
    server.wait_for_termination()


TYPES: dict[str, Any] = {"request_serializer": str.encode, "response_deserializer": bytes.decode}


@contextlib.contextmanager
def connect(port: int) -> Iterator[Callable[[str], str]]:
    """One call at a time."""
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each client, as the others have
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        grpc.channel_ready_future(channel).result(10)
        yield channel.unary_unary(f"/{SERVICE}/One", **TYPES)


def pipelined(port: int, texts: Sequence[str]) -> Exchange:
    """One stream in each direction."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(10)
        call = channel.stream_stream(f"/{SERVICE}/Many", **TYPES)
        started = time.perf_counter()
        replies = list(call(iter(texts)))
        return Exchange(time.perf_counter() - started, replies)
