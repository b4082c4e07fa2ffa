"""The answers that a server's end gives by itself: PONG, HELLO and ERROR."""

from __future__ import annotations

from typing import NamedTuple

from . import grammar
from .errors import HelloMalformedError, PingTooLargeError, VersionUnsupportedError
from .limits import MAX_ERROR_BODY, MAX_LENGTH, MAX_PING_BODY, ConnectionLimits
from .registry import VERSION, ErrorCode, FrameType


class Ready(NamedTuple):
    """An answer that needs no program.

    The client takes bodies of up to ``peer_max_body`` after it, where that is given; ``last`` says that
    nothing may be sent after it.
    """

    type: int
    body: bytes
    peer_max_body: int | None = None
    last: bool = False


def own_answer(frame_type: int, body: bytes, limits: ConnectionLimits) -> Ready | None:
    """The answer to a PING or HELLO; None for what the program answers.

    Raises the error of a body that is not of its form.
    """
    if frame_type == FrameType.PING:
        return Ready(FrameType.PONG, _check_ping(body))
    return _answer_hello(body, limits) if frame_type == FrameType.HELLO else None


def error_body(code: ErrorCode, text: str = "") -> bytes:
    """The body of an ERROR (REQ-ERROR-1), its text cut to what REQ-ERROR-14 allows."""
    words = text or code.condition.replace("`", "")
    body = f"{code:d} {words}".encode("utf-8", "replace")[:MAX_ERROR_BODY]
    return body.decode("utf-8", "ignore").encode()


def _check_ping(body: bytes) -> bytes:
    if len(body) > MAX_PING_BODY:
        message = f"the body of a PING is {len(body)} octets long, more than {MAX_PING_BODY}"
        raise PingTooLargeError(message)
    return body


def _answer_hello(body: bytes, limits: ConnectionLimits) -> Ready:
    """The answer to a HELLO, with what it changes for the answers after it (REQ-HELLO-1 to 5)."""
    try:
        hello = grammar.parse_body(grammar.HelloBody, body)
    except ValueError as error:
        raise HelloMalformedError(str(error)) from None
    if hello.version != VERSION:
        message = f"version {hello.version} is not spoken here, only {VERSION}"
        raise VersionUnsupportedError(message)
    parameters = {
        "max-body": str(limits.max_body),
        "frame-timeout-ms": str(round(limits.frame_timeout * 1000)),
        "idle-timeout-ms": str(round(limits.idle_timeout * 1000)),
    }
    return Ready(
        FrameType.HELLO,
        grammar.HelloBody.build(grammar.Hello(VERSION, parameters)),
        int(hello.parameters.get("max-body", MAX_LENGTH)),
    )
