"""The limit: a server and a load generator in C, built with the system's compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = SOURCES.parents[1] / "build" / "benchmarks"
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")


class CompilerError(Exception):
    """There is no C compiler, or it refused the sources."""


def compiler() -> str:
    """The system's C compiler; raises CompilerError where there is none."""
    found = shutil.which(os.environ.get("CC", "cc"))
    if found is None:
        raise CompilerError("no C compiler: install one (gcc or clang), or name it in the variable CC")
    return found


def program(name: str) -> Path:
    """The program of that name, built anew when its source is younger; raises CompilerError."""
    source, built = SOURCES / f"{name}.c", BUILT / name
    if built.exists() and built.stat().st_mtime >= source.stat().st_mtime:
        return built
    BUILT.mkdir(parents=True, exist_ok=True)
    unfinished = BUILT / f"{name}.{os.getpid()}"  # two runs may build at once
    command: list[str | Path] = [compiler(), *FLAGS, "-o", unfinished, source]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode:
        message = f"{source} does not compile:\n{outcome.stderr}"
        raise CompilerError(message)
    unfinished.replace(built)
    return built
