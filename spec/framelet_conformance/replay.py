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
    what the peer sent, cut where it is less than ``observed_octets``, and ``ending`` how it ended its side.
    ``setup`` says how the peer had to be set up.
    """

    case: str
    role: str
    requirements: list[str]
    reason: str
    steps: list[dict[str, Any]]
    expect: list[dict[str, Any]] | None = None
    then: str | None = None
    observed: str = ""
    observed_octets: int = 0
    ending: str = ""
    setup: dict[str, Any] = dataclasses.field(default_factory=dict)
    format: int = FORMAT

    def save(self, folder: Path) -> Path:
        """Write a file of its own; its name is the case's id."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '-', self.case)}.json"
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")
        return path

    def append(self, path: Path) -> Path:
        """Add it to a file of replays, a line for each."""
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(self)) + "\n")
        return path

    @classmethod
    def load(cls, path: Path) -> list[Replay]:
        """Read a file of one replay, or of a line for each; raises ValueError where it is neither."""
        text = path.read_text(encoding="utf-8")
        try:
            try:
                documents = [json.loads(text)]
            except ValueError:
                documents = [json.loads(line) for line in text.splitlines()]
            found: list[Replay] = [cls(**document) for document in documents]
        except (ValueError, TypeError) as error:
            message = f"{path} is not a replay file: {error}"
            raise ValueError(message) from None
        if not found:
            message = f"{path} is not a replay file: it is empty"
            raise ValueError(message)
        for each in found:
            if each.format != FORMAT:
                message = f"{path} has format {each.format}, not {FORMAT}"
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
