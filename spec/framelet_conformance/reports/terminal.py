"""The report on the terminal: progress while the cases run, and a summary after them."""

from __future__ import annotations

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


class Terminal:
    """Shows results as they come."""

    def __init__(self, *, quiet: bool = False) -> None:
        """``quiet`` leaves only the summary."""
        self._console = Console(highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._total = 0

    def begin(self, total: int) -> None:
        """So many cases will be run."""
        self._total = total
        if self._quiet or not self._console.is_terminal:
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

    def case(self, result: CaseResult) -> None:
        """One is done; what needs a look is shown at once."""
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

    def summary(self, results: Results) -> None:
        """The end of the run."""
        if self._progress is not None:
            self._progress.stop()
        self._skipped(results)
        self._requirements(results)
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

    def _requirements(self, results: Results) -> None:
        """The requirements that were broken, with their sentences."""
        known = read_requirements()
        for name, cases in results.by_requirement().items():
            bad = [case for case in cases if case.bad]
            if not bad or name not in known:
                continue
            line = Text(f"{name} ", STYLES[worst(bad) or Verdict.FAIL])
            line.append(f"{known[name].sentence} ").append(f"[{len(bad)} of {len(cases)} cases]", "dim")
            self._console.print(line)


def _conclusion(results: Results) -> Text:
    text = CONCLUSIONS[results.exit_code]
    style = "bold red" if results.exit_code else "bold green"
    if results.exit_code == 1 and not any(case.bad for case in results.cases):
        stale = any(case.stale for case in results.cases)
        text = "has stale expectations" if stale else "does not conform strictly"
    return Text(f"{results.peer}: {text}", style)
