"""The soak test runs, and sees a server that leaks, errs or breaks down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MARGIN = 64  # MiB: in two seconds the server's memory has not settled
BROKEN = """
import itertools
import time

kept, calls = [], itertools.count()
began = time.monotonic()

def handler(text):
    while len(kept) < 100 * (time.monotonic() - began):  # 100 MiB a second
        kept.append(b"x" * 2**20)
    number = next(calls)
    if number == 100:
        raise RuntimeError
    return "wrong" if number % 50 == 1 else text[::-1]
"""


def soak(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, "-W", "error", "-m", "tests.soak.soak"]
    return subprocess.run(
        [*script, "--seconds", "2", "--margin", str(MARGIN), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=ROOT,
        env=os.environ | ({"PYTHONPATH": str(path)} if path else {}),
    )


@pytest.mark.slow
def test_a_short_soak_passes() -> None:
    done = soak()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("soak: passed\n")
    for figure in ("memory", "descriptors", "threads", "honest replies", "never read", "STOP refused"):
        assert f"\n{figure} " in done.stdout


@pytest.mark.slow
def test_a_soak_names_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    done = soak("--handler", "broken:handler", path=tmp_path)
    assert done.returncode == 1
    assert "memory was" in done.stderr
    assert "a wrong reply" in done.stderr
    assert " errors; the first is: " in done.stderr
    assert "Traceback" not in done.stderr
