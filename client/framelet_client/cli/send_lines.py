"""``framelet send HOST PORT -``: every line of standard input is a request, every reply a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from framelet import ErrorReceived, FrameletError, escape
from framelet_client.errors import AnswerError

from .line_source import LineSource
from .progress import ProgressBar

if TYPE_CHECKING:
    from framelet import ApplicationReceived
    from framelet_client.client import Client

    from .results import Results


_IDLE_TIMEOUT = 300.0  # seconds, if HELLO does not state it: the default of ``framelet-server``


class LinesLeftError(Exception):
    """The exchange ended early with ``error``; ``line`` is the first without an answer."""

    def __init__(self, error: FrameletError, line: int) -> None:
        """Keep both."""
        super().__init__(error, line)
        self.error = error
        self.line = line


def send_lines(
    client: Client, descriptor: int, results: Results, *, end: bytes = b"\n", frame_type: int | None = None
) -> bool:
    """Send all lines and print their replies in order; returns whether none is missing.

    A line ends with ``end``, and so does its reply.  With a ``frame_type`` it is an application frame.  An
    error of a single line is reported, and does not stop the others.  Raises LinesLeftError
    when the connection ends, OSError when the input cannot be read, OutputError when the output fails.
    """
    complete = True

    def report(line: int, words: str) -> None:
        nonlocal complete
        complete = False
        results.fail([f"framelet: line {line}: {words}"], {"line": line, "message": words}, bar.complain)

    max_body, idle_timeout = limits_of(client)
    source = LineSource(
        descriptor,
        max_body,
        lambda line, why: report(line, f"skipped: {why}"),
        end=end,
        frame_type=frame_type,
    )
    bar = ProgressBar(descriptor)
    try:
        for answers in client.exchange(source, half_close=True, keep_alive=idle_timeout / 2):
            replies: list[str] = []
            for answer in answers:
                line = source.unanswered.popleft()
                if isinstance(answer, ErrorReceived):
                    report(line, f"ERROR {answer.code}: {escape(answer.text)}")
                    continue
                reply = answer if isinstance(answer, str) else cast("ApplicationReceived", answer).text
                if results.as_json:
                    results.show("reply", (), {"line": line, "text": reply})
                else:
                    replies.append(reply)
            results.output.write_lines(replies, end.decode())
            bar.update(source.octets_read)
    except FrameletError as error:
        raise LinesLeftError(error, source.next_number) from error
    finally:
        bar.close()
    return complete


def limits_of(client: Client) -> tuple[int, float]:
    """The longest body that both ends take, in octets, and the server's idle timeout, in seconds."""
    try:
        parameters = client.hello().parameters
    except AnswerError:  # a server of another version, which may still serve REQUESTs
        parameters = {}
    max_body = client.limits.max_body
    idle_timeout = int(parameters.get("idle-timeout-ms", 0)) / 1000 or _IDLE_TIMEOUT
    return min(max_body, int(parameters.get("max-body", max_body))), idle_timeout
