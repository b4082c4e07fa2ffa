"""The manual pages are those that spec/make_man.py writes, and man shows them without a complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "man").iterdir())


def test_they_are_fresh_and_what_is_not_is_named(tmp_path: Path) -> None:
    for folder in ("spec", "docs"):
        (tmp_path / folder).mkdir()
    shutil.copytree(ROOT / "docs" / "man", tmp_path / "docs" / "man")
    script = shutil.copy(ROOT / "spec" / "make_man.py", tmp_path / "spec")
    check = [sys.executable, script, "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    page = tmp_path / "docs" / "man" / "framelet.1"
    page.write_text(page.read_text() + "more\n")
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (f"{page} is not up to date: run make docs\n", 1)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_formatter_takes_them(page: Path) -> None:
    if (groff := shutil.which("groff")) is None:
        pytest.skip("groff is not installed")
    done = subprocess.run([groff, "-man", "-Tutf8", "-ww", page], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "DESCRIPTION" in re.sub(".\b", "", done.stdout)
