"""Searching generated conversations for one that fails, and shrinking it to the smallest.

What fails must fail again, alone and each time, to count.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import hypothesis
from hypothesis.errors import Flaky

from .results import Failed, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hypothesis import strategies as st

    from .play import Options

T = TypeVar("T", bound=Hashable)
_Held_contra = TypeVar("_Held_contra", contravariant=True)

_REPEATED = 3
_HEALTH = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much]
_PATIENCE = 20.0  # seconds, scaled, for the shrinking of one failure


class _Hold(Protocol[_Held_contra]):
    def __call__(self, conversations: Sequence[_Held_contra], *, shrinking: bool = False) -> Failed | None:
        """The failure of the first of these conversations that fails, None where none does."""


class Search(Generic[T]):
    """Remembers what was tried, so that no conversation is judged twice, and the smallest that failed."""

    def __init__(self, options: Options, hold: _Hold[T], size: Callable[[T], tuple[object, ...]]) -> None:
        """``hold`` holds conversations with the peer; ``size`` tells which of two is the smaller one."""
        self._options = options
        self._hold = hold
        self._size = size
        self._known: dict[T, Failed | None] = {}
        self._smallest: T | None = None
        self._since = 0.0
        self._stray: Failed | None = None

    def run(self, strategy: st.SearchStrategy[Sequence[T]], examples: int) -> None:
        """Search so many examples, each of one conversation or some; raises Failed."""
        options = self._options

        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=options.seed is None,
            report_multiple_bugs=False,
            print_blob=False,
            suppress_health_check=_HEALTH,
            verbosity=hypothesis.Verbosity.quiet,
        )
        @hypothesis.given(strategy)
        def look(conversations: Sequence[T]) -> None:
            self._try(conversations)

        if options.seed is not None:
            look = hypothesis.seed(options.seed)(look)
        try:
            look()
        except Failed:
            pass
        except Flaky:
            pass  # the search has kept what failed
        self._conclude()

    def _try(self, conversations: Sequence[T]) -> None:
        """Hold those that are not known; raises Failed where one fails."""
        new = [each for each in dict.fromkeys(conversations) if each not in self._known]
        # Past its patience the search takes what it does not know for good, and so comes to an end.
        if not self._late:
            self._learn(new)
        for each in conversations:
            failure = self._known.setdefault(each, None)
            if failure is not None:
                if self._smallest is None:
                    self._since = time.monotonic()
                if self._smallest is None or self._size(each) < self._size(self._smallest):
                    self._smallest = each
                raise failure

    @property
    def _late(self) -> bool:
        patience = _PATIENCE * self._options.times.scale
        return self._smallest is not None and time.monotonic() - self._since > patience

    def _learn(self, new: list[T]) -> None:
        """Hold conversations together; where that fails, one by one up to the one to blame."""
        shrinking = self._smallest is not None
        failure = self._hold(new, shrinking=shrinking) if new else None
        if failure is None:
            return
        for each in new:
            self._known[each] = failure if len(new) == 1 else self._hold([each], shrinking=shrinking)
            if self._known[each] is not None:
                return
        self._stray = failure

    def _conclude(self) -> None:
        """See whether the smallest failure is one; raises Failed, as flaky where it comes and goes."""
        if self._smallest is None:
            if self._stray is not None:
                message = f"{self._stray.reason}\nit failed among others, and none of them failed alone"
                raise _flaky(message)
            return
        found = [self._hold([self._smallest]) for _ in range(_REPEATED)]
        failures = [failure for failure in found if failure is not None]
        if len(failures) == _REPEATED:
            message = f"{failures[0].reason}\nthe smallest conversation that fails: {self._smallest}"
            raise Failed(message, *(failures[0].broken or ("REQ-STATE-1",)))
        message = (
            f"it failed {len(failures)} of {_REPEATED} times when it was repeated\n"
            f"the smallest conversation that failed: {self._smallest}"
        )
        raise _flaky(message)


def _flaky(message: str) -> Failed:
    error = Failed(message)
    error.verdict = Verdict.FLAKY
    return error
