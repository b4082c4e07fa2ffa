"""The report on the terminal: progress while the cases run, and a summary after them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from framelet_conformance.results import CONCLUSIONS, worst
from framelet_conformance.specification import read_requirements
from framelet_conformance.verdicts import Verdict

from .wire_lines import lines

if TYPE_CHECKING:
    from rich.progress import TaskID

    from framelet_conformance.results import CaseResult, Results

STYLES = {
    Verdict.PASS: "green",
    Verdict.NON_STRICT: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.FLAKY: "magenta",
    Verdict.SETUP_ERROR: "bold red",
    Verdict.INFORMATIONAL: "cyan",
    Verdict.SKIPPED: "dim",
}
_SHOWN_REASONS = 12
_SHOWN_CASES = 4  # of those that fail alike
_SHOWN_PEER = 70  # characters of its launch command
_SILENCE = 30.0  # seconds after which it is said how far the run is


class _Steady(Console):
    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - as rich has it
        """Do nothing: after a signal that ends or stops the bar a hidden cursor would stay hidden."""
        return False


class Terminal:
    """Shows results as they come."""

    def __init__(self, *, quiet: bool = False) -> None:
        """``quiet`` leaves only the summary."""
        self._console = _Steady(highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._total = 0
        self._done = 0
        self._over = threading.Event()

    def begin(self, total: int) -> None:
        """So many cases will be run."""
        self._total = total
        if self._quiet:
            return
        if not self._console.is_terminal:
            threading.Thread(target=self._tell, daemon=True).start()
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("cases", total=total)
        self._progress.start()

    def _tell(self) -> None:
        """Say now and then how far the run is: slow cases have nothing to show for minutes."""
        began = time.monotonic()
        while not self._over.wait(_SILENCE):
            seconds = time.monotonic() - began
            self._console.print(Text(f"{self._done} of {self._total} cases after {seconds:.0f} s", "dim"))

    def case(self, result: CaseResult) -> None:
        """One is done; what needs a look is shown at once."""
        self._done += 1
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)
        unremarkable = {Verdict.PASS, Verdict.SKIPPED, Verdict.INFORMATIONAL}
        if not result.stale and (self._quiet or result.verdict in unremarkable):
            return
        line = Text(f"{'STALE' if result.stale else result.verdict.upper():12}", STYLES[result.verdict])
        line.append(f"{result.id}", "bold")
        line.append(f"  {' '.join(result.broken or result.requirements)}", "dim")
        if result.expected and not result.stale:
            line.append("  (expected)", "dim")
        self._console.print(line)
        self._console.print(Text("\n".join(f"    {row}" for row in result.reason.splitlines())))
        if result.replay and not result.expected:
            self._console.print(Text(f"    replay: {result.replay}", "dim"))

    def wire(self, result: CaseResult) -> None:
        """Everything that was said in a case."""
        for log in result.logs:
            for line in lines(log, joined=False):
                arrow = {"sent": "->", "received": "<-"}.get(line.way, "  ")
                offset = "" if line.offset is None else f"{line.offset}"
                text = Text(f"{line.time * 1000:9.1f} ms {arrow} {offset:>8}  ", "dim")
                text.append(f"{line.octets}  ").append(line.meaning, "cyan")
                self._console.print(text)

    def close(self) -> None:
        """Leave nothing of the progress."""
        self._over.set()
        if self._progress is not None:
            self._progress.stop()

    def summary(self, results: Results) -> None:
        """The end of the run."""
        self.close()
        self._skipped(results)
        self._not_judged(results)
        self._failures(results)
        line = Text()
        for verdict, count in results.counts().items():
            if count:
                line.append(f"{count} {verdict}", STYLES[verdict]).append("   ")
        line.append(f"in {results.duration:.1f} s", "dim")
        if results.cases:
            self._console.print(line)
        if results.trouble:
            self._console.print(Text(f"cannot be tested: {results.trouble}", "bold red"))
        self._console.print(_conclusion(results))

    def _skipped(self, results: Results) -> None:
        if self._quiet:
            return
        reasons: dict[str, int] = {}
        for case in results.cases:
            if case.verdict is Verdict.SKIPPED:
                reasons[case.reason] = reasons.get(case.reason, 0) + 1
        for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1])[:_SHOWN_REASONS]:
            self._console.print(Text(f"skipped {count:5}: {reason}", "dim"))
        if len(reasons) > _SHOWN_REASONS:
            self._console.print(Text(f"... and for {len(reasons) - _SHOWN_REASONS} more reasons", "dim"))

    def _not_judged(self, results: Results) -> None:
        names = results.not_judged()
        if names:
            text = (
                f"not judged ({len(names)} requirements, all of whose cases were skipped): {' '.join(names)}"
            )
            self._console.print(Text(text, "dim"))

    def _failures(self, results: Results) -> None:
        """What was broken, most often first, with its sentence and the reasons."""
        known = read_requirements()
        for found in results.failures():
            line = Text(f"{found.requirement} ", STYLES[worst(found.cases) or Verdict.FAIL])
            if found.requirement in known:
                line.append(f"{known[found.requirement].sentence} ")
            line.append(f"[{_cases(len(found.cases))}]", "dim")
            self._console.print(line)
            for alike in found.alike[:_SHOWN_REASONS]:
                names = ", ".join(case.id for case in alike[:_SHOWN_CASES])
                more = f" and {len(alike) - _SHOWN_CASES} more" if len(alike) > _SHOWN_CASES else ""
                reason = alike[0].reason.partition("\n")[0]
                self._console.print(
                    Text(f"    {_cases(len(alike))}: {reason} ").append(f"{names}{more}", "dim")
                )
            if len(found.alike) > _SHOWN_REASONS:
                self._console.print(Text(f"    and {len(found.alike) - _SHOWN_REASONS} more reasons", "dim"))


def _cases(count: int) -> str:
    return f"{count} case{'s' if count > 1 else ''}"


def _conclusion(results: Results) -> Text:
    text = CONCLUSIONS[results.exit_code]
    style = "bold red" if results.exit_code else "bold green"
    if results.exit_code == 1 and not any(case.bad for case in results.cases):
        verdicts = {case.verdict for case in results.cases}
        if any(case.stale for case in results.cases):
            text = "has stale expectations"
        elif Verdict.NON_STRICT in verdicts:
            text = "does not conform strictly"
        else:
            text = "conforms as far as it was judged, but --strict requires all cases to be judged"
    peer = results.peer if len(results.peer) <= _SHOWN_PEER else f"{results.peer[: _SHOWN_PEER - 3]}..."
    return Text(f"{text}: {peer}", style)
