"""What an adapter prints: read strictly, and compared with what the client must report."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from construct import ConstructError

from framelet import grammar
from framelet_conformance.expectations import octets
from framelet_conformance.verdicts import Failed, Informational

from .comparing import show_octets

if TYPE_CHECKING:
    from framelet_conformance.expectations import Expectation
    from framelet_conformance.scenario import Scenario

_SHOWN = 80


@dataclasses.dataclass(frozen=True, slots=True)
class FrameReport:
    """What the client reports for one frame: ``how`` is ``answer``, ``error`` or ``failed``."""

    how: str
    value: bytes | int | str

    def __str__(self) -> str:
        """For people."""
        if isinstance(self.value, bytes):
            return f"the answer {show_octets(self.value)}"
        return f"ERROR {self.value}" if self.how == "error" else f"no answer ({self.value})"


@dataclasses.dataclass(frozen=True, slots=True)
class ConversationReport:
    """What the client reports for one conversation."""

    frames: list[FrameReport]
    fatal: int | None
    closed: bool


def read_reports(output: bytes, sizes: list[int]) -> list[ConversationReport]:
    """What an adapter printed for conversations of so many frames; raises ValueError with what is wrong."""
    try:
        lines = [line for line in output.decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ValueError("what it printed is not UTF-8") from None
    wanted = sum(sizes) + len(sizes)
    if len(lines) != wanted:
        found = f"; the last one is {lines[-1][:_SHOWN]!r}" if lines else ""
        message = f"it printed {len(lines)} lines instead of {wanted}{found}"
        raise ValueError(message)
    rest = iter(enumerate(lines, 1))
    reports = []
    for size in sizes:
        frames = [_report(*next(rest)) for _ in range(size)]
        reports.append(_last(frames, *next(rest)))
    return reports


def _object(place: int, line: str, keys: set[str]) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found.keys() & keys:
        message = f"line {place} is not an object with {' or '.join(sorted(keys))}: {line[:_SHOWN]!r}"
        raise ValueError(message)
    return found


def _report(place: int, line: str) -> FrameReport:
    found = _object(place, line, {"answer", "error", "failed"})
    [how, *more] = [key for key in ("answer", "error", "failed") if key in found]
    value = found[how]
    if not more:
        if how == "answer" and isinstance(value, str):
            try:
                return FrameReport(how, bytes.fromhex(value))
            except ValueError:
                pass
        elif how == "error" and type(value) is int:
            return FrameReport(how, value)
        elif how == "failed":
            return FrameReport(how, str(value))
    message = f"line {place} is not a report on a frame: {line[:_SHOWN]!r}"
    raise ValueError(message)


def _last(frames: list[FrameReport], place: int, line: str) -> ConversationReport:
    found = _object(place, line, {"fatal"})
    fatal, closed = found["fatal"], found.get("closed", True)
    if (fatal is not None and type(fatal) is not int) or not isinstance(closed, bool):
        message = f"line {place} is not the end of a conversation: {line[:_SHOWN]!r}"
        raise ValueError(message)
    return ConversationReport(frames, fatal, closed)


def check_report(scenario: Scenario, report: ConversationReport) -> None:
    """Raise Failed where the client reports something else than it must.

    An expectation may have a ``remark``, for what can be told neither from right nor from wrong.
    """
    remark = ""
    for place, (frame, item) in enumerate(zip(report.frames, scenario.expect, strict=True), 1):
        choices = item if isinstance(item, list) else [item]
        chosen = next((choice for choice in choices if _agrees(frame, choice)), None)
        if chosen is None:
            due = " or ".join(_show(choice) for choice in choices)
            message = (
                f"frame {place}, {scenario.ask[place - 1].type}: the client reports something else\n"
                f"  expected {due}\n  reported {frame}"
            )
            raise Failed(message)
        remark = remark or chosen.get("remark", "")
    if report.fatal != scenario.fatal:
        message = f"the client reports {_fatal(report.fatal)}, but must report {_fatal(scenario.fatal)}"
        raise Failed(message)
    if not report.closed:
        raise Failed("the client reports that the connection is not closed at the end")
    if remark:
        raise Informational(remark)


def _agrees(report: FrameReport, item: Expectation) -> bool:
    if item["type"] == "FAILED":
        return report.how == "failed"
    if "code" in item:
        return report == FrameReport("error", item["code"])
    if report.how != "answer" or not isinstance(report.value, bytes):
        return False
    if "parameters" not in item:
        return report.value == octets(item["body"])
    form = grammar.HelloBody if item["type"] == "HELLO" else grammar.StoppedBody
    try:
        parsed: Any = form.parse(report.value)
    except ConstructError:
        return False
    found = parsed.parameters if item["type"] == "HELLO" else parsed
    return bool(item["parameters"].items() <= found.items())


def _show(item: Expectation) -> str:
    if item["type"] == "FAILED":
        return "no answer (failed)"
    if "code" in item:
        return f"ERROR {item['code']}"
    if "parameters" in item:
        return f"{item['type']} with {item['parameters']}"
    return f"the answer {show_octets(octets(item['body']))}"


def _fatal(code: int | None) -> str:
    return "no fatal ERROR" if code is None else f"the fatal ERROR {code}"
