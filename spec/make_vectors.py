#!/usr/bin/env python3
"""Write the test vectors in spec/vectors from their sources, or check that they are fresh.

    spec/make_vectors.py            write every file that is out of date
    spec/make_vectors.py --check    exit with 1 if there is one, and name it

The sources are in ``vector_sources`` and use nothing of the package framelet.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vector_sources import client, faults, framing, hello, octets, sessions, stop, text, utf8

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vector_sources.build import Vector

FOLDER = Path(__file__).resolve().parent / "vectors"
FORMAT = 1

TOPICS: dict[str, Sequence[Vector]] = {
    topic: vectors
    for source in (framing, octets, utf8, text, sessions, hello, stop, faults, client)
    for topic, vectors in source.TOPICS.items()
}


def render(topic: str, vectors: Sequence[Vector]) -> str:
    """The text of one file: a member per line, so that a changed vector is a small difference."""
    bodies = (
        ",\n".join(f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in vector.items())
        for vector in vectors
    )
    items = ",\n".join(f"  {{\n{body}\n  }}" for body in bodies)
    return f'{{\n "format": {FORMAT},\n "topic": {json.dumps(topic)},\n "vectors": [\n{items}\n ]\n}}\n'


def main(arguments: list[str]) -> int:
    """Write or check all files; the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: spec/make_vectors.py [--check]\n")
        return 2
    files = {FOLDER / f"{topic}.json": render(topic, vectors) for topic, vectors in TOPICS.items()}
    stale = [
        path
        for path, fresh in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != fresh
    ]
    strays = [path for path in FOLDER.glob("*.json") if path not in files]
    if arguments:
        for path in stale:
            print(f"spec/vectors/{path.name} is stale; run: spec/make_vectors.py")
        for path in strays:
            print(f"spec/vectors/{path.name} has no source; remove it")
        return 1 if stale or strays else 0
    for path in stale:
        path.write_text(files[path], encoding="utf-8")
    print(f"{sum(map(len, TOPICS.values()))} vectors in {len(files)} files, {len(stale)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
