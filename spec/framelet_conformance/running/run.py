"""Running the cases that pytest collected, for servers and clients alike.

Those that may share the peer's time are run beforehand, on threads; pytest then takes their results in order.
"""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from framelet_conformance.results import CaseResult, Results
from framelet_conformance.verdicts import CaseEnded, Verdict

from .attempts import Attempts
from .collection import Collection, run_pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from framelet_conformance.options import RunOptions
    from framelet_conformance.play import Play
    from framelet_conformance.targets.under_test import UnderTest

_MOST_WAITING = 64
_FAILURES_BETWEEN_CHECKS = 8
_TRIES = 2  # to converse with a peer that did so before


class Watcher(Protocol):
    """Who wants to see results as they come."""

    def begin(self, total: int) -> None:
        """So many cases will be run."""

    def case(self, result: CaseResult) -> None:
        """One is done."""


def run_cases(
    options: RunOptions, make_target: Callable[[], UnderTest], results: Results, watcher: Watcher
) -> None:
    """Run the cases that the options choose; ``make_target`` reaches or launches the peer.

    Raises SelectionError.  A peer that cannot be tested is a trouble of the results.
    """
    collection = Collection(options)
    runner = Runner(options, collection, make_target, results)
    run_pytest(options, collection, _Hooks(collection, runner, results, watcher))


class _Hooks:
    """The pytest plugin of one run: hands each case to the runner."""

    def __init__(self, collection: Collection, runner: Runner, results: Results, watcher: Watcher) -> None:
        self._collection = collection
        self._runner = runner
        self._results = results
        self._watcher = watcher

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> object:
        """Begin; None lets pytest go on."""
        if self._collection.error or not self._runner.start(session.items):
            return True
        self._watcher.begin(len(session.items))
        return None

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Nothing is set up: each attempt makes its own ``play``."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        """Take the result of a case."""
        result = self._runner.result(item)
        result.expected = result.id in self._collection.expected
        self._results.add(result)
        self._watcher.case(result)
        return True

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """End with a sanity conversation; after an interrupt, by ending what is under way."""
        self._runner.finish(interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)


class Runner:
    """Runs collected cases against one peer, those that may share its time beforehand."""

    def __init__(
        self,
        options: RunOptions,
        collection: Collection,
        make_target: Callable[[], UnderTest],
        results: Results,
    ) -> None:
        """Take what was collected; ``results`` are the caller's to add to, but for facts and trouble."""
        self._options = options
        self._collection = collection
        self._make_target = make_target
        self._results = results
        self._target: UnderTest | None = None
        self._attempts: Attempts | None = None
        self._lock = threading.Lock()
        self._failures = 0
        self._gone = False
        self._pools: list[concurrent.futures.ThreadPoolExecutor] = []
        self._later: list[pytest.Item] = []
        self._ahead: dict[str, concurrent.futures.Future[CaseResult]] = {}

    @property
    def untaken(self) -> bool:
        """Whether cases were begun whose results were not taken."""
        return bool(self._ahead)

    def start(self, items: list[pytest.Item]) -> bool:
        """Begin with a sanity conversation, and with those of the cases that may run ahead.

        Where it returns False the peer cannot be tested, and the trouble of the results says why.
        """
        try:
            self._target = self._make_target()
        except CaseEnded as error:
            self._results.trouble = error.reason
            return False
        if not self._sane("before the first case"):
            return False
        self._attempts = Attempts(self._options, self._target)
        cases = self._collection.cases
        together = [item for item in items if not (cases[item.nodeid].alone or cases[item.nodeid].stops)]
        # Those that wait for deadlines wait together, before the others make the machine busy.
        slow = [item for item in together if cases[item.nodeid].slow]
        self._later = [item for item in together if not cases[item.nodeid].slow]
        self._submit(slow, max(self._options.workers, len(slow)))
        return True

    def _submit(self, items: list[pytest.Item], workers: int) -> None:
        """Begin cases that may run beside each other."""
        pool = concurrent.futures.ThreadPoolExecutor(min(workers, _MOST_WAITING))
        self._pools.append(pool)
        for item in items:
            self._ahead[item.nodeid] = pool.submit(self._run, item)

    def result(self, item: pytest.Item) -> CaseResult:
        """The result of a case, which ran ahead or is run now."""
        if item in self._later:
            self._submit(self._later, self._options.workers)
            self._later = []
        future = self._ahead.pop(item.nodeid, None)
        return self._run(item) if future is None else future.result()

    def _run(self, item: pytest.Item) -> CaseResult:
        """A case, unless the peer is gone."""
        which = self._collection.cases[item.nodeid]
        if self._gone:
            reason = "not asked: the peer is gone"
            return CaseResult(which.id, which.title, which.requirements, Verdict.SETUP_ERROR, reason)
        assert self._attempts is not None  # noqa: S101 - made before the first case
        result = self._attempts.run(which, lambda play: _call(item, play))
        if not which.stops:
            self._look_after_target(result)
        return result

    def _look_after_target(self, result: CaseResult) -> None:
        """See that the peer is there where cases go wrong: a dead one must not cost the time of each case."""
        if result.verdict not in {Verdict.FAIL, Verdict.SETUP_ERROR}:
            return
        with self._lock:
            self._failures += 1
            due = result.verdict is Verdict.SETUP_ERROR or self._failures % _FAILURES_BETWEEN_CHECKS == 0
            if due and not self._gone:
                self._gone = not self._sane(f"after {result.id}", tries=_TRIES)

    def _sane(self, when: str, *, tries: int = 1) -> bool:
        assert self._target is not None  # noqa: S101 - callers looked
        for left in reversed(range(tries)):
            try:
                self._target.sanity()
            except CaseEnded as error:
                if not left:
                    self._results.trouble = f"the sanity conversation {when} failed: {error.reason}"
                    return False
            else:
                break
        return True

    def finish(self, *, interrupted: bool) -> None:
        """End with a sanity conversation; after an interrupt, by ending what is under way."""
        if interrupted and self._target is not None:
            self._gone = True
            self._target.close()  # which ends cases that wait for it
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)
        results, target = self._results, self._target
        if self._attempts is not None:
            self._attempts.stop()
            if not (interrupted or self._stopped):
                self._sane("after the last case", tries=_TRIES)
        if target is None:
            return
        if target.odd and not any(case.verdict in {Verdict.FAIL, Verdict.FLAKY} for case in results.cases):
            results.trouble = results.trouble or f"no case shows what is wrong: {target.odd}"
        results.facts = target.facts()
        if self._attempts is not None and self._attempts.forgotten:
            forgotten = f"{self._attempts.forgotten} failed while the machine stood still"
            results.facts["attempts made anew"] = forgotten
        if target.odd:
            results.facts["the first plain conversation"] = f"went wrong: {target.odd}"
        target.close()

    @property
    def _stopped(self) -> bool:
        """Whether the peer was stopped on purpose."""
        stopping = {which.id for which in self._collection.cases.values() if which.stops}
        return self._options.launch is None and any(
            case.verdict is not Verdict.SKIPPED and case.id in stopping for case in self._results.cases
        )


def _call(item: pytest.Item, play: Play) -> None:
    """Call the function of a case."""
    function: Callable[..., Any] = getattr(item, "obj")  # noqa: B009 - pytest.Item does not declare it
    callspec = getattr(item, "callspec", None)
    function(play=play, **(callspec.params if callspec is not None else {}))
