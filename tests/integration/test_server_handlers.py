"""Handlers: whatever one does, it costs its caller one recoverable ERROR and nobody else anything."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import FrameType, HandlerError, IllFormedTextError, encode
from framelet_server import StopPolicy
from framelet_server.service.calls import HandlerCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.integration.peers import Gate

    from .peers import Connect, Serve


APPLICATION = 0xC0


class Unprintable(Exception):  # noqa: N818 - what it does, not what it is for
    def __str__(self) -> str:
        raise RuntimeError("not even this works")


def raising(error: BaseException) -> Callable[[str], str]:
    def handler(text: str) -> str:
        if text == "fail":
            raise error
        return text.upper()

    return handler


def returning(answer: Any) -> Callable[[str], str]:
    def handler(text: str) -> str:
        return answer if text == "fail" else text.upper()

    return handler


def endless(text: str) -> str:
    return endless(text) if text == "fail" else text.upper()


class NotFoundError(HandlerError):
    """A handler's own class of errors, with parameters of its own."""

    def __init__(self, what: str) -> None:
        super().__init__(462, f"no {what} 🙂")


class WrongError(HandlerError):
    def __init__(self) -> None:
        pass


REFUSING: dict[str, tuple[Callable[[str], str], bytes]] = {
    "code": (raising(HandlerError(460)), b"460 an error of the application's own"),
    "code and text": (raising(HandlerError(499, "words")), b"499 words"),
    "subclass": (raising(NotFoundError("room")), "462 no room 🙂".encode()),
    "passed on": (raising(HandlerError(404, "from elsewhere")), b"404 from elsewhere"),
    "surrogate": (raising(HandlerError(460, "a\ud800")), b"460 a?"),
    "without code": (raising(WrongError()), b"450 the server's handler failed on this frame"),
}


@pytest.mark.req("REQ-ERROR-15", "REQ-ERROR-4")
@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("executor", [0, 1])
@pytest.mark.parametrize("case", REFUSING)
def test_a_handler_refuses_its_frame_with_a_code_of_the_application(  # noqa: PLR0913, PLR0917 - fixtures
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, case: str, executor: int, at_once: int
) -> None:
    handler, body = REFUSING[case]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        server = serve(handler, handlers={APPLICATION: handler}, executor=pool if executor else None)
        peer = connect(server)
        for _ in range(3):
            peer.request(*["fail", "a", "fail"][:at_once])
            expected = [(FrameType.ERROR, body), (FrameType.REPLY, b"A"), (FrameType.ERROR, body)]
            assert [(frame.type, frame.body) for frame in peer.take(at_once)] == expected[:at_once]
        peer.send(encode(APPLICATION, b"fail"))
        assert peer.take(1) == [(FrameType.ERROR, body)]
        assert server.metrics().errors == {body[:3].decode(): 4 + 3 * (at_once == 3)}
        server.stop()
    assert (body[:4] == b"450 ") == any("handler" in record.message for record in caplog.records)


FAILING: dict[str, Callable[..., Any]] = {
    "exception": raising(ValueError("secret internals")),
    "SystemExit": raising(SystemExit(3)),
    "KeyboardInterrupt": raising(KeyboardInterrupt()),
    "CancelledError": raising(asyncio.CancelledError()),
    "GeneratorExit": raising(GeneratorExit()),
    "StopIteration": raising(StopIteration()),
    "MemoryError": raising(MemoryError()),
    "exception without text": raising(Unprintable()),
    "reset of another connection": raising(OSError(errno.ECONNRESET, "the handler's own connection")),
    "another socket would block": raising(BlockingIOError(errno.EAGAIN, "the handler's own socket")),
    "ill-formed text of its own": raising(IllFormedTextError("in the handler")),
    "group": raising(BaseExceptionGroup("several", [ValueError("secret internals"), SystemExit()])),
    "recursion": endless,
    "None": returning(None),
    "octets": returning(b"octets"),
    "number": returning(5),
    "lone surrogate": returning("lone \ud800 surrogate"),
}


@pytest.mark.req("REQ-ERROR-4", "REQ-SEC-2")
@pytest.mark.parametrize("handler", FAILING.values(), ids=FAILING.keys())
def test_a_handler_that_fails_costs_its_caller_one_recoverable_error(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, handler: Any
) -> None:
    before = threading.active_count()
    server = serve(handler, threads=2)
    peer, other = connect(server), connect(server)
    for _ in range(3):  # more often than there are threads to lose
        peer.request("a", "fail", "b")
        (first, failed, last) = peer.take(3)
        assert (first.body, last.body) == (b"A", b"B")
        assert failed.type == FrameType.ERROR
        assert failed.body[:4] == b"450 "
        assert b"secret" not in failed.body
        assert other.ask("c") == "C"
    assert threading.active_count() == before + 3
    logged = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(logged) == 3
    assert all("handler" in record.message for record in logged)


def test_handlers_run_at_the_same_time_and_never_two_for_one_client(
    serve: Serve, connect: Connect, poller: Any
) -> None:
    together = threading.Barrier(4)
    running: dict[str, int] = {}

    def handler(text: str) -> str:
        client = text[0]
        running[client] = running.get(client, 0) + 1
        assert running[client] == 1
        together.wait(20)  # four handlers at once, or none goes on
        running[client] -= 1
        return text

    server = serve(handler, poller=poller, threads=4)
    peers = [connect(server) for _ in range(4)]
    for name, peer in zip("abcd", peers, strict=True):
        peer.request(*[f"{name}{number}" for number in range(25)])
    for name, peer in zip("abcd", peers, strict=True):
        assert peer.replies(25) == [f"{name}{number}" for number in range(25)]


@pytest.mark.req("REQ-ERROR-6", "REQ-ERROR-8")
def test_a_fault_of_the_server_itself_ends_one_connection_with_an_error_that_can_be_read(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer = HandlerCalls.answer

    def faulty(self: HandlerCalls, texts: Sequence[str], sender: Any) -> list[str]:
        if "fault" in texts:
            raise ZeroDivisionError("a fault of the server")
        return answer(self, texts, sender)

    monkeypatch.setattr(HandlerCalls, "answer", faulty)
    server = serve(lambda text: text[::-1], turn_octets=1_000)
    peer, other = connect(server), connect(server)
    # What is behind the fault has not been read when it happens: a reset would take the ERROR away.
    peer.request("fault", *["x" * 100] * 100)
    assert peer.error() == 500
    assert peer.receive() is None
    assert other.ask("ab") == "ba"
    assert "a fault of the server" in caplog.text


def test_a_bound_method_of_a_c_type_is_a_handler(serve: Serve, connect: Connect) -> None:
    assert connect(serve("-".join)).ask("abc") == "a-b-c"


def test_a_worker_that_is_held_up_is_relieved_where_one_serves_all(
    serve: Serve, connect: Connect, gate: Gate
) -> None:
    class Stuck(logging.Handler):
        """A log that cannot be written, as on a pipe that nobody reads."""

        def emit(self, record: logging.LogRecord) -> None:
            if "STOP refused" in record.getMessage():
                gate("block")

    log = logging.getLogger("framelet_server")
    stuck = Stuck()
    log.addHandler(stuck)
    try:
        server = serve(threads=2, stop_policy=StopPolicy.off())
        peer, other = connect(server), connect(server)
        peer.send(encode(FrameType.STOP))
        gate.await_entry()
        assert other.ask("ab") == "ba"  # a second later
        gate.open()
        assert peer.error() == 403
    finally:
        log.removeHandler(stuck)
