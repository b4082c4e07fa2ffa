"""What may come of a case, and the exceptions by which one ends other than by passing."""

from __future__ import annotations

import enum


class Verdict(enum.StrEnum):
    """What came of a case, from the worst to the best."""

    FAIL = "fail"
    FLAKY = "flaky"
    SETUP_ERROR = "setup-error"
    NON_STRICT = "non-strict"
    PASS = "pass"  # noqa: S105 - no password
    INFORMATIONAL = "informational"
    SKIPPED = "skipped"


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
