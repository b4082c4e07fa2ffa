"""One case: an attempt at it, repeats where it fails, and the replay file of a failure."""

from __future__ import annotations

import dataclasses
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
_CHANCES = 40  # attempts that may be forgotten because the machine was too busy
_STRETCH = 20.0  # for each second that the machine was late, the times of the next attempt grow so many times
_LEAST, _MOST = 2.0, 10.0  # how much they grow at once, and in all
_GOOD = {Verdict.PASS, Verdict.INFORMATIONAL}
_BAD = {Verdict.FAIL, Verdict.FLAKY, Verdict.NON_STRICT}
_REPLAYED = 1 << 22  # octets sent up to which there is a replay file
_OBSERVED = 1 << 16  # octets of the peer's that are kept in one


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
        result, play, busy = self._attempt_undisturbed(which, action)
        for _ in range(which.reruns):
            if result.verdict is not Verdict.FAIL:
                break
            again, play_again, _ = self._attempt_undisturbed(which, action)
            if again.verdict not in {*_GOOD, Verdict.NON_STRICT}:
                continue
            if busy:  # what failed then shows nothing
                result, play = again, play_again
            else:
                result.verdict = Verdict.FLAKY
                result.reason += "\nThe same case did not fail when it was run again."
        if result.verdict in {Verdict.FAIL, Verdict.FLAKY}:
            result.replay = self._save_replay(play, result)
        for log in result.logs:
            log.trim(_KEPT_OF_GOOD if result.verdict in _GOOD else _KEPT)
        result.duration = time.monotonic() - began
        self._verdicts[which.id] = result.verdict
        return result

    def _attempt_undisturbed(self, which: Case, action: Action) -> tuple[CaseResult, Play, bool]:
        """An attempt, and others with longer times where it fails while the machine is busy.

        How much longer they are is found from how late this process was woken meanwhile.  The last value says
        whether the machine was busy to the end.
        """
        stretch = 1.0
        while True:
            began = time.monotonic()
            result, play = attempt(which, self._stretched(stretch), self._target, action, self._verdicts)
            late = self._lateness.most_since(began) if result.verdict is Verdict.FAIL else 0.0
            busy = late >= self._options.times.late
            if not busy or stretch >= _MOST or not self._take_chance():
                return result, play, busy
            stretch = min(_MOST, max(_LEAST * stretch, _STRETCH * late))

    def _take_chance(self) -> bool:
        """Whether an attempt may be forgotten: a few times in a run, and then no more."""
        with self._lock:
            self._chances -= bool(self._chances)
            return self._chances > 0

    def _stretched(self, stretch: float) -> RunOptions:
        """The options with all times so many times longer."""
        times = self._options.times
        return dataclasses.replace(
            self._options, times=dataclasses.replace(times, scale=times.scale * stretch)
        )

    def _save_replay(self, play: Play, result: CaseResult) -> str | None:
        logs = [log for log in result.logs if log.entries]
        if play.replay is None and not logs:
            return None
        replay = play.replay or Replay(
            result.id, self._options.role, list(result.requirements), result.reason, steps_of(logs[-1])
        )
        octets = sum(len(step.get("send", "")) // 2 for step in replay.steps)
        if octets > _REPLAYED:
            return f"none, for {octets:,} octets; --only {result.id} runs the case again"
        if logs:
            replay.observed = logs[-1].stream("received")[:_OBSERVED].hex()
            replay.observed_octets = logs[-1].size("received")
            replay.steps = replay.steps or steps_of(logs[-1])
        replay.reason = result.reason
        replay.ending = str(result.close or "")
        try:
            if self._options.replay_file is None:
                return str(replay.save(self._options.replay_folder))
            with self._lock:
                return f"{replay.append(self._options.replay_file)} (--only {result.id})"
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
        result.verdict, result.reason = error.verdict, error.reason
        result.broken = error.broken or (which.requirements if error.verdict in _BAD else ())
    except Silence:
        result.verdict, result.reason = Verdict.FAIL, "the peer was silent where something was due"
        result.broken = which.requirements
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
