"""The table of bugs fits the switches in the peers, and the requirements that there are."""

import pathlib
import re

import pytest

from .bugs import BUGS
from .edited import PEERS, changed, read_edits
from .run_mutants import MUTANTS

FOLDER = pathlib.Path(__file__).parent


def test_names_are_unique() -> None:
    assert len({(bug.role, bug.name) for bug in MUTANTS}) == len(MUTANTS)


FILES = {
    "server": ["server*.py", "reference_server.py", "wrong_text.py"],
    "concurrent": ["concurrent_server.py"],
    "client": ["reference_client.py"],
}


@pytest.mark.parametrize("role", FILES)
def test_every_switch_is_in_the_table(role: str) -> None:
    own = FILES[role]
    shared = re.findall(r'bug\("([a-z0-9-]+)"\)', (FOLDER / "wire.py").read_text(encoding="utf-8"))
    text = "".join(path.read_text(encoding="utf-8") for glob in own for path in FOLDER.glob(glob))
    switches = set(re.findall(r'bug\("([a-z0-9-]+)"\)', text))
    table = {bug.name for bug in BUGS if bug.role == role}
    assert switches <= table
    assert table <= switches | set(shared)


def test_requirements_are_in_the_specification() -> None:
    text = (FOLDER.parents[1] / "spec" / "SPEC.md").read_text(encoding="utf-8")
    known = set(re.findall(r"\*\*(REQ-[A-Z]+-\d+)\*\*", text))
    assert {bug.requirement for bug in MUTANTS} <= known


@pytest.mark.parametrize("role", PEERS)
def test_every_edit_fits(role: str) -> None:
    for edit in read_edits(role).values():
        for module, text in changed(edit).items():
            compile(text, module, "exec")
