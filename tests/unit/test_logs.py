"""The command's log, and the limited_log before it: nothing that a client sends shapes or floods it."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from framelet_server.observe.histogram import BOUNDS, Histogram
from framelet_server.observe.log_limit import LogLimit
from framelet_server.observe.log_queue import LogQueue
from framelet_server.observe.logs import HumanFormatter, JsonFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator

FORGED = "x\n2026-01-01 00:00:00,000 ERROR x\r\x1b[2J\x9b1m\u2028\u202e\x00\x85\u200b\U000e0041 forged too"


@pytest.fixture(params=[HumanFormatter, JsonFormatter])
def log(request: pytest.FixtureRequest) -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger of each form, and what it writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(request.param())
    logger = logging.Logger("framelet_server")  # noqa: LOG001 - one of its own, which nothing else hears
    logger.addHandler(handler)
    yield logger, stream
    handler.close()


def fail(text: str) -> None:
    raise ValueError(text) from KeyError(text)


@pytest.mark.parametrize("how", ["argument", "message", "field", "error"])
def test_no_text_begins_a_line_or_moves_a_cursor(log: tuple[logging.Logger, io.StringIO], how: str) -> None:
    logger, stream = log
    if how == "argument":
        logger.warning("said: %s", FORGED)
    elif how == "message":
        logger.warning(FORGED)
    elif how == "field":
        logger.warning("said", extra={"peer": FORGED})
    else:
        try:
            fail(FORGED)
        except ValueError:
            logger.exception("handler failed")
    first, *rest = stream.getvalue().removesuffix("\n").split("\n")
    assert first.isprintable()
    assert first[0] in "{2"  # an object, or a year
    for line in rest:
        assert line.startswith("    ")
        assert line.isprintable()
    if first[0] == "{":
        assert not rest
        found = json.loads(first)
        assert (
            FORGED
            in {
                "argument": found["message"],
                "message": found["message"],
                "field": found.get("peer", ""),
                "error": found.get("traceback", "").replace("ValueError: ", ""),
            }[how]
            or how == "error"
        )
        assert ("traceback" in found) == (how == "error")
    elif how == "error":
        assert any("ValueError" in line for line in rest)


def test_an_object_holds_what_is_known(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    logger.info("%s: %d", "1.2.3.4:5", 6, extra={"peer": "1.2.3.4:5", "seconds": 0.5, "odd": {1}})
    line = stream.getvalue()
    if line.startswith("{"):
        found = json.loads(line)
        assert found.pop("time").endswith("Z")
        assert found.pop("process")
        assert found == {
            "level": "info",
            "logger": "framelet_server",
            "message": "1.2.3.4:5: 6",
            "peer": "1.2.3.4:5",
            "seconds": 0.5,
            "odd": "{1}",
        }
    else:
        assert line.endswith(" INFO 1.2.3.4:5: 6\n")


# The limited_log.


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def throttled(caplog: pytest.LogCaptureFixture) -> tuple[LogLimit, Clock, Any]:
    clock = Clock()
    return LogLimit(3, 10.0, clock), clock, lambda: [record.getMessage() for record in caplog.records]


def test_a_few_lines_of_a_kind_pass_and_the_others_are_counted(throttled: Any) -> None:
    limited_log, clock, lines = throttled
    for number in range(100):
        limited_log.warning("refused", "client %d", number, peer="somebody")
        limited_log.error("handlers", "handler %d", number)
    assert lines() == [f"{kind} {number}" for number in range(3) for kind in ("client", "handler")]
    clock.now = 9.9
    limited_log.report()
    assert len(lines()) == 6
    clock.now = 10.0
    limited_log.report()
    assert lines()[6:] == [
        "refused: 97 further lines were not logged",
        "handlers: 97 further lines were not logged",
    ]
    assert limited_log.suppressed == 194
    limited_log.report()
    limited_log.warning("refused", "again")
    assert lines()[8:] == ["again"]


def test_nothing_is_said_where_nothing_was_kept_back(throttled: Any) -> None:
    limited_log, clock, lines = throttled
    for _ in range(3):
        limited_log.warning("refused", "line")
    clock.now = 100.0
    limited_log.report()
    assert lines() == ["line"] * 3


def test_the_end_does_not_wait_for_the_time(throttled: Any) -> None:
    limited_log, _, lines = throttled
    for _ in range(5):
        limited_log.warning("refused", "line")
    limited_log.report(ending=True)
    assert lines()[3:] == ["refused: 2 further lines were not logged"]


# What is long.

LONG = "\x01" * 10_000_000
"""Four times as long once it is escaped."""


def chained(count: int) -> Exception:
    error: Exception = ValueError(LONG)
    for _ in range(count):
        outer = KeyError(LONG)
        outer.__cause__ = error
        error = outer
    return error


def grouped() -> Exception:
    return ExceptionGroup(LONG, [ValueError(LONG), ExceptionGroup("inner", [ValueError(LONG)] * 50)])


def noted() -> Exception:
    error = ValueError("short")
    for _ in range(50):
        error.add_note(LONG)
    return error


class Unshown(Exception):  # noqa: N818 - one that cannot be shown
    def __str__(self) -> str:
        raise RuntimeError


class Leaving(Unshown):
    def __str__(self) -> str:
        raise SystemExit


class OddNotes(Unshown):
    __notes__ = property(lambda _: Leaving())  # pyright: ignore[reportAssignmentType]  # no program is kept from it


def numbered() -> Exception:
    error = ValueError("short")
    error.__notes__ = 5  # type: ignore[assignment]  # nobody keeps a program from it
    return error


@pytest.mark.parametrize(
    "error",
    [
        chained(0),
        chained(1),
        chained(300),
        grouped(),
        noted(),
        Unshown(LONG),
        Leaving(),
        OddNotes(),
        numbered(),
    ],
    ids=range(9),
)
def test_the_traceback_of_an_error_is_bounded(
    log: tuple[logging.Logger, io.StringIO], error: Exception
) -> None:
    logger, stream = log
    logger.error("handler failed", exc_info=error)
    assert type(error).__name__ in stream.getvalue()
    assert len(stream.getvalue()) < 1_000_000


@pytest.mark.parametrize("how", ["argument", "message", "field"])
def test_a_line_is_bounded(log: tuple[logging.Logger, io.StringIO], how: str) -> None:
    logger, stream = log
    logger.warning(
        "said %s" if how != "message" else LONG,
        *([LONG if how == "argument" else ""] if how != "message" else []),
        extra={"peer": LONG} if how == "field" else {},
    )
    assert len(stream.getvalue()) < 20_000


def test_an_argument_that_cannot_be_shown_costs_its_line_alone(capfd: pytest.CaptureFixture[str]) -> None:
    handler = LogQueue(2, HumanFormatter())
    logger = logging.Logger("framelet_server")  # noqa: LOG001 - one of its own, which nothing else hears
    logger.addHandler(handler)
    logger.warning("said %s", Unshown())
    logger.warning("said %s", "more")
    handler.flush()
    first, second = capfd.readouterr().err.splitlines()
    assert first == "WARNING a line of the log could not be made: RuntimeError"
    assert second.endswith("said more")


@pytest.mark.filterwarnings("ignore:.*is multi-threaded, use of fork:DeprecationWarning")
def test_another_process_writes_its_own_lines(capfd: pytest.CaptureFixture[str]) -> None:
    handler = LogQueue(2, HumanFormatter())
    logger = logging.Logger("framelet_server")  # noqa: LOG001 - as above
    logger.addHandler(handler)
    logger.warning("parent")
    child = os.fork()
    if not child:
        logger.warning("child")
        handler.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    handler.flush()
    assert sorted(line.split()[-1] for line in capfd.readouterr().err.splitlines()) == ["child", "parent"]


INTERRUPTED = """
import logging, os, signal
from framelet_server.observe.log_queue import DROPPED, LogQueue
handler = LogQueue(os.open(os.devnull, os.O_WRONLY), logging.Formatter())
logger = logging.getLogger("framelet_server")
logger.addHandler(handler)
count = 0
def log(*_):
    global count
    count += 1
    logger.warning("signal")
signal.signal(signal.SIGALRM, log)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
while count < 2000:
    logger.warning("line")
    DROPPED.add()
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_line_may_be_logged_within_another_of_the_same_thread() -> None:
    subprocess.run([sys.executable, "-c", INTERRUPTED], check=True, timeout=60)


# The histogram.


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram()
    assert histogram.read().count == 0
    for seconds in (0.0, 0.01, 0.011, 0.02, 1_000.0):
        histogram.note(seconds)
    found = histogram.read()
    assert found.count == 5
    assert found.seconds == pytest.approx(1_000.041)
    cumulated = dict(found.cumulated())
    assert (cumulated["1e-05"], cumulated["0.01"], cumulated["0.025"]) == (1, 2, 4)
    assert (cumulated["50"], cumulated["+Inf"]) == (4, 5)
    assert list(BOUNDS) == sorted(BOUNDS)
