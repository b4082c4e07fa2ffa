"""The rooms of each package: which may import which, no circle of modules, and none too large."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {
    "framelet": "protocol",
    "framelet_server": "server",
    "framelet_client": "client",
    "framelet_conformance": "spec",
}
MOST_LINES, MOST_MODULES = 400, 16

# The protocol has no folders: each of its modules builds on those before it.
PROTOCOL = (
    *("registry", "errors", "limits", "address", "frame_format", "grammar", "codec", "tls"),
    *("states", "events"),
    *("connection", "client_connection", "answering", "server_connection"),
)

ROOMS: dict[str, dict[str, set[str]]] = {
    "framelet": {name: set(PROTOCOL[:number]) for number, name in enumerate(PROTOCOL)},
    "framelet_server": {
        "config": set(),
        "net": set(),
        "layers": {"config", "net"},
        "observe": {"config", "net"},
        "service": {"config", "net", "observe"},
        "connection": {"config", "net", "layers", "observe", "service"},
        "pool": {"config", "net", "layers", "observe", "service", "connection"},
        "server": {"config", "net", "layers", "observe", "service", "connection", "pool"},
        "asyncio": {"config", "net", "layers", "observe", "service", "pool", "server"},
        "process": {"config", "net", "layers", "observe", "service", "connection", "pool", "server"},
    },
    "framelet_client": {
        "config": set(),
        "exit_codes": set(),
        "tls": set(),
        "errors": set(),
        "net": {"config", "errors", "tls"},
        "exchange": {"config", "errors", "net"},
        "client": {"config", "errors", "exchange", "net", "tls"},
        "pool": {"client", "config", "errors", "net", "tls"},
        "asyncio": {"config", "errors", "exchange", "net", "tls"},
        "bench": {"client", "config", "errors", "exchange", "exit_codes", "net", "tls"},
    },
    "framelet_conformance": {
        "verdicts": set(),
        "expectations": set(),
        "specification": set(),
        "wire": {"verdicts"},
        "options": {"wire"},
        "replay": {"wire"},
        "results": {"verdicts", "wire"},
        "scenario": {"expectations", "wire"},
        "play": {"options", "replay", "verdicts", "wire"},
        "judging": {"expectations", "scenario", "verdicts", "wire"},
        "targets": {"expectations", "judging", "options", "play", "replay", "scenario", "verdicts", "wire"},
        "cases": {
            *("expectations", "judging", "options", "play", "replay", "scenario", "specification"),
            *("targets", "verdicts", "wire"),
        },
        "running": {"options", "play", "replay", "results", "targets", "verdicts", "wire"},
        "reports": {"results", "specification", "verdicts", "wire"},
    },
}
"""For each package, its rooms, and the rooms that each may import beside itself.

A module at the top of a package is a room of its own; a room that is not named may import all of its package.
"""


def modules(package: str) -> dict[str, Path]:
    """The modules of a package by their dotted names; a package's ``__init__`` goes by the package's name."""
    found = {}
    for path in sorted((ROOT / OURS[package] / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / OURS[package]).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


ALL = {name: path for package in OURS for name, path in modules(package).items()}


def imported(name: str, path: Path) -> set[str]:
    """The modules of ours that a module imports, also those that only its types need."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in ALL else base for alias in node.names
            }
    return (found & ALL.keys()) - {name}


@functools.cache
def graph() -> dict[str, set[str]]:
    """What each module imports."""
    return {name: imported(name, path) for name, path in ALL.items() if path.stem != "__init__"}


def room(name: str) -> str:
    """The room of a module: the folder below its package, or itself at the top."""
    return name.split(".")[1] if "." in name else ""


def reachable(start: str) -> set[str]:
    """All modules that an import of one leads to."""
    found: set[str] = set()
    pending = list(graph()[start])
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += graph().get(name, ())
    return found


def test_the_reader_of_imports_sees_relative_and_absolute_ones() -> None:
    assert "framelet.errors" in graph()["framelet.codec"]
    assert "framelet_client.client" in graph()["framelet_client.__main__"] | reachable(
        "framelet_client.__main__"
    )


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert [name for name in graph() if name in reachable(name)] == []


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_only_what_the_matrix_allows(package: str) -> None:
    wrong = [
        f"{name} imports {other}"
        for name in modules(package)
        if room(name) in ROOMS[package]
        for other in graph().get(name, ())
        if other.partition(".")[0] == package and room(other) not in {room(name), *ROOMS[package][room(name)]}
    ]
    assert wrong == []


def test_no_module_is_too_long_and_no_folder_too_full() -> None:
    long = {
        name for name, path in ALL.items() if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    }
    folders = [path.parent for path in ALL.values()]
    full = {str(folder) for folder in folders if folders.count(folder) > MOST_MODULES}
    assert (long, full) == (set(), set())
