"""A peer in a process of its own, over pipes: the child serves on its standard input and output.

python examples/pipes.py [TEXT...]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from framelet import ClientConnection, ReplyReceived, RequestReceived, ServerConnection, reverse


def serve() -> None:
    """Answer until the input ends."""
    connection = ServerConnection(now=time.monotonic())
    while not connection.finished:
        if data := os.read(0, 65_536):
            connection.receive_data(data, time.monotonic())
        else:
            connection.receive_eof()
        while (event := connection.next_event()) is not None:
            if isinstance(event, RequestReceived):
                connection.send_reply(event, reverse(event.text))
        sys.stdout.buffer.write(connection.data_to_send(time.monotonic()))
        sys.stdout.buffer.flush()


def ask(texts: list[str]) -> list[str]:
    """Ask a child for one reply after the other: two pipes that both fill up would block both."""
    replies: list[str] = []
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:  # noqa: S603 - this file
        assert child.stdin is not None  # noqa: S101 - asked for
        assert child.stdout is not None  # noqa: S101 - asked for
        connection = ClientConnection(now=time.monotonic())
        for text in texts:
            connection.send_request(text)
            child.stdin.write(connection.data_to_send(time.monotonic()))
            child.stdin.flush()
            while (event := connection.next_event()) is None:
                if data := os.read(child.stdout.fileno(), 65_536):
                    connection.receive_data(data, time.monotonic())
                else:
                    connection.receive_eof()
            if not isinstance(event, ReplyReceived):
                sys.exit(f"no reply: {event}")
            replies.append(event.text)
        child.stdin.close()  # the child sees the end, and ends
    return replies


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        print("\n".join(ask(sys.argv[1:] or ["hello", "world"])))
