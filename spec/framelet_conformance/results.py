"""What the suite found: one model, of which the reports are views."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from framelet_conformance.wire.conversation import Log


class Verdict(enum.StrEnum):
    """What came of a case, from the worst to the best."""

    FAIL = "fail"
    FLAKY = "flaky"
    SETUP_ERROR = "setup-error"
    NON_STRICT = "non-strict"
    PASS = "pass"  # noqa: S105 - no password
    INFORMATIONAL = "informational"
    SKIPPED = "skipped"


class Ending(enum.StrEnum):
    """How the peer ended a connection."""

    OPEN = "open"
    FIN = "FIN"
    RST = "RST"
    SILENCE = "silence"


class CaseEnded(Exception):  # noqa: N818 - an outcome, and most of them no error
    """Ends a case with a verdict other than pass.

    ``broken`` names the requirements to blame where they are not those of the case.
    """

    verdict: Verdict

    def __init__(self, reason: str, *broken: str) -> None:
        """``reason`` is for people, in one or more lines."""
        super().__init__(reason)
        self.reason = reason
        self.broken = broken


class Failed(CaseEnded):
    """The peer broke a requirement; ``place`` counts the conversations before, of those held together."""

    verdict = Verdict.FAIL
    place = 0


class Endless(Failed):
    """The peer talks without an end."""


class NonStrict(CaseEnded):
    """The peer did what may pass, although the specification asks for more."""

    verdict = Verdict.NON_STRICT


class Informational(CaseEnded):
    """Nothing to judge; the reason says what was seen."""

    verdict = Verdict.INFORMATIONAL


class Skipped(CaseEnded):
    """A precondition is missing; the reason says which, and how to meet it."""

    verdict = Verdict.SKIPPED


class SetupFailed(CaseEnded):
    """The suite could not put its question: the peer cannot be reached, or the suite itself failed."""

    verdict = Verdict.SETUP_ERROR


@dataclasses.dataclass(slots=True)
class CaseResult:
    """What came of one case.

    ``close`` says how the peer ended the connection the case looked at last, None where it looked at none;
    ``expected`` is true where the user had said that it fails.  ``replay`` is the path of the replay file,
    or None.  ``duration`` is in seconds.
    """

    id: str
    title: str
    requirements: tuple[str, ...]
    verdict: Verdict
    reason: str = ""
    close: Ending | None = None
    close_verdict: Verdict | None = None
    broken: tuple[str, ...] = ()
    logs: list[Log] = dataclasses.field(default_factory=list)
    duration: float = 0.0
    conversations: int = 0
    replay: str | None = None
    expected: bool = False

    @property
    def bad(self) -> bool:
        """Whether the peer does not conform by this result."""
        return self.verdict in {Verdict.FAIL, Verdict.FLAKY} and not self.expected

    @property
    def stale(self) -> bool:
        """Whether the case was expected to fail and did not."""
        return self.expected and self.verdict in {Verdict.PASS, Verdict.NON_STRICT, Verdict.INFORMATIONAL}


@dataclasses.dataclass(slots=True)
class Results:
    """All results of a run, in order, and what the run was about.

    ``facts`` are what was found out about the peer; ``trouble`` says why the run ended early or its peer
    was gone at the end, or is empty.
    """

    role: str
    peer: str
    command: str = ""
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    cases: list[CaseResult] = dataclasses.field(default_factory=list)
    trouble: str = ""
    strict: bool = False
    started: float = 0.0
    duration: float = 0.0

    def add(self, result: CaseResult) -> None:
        """Take in the result of one more case."""
        self.cases.append(result)

    def counts(self) -> dict[Verdict, int]:
        """How many cases had each verdict, none left out."""
        return {verdict: sum(case.verdict is verdict for case in self.cases) for verdict in Verdict}

    @property
    def exit_code(self) -> int:
        """0 conforms, 1 it does not or an expectation is stale, 3 the peer could not be tested.

        A question that could not be put does not take back what others have shown.
        """
        if self.trouble:
            return 3
        if any(case.bad for case in self.cases):
            return 1
        if any(case.verdict is Verdict.SETUP_ERROR for case in self.cases):
            return 3
        strictly = self.strict and any(
            case.verdict is Verdict.NON_STRICT and not case.expected for case in self.cases
        )
        return int(strictly or any(case.stale for case in self.cases))

    def by_requirement(self) -> dict[str, list[CaseResult]]:
        """The results that bear on each requirement; a failure counts for those that it blames."""
        found: dict[str, list[CaseResult]] = {}
        for case in self.cases:
            for name in case.broken or case.requirements:
                found.setdefault(name, []).append(case)
        return found


def worst(cases: Iterable[CaseResult]) -> Verdict | None:
    """The worst verdict, None where there is none."""
    order = list(Verdict)
    return min((case.verdict for case in cases), key=order.index, default=None)


def as_document(results: Results, requirements: Mapping[str, Any]) -> dict[str, Any]:
    """Everything as plain data, for the JSON report."""
    by_requirement = results.by_requirement()
    return {
        "format": 1,
        "role": results.role,
        "peer": results.peer,
        "command": results.command,
        "exit_code": results.exit_code,
        "trouble": results.trouble,
        "duration": round(results.duration, 3),
        "facts": results.facts,
        "counts": {str(verdict): count for verdict, count in results.counts().items()},
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
        "wire": [log.as_document() for log in case.logs],
    }
