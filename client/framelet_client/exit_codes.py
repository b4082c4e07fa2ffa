"""What the exit codes of the command line mean; ``framelet --help`` and docs/cli.md list them from here."""

from __future__ import annotations

import enum
from typing import Self


class ExitCode(enum.IntEnum):
    """How a command ended; each with its meaning in words."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        """Keep the words as an attribute."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    SUCCESS = 0, "everything was answered"
    USAGE = 2, "the command line, or a file that it names, is wrong; nothing was sent"
    NO_CONNECTION = 3, "no connection could be made, or it was lost before the answer"
    TIMED_OUT = 4, "the server did not answer in time"
    PROTOCOL_ERROR = 5, "the server broke the protocol, or the decoded octets do"
    ERROR_ANSWERED = 6, "the server answered ERROR"
    PARTIAL = 7, "some lines or answers are missing or wrong: skipped, answered ERROR, or lost midway"
    INTERRUPTED = 130, "interrupted from the keyboard"


def table() -> str:
    """All codes, one a line."""
    return "\n".join(f"{code:>3}  {code.meaning}" for code in ExitCode)
