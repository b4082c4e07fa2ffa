"""How the command writes its log: lines for people, or one JSON object each.

The rest of the package knows nothing of this: it logs by the standard library, with fields beside the
message.  What a client sent can be in the log all the same, inside the error that a handler raised.  So
neither form lets any text begin a line of its own, or reach a terminal as anything but text; and what is long
is cut before anything is done with it.
"""

from __future__ import annotations

import enum
import json
import logging
import sys
import time
import traceback

from framelet import escape

from .log_queue import LogQueue


class LogFormat(enum.StrEnum):
    """The forms of the log."""

    HUMAN = "human"
    JSON = "json"


_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""What every record has; all else are fields."""


HUMAN = "%(asctime)s %(levelname)s %(message)s"
HUMAN_OF_SEVERAL = "%(asctime)s %(levelname)s [%(process)d] %(message)s"
"""Where several processes write to one log."""


MOST = 2_048
"""Characters of a text that are logged: of a message, a field, a line of a traceback."""

_MOST_CHAINED, _MOST_CALLS, _MOST_NOTES = 8, 16, 4
"""Of a traceback: exceptions in a chain, the innermost calls of each, and its notes or parts."""

_DIRECTLY = "The above exception was the direct cause of the following exception:"
_MEANWHILE = "During handling of the above exception, another exception occurred:"


def configure(level: str, form: LogFormat, human: str = HUMAN) -> None:
    """Have everything from ``level`` on written to stderr in a form, if it is open."""
    if sys.stderr is None:
        logging.disable()
        return
    formatter = JsonFormatter() if form is LogFormat.JSON else HumanFormatter(human)
    logging.basicConfig(level=level.upper(), handlers=[LogQueue(sys.stderr.fileno(), formatter)])


def cut(text: str) -> str:
    """The text, or its first part and how much more there was."""
    left_out = len(text) - MOST
    return text if left_out <= 0 else f"{text[:MOST]}... ({left_out} more characters)"


class HumanFormatter(logging.Formatter):
    """Time, level, message; a traceback follows, each of its lines indented."""

    def __init__(self, form: str = HUMAN) -> None:
        """Use one of the standard library's %-formats."""
        super().__init__(form)

    def format(self, record: logging.LogRecord) -> str:
        """One line, and further ones that begin with blanks."""
        # A copy, because the standard formatter keeps the text of a traceback in the record.
        first, *rest = super().format(logging.makeLogRecord(_shown(record))).split("\n")
        lines = [escape("\\n".join([first, *rest]))]
        lines += [f"    {escape(line)}" for line in _trace(record)]
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
            "message": cut(record.getMessage()),
            **{
                name: cut(value) if isinstance(value, str) else value
                for name, value in vars(record).items()
                if name not in _STANDARD
            },
        }
        trace = _trace(record)
        if trace:
            found["traceback"] = "\n".join(trace)
        return json.dumps(found, default=str)


def _shown(record: logging.LogRecord) -> dict[str, object]:
    """A record's message, of a bounded length, and no traceback."""
    message = cut(record.getMessage())
    return {
        **vars(record),
        "msg": message,
        "args": (),
        "exc_info": None,
        "exc_text": None,
        "stack_info": None,
    }


def _trace(record: logging.LogRecord) -> list[str]:
    """The lines of the traceback, in the widest sense of a line; none is long, and there are not many."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return []
    # The standard library would make the whole text of all that is chained first, for megaoctets in seconds.
    chain: list[tuple[str, BaseException]] = [("", error)]
    while len(chain) < _MOST_CHAINED:
        if error.__cause__ is not None:
            how, error = _DIRECTLY, error.__cause__
        elif error.__context__ is not None and not error.__suppress_context__:
            how, error = _MEANWHILE, error.__context__
        else:
            break
        chain.append((how, error))
    lines = []
    for how, error in reversed(chain):
        lines += [*_lines_of(error), *([how] if how else [])]
    return lines


def _lines_of(error: BaseException, depth: int = 0) -> list[str]:
    """One exception, its notes, and the first ones of a group."""
    pieces = ["Traceback (most recent call last):", *traceback.format_tb(error.__traceback__, -_MOST_CALLS)]
    pieces = pieces if error.__traceback__ else []
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    notes = vars(error).get("__notes__")
    pieces += [f"{name}: {_text_of(error)}"]
    pieces += map(_text_of, notes[:_MOST_NOTES] if isinstance(notes, list) else ())
    lines = [line for piece in pieces for line in cut(piece).splitlines()]
    if isinstance(error, BaseExceptionGroup) and depth < _MOST_NOTES:
        for part in error.exceptions[:_MOST_NOTES]:
            lines += [f"  | {line}" for line in _lines_of(part, depth + 1)]
    return lines


def _text_of(told: object) -> str:
    try:
        return str(told)
    except BaseException as error:  # noqa: BLE001 - the program's own code; SystemExit must not end a worker
        return f"<it cannot be shown: {type(error).__name__}>"
