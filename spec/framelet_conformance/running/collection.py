"""Having pytest collect the cases of a role, and choosing and ordering those of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from framelet_conformance.play import Case, Play

from .selection import SelectionError, select

if TYPE_CHECKING:
    from framelet_conformance.options import RunOptions

_CASES = Path(__file__).parents[1] / "cases"


class Collection:
    """The pytest plugin that selects and orders; ``cases`` are those of the run, by their node ids."""

    def __init__(self, options: RunOptions) -> None:
        """Nothing is collected yet."""
        self.cases: dict[str, Case] = {}
        self.expected: set[str] = set()
        self.error: str = ""
        self._options = options

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
            self.error = f"the suite itself is at fault: duplicate ids: {twice}"
            items.clear()
            return
        found = [(item, which) for item, which in found if self._options.slow or not which.thorough]
        try:
            chosen, self.expected = select([which for _, which in found], self._options)
        except SelectionError as error:
            self.error = str(error)
            items.clear()
            return
        ids = {which.id for which in chosen}
        kept = [(item, which) for item, which in found if which.id in ids]
        # Those that stop the peer come last.  Those that wait for long are begun first.
        kept.sort(key=lambda pair: (pair[1].stops, pair[1].alone, not pair[1].slow))
        items[:] = [item for item, _ in kept]
        self.cases = {item.nodeid: which for item, which in kept}


def run_pytest(options: RunOptions, collection: Collection, *more: object) -> None:
    """Have pytest collect the cases of the role and go through them; raises SelectionError."""
    before = os.environ.get("PYTEST_ADDOPTS")
    os.environ["PYTEST_ADDOPTS"] = ""
    folder = _CASES / options.role
    arguments = [
        str(folder),
        "--disable-plugin-autoload",
        "--import-mode=importlib",
        f"--rootdir={folder}",
        f"--confcutdir={folder}",
        f"--config-file={os.devnull}",
        "--override-ini=python_files=*.py",
        "--override-ini=python_functions=case_*",
        "--override-ini=python_classes=",
        "-pno:terminal",
        "-pno:cacheprovider",
        "-pno:faulthandler",
        "-pno:logging",
        "-pno:capture",
        *([] if more else ["--collect-only"]),
    ]
    try:
        status = pytest.main(arguments, plugins=[collection, *more])
    finally:
        del os.environ["PYTEST_ADDOPTS"]
        if before is not None:
            os.environ["PYTEST_ADDOPTS"] = before
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if status not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        collection.error = collection.error or f"the suite itself failed: pytest ended with {status!r}"
    if collection.error:
        raise SelectionError(collection.error)


def collect(options: RunOptions) -> list[Case]:
    """The cases that a run with these options would have, in its order; raises SelectionError."""
    collection = Collection(options)
    run_pytest(options, collection)
    return list(collection.cases.values())
