"""Runs one check under atheris, from the kept corpus and the vectors of the specification."""

from __future__ import annotations

import hashlib
import importlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    atheris: Any = importlib.import_module("atheris")  # installed by few, and without types
except ImportError:
    sys.exit(
        "fuzzing needs atheris (pip install 'framelet[fuzz]'), which has no build for this Python or system"
    )

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CORPUS = Path(__file__).with_name("corpus")  # as in inputs, which must be imported under ``instrument``
_WORK = Path(__file__).parents[2] / "build" / "fuzz"

instrument = atheris.instrument_imports
"""``with instrument(include=["framelet"]):`` measures what is imported under it."""


def fuzz(
    name: str, check: Callable[[bytes], None], seeds: Callable[[], Iterator[bytes]], options: list[str]
) -> None:
    """Search until an input fails or an option of libFuzzer says to end; does not return.

    What is found new goes to ``build/fuzz/NAME``, an input that fails to ``build/fuzz/NAME-crash-...``.  An
    option that is a file is tried, and nothing else.
    """
    folders: list[str] = []
    if all(option.startswith("-") for option in options):
        work = _WORK / name
        work.mkdir(parents=True, exist_ok=True)
        for seed in seeds():
            (work / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
        folders = [str(work), str(CORPUS / name)]
        if "-merge=1" in options:
            folders.reverse()  # into the corpus
    prefix = f"-artifact_prefix={_WORK / name}-"
    atheris.Setup([_command(name), prefix, "-print_final_stats=1", *options, *folders], check)
    atheris.Fuzz()


def _command(name: str) -> str:
    """How libFuzzer starts this target again for a merge, which it does through a shell."""
    target = ["fuzz_codec"] if name == "codec" else ["fuzz_connections", name]
    return shlex.join([sys.executable, "-m", f"tests.fuzz.{target[0]}", *target[1:]])
