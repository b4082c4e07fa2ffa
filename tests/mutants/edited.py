"""Run a reference peer of which one place is changed: `python -m tests.mutants.edited ROLE:NAME ARGUMENT ...`.

The changes stand in edits_ROLE.toml.  A module that is changed is loaded from its changed text; nothing is
written.
"""

import importlib.util
import pathlib
import sys
import tomllib
from typing import Any

from .bugs import Bug

PEERS = {"server": "reference_server", "concurrent": "concurrent_server", "client": "reference_client"}
FOLDER = pathlib.Path(__file__).parent


def read_edits(role: str) -> dict[str, dict[str, Any]]:
    """The changes of a role, by name: what each breaks and does, and the texts that it replaces."""
    path = FOLDER / f"edits_{role}.toml"
    found: dict[str, dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return found


EDITS = [
    Bug(role, name, edit["breaks"], edit["does"]) for role in PEERS for name, edit in read_edits(role).items()
]


def changed(edit: dict[str, Any]) -> dict[str, str]:
    """The text of each module that an edit changes.  Raises ValueError where it does not fit."""
    texts: dict[str, str] = {}
    for module, old, new in edit["edits"]:
        text = texts.get(module) or (FOLDER / f"{module}.py").read_text(encoding="utf-8")
        if text.count(old) != 1:
            message = f"{module}.py has {text.count(old)} places like {old!r}"
            raise ValueError(message)
        texts[module] = text.replace(old, new)
    return texts


def load(module: str, text: str) -> None:
    """Load a module of this folder from other text than its own."""
    path = FOLDER / f"{module}.py"
    spec = importlib.util.spec_from_file_location(f"{__package__}.{module}", path)
    assert spec is not None
    found = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    exec(compile(text, path, "exec"), found.__dict__)  # noqa: S102 - our own text, changed


def main() -> int:
    """Run the peer with the edit that the first argument names."""
    role, _, name = sys.argv.pop(1).partition(":")
    for module, text in changed(read_edits(role)[name]).items():
        load(module, text)
    status: int = importlib.import_module(f"{__package__}.{PEERS[role]}").main()
    return status


if __name__ == "__main__":
    sys.exit(main())
