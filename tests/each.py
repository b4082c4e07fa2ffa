"""One test for many values, where an item for each would cost more than what it does."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Test = Callable[..., None]


@contextlib.contextmanager
def noting(*subject: object) -> Iterator[None]:
    """Have what fails say with what."""
    try:
        yield
    except BaseException as error:
        error.add_note("with " + ", ".join(f"{part!r:.200}" for part in subject))
        raise


def each(names: str, values: Iterable[Any]) -> Callable[[Test], Test]:
    """Run the test for each value, or tuple of values, as ``pytest.mark.parametrize`` does in one item.

    ``names`` are apart by spaces.  All runs share the fixtures.
    """
    cases, keys = list(values), names.split()
    assert cases

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            for case in cases:
                given = dict(zip(keys, case if len(keys) > 1 else (case,), strict=True))
                with noting(given):
                    test(**fixtures, **given)

        wanted = inspect.signature(test).parameters.values()
        run.__signature__ = inspect.Signature([part for part in wanted if part.name not in keys])  # type: ignore[attr-defined]
        return run

    return decorate
