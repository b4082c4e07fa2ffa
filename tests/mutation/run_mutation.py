"""What ``make mutation`` runs: each small change of the protocol, until some test notices it.

One process collects the tests.  For each mutant it forks a child, in which one function has the changed
code, and which runs the tests up to the first that fails.  Writes the rows of its modules into RESULTS.md.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from tests.mutation.explained import EXPLAINED
from tests.mutation.mutants import Mutant, mutants, running

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "RESULTS.md"
_STATES = "deadlines states corpus"
_CLIENT = f"client_connection client_ending {_STATES}"
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
    "states": _STATES,
    "connection": f"{_SERVER} {_CLIENT}",
    "client_connection": _CLIENT,
    "answering": _SERVER,
    "server_connection": _SERVER,
}
"""The modules with functions, and the tests of each; the vectors, each in one piece, are for all."""

_LONGEST = 300
"""Seconds after which a mutant hangs, which is noticed."""

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

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try them."""
        children: dict[int, Mutant | None] = {self._fork(session, None): None}
        assert os.wait()[1] == 0, "the tests fail without any change"
        children.clear()
        left = list(reversed(self.mutants))
        began = time.monotonic()
        while left or children:
            if left and len(children) < self.jobs:
                mutant = left.pop()
                children[self._fork(session, mutant)] = mutant
                continue
            number, status = os.wait()
            done = children.pop(number)
            if status == 0 and done is not None:
                self.missed.append(done)
                print(f"missed: line {done.line}, {done.words}", file=sys.__stderr__, flush=True)
            if len(left) % 50 == 0:
                print(f"{len(left)} left, {time.monotonic() - began:.0f} s", file=sys.__stderr__, flush=True)
        return True

    def _fork(self, session: pytest.Session, mutant: Mutant | None) -> int:
        number = os.fork()
        if number:
            return number
        try:
            signal.alarm(_LONGEST)
            if mutant is None:
                status = _failed(session.items)
            else:
                names = {f"test_{name}.py" for name in [*TESTS[mutant.module].split(), "vectors"]}
                with running(self.modules[mutant.module], mutant.source):
                    status = _failed([item for item in session.items if item.path.name in names])
        except BaseException:  # noqa: BLE001 - whatever it is, the change was noticed
            status = True
        os._exit(status)


def _failed(items: list[pytest.Item]) -> bool:
    """Whether a test fails."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        reports: list[Any] = runtestprotocol(item, log=False, nextitem=following)
        if any(report.failed for report in reports):
            if os.environ.get("MUTATION_SHOW"):
                print(item.nodeid, *(r.longrepr for r in reports if r.failed), file=sys.__stderr__)
            return True
    return False


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
    flags = ["-q", "-s", "-p", "no:cacheprovider", "-o", "timeout=0", "-k", "not however_it_is_cut"]
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
