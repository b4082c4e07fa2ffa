"""The adapter by which the conformance suite drives ``framelet_client``.

framelet-conformance client --launch 'python examples/conformance_adapter.py {host} {port}'
"""

from __future__ import annotations

import json
import sys
from collections import deque
from typing import Any

from framelet import ClientConnection, ErrorReceived, FrameletError, HelloReceived, StoppedReceived
from framelet_client import Client, ClientLimits, FatalAnswerError


class Frames:
    """The frames of one exchange, for ``Client.exchange``."""

    def __init__(self, asked: list[dict[str, str]]) -> None:
        """Take frames as the suite names them."""
        self.error: Exception | None = None
        self._left = deque(asked)
        self.exhausted = False

    def fileno(self) -> None:
        """Nothing to wait for."""

    def feed(self, connection: ClientConnection, frames: int, octets: int) -> None:
        """Queue some; one that the client will not send ends the exchange."""
        try:
            while self._left and frames and connection.output_size < octets:
                queue(connection, self._left.popleft())
                frames -= 1
        except FrameletError as error:
            self.error = error
        self.exhausted = not self._left or self.error is not None


def queue(connection: ClientConnection, asked: dict[str, str]) -> None:
    """Queue one frame."""
    name, text = asked["type"], bytes.fromhex(asked["body"]).decode(errors="surrogateescape")
    if name == "HELLO":
        connection.send_hello()
    elif name in {"REQUEST", "PING", "STOP"}:
        getattr(connection, f"send_{name.lower()}")(text)
    else:
        connection.send_application(int(name, 16), text)


def report(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the answers
    """What to print for an answer."""
    if isinstance(answer, ErrorReceived):
        return {"error": answer.code}
    if isinstance(answer, HelloReceived):
        text = " ".join([f"framelet/{answer.version}", *(f"{k}={v}" for k, v in answer.parameters.items())])
    elif isinstance(answer, StoppedReceived):
        text = f"closed={answer.closed} cut={answer.cut}"
    else:
        text = answer if isinstance(answer, str) else answer.text
    return {"answer": text.encode().hex()}


def converse(host: str, port: int, job: dict[str, Any]) -> None:
    """Hold one conversation and print what came of it."""
    limits = ClientLimits(answer_timeout=job["answer_timeout"])
    if job["max_body"] is not None:
        limits = limits.replace(max_body=job["max_body"])
    turns = [job["ask"]] if job["pipeline"] else [[asked] for asked in job["ask"]]
    fatal = None
    client = None
    for turn in turns:
        unanswered = len(turn)
        try:
            client = client or Client(host, port, limits=limits)
            for answers in client.exchange(Frames(turn)):
                unanswered -= len(answers)
                for answer in answers:
                    print(json.dumps(report(answer)))
        except FrameletError as error:
            fatal = error.code if isinstance(error, FatalAnswerError) else fatal
            for _ in range(unanswered):
                print(json.dumps({"failed": str(error)}))
    if client is not None:
        client.close()
    print(json.dumps({"fatal": fatal, "closed": True}))


def main() -> None:
    """Read what is asked, and hold as many conversations."""
    job = json.load(sys.stdin)
    for _ in range(job.get("repeat", 1)):
        converse(sys.argv[1], int(sys.argv[2]), job)


if __name__ == "__main__":
    main()
