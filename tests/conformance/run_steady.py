"""Run the whole conformance suite many times against peers that conform: `make steady`.

    python -m tests.conformance.run_steady [--runs N] [PEER ...]

The peers are this project's own server and client and the reference peers of tests/mutants.  Each run must
pass every case, with none skipped: a verdict that comes and goes is a fault of the suite.  Exit status: 0 all
runs were so; 1 one was not, and what was otherwise has been printed.
"""

import argparse
import itertools
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from typing import NamedTuple

from tests.mutants.run_mutants import GOOD, LAUNCH, ROOT, SUITE, TIMES, say

_PYTHON = shlex.quote(sys.executable)
# A handler for each application type: {application} stands for the name of a function.
_HANDLERS = " ".join(f"--handle 0x{octet:X}=framelet:{{application}}" for octet in range(0xC0, 0x100))
_IN_LOOP = (
    f"{_PYTHON} -m tests.conformance.asyncio_server --port {{port}} [--max-body {{max_body}}] {TIMES} "
    "[--stop {stop}] [--stop-token-file {stop_token_file}] [--max-connections {max_connections}] "
    "[--application {application}]"
)
PEERS = {
    "reference-server": ("server", LAUNCH["server"]),
    "concurrent-server": ("server", LAUNCH["concurrent"]),
    "reference-client": ("client", LAUNCH["client"]),
    "server": (
        "server",
        (
            f"{_PYTHON} -m framelet_server --port {{port}} [--max-body {{max_body}}] {TIMES} "
            f"[--stop {{stop}}] [--stop-token-file {{stop_token_file}}] "
            f"[--max-connections {{max_connections}}] [{_HANDLERS}]"
        ),
    ),
    "asyncio-server": ("server", _IN_LOOP),
    "asyncio-server-awaiting": ("server", f"{_IN_LOOP} --await"),
    "client": ("client", f"{_PYTHON} examples/conformance_adapter.py {{host}} {{port}}"),
    "asyncio-client": ("client", f"{_PYTHON} -m tests.conformance.asyncio_client {{host}} {{port}}"),
}


class Outcome(NamedTuple):
    """What came of one run."""

    status: int
    verdicts: Counter[str]
    others: list[str]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every case passed."""
        return self.status == 0 and not self.others and bool(self.verdicts)


def run(peer: str) -> Outcome:
    """Run the whole suite once."""
    role, launch = PEERS[peer]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="framelet-steady-") as folder:
        report = pathlib.Path(folder, "report.json")
        command = [*SUITE, role, "--launch", launch, "--quiet", "--replay-dir", folder]
        done = subprocess.run(
            [*command, "--report-json", str(report)], cwd=ROOT, check=False, capture_output=True, text=True
        )
        seconds = time.monotonic() - began
        if not report.exists():
            return Outcome(done.returncode, Counter(), [done.stdout + done.stderr], seconds)
        document = json.loads(report.read_text(encoding="utf-8"))
    others = [
        f"{c['id']} {c['verdict']}: {c['reason']}" for c in document["cases"] if c["verdict"] not in GOOD
    ]
    others += [document["trouble"]] if document["trouble"] else []
    return Outcome(done.returncode, Counter(case["verdict"] for case in document["cases"]), others, seconds)


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description="Run the whole suite many times against peers that conform.")
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(PEERS)}; all without")
    parser.add_argument("--runs", type=int, default=10, help="runs against each")
    given = parser.parse_args()
    if unknown := set(given.peers) - PEERS.keys():
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    bad = 0
    for number, peer in itertools.product(range(1, given.runs + 1), given.peers or PEERS):
        outcome = run(peer)
        bad += not outcome.good
        found = ", ".join(f"{count} {verdict}" for verdict, count in outcome.verdicts.most_common())
        say(f"{peer} {number}: status {outcome.status}, {found}, {outcome.seconds:.0f} s")
        for line in outcome.others:
            say(f"    {line}")
    say(f"{bad} runs were not as they must be" if bad else "every run passed every case")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
