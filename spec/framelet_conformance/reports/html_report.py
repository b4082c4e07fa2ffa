"""The report as one self-contained page, to be read in a browser."""

from __future__ import annotations

import importlib.metadata
import itertools
import shlex
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import markupsafe

from framelet_conformance.results import CONCLUSIONS, worst
from framelet_conformance.specification import read_uncovered
from framelet_conformance.verdicts import Verdict

from . import wire_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from framelet_conformance.results import CaseResult, Results
    from framelet_conformance.specification import Requirement

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_ENOUGH = 5  # lines of the last connection of a case that passed
_MANY_LINES, _MANY_OCTETS = 2_000, 256  # of a log, and of a line of it, of any other case
_GOOD = {Verdict.PASS, Verdict.INFORMATIONAL}
_INDENT, _WIDTH = " " * 26, 16 * 3  # characters: 16 octets in a row
_ARROWS = {"sent": "\u2192", "received": "\u2190", "event": "\u00b7"}


def write(results: Results, requirements: Mapping[str, Requirement], path: Path) -> None:
    """Write the page."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["code"] = _code
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    # A name that the page cannot hold (a lone surrogate of a strange path, say) must not stop it.
    page = template.render(_view(results, requirements)).encode("utf-8", "backslashreplace")
    path.write_bytes(page)


def _code(sentence: str) -> markupsafe.Markup:
    """A sentence of the specification with its `code` marked up."""
    parts = enumerate(sentence.split("`"))
    return markupsafe.Markup().join(
        markupsafe.Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in parts
    )


def _view(results: Results, requirements: Mapping[str, Requirement]) -> dict[str, Any]:
    troubles = [case for case in results.cases if _is_trouble(case)]
    failures = results.failures()
    others = [case for case in troubles if not case.bad]
    counts = {verdict: count for verdict, count in results.counts().items() if count}
    return {
        "results": results,
        "conclusion": CONCLUSIONS[results.exit_code],
        "when": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(results.started)),
        "counts": counts,
        "total": len(results.cases),
        "conversations": sum(case.conversations for case in results.cases),
        "sections": _sections(results, requirements),
        "reasons": read_uncovered(),
        "not_judged": results.not_judged(),
        "version": importlib.metadata.version("framelet"),
        "troubles": troubles,
        "failures": [
            (found, requirements.get(found.requirement), [sorted(alike, key=_size) for alike in found.alike])
            for found in failures
        ],
        "others": others,
        "above": {case.id for case in troubles},
        "good": _GOOD,
        "lines_of_good": _ENOUGH,
        "octets_of_others": _MANY_OCTETS,
        "groups": _groups(results),
        "lines": _lines,
        "replay_command": _replay_command(results),
    }


def _is_trouble(case: CaseResult) -> bool:
    return case.bad or case.stale or (case.verdict is Verdict.SETUP_ERROR and bool(case.logs))


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
    """The wire logs of a case as text: of one that passed a few lines, of any other all that was said."""
    good = case.verdict in _GOOD and not case.stale
    rows: list[str] = []
    for number, log in enumerate(case.logs[-1:] if good else case.logs, 1):
        if not good and len(case.logs) > 1:
            rows.append(f"connection {number}{': ' if log.name else ''}{log.name}")
        found = (
            wire_lines.lines(log, joined=True)
            if good
            else wire_lines.lines(log, joined=False, shown=_MANY_OCTETS)
        )
        rows += _fold(found, _ENOUGH, _short_row) if good else _fold(found, _MANY_LINES, _row)
    return "\n".join(rows)


def _fold(
    lines: Iterable[wire_lines.Line], most: int, show: Callable[[wire_lines.Line], str]
) -> Iterator[str]:
    """The lines as text, like ones put together, and no more than so many."""
    for count, (_, alike) in enumerate(itertools.groupby(lines, key=_likeness)):
        if count == most:
            yield "... and so on"
            return
        yield show(next(alike))
        more = sum(1 for _ in alike)
        if more:
            yield f"... and {more:,} more of these"


def _likeness(line: wire_lines.Line) -> tuple[str, str, str]:
    return line.way, line.octets, line.meaning


def _short_row(line: wire_lines.Line) -> str:
    return "  ".join(part for part in (_ARROWS[line.way], line.octets, line.meaning) if part)


def _row(line: wire_lines.Line) -> str:
    offset = "" if line.offset is None else f"{line.offset:,}"
    octets = textwrap.wrap(line.octets, _WIDTH, break_on_hyphens=False) or [""]
    what = "  ".join(part for part in (octets[0], line.meaning) if part)
    first = f"{line.time * 1000:9.1f} ms {offset:>10} {_ARROWS[line.way]} {what}"
    return "\n".join([first, *(_INDENT + more for more in octets[1:])])


def _size(case: CaseResult) -> int:
    """How much was said, so that the smallest failure can be shown first."""
    return sum(entry.size for log in case.logs for entry in log.entries) * max(1, case.conversations)


def _replay_command(results: Results) -> str:
    target = shlex.quote(results.peer)
    how = "--launch " if "{port}" in results.peer else ""
    return f"framelet-conformance {results.role} {how}{target} --replay FILE"
