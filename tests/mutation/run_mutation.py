"""What ``make mutation`` runs: each small change of the protocol, until some test notices it.

One process collects the tests.  A first child runs them all, and tells which functions each calls and how
long it takes.  For each mutant another child runs with the changed code: of the tests that call the changed
function, the quick ones first, up to the first that fails.  Writes the rows of its modules into RESULTS.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.runner import runtestprotocol
from tests.mutation.explained import EXPLAINED
from tests.mutation.mutants import Mutant, forget, mutants, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType, ModuleType

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "RESULTS.md"
_STATES = "deadlines states corpus"
_CLIENT = f"client_connection client_ending client_batches {_STATES}"
_SERVER = f"server_connection server_faults server_ending server_batches server_rate {_STATES}"
TESTS = {
    "registry": "registry states",
    "errors": "errors codec grammar",
    "limits": "limits",
    "address": "address stop_policy",
    "frame_format": "frame_format",
    "grammar": "grammar spec",
    "codec": "codec grammar spec reversal corpus",
    "tls": "tls_layer",
    "events": "escape",
    "states": f"server_batches {_STATES}",
    "connection": f"{_SERVER} {_CLIENT}",
    "client_connection": _CLIENT,
    "answering": _SERVER,
    "server_connection": _SERVER,
}
"""The modules with functions, and the tests of each; the vectors, each in one piece, are for all."""

_LONGEST = 5
"""Seconds of processor time, or 60 times as many by the clock, after which a test hangs, which is noticed."""

_HEAD = """# Mutation of the protocol

Written by `make mutation`: small changes of `protocol/framelet`, one at a time, and whether a test of the
protocol (those without sockets) notices.  The functions alone are changed: definitions that are data are held
to the vectors.

| module | mutants | noticed | explained | missed | |
|---|---|---|---|---|---|
"""


class Trials:
    """The plugin that tries all mutants in the place of a run."""

    def __init__(self, names: list[str], every: int, first: int, jobs: int) -> None:
        self.modules = {name: importlib.import_module(f"framelet.{name}") for name in names}
        all_of_them = [mutant for module in self.modules.values() for mutant in mutants(module)]
        self.mutants = all_of_them[first::every]
        self.jobs = jobs
        self.missed: list[Mutant] = []
        self.counts: Counter[str] = Counter(mutant.module for mutant in self.mutants)

    def pytest_configure(self) -> None:
        """One failure of a property is enough: have none shrunk."""
        hypothesis = importlib.import_module("hypothesis")  # pytest warns where it is imported before its run
        phases = hypothesis.Phase.explicit, hypothesis.Phase.generate
        hypothesis.settings.register_profile("mutation", hypothesis.settings(), phases=phases)
        hypothesis.settings.load_profile("mutation")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try them, in a folder for the files that some of them write where they should not."""
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            return self._try_all(session)

    def _try_all(self, session: pytest.Session) -> bool:
        calls = self._calls(session.items)
        children: dict[int, Mutant] = {}
        left = list(reversed(self.mutants))
        began = time.monotonic()
        while left or children:
            if left and len(children) < self.jobs:
                mutant = left.pop()
                children[self._fork([session.items[n] for n in calls[mutant.called]], mutant)] = mutant
                continue
            number, status = os.wait()
            done = children.pop(number)
            if status == 0:
                self.missed.append(done)
                print(f"missed: line {done.line}, {done.words}", file=sys.__stderr__, flush=True)
            if len(left) % 50 == 0:
                print(f"{len(left)} left, {time.monotonic() - began:.0f} s", file=sys.__stderr__, flush=True)
        return True

    def _calls(self, items: list[pytest.Item]) -> defaultdict[str, list[int]]:
        """The numbers of the tests that call each function, quick ones first."""
        reading, writing = os.pipe()
        if os.fork() == 0:
            status = 1
            try:
                found = [_called(item, following, self.modules) for item, following in _pairs(items)]
                with os.fdopen(writing, "w", encoding="utf-8") as file:
                    json.dump(found, file)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as file:
            text = file.read()
        assert os.wait()[1] == 0, "the tests fail without any change"
        calls = defaultdict[str, list[int]](list)
        for _, number, names in sorted((took, n, names) for n, (took, names) in enumerate(json.loads(text))):
            for name in names:
                calls[name].append(number)
        return calls

    def _fork(self, items: list[pytest.Item], mutant: Mutant) -> int:
        number = os.fork()
        if number:
            return number
        try:
            with running(self.modules[mutant.module], mutant.source):
                status = any(_failed(item, following) for item, following in _pairs(items))
        except BaseException:  # noqa: BLE001 - whatever it is, the change was noticed
            status = True
        os._exit(status)


def _pairs(items: list[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    """Each test with that which follows it."""
    return zip(items, [*items[1:], None], strict=True)


def _called(
    item: pytest.Item, following: pytest.Item | None, modules: dict[str, ModuleType]
) -> tuple[float, list[str]]:
    """How many seconds a test takes, and which functions of the modules it calls."""
    files = {module.__file__: name for name, module in modules.items()}
    codes: set[CodeType] = set()

    def note(frame: FrameType, what: str, _: object) -> None:
        if what == "call" and frame.f_code.co_filename in files:
            codes.add(frame.f_code)

    for module in modules.values():
        forget(module)
    began = time.monotonic()
    sys.settrace(note)  # not setprofile: tests count calls by that
    try:
        assert not _failed(item, following), f"{item.nodeid} fails without any change"
    finally:
        sys.settrace(None)
    names = {f"{files[code.co_filename]}.{code.co_qualname.partition('.<locals>')[0]}" for code in codes}
    return time.monotonic() - began, sorted(names)


def _failed(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Whether a test fails; where it hangs, the process ends."""
    signal.setitimer(signal.ITIMER_PROF, _LONGEST)
    signal.alarm(60 * _LONGEST)
    reports: list[Any] = runtestprotocol(item, log=False, nextitem=following)
    failed = any(report.failed for report in reports)
    if failed and os.environ.get("MUTATION_SHOW"):
        print(item.nodeid, *(r.longrepr for r in reports if r.failed), file=sys.__stderr__)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=TESTS)
    parser.add_argument("--every", type=int, default=1, help="try one of so many")
    parser.add_argument("--first", type=int, default=0, help="the number of the first that is tried")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    trials = Trials(list(options.modules), options.every, options.first, options.jobs)
    names = {name for module in options.modules for name in TESTS[module].split()}
    files = [
        str(path) for path in sorted(FOLDER.parent.rglob("test_*.py")) if path.stem[5:] in {*names, "vectors"}
    ]
    flags = [
        "-q",
        "-s",
        "-p",
        "no:cacheprovider",
        "-o",
        "timeout=0",
        "-m",
        "not uncounted",
        "-k",
        "not however_it_is_cut",
    ]
    status = pytest.main([*flags, *files], plugins=[trials])
    if status not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        return int(status)
    missed = [mutant for mutant in trials.missed if mutant.words not in EXPLAINED]
    if options.every == 1:
        RESULTS.write_text(report(trials.counts, trials.missed), encoding="utf-8")
    total, lost = trials.counts.total(), len(trials.missed)
    print(f"{total - lost} of {total} noticed, {lost - len(missed)} explained, {len(missed)} missed")
    return bool(missed)


def report(counts: Counter[str], missed: list[Mutant]) -> str:
    """The table, and each that was not noticed with the reason; of other modules, what is known of them."""
    before = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    rows, lines = "", ""
    for name in TESTS:
        if name not in counts:
            rows += "".join(f"{line}\n" for line in before if line.startswith(f"| `{name}` "))
            lines += "".join(f"{line}\n" for line in before if line.startswith(f"- {name}."))
            continue
        lost = [mutant for mutant in missed if mutant.module == name]
        why, count = sum(mutant.words in EXPLAINED for mutant in lost), counts[name]
        numbers = (count, count - len(lost), why, len(lost) - why, f"{1 - len(lost) / count:.1%}")
        rows += f"| `{name}` | {' | '.join(map(str, numbers))} |\n"
        lines += "".join(f"- {mutant.words}: {EXPLAINED.get(mutant.words, 'no test')}\n" for mutant in lost)
    return f"{_HEAD}{rows}\n## Not noticed\n\n{lines}"


if __name__ == "__main__":
    sys.exit(main())
