"""Adapters that break their contract: a clear verdict, the right exit status, bounded time, no traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "conformance_adapter.py"
SUITE = [sys.executable, "-m", "framelet_conformance", "client"]
FAST = "0.3"  # of the usual bounds
LONGEST = 45.0

Run = tuple[int, str]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Run the suite against an adapter with this source; its status, and what it printed."""

    def run(source: str | Path, *options: str) -> Run:
        path = source if isinstance(source, Path) else tmp_path / "adapter.py"
        if isinstance(source, str):
            path.write_text(source, encoding="utf-8")
        launch = f"{sys.executable} {path} {{host}} {{port}}"
        command = [*SUITE, "--launch", launch, "--replay-dir", str(tmp_path / "replays"), *options]
        began = time.monotonic()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LONGEST * 2, cwd=tmp_path
        )
        assert time.monotonic() - began < LONGEST
        printed = done.stdout + done.stderr
        assert "INTERNALERROR" not in printed
        assert "the suite itself failed" not in printed
        assert "framelet_conformance" not in printed  # a traceback in it is the adapter's own
        return done.returncode, printed

    return run


CONNECT = """
import json, socket, sys
job = json.load(sys.stdin)
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
"""
# The example, with a change: what the suite finds is that change alone.
CHANGED = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("example", {str(EXAMPLE)!r})
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
"""

BROKEN = {
    "never-connects": ("", "ended without connecting"),
    "hangs": ("import time; time.sleep(600)", "did not connect within 3 s"),
    "crashes-at-once": ("raise SystemExit('no such client')", "ended with status 1.*no such client"),
    "crashes-when-connected": (CONNECT + "raise RuntimeError('oh')", "ended with status 1.*RuntimeError: oh"),
    "is-killed": (CONNECT + "import os; os.kill(os.getpid(), 9)", "ended by the signal SIGKILL"),
    "supports-nothing": ("import sys; print('not today', file=sys.stderr); sys.exit(127)", "not today"),
    "prints-endlessly": ("while True: print('x' * 65536)", "prints more than|ended with status|ended by"),
    "no-utf-8": (
        CHANGED + "example.main(); sys.stdout.flush(); sys.stdout.buffer.write(b'\\xff')",
        "what it printed is not UTF-8",
    ),
    "prints-nothing": (
        CHANGED + "import io; example.sys.stdout = io.StringIO(); example.main()",
        "it printed 0 lines instead of 6",
    ),
    "prints-too-much": (
        CHANGED + "example.main(); print('bye')",
        "7 lines instead of 6; the last one is 'bye'",
    ),
    "prints-no-json": (
        CHANGED + "example.json.dumps = lambda _: 'hello'; example.main()",
        "line 1 is not an object with answer or error or failed: 'hello'",
    ),
    "prints-no-report": (
        CHANGED + "example.report = lambda _: {'answer': 'no hex'}; example.main()",
        "line 1 is not a report on a frame",
    ),
    "does-not-end": (CHANGED + "example.main(); import time; time.sleep(600)", "did not end within 3 s"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_adapter_that_breaks_its_contract_cannot_be_tested(run: Callable[..., Run], name: str) -> None:
    source, message = BROKEN[name]
    status, printed = run(source, "--time-scale", FAST, "--only", "client.sends.ping")
    assert status == 3
    assert re.search(message, printed, re.DOTALL), printed


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/no/such/program {host} {port}", "cannot start '/no/such/program': No such file"),
        (f"{ROOT / 'LICENSE'} {{host}} {{port}}", "Permission denied"),
    ],
)
def test_a_command_that_cannot_be_started(tmp_path: Path, command: str, message: str) -> None:
    done = subprocess.run(
        [*SUITE, "--launch", command], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 3
    assert message in " ".join((done.stdout + done.stderr).split())


def test_what_an_adapter_does_not_support_is_skipped_with_its_reason(run: Callable[..., Run]) -> None:
    source = CHANGED + (
        "import json, io\n"
        "job = json.load(sys.stdin)\n"
        "if any(asked['type'] == 'STOP' for asked in job['ask']):\n"
        "    print('this client has no STOP', file=sys.stderr); sys.exit(127)\n"
        "example.sys.stdin = io.StringIO(json.dumps(job)); example.main()"
    )
    status, printed = run(source, "--only", "client.sends.stop-*", "--only", "client.sends.empty")
    assert status == 0
    assert "1 pass   3 skipped" in printed
    assert "the adapter does not support this: this client has no STOP" in printed


def test_an_adapter_that_crashes_in_one_case_is_no_failure_of_the_client(run: Callable[..., Run]) -> None:
    source = CHANGED + (
        "queue = example.queue\n"
        "def crash(connection, asked):\n"
        "    if asked['type'] == 'C1': raise RuntimeError('C1 is not there')\n"
        "    queue(connection, asked)\n"
        "example.queue = crash; example.main()"
    )
    status, printed = run(source, "--only", "client.sends.text-nul", "--only", "client.sends.empty")
    assert status == 3
    assert "1 setup-error   1 pass" in printed
    assert "RuntimeError: C1 is not there" in printed


def test_an_adapter_without_repeat_is_started_for_each_conversation(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    source = CHANGED + (
        "import io, json\n"
        "job = json.load(sys.stdin); job.pop('repeat', None)\n"
        "example.sys.stdin = io.StringIO(json.dumps(job)); example.main()"
    )
    report = tmp_path / "report.json"
    only = ["--only", "client.type.never-assigned", "--report-json", str(report)]
    for adapter, processes in ((source, 5 + 4), (EXAMPLE, 1 + 2)):
        status, _ = run(adapter, *only)
        document = json.loads(report.read_text(encoding="utf-8"))
        assert (status, document["facts"]["processes started"]) == (0, f"{processes}")
        assert document["cases"][0]["conversations"] == 5


def test_a_failure_is_written_down_and_can_be_played_again(run: Callable[..., Run], tmp_path: Path) -> None:
    bad = CHANGED + (
        "report = example.report\n"
        "def trim(answer):\n"
        "    found = report(answer)\n"
        "    text = bytes.fromhex(found.get('answer', '')).decode().strip(' ')\n"
        "    return {'answer': text.encode().hex()} if 'answer' in found else found\n"
        "example.report = trim; example.main()"
    )
    status, printed = run(bad, "--only", "vector.client-reply-spaces.split")
    assert status == 1
    assert "expected the answer 20 20 61 62 20\n      reported the answer 61 62" in printed
    assert "REQ-TEXT-5" in printed
    [replay] = (tmp_path / "replays").iterdir()
    document = json.loads(replay.read_text(encoding="utf-8"))
    assert document["role"] == "client"
    sent = "".join(step.get("send", "") for step in document["steps"])
    assert sent == "02000000052020616220"
    assert document["observed"].startswith("01000000026162")
    assert run(bad, "--replay", str(replay))[0] == 1
    assert run(EXAMPLE, "--replay", str(replay))[0] == 0
