"""How a run was asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from framelet_conformance.wire.times import Times


@dataclasses.dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line chose; patterns are case ids or requirements, with ``*`` and ``?``."""

    role: str
    address: tuple[str, int] | str | None = None
    launch: str | None = None
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    expect_fail: tuple[str, ...] = ()
    times: Times = dataclasses.field(default_factory=Times)
    stop_policy: str | None = None
    stop_token: str | None = None
    allow_stop: bool = False
    slow: bool = False
    strict: bool = False
    workers: int = 16
    examples: int = 100
    seed: int | None = None
    replay_folder: Path = Path("framelet-replays")
    replay_file: Path | None = None
    command: str = ""
