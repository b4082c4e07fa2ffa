"""Replay files: what was said when a case failed, octet for octet, to be said again."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from framelet_conformance.wire.log import Log

FORMAT = 1


@dataclasses.dataclass(slots=True)
class Replay:
    """A failing conversation.

    ``steps`` are what the suite did, in order: ``{"send": hex}``, ``{"pause": seconds}``, ``{"fin": true}``.
    ``expect`` and ``then`` are as in a vector, or None where the case judged by other means; ``observed`` is
    all that the peer sent, and ``ending`` how it ended its side.  ``setup`` says how the peer had to be set
    up.
    """

    case: str
    role: str
    requirements: list[str]
    reason: str
    steps: list[dict[str, Any]]
    expect: list[dict[str, Any]] | None = None
    then: str | None = None
    observed: str = ""
    ending: str = ""
    setup: dict[str, Any] = dataclasses.field(default_factory=dict)
    format: int = FORMAT

    def save(self, folder: Path) -> Path:
        """Write the file; its name is the case's id."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '-', self.case)}.json"
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> Replay:
        """Read a file; raises ValueError where it is not a replay."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            found = cls(**document)
        except (ValueError, TypeError) as error:
            message = f"{path} is no replay file: {error}"
            raise ValueError(message) from None
        if found.format != FORMAT:
            message = f"{path} has format {found.format}, not {FORMAT}"
            raise ValueError(message)
        return found


def steps_of(log: Log) -> list[dict[str, Any]]:
    """What the suite did in a conversation, from its log."""
    steps: list[dict[str, Any]] = []
    last = 0.0
    for entry in log.entries:
        if entry.way == "sent":
            if steps and entry.time - last > 0:
                steps.append({"pause": round(entry.time - last, 4)})
            steps.append({"send": entry.octets.hex()})
            last = entry.time
        elif entry.note in {"sent FIN", "sent RST"}:
            steps.append({entry.note[-3:].lower(): True})
    return steps
