"""What the suite found: one model, of which the reports are views."""

from __future__ import annotations

import collections
import dataclasses
import re
from typing import TYPE_CHECKING, NamedTuple

from .verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from framelet_conformance.wire.log import Ending, Log

CONCLUSIONS = {0: "conforms", 1: "does not conform", 3: "could not be tested to the end"}
"""What each exit status says of the peer."""


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


class Failures(NamedTuple):
    """What breaks a requirement: its cases, those together that fail alike."""

    requirement: str
    alike: list[list[CaseResult]]

    @property
    def cases(self) -> list[CaseResult]:
        """All of them."""
        return [case for cases in self.alike for case in cases]


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
            case.verdict in {Verdict.NON_STRICT, Verdict.SKIPPED} and not case.expected for case in self.cases
        )
        return int(strictly or any(case.stale for case in self.cases))

    def by_requirement(self) -> dict[str, list[CaseResult]]:
        """The results that bear on each requirement; a failure counts for those that it blames."""
        found: dict[str, list[CaseResult]] = {}
        for case in self.cases:
            for name in case.broken or case.requirements:
                found.setdefault(name, []).append(case)
        return found

    def failures(self) -> list[Failures]:
        """The cases that failed, each once: by what is broken most often, and by their reasons."""
        found = []
        left = [case for case in self.cases if case.bad]
        while left:
            counts = collections.Counter(name for case in left for name in _blamed(case))
            name = max(counts, key=lambda name: counts[name])  # of several the one that is met first
            alike: dict[str, list[CaseResult]] = {}
            for case in left:
                if name in _blamed(case):
                    alike.setdefault(_NUMBER.sub("#", case.reason.partition("\n")[0]), []).append(case)
            found.append(Failures(name, sorted(alike.values(), key=len, reverse=True)))
            left = [case for case in left if name not in _blamed(case)]
        return found

    def not_judged(self) -> list[str]:
        """The requirements of which all cases were skipped."""
        return [name for name, cases in self.by_requirement().items() if worst(cases) is Verdict.SKIPPED]


_NUMBER = re.compile(r"\b(?:0x)?[0-9a-f]*[0-9][0-9a-f,]*\b")


def _blamed(case: CaseResult) -> tuple[str, ...]:
    return case.broken or case.requirements or ("no requirement",)


def worst(cases: Iterable[CaseResult]) -> Verdict | None:
    """The worst verdict, None where there is none."""
    order = list(Verdict)
    return min((case.verdict for case in cases), key=order.index, default=None)
