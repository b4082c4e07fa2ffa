"""RESULTS.md is about the bugs that there are, and what it says is what the README says."""

import re

from .run_mutants import MUTANTS, RESULTS, ROOT, SURVIVED, cases_in, key, known_rows, table

TEXT = RESULTS.read_text(encoding="utf-8")


def test_the_table_lists_every_bug_as_it_is_now() -> None:
    rows = known_rows(TEXT)
    assert rows.keys() == {key(bug) for bug in MUTANTS}, "run: make mutants"
    for bug in MUTANTS:
        assert f"| `{bug.name}` | {bug.description} | {bug.requirement} |" in rows[key(bug)]
    assert table(rows, cases_in(TEXT)) == TEXT


def test_every_mutant_was_killed() -> None:
    assert len(MUTANTS) >= 60
    assert SURVIVED not in TEXT


def test_the_readme_states_the_same_number() -> None:
    killed = re.search(r"\*\*Killed: (\d+) of (\d+)\.\*\*", TEXT)
    stated = re.search(r"kills (\d+) of (\d+) mutants", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert killed is not None
    assert stated is not None
    assert killed.groups() == stated.groups()
