"""The report as JSON: everything, for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from framelet_conformance.results import as_document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from framelet_conformance.results import Results
    from framelet_conformance.specification import Requirement


def write(results: Results, requirements: Mapping[str, Requirement], path: Path) -> None:
    """Write the results as JSON."""
    document = as_document(results, requirements)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
