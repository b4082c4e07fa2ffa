"""The pytest plugin that makes a test run a conformance run, for servers and clients alike.

pytest collects the cases and goes through them; this plugin selects and orders them, runs those that may
share the peer's time beforehand on threads, repeats what fails, and turns the outcomes into results.
"""

from __future__ import annotations

import concurrent.futures
import fnmatch
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from framelet_conformance.play import Case, Options, Play
from framelet_conformance.replay import Replay, steps_of
from framelet_conformance.results import CaseEnded, CaseResult, Results, Verdict
from framelet_conformance.wire.conversation import Silence

from .lateness import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Peer(Protocol):
    """What is tested, whatever its role.

    ``odd`` says how the first plain conversation went wrong, where the cases can show why; None before it.
    """

    odd: str | None

    def sanity(self) -> None:
        """Hold a plain conversation; raises CaseEnded where the peer cannot be tested."""

    def replay(self, play: Play, replay: Replay) -> None:
        """Say again what a replay file says; raises CaseEnded where it fails again."""

    def facts(self) -> dict[str, str]:
        """What was found out about it, for the reports."""
        raise NotImplementedError

    def close(self) -> None:
        """End what was launched."""


class Watcher(Protocol):
    """Who wants to see results as they come."""

    def begin(self, total: int) -> None:
        """So many cases will be run."""

    def case(self, result: CaseResult) -> None:
        """One is done."""


_MOST_WAITING = 64
_KEPT, _KEPT_OF_GOOD = 65_536, 512  # octets of each entry of a log
_FAILURES_BETWEEN_CHECKS = 8
_TRIES = 2  # to converse with a peer that did so before
_CHANCES = 20  # attempts that may be forgotten because the machine was too busy


class SelectionError(Exception):
    """The selection names nothing; the message says what."""


class Plugin:
    """One run of the suite; hand it to ``pytest.main``."""

    def __init__(
        self, options: Options, make_peer: Callable[[], Peer] | None, results: Results, watcher: Watcher
    ) -> None:
        """``make_peer`` reaches or launches the peer; it is None where cases are only listed."""
        self.options = options
        self.peer: Peer | None = None
        self._make_peer = make_peer
        self.results = results
        self.watcher = watcher
        self.selected: list[Case] = []
        self.error = ""
        self._cases: dict[str, Case] = {}
        self._expected: set[str] = set()
        self._stopping: dict[str, bool] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._lock = threading.Lock()
        self._failures = 0
        self._gone = ""
        self._pulse: Pulse | None = None
        self._chances = _CHANCES
        self._pools: list[concurrent.futures.ThreadPoolExecutor] = []
        self._ahead: dict[str, concurrent.futures.Future[CaseResult]] = {}

    # Collection.

    @pytest.fixture
    def play(self, request: pytest.FixtureRequest) -> Play:
        """Stands for the attempt at a case; each attempt gets one of its own."""
        raise NotImplementedError(request.node.nodeid)

    def pytest_configure(self, config: pytest.Config) -> None:
        """Make the mark known."""
        config.addinivalue_line("markers", "case(id, title, requirements): a case of the suite")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Select and order."""
        found = [(item, which) for item in items if (which := Case.of(item)) is not None]
        names = [which.id for _, which in found]
        if len(names) != len(items) or len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            self.error = f"the suite itself is at fault: ids that stand twice: {twice}"
            items.clear()
            return
        try:
            chosen = self._select([which for _, which in found])
        except SelectionError as error:
            self.error = str(error)
            items.clear()
            return
        order = {which.id: place for place, which in enumerate(chosen)}
        kept = [(item, which) for item, which in found if which.id in order]
        kept.sort(key=lambda pair: (pair[1].stops, pair[1].alone, not pair[1].slow, order[pair[1].id]))
        items[:] = [item for item, _ in kept]
        self._cases = {item.nodeid: which for item, which in kept}
        self.selected = [which for _, which in kept]
        self._stopping = {which.id: which.stops for which in self.selected}

    def _select(self, cases: list[Case]) -> list[Case]:
        options = self.options
        wanted = _matching(cases, options.only, "--only") if options.only else {c.id for c in cases}
        wanted -= _matching(cases, options.exclude, "--exclude")
        self._expected = _matching(cases, options.expect_fail, "--expect-fail")
        chosen = [which for which in cases if which.id in wanted]
        if not chosen:
            raise SelectionError("nothing is selected: the exclusions take away all cases")
        return chosen

    # The run.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> object:
        """Begin with a sanity conversation, and with what may run ahead; None lets pytest go on."""
        if self.error or self._make_peer is None:
            return True
        try:
            self.peer = self._make_peer()
        except CaseEnded as error:
            self.results.trouble = error.reason
            return True
        if not self._sane("before the first case"):
            return True
        self.watcher.begin(len(session.items))
        self._pulse = Pulse()
        # Those that wait for deadlines wait together, before the others make the machine busy.
        self._submit(session.items, slow=True)
        return None

    def _submit(self, items: list[pytest.Item], *, slow: bool) -> None:
        """Begin cases that may run beside each other."""
        chosen = [item for item in items if not self._alone(item) and self._cases[item.nodeid].slow is slow]
        workers = max(self.options.workers, len(chosen)) if slow else self.options.workers
        pool = concurrent.futures.ThreadPoolExecutor(min(workers, _MOST_WAITING) or 1)
        self._pools.append(pool)
        for item in chosen:
            self._ahead[item.nodeid] = pool.submit(self._run, item)

    def _alone(self, item: pytest.Item) -> bool:
        which = self._cases[item.nodeid]
        return which.alone or which.stops

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Nothing is set up: each attempt makes its own ``play``."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        """Take the result of a case that ran ahead, or run it now."""
        future = self._ahead.pop(item.nodeid, None)
        if future is None and not self._alone(item):
            self._submit(item.session.items, slow=False)
            future = self._ahead.pop(item.nodeid)
        result = self._run(item) if future is None else future.result()
        result.expected = result.id in self._expected
        self.results.add(result)
        self.watcher.case(result)
        return True

    def pytest_sessionfinish(self) -> None:
        """End with a sanity conversation."""
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)
        if self._pulse is not None:
            self._pulse.stop()
        if self._pools and not self._stopped:
            self._sane("after the last case", tries=_TRIES)
        if self.peer is not None and self.peer.odd and not self._found_fault:
            self.results.trouble = self.results.trouble or f"no case shows what is wrong: {self.peer.odd}"
        if self.peer is not None:
            self.results.facts = self.peer.facts()
            if self._chances < _CHANCES:
                forgotten = f"{_CHANCES - self._chances} failed while the machine stood still"
                self.results.facts["attempts made anew"] = forgotten
            if self.peer.odd:
                self.results.facts["the first plain conversation"] = f"went wrong: {self.peer.odd}"
            self.peer.close()

    def _sane(self, when: str, *, tries: int = 1) -> bool:
        assert self.peer is not None  # noqa: S101 - callers looked
        for left in reversed(range(tries)):
            try:
                self.peer.sanity()
            except CaseEnded as error:
                if not left:
                    self.results.trouble = f"the sanity conversation {when} failed: {error.reason}"
                    return False
            else:
                break
        return True

    @property
    def _stopped(self) -> bool:
        """Whether the peer was stopped on purpose."""
        return self.options.launch is None and any(
            case.verdict is not Verdict.SKIPPED and self._stopping.get(case.id, False)
            for case in self.results.cases
        )

    @property
    def _found_fault(self) -> bool:
        """Whether some case failed, expected or not."""
        return any(case.verdict in {Verdict.FAIL, Verdict.FLAKY} for case in self.results.cases)

    def _watch(self, result: CaseResult) -> None:
        """Look after the peer where cases go wrong: a dead one must not cost the time of each case."""
        if result.verdict not in {Verdict.FAIL, Verdict.SETUP_ERROR} or self._stopping.get(result.id, False):
            return
        with self._lock:
            self._failures += 1
            due = result.verdict is Verdict.SETUP_ERROR or self._failures % _FAILURES_BETWEEN_CHECKS == 0
            if due and not self._gone and not self._sane(f"after {result.id}", tries=_TRIES):
                self._gone = self.results.trouble

    # One case.

    def _run(self, item: pytest.Item) -> CaseResult:
        """A case, repeated where it fails."""
        which = self._cases[item.nodeid]
        if self._gone:
            reason = "not asked: the peer is gone"
            return CaseResult(which.id, which.title, which.requirements, Verdict.SETUP_ERROR, reason)
        result = self._repeat(item, which)
        self._verdicts[which.id] = result.verdict
        self._watch(result)
        return result

    def _repeat(self, item: pytest.Item, which: Case) -> CaseResult:
        began = time.monotonic()
        result, play = self._attempt_undisturbed(item, which)
        for _ in range(which.reruns):
            if result.verdict is not Verdict.FAIL:
                break
            again, _play = self._attempt(item, which)
            if again.verdict in {Verdict.PASS, Verdict.NON_STRICT, Verdict.INFORMATIONAL}:
                result.verdict = Verdict.FLAKY
                result.reason += "\nThe same case did not fail when it was run again."
        if result.verdict in {Verdict.FAIL, Verdict.FLAKY}:
            result.replay = self._save_replay(play, result)
        for log in result.logs:
            log.trim(_KEPT_OF_GOOD if result.verdict in {Verdict.PASS, Verdict.INFORMATIONAL} else _KEPT)
        result.duration = time.monotonic() - began
        return result

    def _attempt_undisturbed(self, item: pytest.Item, which: Case) -> tuple[CaseResult, Play]:
        """An attempt, and another where it fails while the machine stands still, a few times in a run."""
        began = time.monotonic()
        result, play = self._attempt(item, which)
        if result.verdict is Verdict.FAIL and self._stood_still(began):
            return self._attempt(item, which)
        return result, play

    def _stood_still(self, began: float) -> bool:
        """Whether the machine stood still since then; said a few times in a run, and then no more."""
        if self._pulse is None or self._pulse.lateness(began) < self.options.times.late:
            return False
        with self._lock:
            self._chances -= 1
            return self._chances >= 0

    def _attempt(self, item: pytest.Item, which: Case) -> tuple[CaseResult, Play]:
        return attempt(which, self.options, self.peer, lambda play: _call(item, play), self._verdicts)

    def _save_replay(self, play: Play, result: CaseResult) -> str | None:
        logs = [log for log in result.logs if log.entries]
        if play.replay is None and not logs:
            return None
        replay = play.replay or Replay(
            result.id, self.options.role, list(result.requirements), result.reason, steps_of(logs[-1])
        )
        if logs:
            replay.observed = logs[-1].stream("received").hex()
            replay.steps = replay.steps or steps_of(logs[-1])
        replay.reason = result.reason
        replay.ending = str(result.close or "")
        try:
            return str(replay.save(self.options.replay_folder))
        except OSError as error:
            return f"(cannot write the replay file: {error.strerror})"


def attempt(
    which: Case,
    options: Options,
    peer: Peer | None,
    action: Callable[[Play], None],
    verdicts: Mapping[str, Verdict] | None = None,
) -> tuple[CaseResult, Play]:
    """Do once what a case does, and say what came of it."""
    play = Play(which, options, peer, verdicts or {})
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


def _call(item: pytest.Item, play: Play) -> None:
    """Call the function of a case."""
    function: Callable[..., Any] = getattr(item, "obj")  # noqa: B009 - pytest.Item does not declare it
    callspec = getattr(item, "callspec", None)
    function(play=play, **(callspec.params if callspec is not None else {}))


def _matching(cases: Iterable[Case], patterns: Iterable[str], option: str) -> set[str]:
    """The ids of the cases that some pattern matches; raises SelectionError where one matches none."""
    found: set[str] = set()
    for pattern in patterns:
        hits = {
            which.id
            for which in cases
            if fnmatch.fnmatchcase(which.id, pattern)
            or any(fnmatch.fnmatchcase(name, pattern) for name in which.requirements)
        }
        if not hits:
            message = f"{option} {pattern} matches no case (see --list)"
            raise SelectionError(message)
        found |= hits
    return found
