"""The report as one self-contained page, to be read in a browser."""

from __future__ import annotations

import itertools
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from . import decode
from .results import Verdict, worst

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .requirements import Requirement
    from .results import CaseResult, Results

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_MANY_LINES = 400  # of one log; more are left to the JSON report
_ARROWS = {"sent": "\u2192", "received": "\u2190", "event": "\u00b7"}
_CONCLUSIONS = {0: "conforms", 1: "does not conform", 3: "could not be tested to the end"}


def write(results: Results, requirements: Mapping[str, Requirement], path: Path) -> None:
    """Write the page."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    # A name that the page cannot hold (a lone surrogate of a strange path, say) must not stop it.
    page = template.render(_view(results, requirements)).encode("utf-8", "backslashreplace")
    path.write_bytes(page)


def _view(results: Results, requirements: Mapping[str, Requirement]) -> dict[str, Any]:
    counts = {verdict: count for verdict, count in results.counts().items() if count}
    return {
        "results": results,
        "conclusion": _CONCLUSIONS[results.exit_code],
        "when": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(results.started)),
        "counts": counts,
        "total": len(results.cases),
        "conversations": sum(case.conversations for case in results.cases),
        "sections": _sections(results, requirements),
        "troubles": sorted((case for case in results.cases if case.bad or case.stale), key=_size),
        "groups": _groups(results),
        "lines": _lines,
        "replay_command": lambda case: _replay_command(results, case),
        "anchor": lambda name: name.replace(" ", "-"),
    }


def _sections(
    results: Results, requirements: Mapping[str, Requirement]
) -> list[tuple[str, list[dict[str, Any]], dict[str, int]]]:
    by_requirement = results.by_requirement()
    found = []
    for section, items in itertools.groupby(requirements.values(), key=lambda item: item.section):
        rows: list[dict[str, Any]] = []
        for item in items:
            cases = by_requirement.get(item.name, [])
            judged = [case for case in cases if case.verdict is not Verdict.SKIPPED]
            verdict = worst(judged) or ("skipped" if cases else "no case")
            rows.append({"item": item, "cases": cases, "judged": len(judged), "verdict": str(verdict)})
        tally: dict[str, int] = {}
        for row in rows:
            verdict_name = str(row["verdict"])
            tally[verdict_name] = tally.get(verdict_name, 0) + 1
        found.append((section, rows, tally))
    return found


def _groups(results: Results) -> list[tuple[str, list[CaseResult], str]]:
    """The cases by the first word of their ids, vectors by their topic, too."""

    def group(case: CaseResult) -> str:
        first, _, rest = case.id.partition(".")
        return f"{first} {rest.partition('-')[0]}" if first == "vector" else first

    groups: dict[str, list[CaseResult]] = {}
    for case in results.cases:
        groups.setdefault(group(case), []).append(case)
    return [(name, cases, str(worst(cases))) for name, cases in groups.items()]


def _lines(case: CaseResult) -> str:
    """The wire logs of a case as text."""
    rows: list[str] = []
    joined = case.verdict in {Verdict.PASS, Verdict.NON_STRICT}
    for number, log in enumerate(case.logs):
        if len(case.logs) > 1:
            rows.append(f"connection {number + 1}{': ' if log.name else ''}{log.name}")
        alike = itertools.groupby(decode.lines(log, joined=joined), key=_likeness)
        for count, (_, lines) in enumerate(alike):
            if count == _MANY_LINES:
                rows.append(" " * 25 + "... the rest is in the JSON report")
                break
            rows.append(_row(next(lines)))
            more = sum(1 for _ in lines)
            if more:
                rows.append(" " * 25 + f"... and {more:,} more of these")
    return "\n".join(rows)


def _likeness(line: decode.Line) -> tuple[str, str, str]:
    return line.way, line.octets, line.meaning


def _row(line: decode.Line) -> str:
    offset = "" if line.offset is None else f"{line.offset:,}"
    what = "  ".join(part for part in (line.octets, line.meaning) if part)
    return f"{line.time * 1000:9.1f} ms {offset:>10} {_ARROWS[line.way]} {what}"


def _size(case: CaseResult) -> int:
    """How much was said, so that the smallest failure can be shown first."""
    return sum(entry.size for log in case.logs for entry in log.entries) * max(1, case.conversations)


def _replay_command(results: Results, case: CaseResult) -> str:
    if not case.replay:
        return ""
    target = (
        "--launch " + shlex.quote(results.peer) if "{port}" in results.peer else shlex.quote(results.peer)
    )
    return f"framelet-conformance {results.role} {target} --replay {shlex.quote(case.replay)}"
