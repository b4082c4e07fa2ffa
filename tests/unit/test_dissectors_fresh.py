"""framelet.ksy and framelet.lua are what spec/make_dissectors.py writes, and it notices when they are not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ["framelet.ksy", "framelet.lua"]


def make(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = root / "spec" / "make_dissectors.py"
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what spec/make_dissectors.py reads and writes."""
    (tmp_path / "spec").mkdir()
    for name in ("make_dissectors.py", "tables.py", *FILES):
        shutil.copy(ROOT / "spec" / name, tmp_path / "spec" / name)
    shutil.copytree(ROOT / "spec" / "templates", tmp_path / "spec" / "templates")
    return tmp_path


def test_the_files_of_the_tree_are_fresh() -> None:
    done = make(ROOT, "--check")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_an_altered_file_and_a_missing_one_are_stale_until_they_are_written_again(tree: Path) -> None:
    ksy, lua = (tree / "spec" / name for name in FILES)
    good = ksy.read_text(encoding="utf-8"), lua.read_text(encoding="utf-8")
    altered = good[0].replace("507", "509", 1)
    assert altered != good[0]
    ksy.write_text(altered, encoding="utf-8")
    lua.unlink()

    done = make(tree, "--check")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"spec/{name} is stale; run: spec/make_dissectors.py" for name in FILES
    ]
    assert ksy.read_text(encoding="utf-8") == altered, "a check changes nothing"

    done = make(tree)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [f"spec/{name} is written" for name in FILES]
    assert (ksy.read_text(encoding="utf-8"), lua.read_text(encoding="utf-8")) == good


def test_the_files_follow_the_package(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tree / "changed" / "framelet"
    shutil.copytree(ROOT / "protocol" / "framelet", package)
    limits = package / "limits.py"
    source = limits.read_text(encoding="utf-8")
    limits.write_text(source.replace("MAX_PING_BODY = 64", "MAX_PING_BODY = 63"), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    assert make(tree).returncode == 0
    for name in FILES:
        assert "<= 63" in (tree / "spec" / name).read_text(encoding="utf-8")


def test_a_template_that_asks_for_what_does_not_exist_is_an_error(tree: Path) -> None:
    template = tree / "spec" / "templates" / FILES[1]
    template.write_text(template.read_text(encoding="utf-8") + "@NONSENSE\n", encoding="utf-8")
    done = make(tree)
    assert done.returncode == 1
    assert "KeyError: 'NONSENSE'" in done.stderr


def test_other_arguments_are_refused() -> None:
    done = make(ROOT, "--chekc")
    assert (done.returncode, done.stderr) == (2, "usage: spec/make_dissectors.py [--check]\n")
