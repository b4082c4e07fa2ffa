"""What ``spec`` holds: the requirements as SPEC.md states them, the vectors, and why some have no case."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

Vector = dict[str, Any]
"""A conversation as the files of ``vectors`` hold it."""

_PACKAGE = Path(__file__).parent

_ITEM = re.compile(r"- \*\*(REQ-[A-Z]+-[0-9]+)\*\* (.*)", re.DOTALL)
_LEVEL = re.compile(r"\b(MUST|SHOULD|MAY)\b")


class Requirement(NamedTuple):
    """One sentence of the specification; ``level`` is MUST, SHOULD or MAY, whichever binds most."""

    name: str
    section: str
    sentence: str
    level: str


def data_path(name: str) -> Path:
    """Where a file or folder of ``spec`` is: in the installed package, or beside it in a checkout."""
    installed = _PACKAGE / "data" / name
    return installed if installed.exists() else _PACKAGE.parent / name


def read_uncovered() -> dict[str, str]:
    """Why no case covers a requirement, by its name."""
    reasons: dict[str, str] = tomllib.loads((_PACKAGE / "uncovered.toml").read_text(encoding="utf-8"))
    return reasons


@functools.cache
def read_vectors(role: str) -> list[Vector]:
    """The vectors for a role, in the order of the files."""
    return [
        vector
        for path in sorted(data_path("vectors").glob("*.json"))
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]
        if vector["role"] == role
    ]


@functools.cache
def read_requirements() -> dict[str, Requirement]:
    """The requirements by name, in the order of the text; withdrawn ones are left out."""
    text = data_path("SPEC.md").read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return {
        found.name: found
        for heading, section in zip(parts[1::2], parts[2::2], strict=True)
        for block in re.split(r"\n\s*\n|\n(?=- )", section)
        if (found := _read(heading, block.strip())) is not None
    }


def _read(heading: str, block: str) -> Requirement | None:
    match = _ITEM.match(block)
    if match is None:
        return None
    sentence = " ".join(match[2].split())
    levels = _LEVEL.findall(sentence)
    if not levels:
        return None  # withdrawn
    level = next(word for word in ("MUST", "SHOULD", "MAY") if word in levels)
    return Requirement(match[1], heading, sentence, level)
