"""How the command writes its log: lines for people, or one JSON object each.

The rest of the package knows nothing of this: it logs by the standard library, with fields beside the
message.  What a client sent can be in the log all the same, inside the error that a handler raised.  So
neither form lets any text begin a line of its own, or reach a terminal as anything but text.
"""

from __future__ import annotations

import enum
import json
import logging
import time


class LogFormat(enum.StrEnum):
    """The forms of the log."""

    HUMAN = "human"
    JSON = "json"


_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""What every record has; all else are fields."""


HUMAN = "%(asctime)s %(levelname)s %(message)s"
HUMAN_OF_SEVERAL = "%(asctime)s %(levelname)s [%(process)d] %(message)s"
"""Where several processes write to one log."""


def configure(level: str, form: LogFormat, human: str = HUMAN) -> None:
    """Have everything from ``level`` on written to stderr in a form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form is LogFormat.JSON else HumanFormatter(human))
    logging.basicConfig(level=level.upper(), handlers=[handler])


class HumanFormatter(logging.Formatter):
    """Time, level, message; a traceback follows, each of its lines indented."""

    def __init__(self, form: str = HUMAN) -> None:
        """Use one of the standard library's %-formats."""
        super().__init__(form)

    def format(self, record: logging.LogRecord) -> str:
        """One line, and further ones that begin with blanks."""
        # A copy, because the standard formatter keeps the text of a traceback in the record.
        first, *rest = super().format(logging.makeLogRecord(_without_trace(record))).split("\n")
        lines = [printable("\\n".join([first, *rest]))]
        lines += [f"    {printable(line)}" for line in _trace(self, record)]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One object on one line: time, level, logger, message, the fields, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of ASCII."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        found = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        trace = _trace(self, record)
        if trace:
            found["traceback"] = "\n".join(trace)
        return json.dumps(found, default=str)


def printable(text: str) -> str:
    """The text with everything escaped that is no printable character."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _without_trace(record: logging.LogRecord) -> dict[str, object]:
    return {**vars(record), "exc_info": None, "exc_text": None, "stack_info": None}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """The lines of the traceback, in the widest sense of a line."""
    text = formatter.formatException(record.exc_info) if record.exc_info else ""
    return text.splitlines()
