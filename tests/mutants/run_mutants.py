"""Run the conformance suite against each mutant, and write the table of what caught it: `make mutants`.

    python -m tests.mutants.run_mutants [--whole] [--jobs N] [NAME ...]

A mutant is a reference peer with one bug.  It counts as killed only if a case fails that blames the very
requirement which the bug breaks; so the cases of that requirement are run, and all others with --whole only.
The peers without a bug come first, and must pass every case.  Exit status: 0 every mutant was killed; 1 one
survived, or a correct peer did not pass; 2 no such mutant.
"""

import argparse
import functools
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from .bugs import BUGS, Bug
from .edited import EDITS

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = pathlib.Path(__file__).with_name("RESULTS.md")
LONGEST = 900.0  # seconds for the suite to end
HASTE = 0.3  # of the suite's bounds of time: the peers are near and quick, and a mutant often says nothing
SURVIVED = "**survived**"
CASES = "\n## Cases\n\n"
SHOWN = 3  # cases named in the table for each mutant
ENOUGH = 120  # cases of one requirement, taken evenly from all: a mutant that breaks each costs minutes
GOOD = {"pass", "informational"}

SUITE = [sys.executable, "-m", "framelet_conformance"]
_PEER = f"{shlex.quote(sys.executable)} -m tests.mutants."
TIMES = " ".join(
    f"[--{name}-timeout {{{name}_timeout}}]" for name in ("frame", "idle", "linger", "write", "drain")
)
LAUNCH = {
    "server": f"{_PEER}reference_server --port {{port}} [--max-body {{max_body}}] {TIMES} "
    "[--max-connections {max_connections}] [--stop {stop}] [--stop-token-file {stop_token_file}] "
    "[--application {application}]",
    "client": f"{_PEER}reference_client {{host}} {{port}}",
}
LAUNCH["concurrent"] = LAUNCH["server"].replace("reference_server", "concurrent_server")
ROLES = {"server": "server", "concurrent": "server", "client": "client"}
"""The peers, and which role the suite holds each of them to."""

MUTANTS = sorted(BUGS + EDITS, key=lambda bug: [*ROLES].index(bug.role))
"""Those with a switch in the peer, and those of which one place is changed."""


@dataclass
class Run:
    """One run of the suite: its exit status, why it could not go on, and the cases."""

    status: int | None
    trouble: str = ""
    cases: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def failed(self) -> list[dict[str, Any]]:
        """The cases that failed, each time that they were tried."""
        return [case for case in self.cases if case["verdict"] == "fail"]

    def killers(self, bug: Bug) -> list[str]:
        """The failed cases that blame the requirement which the bug breaks; none where the suite gave up."""
        found = [case["id"] for case in self.failed() if bug.requirement in blamed(case)]
        return found if self.status == 1 else []


def blamed(case: dict[str, Any]) -> list[str]:
    """The requirements that a failed case blames: those it singles out, else all that it checks."""
    return list(case["broken"] or case["requirements"])


@functools.cache
def cases_of(role: str) -> list[dict[str, Any]]:
    """All cases of the suite for a role."""
    command = [*SUITE, ROLES[role], "--launch", "x {host} {port}", "--list", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def cases_for(bug: Bug) -> list[str]:
    """The cases of the requirement that a bug breaks."""
    return [case["id"] for case in cases_of(bug.role) if bug.requirement in case["requirements"]]


def part_of(cases: list[str]) -> list[str]:
    """Enough of them, always the same."""
    count = min(len(cases), ENOUGH)
    return [cases[place * len(cases) // count] for place in range(count)]


def launch_of(role: str, bug: Bug | None) -> str:
    """The command that starts a peer."""
    if bug is None or bug in BUGS:
        return LAUNCH[role] + (f" --bug {bug.name}" if bug else "")
    return re.sub(r"(?<=-m tests.mutants.)\w+", f"edited {key(bug)}", LAUNCH[role], count=1)


def run_suite(role: str, bug: Bug | None, only: list[str] | None = None) -> Run:
    """Run the suite against a peer, with all cases or some."""
    launch = launch_of(role, bug)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="framelet-mutant-") as folder:
        report = pathlib.Path(folder, "report.json")
        command = [*SUITE, ROLES[role], "--launch", launch, "--quiet"]
        command += ["--report-json", str(report), "--replay-dir", folder]
        command += ["--time-scale", str(HASTE)] if bug else []
        if only is not None:
            selection = pathlib.Path(folder, "selection")
            selection.write_text("\n".join(only), encoding="utf-8")
            command += ["--only", f"@{selection}"]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it ends what it launched
            process.communicate()
            return Run(None, f"the suite did not end within {LONGEST:.0f} s")
        seconds = time.monotonic() - began
        if not report.exists():
            return Run(process.returncode, said.strip()[-500:], seconds=seconds)
        document = json.loads(report.read_text(encoding="utf-8"))
    return Run(process.returncode, document["trouble"], document["cases"], seconds)


def run_against(bug: Bug, *, whole: bool) -> Run:
    """Run the suite against a mutant: some cases of the requirement first, all of them where these pass."""
    if whole:
        return run_suite(bug.role, bug)
    cases = cases_for(bug)
    run = run_suite(bug.role, bug, part_of(cases))
    return run if run.killers(bug) or len(cases) <= ENOUGH else run_suite(bug.role, bug, cases)


def check_reference(role: str, *, again: bool = True) -> str | None:
    """Why the peer without a bug does not pass everything, None where it does."""
    run = run_suite(role, None)
    others = {case["id"]: case["verdict"] for case in run.cases if case["verdict"] not in GOOD}
    say(f"reference {role}: {len(run.cases)} cases, {run.seconds:.0f} s {others or ''}".rstrip())
    if run.status == 0 and run.cases and not others:
        return None
    if again and set(others.values()) == {"flaky"} and not run.trouble:
        return check_reference(role, again=False)  # a machine that stands still for a second does this
    return f"the reference {role} does not pass: status {run.status}, {others} {run.trouble}".rstrip()


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def key(bug: Bug) -> str:
    """What a mutant is called among those of both roles."""
    return f"{bug.role}:{bug.name}"


def row(bug: Bug, run: Run) -> str:
    """The mutant's line of the table."""
    killers = run.killers(bug)
    shown = ", ".join(f"`{name}`" for name in killers[:SHOWN])
    caught = f"{shown}{', ...' if len(killers) > SHOWN else ''}" if killers else SURVIVED
    return f"| `{bug.name}` | {bug.description} | {bug.requirement} | {caught} |"


def known_rows(text: str) -> dict[str, str]:
    """The lines of a table that was written before."""
    found = {}
    for part in text.split("\n## ")[1:]:
        role = part.partition(":")[0].lower()
        found.update(
            {f"{role}:{line.split('`')[1]}": line for line in part.splitlines() if line[:3] == "| `"}
        )
    return found


def table(rows: dict[str, str], cases: str = "") -> str:
    """The whole document; ``cases`` is its last section."""

    def score(bugs: list[Bug]) -> str:
        return f"{sum(SURVIVED not in rows[key(bug)] for bug in bugs)} of {len(bugs)}"

    known = [bug for bug in MUTANTS if key(bug) in rows]
    lines = [
        "# Mutants",
        "",
        "A mutant is a reference peer with one bug (`bugs.py`, `edits_*.toml`). The conformance suite was run against each; a",
        "mutant is killed if a case fails that blames the very requirement which the bug breaks. `make mutants`",
        "writes this file.",
        "",
        f"**Killed: {score(known)}.** The peers without a bug pass every case, and none is skipped.",
    ]
    for role in ROLES:
        of_role = [bug for bug in known if bug.role == role]
        if not of_role:
            continue
        lines += ["", f"## {role.capitalize()}: {score(of_role)}", ""]
        lines += ["| mutant | what it does | breaks | caught by |", "|---|---|---|---|"]
        lines += [rows[key(bug)] for bug in of_role]
    return "\n".join(lines) + "\n" + cases


def cases_in(text: str) -> str:
    """The section on cases of a document that was written before."""
    _, mark, section = text.partition(CASES)
    return mark + section


def redundant(runs: list[tuple[Bug, Run]]) -> str:
    """The section on the cases that kill no mutant, of those that were run, which another case does not kill."""
    tried = {
        (bug.role, case["id"]) for bug, run in runs for case in run.cases if case["verdict"] != "skipped"
    }
    killers = [{(bug.role, name) for name in run.killers(bug)} for bug, run in runs]
    alone = set().union(*(found for found in killers if len(found) == 1))
    kinds = Counter(kind(name) for _, name in tried - alone)
    all_of = Counter(kind(name) for _, name in tried)
    lines = [
        f"Of {len(tried):,} cases that were run against some mutant, {len(tried - alone):,} kill nothing that no",
        "other kills; they are there for the bugs that nobody has thought of. How many of each family:",
        ", ".join(f"`{name}` {count} of {all_of[name]}" for name, count in sorted(kinds.items())) + ".",
        "",
        "Alone in killing a mutant: " + ", ".join(sorted(f"`{name}`" for _, name in alone)) + ".",
    ]
    return CASES + "\n".join(lines) + "\n"


def kind(case: str) -> str:
    """The family that a case belongs to: the first words of its name."""
    return ".".join(case.split(".")[: 2 if case.startswith("client.") else 1])


def chosen(names: list[str]) -> list[Bug]:
    """The bugs of these names, `ROLE:NAME` or `NAME`; all without a name.  Raises SystemExit."""
    known = {name for bug in MUTANTS for name in (bug.name, key(bug), bug.role)}
    unknown = set(names) - known
    if unknown:
        say(f"no such mutant: {', '.join(sorted(unknown))}")
        raise SystemExit(2)
    return [bug for bug in MUTANTS if not names or {bug.name, key(bug), bug.role} & set(names)]


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description="Run the conformance suite against mutants.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a mutant, ROLE:NAME, or a role; all without"
    )
    parser.add_argument(
        "--whole", action="store_true", help="every case, not only those of the requirement that is broken"
    )
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="mutants at a time")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=RESULTS,
        help="where the table is, or is to be, of which the lines of the mutants named are written anew",
    )
    given = parser.parse_args()
    bugs = chosen(given.names)
    faults = [fault for role in sorted({bug.role for bug in bugs}) if (fault := check_reference(role))]
    if faults:
        say("\n".join(faults))
        return 1

    before = given.output.read_text(encoding="utf-8") if given.output.exists() else ""
    kept = known_rows(before)
    rows = {key(bug): kept[key(bug)] for bug in MUTANTS if key(bug) in kept}
    writing = threading.Lock()

    def test(bug: Bug) -> Run:
        run = run_against(bug, whole=given.whole)
        dead = run.killers(bug)
        trouble = run.trouble.partition("\n")[0]
        verdict = f"killed by {len(dead)} cases" if dead else f"SURVIVED, status {run.status} {trouble}"
        say(f"{bug.role} {bug.name}: {bug.requirement} {verdict}, {run.seconds:.0f} s")
        with writing:  # each at once: what was found is not lost to an interrupt
            rows[key(bug)] = row(bug, run)
            given.output.write_text(table(rows, cases_in(before)), encoding="utf-8")
        return run

    with ThreadPoolExecutor(given.jobs) as pool:
        runs = list(zip(bugs, pool.map(test, bugs), strict=True))
    if not given.names:
        given.output.write_text(table(rows, redundant(runs)), encoding="utf-8")
    killed = sum(bool(run.killers(bug)) for bug, run in runs)
    say(f"killed {killed} of {len(runs)}")
    return int(killed < len(runs))


if __name__ == "__main__":
    sys.exit(main())
