"""The pytest plugin, as a project of somebody else uses it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def framelet_{role}_under_test():
    return {launch!r}
"""
CASES = """
def test_it_conforms(framelet_{role}_case):
    framelet_{role}_case()
"""
SERVERS = """
import pytest
from framelet_client import Client, FatalAnswerError

def test_a_server(framelet_server):
    with Client(str(framelet_server(str.upper, max_body=70_000).address)) as client:
        assert client.request("a") == "A"
        with pytest.raises(FatalAnswerError):
            client.request("a" * 70_001)

def test_two_at_once_and_a_client_left_open(framelet_server):
    one, two = framelet_server(), framelet_server(str.upper)
    assert one.address != two.address
    clients = [Client(str(each.address)) for each in (one, two)]
    assert [each.request("ab") for each in clients] == ["ba", "AB"]
"""
UNUSED = """
import sys

def test_nothing_is_loaded():
    ours = {name for name in sys.modules if name.partition(".")[0] in HEAVY}
    assert ours == {"framelet_conformance", "framelet_conformance.pytest_plugin"}

HEAVY = {"framelet", "framelet_server", "framelet_client", "framelet_conformance", "click", "construct"}
"""
SERVER = f"{sys.executable} -m tests.mutants.reference_server --port {{port}}"
CLIENT = f"{sys.executable} -m tests.mutants.reference_client {{host}} {{port}}"
ADAPTER = f"{sys.executable} {ROOT / 'examples' / 'conformance_adapter.py'} {{host}} {{port}}"


def run(folder: Path, *arguments: str, **files: str) -> tuple[str, dict[str, int]]:
    """What pytest printed in a folder with these files, and how many tests had each outcome."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rf", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    counts = re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout.splitlines()[-1])
    return done.stdout + done.stderr, {outcome: int(count) for count, outcome in counts}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "launch", "cases", "failing"),
    [
        ("server", f"{sys.executable} -m framelet_server --port {{port}}", "order.mixed", ""),
        (
            "server",
            f"{SERVER} --bug error-quotes-body",
            "closing.errors-disclose or order.mixed-1",
            "REQ-TEXT-1",
        ),
        ("client", ADAPTER, "client-two or client.utf8.lone", ""),
        ("client", f"{CLIENT} --bug ill-formed-repaired", "client-two or client.utf8.lone", "REQ-TEXT-3"),
    ],
    ids=["server", "server-with-a-bug", "client", "client-with-a-bug"],
)
def test_a_peer_is_held_to_the_cases(
    role: str, launch: str, cases: str, failing: str, tmp_path: Path
) -> None:
    files = {
        name: text.format(role=role, launch=launch)
        for name, text in (("conftest", CONFTEST), ("test_it", CASES))
    }
    output, counts = run(tmp_path, "-k", cases, **files)
    assert "error" not in counts, output
    if not failing:
        assert counts["passed"], output
        assert "failed" not in counts, output
        return
    assert counts["failed"], output
    assert f"{failing}: " in output  # the sentence that is broken
    assert "replay: " in output


def test_servers_for_the_tests_of_others(tmp_path: Path) -> None:
    output, counts = run(tmp_path, test_it=SERVERS)
    assert counts == {"passed": 2}, output


@pytest.mark.slow
def test_where_nothing_listens_the_reason_is_said_once_for_each_case(tmp_path: Path) -> None:
    conftest = CONFTEST.format(role="server", launch="127.0.0.1:1")
    output, counts = run(
        tmp_path, "-k", "order.mixed", conftest=conftest, test_it=CASES.format(role="server")
    )
    assert counts.keys() == {"error"}, output
    assert "cannot be tested: " in output


def test_a_project_that_uses_none_of_it_loads_none_of_it(tmp_path: Path) -> None:
    output, counts = run(tmp_path, test_it=UNUSED)
    assert counts == {"passed": 1}, output
