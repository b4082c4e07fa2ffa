"""CONTRIBUTING.md is true: its rooms are those that tests hold, and what it names is there."""

from __future__ import annotations

import ast
import re

import pytest
from tests.unit.test_rooms import ALL, OURS, ROOMS, ROOT, modules, room

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WALKS = ("The path of a REQUEST", "The path of a STOP")


def section(title: str) -> str:
    """What stands under a heading, up to the next one that is not below it."""
    before, heading, text = PAGE.partition(f"# {title}\n")
    assert heading
    deepest = len(before) - len(before.rstrip("#")) + 1
    return re.split(rf"^#{{2,{deepest}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of all tables; not their heads."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def members(module: str) -> dict[str, set[str]]:
    """The functions of each class of a module."""
    tree = ast.parse(ALL[module].read_text(encoding="utf-8"))
    return {
        found.name: {member.name for member in found.body if isinstance(member, ast.FunctionDef)}
        for found in ast.walk(tree)
        if isinstance(found, ast.ClassDef)
    }


@pytest.mark.parametrize("package", OURS)
def test_the_rooms_are_those_of_the_matrix(package: str) -> None:
    table = rows(section(f"`{OURS[package]}/{package}`"))
    told = [names(name)[0] for name, _, _ in table]
    assert set(told) == {room(name) for name in modules(package)} - {"", "__main__"}
    for number, (_, _, imports) in enumerate(table):
        before = set(told[:number])
        stated = before if imports == "all above" else set(names(imports))
        assert bool(stated) == (imports != "nothing")
        assert stated == ROOMS[package].get(told[number], before), told[number]


def test_what_is_to_be_opened_is_there() -> None:
    lines = section("To change something").strip().splitlines()[2:]
    assert len(lines) >= 15
    for line in lines:
        paths = [name for name in names(line.split("|")[2]) if name != "make docs"]
        assert paths
        assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("title", WALKS)
def test_every_function_of_a_walk_is_in_its_module(title: str) -> None:
    table = rows(section(title))
    assert len(table) >= 15
    for where, function, _, _ in table:
        module = names(where)[0].replace("/", ".")
        module = module if module.startswith("framelet.") else f"framelet_server.{module}"
        klass, _, name = names(function)[0].partition(".")
        assert name in members(module)[klass], function
