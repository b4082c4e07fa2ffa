"""Generated conversations: a case for each kind, and the search for one that fails, shrunk to the smallest.

What fails must fail again, alone and each time, to count.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import pytest

from framelet_conformance.play import case
from framelet_conformance.verdicts import Failed, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hypothesis import strategies as st

    from framelet_conformance.options import RunOptions

T = TypeVar("T", bound=Hashable)
_Held_contra = TypeVar("_Held_contra", contravariant=True)

_REPEATED = 3
_PATIENCE = 20.0  # seconds, scaled, for the shrinking of one failure


def generated_cases(kinds: Mapping[str, str], done: str, *requirements: str) -> pytest.MarkDecorator:
    """Make a function a case for each kind: its name, and what such conversations are of.

    ``done`` is what the peer does with them.
    """
    return pytest.mark.parametrize(
        "kind",
        [
            pytest.param(
                name,
                marks=case(
                    f"conversations.{name}",
                    f"generated conversations of {title}, cut anywhere, are {done} as the model says",
                    *requirements,
                    reruns=0,
                    alone=True,  # Hypothesis does not bear several searches at once, on threads
                ),
            )
            for name, title in kinds.items()
        ],
    )


class _Enough(BaseException):  # an Exception would be a failure to Hypothesis, and be looked for again
    """Shrinking has taken long enough."""


class _Hold(Protocol[_Held_contra]):
    def __call__(self, conversations: Sequence[_Held_contra], *, shrinking: bool = False) -> Failed | None:
        """The failure of the first of these that fails, with its place; None where none does."""


class Search(Generic[T]):
    """Remembers what was tried, so that no conversation is judged twice, and the smallest that failed."""

    def __init__(
        self,
        options: RunOptions,
        hold: _Hold[T],
        size: Callable[[T], tuple[object, ...]],
        smaller: Callable[[T], Iterable[Sequence[T]]] | None = None,
    ) -> None:
        """``hold`` holds conversations with the peer; ``size`` tells which of two is the smaller one.

        ``smaller`` makes smaller ones of one, a few to be held together at a time; without it Hypothesis
        shrinks.  Where an example is of several conversations Hypothesis would shrink all of them.
        """
        self._options = options
        self._hold = hold
        self._size = size
        self._smaller = smaller
        self._known: dict[T, Failed | None] = {}
        self._smallest: T | None = None
        self._since = 0.0

    def run(self, strategy: st.SearchStrategy[Sequence[T]], examples: int) -> None:
        """Search so many examples, each of one conversation or several; raises Failed."""
        from hypothesis.errors import Flaky  # noqa: PLC0415 - it takes long to import, and few runs need it

        options = self._options
        with contextlib.suppress(Failed, Flaky, _Enough):  # it keeps what failed
            if self._smaller is None:
                self._look(strategy, examples, options.seed)
            else:
                # Hypothesis tries each example in variations.  Few are tried here, and are to differ: so each
                # is the first of a seed, after the simplest of all.
                for number in range(examples):
                    self._look(strategy, 2, (options.seed or 0) * examples + number)
        if self._smaller is not None:
            self._shrink(self._smaller)
        self._conclude()

    def _look(self, strategy: st.SearchStrategy[Sequence[T]], examples: int, seed: int | None) -> None:
        """Have Hypothesis search, and shrink unless that is done here; raises what it found."""
        import hypothesis  # noqa: PLC0415 - as above

        phases = [hypothesis.Phase.generate, *([] if self._smaller else [hypothesis.Phase.shrink])]

        @hypothesis.settings(
            max_examples=examples,
            phases=phases,
            deadline=None,
            database=None,
            derandomize=seed is None,
            report_multiple_bugs=False,
            print_blob=False,
            suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
            verbosity=hypothesis.Verbosity.quiet,
        )
        @hypothesis.given(strategy)
        def look(conversations: Sequence[T]) -> None:
            self._try(conversations)

        if seed is not None:
            look = hypothesis.seed(seed)(look)
        look()

    def _try(self, conversations: Sequence[T]) -> None:
        """Hold those that are not known; raises Failed where one fails."""
        if self._late:
            raise _Enough
        new = [each for each in dict.fromkeys(conversations) if each not in self._known]
        failure = self._hold(new, shrinking=self._smallest is not None) if new else None
        if failure is not None:
            self._known[new[failure.place]] = failure
        for each in conversations:
            found = self._known.setdefault(each, None)
            if found is not None:
                self._keep(each)
                raise found

    def _keep(self, failed: T) -> None:
        """Remember it if it is the smallest."""
        if self._smallest is None:
            self._since = time.monotonic()
        if self._smallest is None or self._size(failed) < self._size(self._smallest):
            self._smallest = failed

    @property
    def _late(self) -> bool:
        patience = _PATIENCE * self._options.times.scale
        return self._smallest is not None and time.monotonic() - self._since > patience

    def _shrink(self, smaller: Callable[[T], Iterable[Sequence[T]]]) -> None:
        """Go to smaller conversations as long as one of them fails."""
        last = None
        while self._smallest is not None and last != self._smallest:
            last = self._smallest
            try:
                for some in smaller(last):
                    self._try(some)
            except Failed:
                pass  # it is the smallest now
            except _Enough:
                return

    def _conclude(self) -> None:
        """See whether the smallest failure is one; raises Failed, as flaky where it comes and goes."""
        if self._smallest is None:
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
        error = Failed(message)
        error.verdict = Verdict.FLAKY
        raise error
