"""The tables in the documents are the ones that spec/tables.py writes, and it notices when they are not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from framelet_client.config import ClientLimits
from framelet_server.config import ServerLimits

if TYPE_CHECKING:
    from framelet.limits import Limits

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- begin generated: {} -->", "<!-- end generated: {} -->"


def tables(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = root / "spec" / "tables.py"
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what spec/tables.py reads and writes."""
    (tmp_path / "spec").mkdir()
    for name in ("spec/tables.py", "spec/SPEC.md", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "docs").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("document", "block", "limits"),
    [("server.md", "server-limits", ServerLimits), ("cli.md", "client-limits", ClientLimits)],
)
def test_a_document_has_the_numbers_of_the_limits(document: str, block: str, limits: type[Limits]) -> None:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    inside = text.partition(BEGIN.format(block))[2].partition(END.format(block))[0]
    rows = [[cell.strip() for cell in line.split("|")] for line in inside.splitlines() if "| `--" in line]
    shown = {
        option.strip("`"): tuple(float(text.replace(",", "")) for text in (default, *span.split(" to ")))
        for _, option, default, _, span, *_ in rows
    }
    assert shown == {info.option: (info.default, info.minimum, info.maximum) for info in limits.describe()}


@pytest.mark.parametrize(
    ("block", "old", "new"),
    [
        ("frame-types", "| REPLY ", "| REPLIES "),
        ("transitions", "| STOP allowed ", "| STOP "),
    ],
)
def test_an_altered_block_is_stale_until_it_is_written_again(
    tree: Path, block: str, old: str, new: str
) -> None:
    spec = tree / "spec" / "SPEC.md"
    good = spec.read_text(encoding="utf-8")
    before, begin, rest = good.partition(BEGIN.format(block))
    inside, end, behind = rest.partition(END.format(block))
    assert old in inside
    spec.write_text(before + begin + inside.replace(old, new, 1) + end + behind, encoding="utf-8")

    done = tables(tree, "--check")
    assert done.returncode == 1
    assert done.stdout == f"spec/SPEC.md: the table {block} is stale; run: make docs\n"
    assert new in spec.read_text(encoding="utf-8"), "a check changes nothing"

    assert tables(tree).returncode == 0
    assert spec.read_text(encoding="utf-8") == good
    assert tables(tree, "--check").returncode == 0


@pytest.mark.parametrize(
    ("marks", "complaint"),
    [
        (BEGIN.format("nonsense") + END.format("nonsense"), "nonsense is no block"),
        (BEGIN.format("states"), "the begin mark of states has no partner"),
        (BEGIN.format("states") + END.format("transitions"), "the marks around states do not pair up"),
        (END.format("states") + BEGIN.format("states"), "the marks around states do not pair up"),
        (BEGIN.format("states") * 2 + END.format("states"), "the marks around states do not pair up"),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_marks_that_make_no_sense_are_an_error(
    tree: Path, marks: str, complaint: str, arguments: tuple[str, ...]
) -> None:
    (tree / "README.md").write_text(marks, encoding="utf-8")
    done = tables(tree, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(f"README.md: {complaint}")
    assert (tree / "README.md").read_text(encoding="utf-8") == marks
