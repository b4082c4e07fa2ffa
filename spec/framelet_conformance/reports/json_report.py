"""The report as JSON: everything, for programs."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
from typing import TYPE_CHECKING, Any

from framelet_conformance.results import worst
from framelet_conformance.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from framelet_conformance.results import CaseResult, Results
    from framelet_conformance.specification import Requirement


_GOOD = {Verdict.PASS, Verdict.INFORMATIONAL}
"""What was said in these is not for reports: it would be all that was said."""


def write(results: Results, requirements: Mapping[str, Requirement], path: Path) -> None:
    """Write the results as JSON."""
    document = _document(results, requirements)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _document(results: Results, requirements: Mapping[str, Requirement]) -> dict[str, Any]:
    """Everything as plain data, for the JSON report."""
    by_requirement = results.by_requirement()
    return {
        "format": 1,
        "version": importlib.metadata.version("framelet"),
        "started": dt.datetime.fromtimestamp(results.started, dt.UTC).isoformat(timespec="seconds"),
        "role": results.role,
        "peer": results.peer,
        "command": results.command,
        "exit_code": results.exit_code,
        "trouble": results.trouble,
        "duration": round(results.duration, 3),
        "facts": results.facts,
        "counts": {str(verdict): count for verdict, count in results.counts().items()},
        "failures": [
            {
                "requirement": found.requirement,
                "cases": len(found.cases),
                "reasons": [
                    {"reason": alike[0].reason, "cases": [case.id for case in alike]} for alike in found.alike
                ],
            }
            for found in results.failures()
        ],
        "not_judged": results.not_judged(),
        "requirements": [
            {
                "name": name,
                "section": item.section,
                "level": item.level,
                "sentence": item.sentence,
                "verdict": worst(by_requirement.get(name, ())),
                "cases": [case.id for case in by_requirement.get(name, ())],
            }
            for name, item in requirements.items()
        ],
        "cases": [_case_document(case) for case in results.cases],
    }


def _case_document(case: CaseResult) -> dict[str, Any]:
    return {
        "id": case.id,
        "title": case.title,
        "requirements": list(case.requirements),
        "verdict": case.verdict,
        "reason": case.reason,
        "broken": list(case.broken),
        "close": case.close,
        "close_verdict": case.close_verdict,
        "expected_to_fail": case.expected,
        "stale": case.stale,
        "duration": round(case.duration, 4),
        "conversations": case.conversations,
        "replay": case.replay,
        "wire": [] if case.verdict in _GOOD else [log.as_document() for log in case.logs],
    }
