"""One case: an attempt at it, repeats where it fails, and the replay file of a failure."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from framelet_conformance.play import Case, Play
from framelet_conformance.replay import Replay, steps_of
from framelet_conformance.results import CaseResult
from framelet_conformance.verdicts import CaseEnded, Verdict
from framelet_conformance.wire.conversation import Silence

from .lateness import MachineLateness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from framelet_conformance.options import RunOptions
    from framelet_conformance.targets.under_test import UnderTest

    Action = Callable[[Play], None]
    """What a case does."""

_KEPT, _KEPT_OF_GOOD = 65_536, 512  # octets of each entry of a log
_CHANCES = 20  # attempts that may be forgotten because the machine was too busy
_GOOD = {Verdict.PASS, Verdict.INFORMATIONAL}


class Attempts:
    """Runs the cases of a run, on any thread."""

    def __init__(self, options: RunOptions, target: UnderTest) -> None:
        """Begin to watch how late the machine is."""
        self._options = options
        self._target = target
        self._verdicts: dict[str, Verdict] = {}
        self._lateness = MachineLateness()
        self._lock = threading.Lock()
        self._chances = _CHANCES

    @property
    def forgotten(self) -> int:
        """How many were made anew because the machine stood still."""
        return _CHANCES - self._chances

    def stop(self) -> None:
        """All cases are done."""
        self._lateness.stop()

    def run(self, which: Case, action: Action) -> CaseResult:
        """A case, repeated where it fails."""
        began = time.monotonic()
        result, play = self._attempt_undisturbed(which, action)
        for _ in range(which.reruns):
            if result.verdict is not Verdict.FAIL:
                break
            again, _play = self._attempt(which, action)
            if again.verdict in {*_GOOD, Verdict.NON_STRICT}:
                result.verdict = Verdict.FLAKY
                result.reason += "\nThe same case did not fail when it was run again."
        if result.verdict in {Verdict.FAIL, Verdict.FLAKY}:
            result.replay = self._save_replay(play, result)
        for log in result.logs:
            log.trim(_KEPT_OF_GOOD if result.verdict in _GOOD else _KEPT)
        result.duration = time.monotonic() - began
        self._verdicts[which.id] = result.verdict
        return result

    def _attempt_undisturbed(self, which: Case, action: Action) -> tuple[CaseResult, Play]:
        """An attempt, and another where it fails while the machine stands still, a few times in a run."""
        began = time.monotonic()
        result, play = self._attempt(which, action)
        if result.verdict is Verdict.FAIL and self._stood_still(began):
            return self._attempt(which, action)
        return result, play

    def _stood_still(self, began: float) -> bool:
        """Whether the machine stood still since then; said a few times in a run, and then no more."""
        if self._lateness.most_since(began) < self._options.times.late:
            return False
        with self._lock:
            if self._chances == 0:
                return False
            self._chances -= 1
            return True

    def _attempt(self, which: Case, action: Action) -> tuple[CaseResult, Play]:
        return attempt(which, self._options, self._target, action, self._verdicts)

    def _save_replay(self, play: Play, result: CaseResult) -> str | None:
        logs = [log for log in result.logs if log.entries]
        if play.replay is None and not logs:
            return None
        replay = play.replay or Replay(
            result.id, self._options.role, list(result.requirements), result.reason, steps_of(logs[-1])
        )
        if logs:
            replay.observed = logs[-1].stream("received").hex()
            replay.steps = replay.steps or steps_of(logs[-1])
        replay.reason = result.reason
        replay.ending = str(result.close or "")
        try:
            return str(replay.save(self._options.replay_folder))
        except OSError as error:
            return f"(cannot write the replay file: {error.strerror})"


def attempt(
    which: Case,
    options: RunOptions,
    target: UnderTest,
    action: Action,
    verdicts: Mapping[str, Verdict] | None = None,
) -> tuple[CaseResult, Play]:
    """Do once what a case does, and say what came of it."""
    play = Play(which, options, target, verdicts or {})
    result = CaseResult(which.id, which.title, which.requirements, Verdict.PASS)
    try:
        action(play)
    except CaseEnded as error:
        result.verdict, result.reason, result.broken = error.verdict, error.reason, error.broken
    except Silence:
        result.verdict, result.reason = Verdict.FAIL, "the peer was silent where something was due"
    except Exception as error:  # noqa: BLE001 - a fault of the suite must not pass for one of the peer
        result.verdict = Verdict.SETUP_ERROR
        result.reason = f"the suite itself failed: {type(error).__name__}: {error}"
    finally:
        play.finish()
    result.close, result.close_verdict = play.close, play.close_verdict
    if result.verdict is Verdict.PASS and play.close_verdict is Verdict.NON_STRICT:
        result.verdict = Verdict.NON_STRICT
        result.reason = play.remark or f"the connection ended by {play.close}"
    result.logs = [conversation.log for conversation in play.conversations]
    result.conversations = play.count
    return result, play
