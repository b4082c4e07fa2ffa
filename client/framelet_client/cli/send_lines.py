"""``framelet send HOST PORT -``: every line of standard input is a request, every reply a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from framelet import ErrorReceived, FrameletError
from framelet_client.escaping import escape

from .line_source import LineSource
from .progress import ProgressBar

if TYPE_CHECKING:
    from framelet_client.client import Client

    from .terminal import Output


class LinesLeftError(Exception):
    """The exchange ended early with ``error``; ``line`` is the first that has no answer."""

    def __init__(self, error: FrameletError, line: int) -> None:
        """Keep both."""
        super().__init__(error, line)
        self.error = error
        self.line = line


def send_lines(client: Client, descriptor: int, output: Output) -> bool:
    """Send all lines and print their replies in order; returns whether none is missing.

    An error of a single line goes to standard error, and does not stop the others.  Raises LinesLeftError
    when the connection ends, OSError when the input cannot be read, OutputError when the output fails.
    """
    complete = True

    def report(line: int, words: str) -> None:
        nonlocal complete
        complete = False
        bar.complain(f"framelet: line {line}: {words}")

    source = LineSource(descriptor, client.limits.max_body, lambda line, why: report(line, f"skipped: {why}"))
    bar = ProgressBar(descriptor)
    try:
        for answers in client.exchange(source, half_close=True):
            replies: list[str] = []
            for answer in answers:
                line = source.unanswered.popleft()
                if isinstance(answer, ErrorReceived):
                    report(line, f"ERROR {answer.code}: {escape(answer.text)}")
                else:
                    replies.append(cast("str", answer))
            output.write_lines(replies)
            bar.update(source.octets_read)
    except FrameletError as error:
        raise LinesLeftError(error, source.next_number) from error
    finally:
        bar.close()
    return complete
