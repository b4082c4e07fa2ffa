"""Where a run was made, and with what: no names of hosts or people."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from .native import FLAGS, compiler

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .peers import Peer


def machine() -> dict[str, str]:
    """Processor, memory, kernel."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "virtual machine": "yes" if re.search(r"^flags\s*:.*\bhypervisor\b", info, re.MULTILINE) else "no",
        "memory": f"{memory:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
    }


def versions(peers: Iterable[Peer]) -> dict[str, str]:
    """Interpreter, compiler, and what the peers are made of."""
    found = {
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "C compiler": f"{_first_line([compiler(), '--version'])}, {FLAGS[0]}",
    }
    if rev := shutil.which("rev"):
        found["rev"] = _first_line([rev, "--version"])
    for name in ("framelet", "construct"):
        found[name] = importlib.metadata.version(name)
    for peer in peers:
        if peer.package and peer.version:
            found[peer.package] = peer.version
    return found


def _first_line(command: list[str]) -> str:
    """What a program says first."""
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return said.stdout.partition("\n")[0]
